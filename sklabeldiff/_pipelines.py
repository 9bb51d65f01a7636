"""The last step of a Pipeline, and the rows as that step sees them."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline


def last_step(estimator: Any) -> Any:
    """Return the estimator itself where it is no Pipeline."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def before_last(estimator: Any, X: Any) -> Any:
    """Rows as the last step of the fitted estimator sees them."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform(X)
    return X
