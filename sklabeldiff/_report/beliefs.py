"""What is believed of the rows of a report, and which rows are near them.

Any classifier with ``predict_proba`` will do, and a Pipeline that ends in one. Where
the classifier knows how labels go wrong, it is asked about the label that was given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._cross_val import cross_val_proba, out_of_fold
from sklabeldiff._label_columns import parameter_of
from sklabeldiff._pipelines import before_last, last_step
from sklabeldiff.core.graph import without_self
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.neighbors import search_by
from sklabeldiff.targets import encode_candidates

_ROW_SUM_TOLERANCE = 1e-3  # float32, softmax by hand; what is no distribution is far
_SEED = 0  # of the approximate search, so that a report can be made again


class Given(NamedTuple):
    """Labels as given: the indicator ``Y`` (n, C), maybe weighted, and ``classes``."""

    Y: NDArray[Any]
    classes: NDArray[Any]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The candidates. (n, C)."""
        mask: NDArray[np.bool_] = self.Y > 0
        return mask


def read_labels(estimator: Any, y: Any, cv: Any) -> Given:
    """Encode `y` in the classes of the estimator, which is fitted unless `cv` is."""
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict_proba. Choose a classifier "
            "that gives probabilities."
        )
    if cv is None:
        check_is_fitted(
            estimator,
            msg="This %(name)s is not fitted. Fit it first, or give cv=5 to have every "
            "row judged by a clone that has not seen it.",
        )
        classes = np.asarray(estimator.classes_)
    else:
        classes = parameter_of(estimator, "classes")
    missing_label = parameter_of(estimator, "missing_label")
    return Given(*encode_candidates(y, classes, missing_label=missing_label))


def judge(
    estimator: Any, X: Any, given: Given, cv: Any, with_features: bool
) -> tuple[NDArray[Any], Any]:
    """Beliefs about the rows (n, C), and what the last step sees of them, or None."""
    if cv is not None:
        return _held_out_beliefs(estimator, X, given, cv), (
            _features_of_clone(estimator, X, given) if with_features else None
        )
    # Transformed once, for beliefs and neighbours: encoding images is the long part.
    seen = before_last(estimator, X)
    posterior = np.asarray(_ask(last_step(estimator), seen, given.Y))
    _check_beliefs(posterior, given)
    return posterior, seen


def neighbours_of(features: Any, n_neighbors: int) -> NDArray[np.intp]:
    """Rows nearest to each row, nearest first. (n, p) -> (n, k).

    Columns are standardised, except those of a sparse matrix: counts and their like
    have one unit, which scaling would take from them.
    """
    try:
        Z = check_array(
            features, accept_sparse="csr", dtype=[np.float64, np.float32], copy=False
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the neighbours of the rows cannot be searched: {error} Give "
            "n_neighbors=0 for a report without neighbours, or a Pipeline whose steps "
            "before the classifier make numbers of X."
        ) from error
    k = min(n_neighbors, Z.shape[0] - 1)
    if k < 1:
        return np.empty((Z.shape[0], 0), dtype=np.intp)
    if issparse(Z):
        found = NearestNeighbors(n_neighbors=k + 1).fit(Z).kneighbors(Z)
        return without_self(*found)[1]
    return search_by("auto", _SEED)(Standardizer.fit(Z)(Z), k)[1]


def _held_out_beliefs(
    estimator: Any, X: Any, given: Given, cv: Any
) -> NDArray[np.float64]:
    """Beliefs about every row by a clone that has not seen it. (n, C)."""
    if hasattr(last_step(estimator), "_label_posterior"):
        return out_of_fold(estimator, X, given.Y, _answer, cv=cv)
    return cross_val_proba(estimator, X, given.Y, cv=cv, classes=given.classes)


def _answer(model: Any, X: Any, Y: NDArray[Any]) -> NDArray[Any]:
    """Beliefs of a fold's model; a function of the module, so that it pickles."""
    return _ask(last_step(model), before_last(model, X), Y)


def _ask(classifier: Any, X: Any, Y: NDArray[Any]) -> NDArray[Any]:
    """Beliefs about rows given labels `Y`, where the classifier heeds them. (n, C)."""
    if hasattr(classifier, "_label_posterior"):
        beliefs: NDArray[Any] = classifier._label_posterior(X, Y)
        return beliefs
    proba: NDArray[Any] = classifier.predict_proba(X)
    return proba


def _features_of_clone(estimator: Any, X: Any, given: Given) -> Any:
    """Rows as the last step sees them once all rows were fitted to."""
    if not isinstance(estimator, Pipeline) or len(estimator) == 1:
        return X
    one_each = (given.mask.sum(axis=1) == 1).all()
    target = given.classes[given.Y.argmax(axis=1)] if one_each else given.Y
    return clone(estimator[:-1]).fit_transform(X, target)


def _check_beliefs(posterior: NDArray[Any], given: Given) -> None:
    """Refuse an answer that is no distribution over the classes."""
    shape = given.Y.shape
    if posterior.shape == shape and np.allclose(
        posterior.sum(axis=1), 1, atol=_ROW_SUM_TOLERANCE
    ):
        return
    raise ValueError(
        f"predict_proba of {shape[0]} rows returned no distribution over {shape[1]} "
        f"classes: its shape is {posterior.shape}. Choose a classifier that gives "
        "probabilities of one class per row."
    )
