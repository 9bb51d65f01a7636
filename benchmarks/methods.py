"""What is compared, by name.

A method makes an unfitted estimator from a seed. All estimators get the same raw X and
the same candidate mask; ceilings get the true labels instead, and take no part in ranks
or in the choice of the best baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.controls import (
    KernelAlone,
    NeighbourVote,
    ScaledBudget,
    WithoutDiffusion,
)
from benchmarks.frame import Method
from sklabeldiff import DDMPClassifier, DMISClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    CCClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)


def sklearn_classifiers(random_state: int) -> dict[str, tuple[Any, float]]:
    """Classifiers by name, each with its cost."""
    return {
        "LogisticRegression": (LogisticRegression(max_iter=1000), 0.5),
        "SVC": (SVC(cache_size=500), 3.0),
        "RandomForest": (RandomForestClassifier(random_state=random_state), 1.0),
        "HistGradientBoosting": (
            HistGradientBoostingClassifier(
                **BOOSTING, early_stopping=False, random_state=random_state
            ),
            4.0,
        ),
        "KNeighbors": (KNeighborsClassifier(), 0.1),
        "MLPClassifier": (MLPClassifier(random_state=random_state), 3.0),
    }


# A tree a class and iteration: 100 iterations, the default, would alone take most of
# the time of the whole table. Early stopping holds out copies of rows that it trains
# on, so it stays off.
BOOSTING = {"max_iter": 40, "learning_rate": 0.2}
WITHOUT_WEIGHTS = ("KNeighbors",)  # takes no sample_weight: propagated labels only
KERNEL_WIDTHS = {"wide": 0.1, "narrow": 1.0}
CEILINGS = ("LogisticRegression", "RandomForest", "SVC")


def _wrapped(name: str, labels: str) -> Callable[[int], Any]:
    def make(random_state: int) -> Any:
        classifier, _ = sklearn_classifiers(random_state)[name]
        return CandidateWeightedClassifier(
            classifier, labels=labels, standardize="standard"
        )

    return make


def supervised(name: str) -> Callable[[int], Any]:
    """Scale the columns and fit a plain classifier."""

    def make(random_state: int) -> Any:
        classifier, _ = sklearn_classifiers(random_state)[name]
        return make_pipeline(StandardScaler(), classifier)

    return make


def seeded(kind: Callable[..., Any], **params: Any) -> Callable[[int], Any]:
    """Make an estimator from its class, parameters and a seed."""
    return lambda random_state: kind(random_state=random_state, **params)


def _ours() -> Method:
    return Method("DDMP", seeded(DDMPClassifier), "ours", 6.0)


DMIS = Method("DMIS", seeded(DMISClassifier), "ours", 15.0)


def accuracy_methods() -> list[Method]:
    """DDMP, DMIS, every baseline, and the ceilings."""
    return [
        _ours(),
        DMIS,
        *_partial_label_baselines(),
        *_sklearn_baselines(),
        *ceilings(),
    ]


def _partial_label_baselines() -> Iterator[Method]:
    yield Method("PL-kNN", lambda seed: PLKNNClassifier(), "baseline", 0.1)
    for name, kind in (("PRODEN", PRODENClassifier), ("CC", CCClassifier)):
        yield Method(name, seeded(kind), "baseline", 5.0)
    for width, gamma in KERNEL_WIDTHS.items():
        for rows, standardize in (("", "standard"), (", equal norm", "rows")):
            make = seeded(
                KernelPropagationClassifier, gamma=gamma, standardize=standardize
            )
            name = f"kernel yardstick, {width}{rows}"
            yield Method(name, make, "baseline", 0.5)


def _sklearn_baselines() -> Iterator[Method]:
    for name, (_, cost) in sklearn_classifiers(0).items():
        for labels, factor in (("weighted", 2), ("propagated", 1)):
            if labels == "weighted" and name in WITHOUT_WEIGHTS:
                continue
            make = _wrapped(name, labels)
            yield Method(f"{name}, {labels}", make, "baseline", cost * factor)


def ceilings() -> Iterator[Method]:
    """Classifiers that learn from the true labels."""
    for name in CEILINGS:
        yield Method(f"truth: {name}", supervised(name), "ceiling", 0.5)


def ablation_methods() -> list[Method]:
    """DDMP and what becomes of it with a part changed or taken out."""
    return [_ours(), *_variants(), *_controls()]


def _variants() -> Iterator[Method]:
    variants: dict[str, tuple[dict[str, Any], float]] = {
        "no refresh": ({"refresh": None}, 6),
        "no propagation": ({"n_propagations": 0}, 6),
        "no Jaccard": ({"label_similarity": None}, 6),
        "refresh 'inverse'": ({"refresh": "inverse"}, 6),
        "attention network": ({"network": "attention"}, 30),
        "preset 'paper'": ({"preset": "paper"}, 30),
        "without extras (no kernel smoothers)": ({"prior_mean": "zero"}, 6),
    }
    # What is already the default is no variant, and equal ones are one row.
    named: dict[str, list[str]] = {repr(DDMPClassifier(random_state=0)): []}
    for name, (params, _) in variants.items():
        settings = repr(DDMPClassifier(random_state=0, **params))
        named.setdefault(settings, []).append(name)
    _, *groups = named.values()
    for names in groups:
        params, cost = variants[names[0]]
        name = " = ".join(names)
        yield Method(name, seeded(DDMPClassifier, **params), "ablation", cost)


def _controls() -> Iterator[Method]:
    controls: dict[str, tuple[Callable[[int], Any], float]] = {
        "a fifth of the budget": (lambda seed: ScaledBudget(0.2, seed), 3),
        "five times the budget": (lambda seed: ScaledBudget(5.0, seed), 30),
        "control: kNN vote on first S": (lambda seed: NeighbourVote(True, seed), 2),
        "control: kNN vote on final S": (lambda seed: NeighbourVote(False, seed), 6),
        "control: kernel smoothers alone": (KernelAlone, 2),
        "control: cross-entropy, no diffusion": (WithoutDiffusion, 6),
    }
    for name, (make, cost) in controls.items():
        yield Method(name, make, "ablation", cost)
