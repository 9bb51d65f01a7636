"""The last step of a Pipeline, and the rows as that step sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.pipeline import Pipeline

# What scikit-learn says of matrices, sets and lists where it wants one label a row.
_REFUSALS = ("should be a 1d array", "label type: unknown", "element with a sequence")


def last_step(estimator: Any) -> Any:
    """Return the estimator itself where it is no Pipeline."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def before_last(estimator: Any, X: Any) -> Any:
    """Rows as the last step of the fitted estimator sees them."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform(X)
    return X


@contextmanager
def refusal_explained(estimator: Any) -> Iterator[None]:
    """Name the mend where a classifier for one label a row is fitted to sets."""
    try:
        yield
    except ValueError as error:
        if not any(text in str(error) for text in _REFUSALS):
            raise
        name = type(last_step(estimator)).__name__
        raise ValueError(
            f"The estimator {name} takes one label a row, and was given candidate "
            f"sets. Wrap it, CandidateWeightedClassifier({name}()), or use one that "
            "takes sets."
        ) from error
