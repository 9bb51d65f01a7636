"""Grid search without a true label: what the choices of each criterion are worth.

A method here is a grid. Its candidates are compared by scikit-learn's GridSearchCV on
the training rows' candidate sets alone; then every candidate is fitted to all training
rows, and its accuracy on true test labels tells what the choice was worth. The oracle
chooses by that accuracy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from benchmarks.cells import Cell
from benchmarks.frame import Method, Split
from benchmarks.report import goal, markdown, short
from benchmarks.scores import Scores
from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.metrics import (
    approximated_accuracy_scorer,
    candidate_log_likelihood_scorer,
    covering_rate_scorer,
)
from sklabeldiff.model_selection import CandidateStratifiedKFold

CELLS = (
    Cell("lost"),
    Cell("birdsong"),
    Cell("pendigits", "uniform", 0.7),
    Cell("vehicle", "instance", 0.3),
)
N_FOLDS = 2  # of five: eight candidates and three inner folds take long enough
INNER_FOLDS = 3
SCORERS = {
    "covering_pick": covering_rate_scorer,
    "approximated_pick": approximated_accuracy_scorer,
    "likelihood_pick": candidate_log_likelihood_scorer,
}
TITLES = {
    "covering_pick": "covering rate",
    "approximated_pick": "approximated accuracy",
    "likelihood_pick": "candidate log-likelihood",
}
TOLERANCE = 0.015  # below the oracle, on average


@dataclass(frozen=True)
class Grid:
    """An estimator and the values of its parameters to choose from."""

    estimator: Any
    grid: dict[str, list[Any]]

    def get_params(self) -> dict[str, Any]:
        """Return the estimator, whose code decides the result."""
        return {"estimator": self.estimator}


def methods() -> list[Method]:
    """Grids, by the name of what they search."""
    return [
        Method("DDMP", lambda seed: _ddmp(seed), "ours", 100.0),
        Method("PRODEN", lambda seed: _proden(seed), "baseline", 80.0),
        Method("kernel yardstick", lambda seed: _kernel(seed), "baseline", 10.0),
        Method("LogisticRegression, weighted", lambda seed: _linear(), "baseline", 9.0),
        Method("PL-kNN", lambda seed: _neighbours(), "baseline", 1.0),
    ]


def _ddmp(seed: int) -> Grid:
    return Grid(
        DDMPClassifier(random_state=seed),
        {
            "n_propagations": [0, 10],
            "prior_mean": ["kernel", "zero"],
            "standardize": ["standard", "rows"],
        },
    )


def _proden(seed: int) -> Grid:
    return Grid(
        PRODENClassifier(random_state=seed),
        {
            "hidden": [(), (256,)],
            "learning_rate": [1e-4, 1e-3],
        },
    )


def _kernel(seed: int) -> Grid:
    return Grid(
        KernelPropagationClassifier(random_state=seed),
        {"gamma": [0.03, 0.1, 0.3, 1.0], "ridge": [0.01, 0.1, 1.0]},
    )


def _linear() -> Grid:
    return Grid(
        CandidateWeightedClassifier(LogisticRegression(max_iter=1000)),
        {"estimator__C": [0.001, 0.01, 0.1, 1.0, 10.0]},
    )


def _neighbours() -> Grid:
    return Grid(
        PLKNNClassifier(),
        {"n_neighbors": [3, 5, 10, 20, 50], "weights": ["distance", "uniform"]},
    )


def measure(method: Grid, split: Split, ceiling: bool) -> dict[str, Any]:
    """Test accuracy of each criterion's choice, of the oracle's, and of all."""
    start = time.perf_counter()
    search = GridSearchCV(
        method.estimator,
        method.grid,
        scoring=SCORERS,
        cv=CandidateStratifiedKFold(INNER_FOLDS, shuffle=True, random_state=0),
        refit=False,
    ).fit(split.X, split.Y)
    done = time.perf_counter()
    found = search.cv_results_
    accuracy = np.array(
        [_accuracy(method.estimator, params, split) for params in found["params"]]
    )
    picks = {
        name: float(accuracy[np.argmax(found[f"mean_test_{name}"])]) for name in SCORERS
    }
    return picks | {
        "score": picks["covering_pick"],
        "oracle": float(accuracy.max()),
        "mean_candidate": float(accuracy.mean()),
        "worst_candidate": float(accuracy.min()),
        "n_candidates": len(accuracy),
        "search_seconds": done - start,
    }


def _accuracy(estimator: Any, params: dict[str, Any], split: Split) -> float:
    model = clone(estimator).set_params(**params).fit(split.X, split.Y)
    return float((model.predict(split.X_test) == split.y_test).mean())


def body(scores: Scores) -> list[str]:
    """Rows cells and grids, columns criteria; and the goal."""
    names = (*SCORERS, "oracle", "mean_candidate", "worst_candidate")
    rows = []
    for cell in scores.cells:
        for m in scores.methods:
            figures = [scores.average(n, cell=cell, method=m) for n in names]
            rows.append([cell, m, *(short(value) for value in figures)])
    head = ["cell", "grid", *TITLES.values(), "oracle", "mean", "worst"]
    lines = [
        "Accuracy on true test labels of the candidate that each criterion chooses, by "
        f"{INNER_FOLDS}-fold cross-validation on candidate sets; of the one that the "
        "test labels themselves would choose (the oracle, which no honest search can "
        "be); and the mean and the worst of the grid. Means over "
        f"{N_FOLDS} outer folds. Grids have 4 to 12 candidates.",
        "",
        *markdown(head, rows),
        "",
        "## Against the goal",
        "",
    ]
    for name, title in TITLES.items():
        gap, worst = _regret(scores, name)
        text = f"picked by {title}: within {100 * TOLERANCE:g} points of the oracle"
        if name == "likelihood_pick":
            lines.append(f"- no goal set: by {title}: {gap:+.4f}; {worst}")
        else:
            lines.append(goal(text, gap >= -TOLERANCE, f"{gap:+.4f}; {worst}"))
    gap, _ = _regret(scores, "mean_candidate")
    lines.append(f"- for comparison, a candidate at random: {gap:+.4f}")
    return lines


def _regret(scores: Scores, name: str) -> tuple[float, str]:
    """Mean distance from the oracle over cells and grids, and the largest in words."""
    gaps = {
        (cell, m): scores.average(name, cell=cell, method=m)
        - scores.average("oracle", cell=cell, method=m)
        for cell in scores.cells
        for m in scores.methods
    }
    (cell, m), worst = min(gaps.items(), key=lambda item: item[1])
    mean = float(np.nanmean(list(gaps.values())))
    return mean, f"largest miss {worst:+.3f} ({m} on {cell})"
