"""What is measured on one split: test accuracy, or how well wrong labels are found."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.frame import Split


def accuracy(estimator: Any, split: Split, ceiling: bool) -> dict[str, Any]:
    """Fit on the training rows and score the test rows."""
    start = time.perf_counter()
    estimator.fit(split.X, split.y if ceiling else split.Y)
    fitted = time.perf_counter()
    predicted = np.asarray(estimator.predict(split.X_test))
    done = time.perf_counter()
    figures = {
        "score": float((predicted == split.y_test).mean()),
        "fit_seconds": fitted - start,
        "predict_seconds": done - fitted,
    }
    if split.Y.ndim == 1:
        return figures | wrong_labels(split)
    # Candidate-weighted rows believe in all candidates alike: nothing to score.
    untouched = getattr(estimator, "labels", None) == "weighted"
    beliefs = None if untouched else getattr(estimator, "label_distribution_", None)
    return figures | {
        "covering": None
        if split.Y_test is None
        else float(split.Y_test[np.arange(len(predicted)), predicted].mean()),
        "transductive": None
        if beliefs is None
        else float((np.asarray(beliefs).argmax(1) == split.y).mean()),
    }


def issue_precision(finder: Any, split: Split, ceiling: bool) -> dict[str, Any]:
    """Average precision of the rows with a wrong label, most suspicious first.

    ``finder.rank(X, y)`` returns the rows in that order. The test rows are not used.
    """
    start = time.perf_counter()
    order = finder.rank(split.X, split.Y)
    done = time.perf_counter()
    suspicion = np.empty(len(split.y))
    suspicion[order] = np.arange(len(split.y))[::-1]
    wrong = split.Y != split.y
    return {
        "score": float(average_precision_score(wrong, suspicion)),
        "fit_seconds": done - start,
    } | wrong_labels(split)


def wrong_labels(split: Split) -> dict[str, Any]:
    """Size of the training part and its share of wrong labels."""
    return {"rows": len(split.y), "wrong": float((split.Y != split.y).mean())}
