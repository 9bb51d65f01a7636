"""What is compared on wrong labels, by name.

All networks are perceptrons of layers 256 and 256, trained for 500 updates, from 20 to
100 epochs, as DTM does: a difference is then due to the method. LRA has a network of
its own, with that budget.
"""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.frame import Method
from benchmarks.methods import DMIS, seeded
from benchmarks.peers import (
    CleanlabIssues,
    CleanLearningClassifier,
    CrossEntropyClassifier,
    OwnIssues,
    RetrievalDiffusionClassifier,
)
from sklabeldiff import DTMClassifier
from sklabeldiff.baselines import VolMinNetClassifier

HIDDEN = (256, 256)
N_NEIGHBORS = 10
N_FOLDS = 5
QUALITIES = ("self_confidence", "normalized_margin")


def noisy_methods() -> list[Method]:
    """DTM, DMIS, their peers, plain references, and the ceiling."""
    return [
        Method("DTM", dtm, "ours", 9.0),
        DMIS,
        Method("VolMinNet", volminnet, "baseline", 4.0),
        Method("cross-entropy", cross_entropy, "baseline", 3.0),
        Method("CleanLearning", clean_learning, "baseline", 18.0),
        Method("LRA", seeded(RetrievalDiffusionClassifier), "baseline", 6.0),
        Method("LogisticRegression", logistic_regression, "baseline", 0.5),
        Method("kNN", nearest_neighbours, "baseline", 0.1),
        Method("truth: cross-entropy", cross_entropy, "ceiling", 3.0),
    ]


def ablation_methods() -> list[Method]:
    """DTM and what becomes of it with a part changed or taken out."""
    variants: dict[str, dict[str, Any]] = {
        "generator 'diffusion'": {"generator": "diffusion"},
        "generator 'regression'": {"generator": "regression"},
        "generator 'group'": {"generator": "group"},
        "responsibilities 'auto'": {"responsibility_source": "auto"},
        "responsibilities 'model'": {"responsibility_source": "model"},
        "responsibilities 'majority'": {"responsibility_source": "majority"},
        "responsibilities 'smoother'": {"responsibility_source": "smoother"},
        "schedule 'respaced'": {"schedule": "respaced"},
        "schedule 'paper'": {"schedule": "paper"},
        "prediction 'eps'": {"prediction": "eps"},
        "group matrices by VolMinNet": {"group_estimator": "volmin"},
    }
    # What is already the default is no variant.
    default = repr(dtm(0))
    return [
        Method("DTM", dtm, "ours", 9.0),
        *(
            Method(name, seeded(dtm, **params), "ablation", 9.0)
            for name, params in variants.items()
            if repr(dtm(0, **params)) != default
        ),
    ]


def issue_methods() -> list[Method]:
    """Ours on beliefs in and out of fold; cleanlab's ranks from two classifiers."""

    def ours(make: Any, cv: int | None) -> Any:
        return lambda seed: OwnIssues(make(seed), cv)

    def theirs(make: Any, quality: str) -> Any:
        return lambda seed: CleanlabIssues(make(seed), quality, seed)

    classifiers = (
        ("cross-entropy", cross_entropy, 15.0),
        ("LogisticRegression", logistic_regression, 2.0),
    )
    return [
        Method("DTM, training beliefs", ours(dtm, None), "ours", 9.0),
        Method("DTM, out of fold", ours(dtm, N_FOLDS), "ours", 45.0),
        Method("DMIS, training beliefs", ours(DMIS.make, None), "ours", 15.0),
        Method("DMIS, out of fold", ours(DMIS.make, N_FOLDS), "ours", 75.0),
        *(
            Method(f"cleanlab, {name}, {quality}", theirs(make, quality), "baseline", c)
            for name, make, c in classifiers
            for quality in QUALITIES
        ),
    ]


def dtm(random_state: int, **params: Any) -> DTMClassifier:
    return DTMClassifier(random_state=random_state, **params)


def volminnet(random_state: int) -> VolMinNetClassifier:
    return VolMinNetClassifier(HIDDEN, random_state=random_state)


def cross_entropy(random_state: int) -> CrossEntropyClassifier:
    return CrossEntropyClassifier(HIDDEN, random_state)


def clean_learning(random_state: int) -> CleanLearningClassifier:
    return CleanLearningClassifier(cross_entropy(random_state), random_state)


def logistic_regression(random_state: int) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def nearest_neighbours(random_state: int) -> Any:
    return make_pipeline(StandardScaler(), KNeighborsClassifier(N_NEIGHBORS))
