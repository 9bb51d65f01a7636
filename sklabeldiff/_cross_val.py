"""Probabilities of rows by models that have not seen them.

How the folds are balanced is the business of `sklabeldiff._stratification`; what is
made of the probabilities, and which estimator gives them, is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from sklabeldiff._label_columns import columns_of, not_a_class, parameter_of
from sklabeldiff._pipelines import refusal_explained
from sklabeldiff._stratification import folds
from sklabeldiff.targets import encode_candidates

# A fitted model, rows it has not seen, their target -> (b, n_classes).
Answer: TypeAlias = Callable[[Any, Any, NDArray[Any]], NDArray[Any]]

_ROW_SUM_TOLERANCE = 1e-3  # float32, softmax by hand; what is no distribution is far


def cross_val_proba(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    n_jobs: int | None = None,
    params: Mapping[str, Any] | None = None,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> NDArray[np.float64]:
    """Class probabilities of every row from a model that has not seen it.

    What ``cross_val_predict(..., method="predict_proba")`` of scikit-learn is for plain
    labels. Given candidate sets, that function silently trains on other labels: it
    recodes each column of a matrix, and takes sets for classes.

    Parameters
    ----------
    estimator : classifier or Pipeline
        Has ``predict_proba``. A clone is fitted in each fold.
    X : array-like of shape (n_samples, n_features)
        The data, in any form that the estimator takes and that can be cut into rows.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts, ragged lists included.
    cv : int, splitter or iterable, default=5
        How to split. An integer is the number of folds of a
        :class:`CandidateStratifiedKFold` that shuffles with seed 0, so that neither
        sorted rows nor a second call change the result. A splitter is given what the
        estimator is given as `y` (see Notes). An iterable yields row numbers to train
        on and to hold out. Each row must be held out once.
    n_jobs : int, default=None
        Folds fitted at a time. None is 1 unless joblib's context says otherwise, -1
        all processors.
    params : dict, default=None
        Further arguments of ``fit``. Those with one entry for each row are cut with
        the rows.
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of the columns wanted. By default the parameter
        `classes` of the estimator, or of a step of a Pipeline, and without it the
        classes that ``encode_candidates(y)`` returns.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`. By default the parameter
        `missing_label` of the estimator, or of a step of a Pipeline.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes), float64
        Row i is predicted by the model of the fold that holds row i out. A class that
        this model does not know has probability 0.

    Raises
    ------
    ValueError
        If a row is not held out exactly once; if what the estimator predicts are no
        probabilities of these classes, as when it takes a matrix for a multi-label
        problem; if `X` and `y` differ in length or a row of `y` is refused.
    TypeError
        If the estimator has no ``predict_proba``.

    See Also
    --------
    CandidateStratifiedKFold : The folds.
    sklearn.model_selection.cross_val_predict : The same for plain labels.

    Notes
    -----
    Where every row has exactly one candidate, in whatever form, the estimator is given
    these labels, so that every classifier of scikit-learn will do. Otherwise it is
    given an indicator matrix (of weights, if `y` has weights) whose columns are the
    classes, which the classifiers of this package take.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> from sklabeldiff.model_selection import cross_val_proba
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    >>> proba = cross_val_proba(PLKNNClassifier(), X, sets, cv=3)
    >>> proba.shape
    (150, 3)
    >>> bool((proba.argmax(axis=1) == y).mean() > 0.9)
    True
    """
    if not hasattr(estimator, "predict_proba"):
        raise TypeError(
            f"{type(estimator).__name__} has no predict_proba. Choose a classifier "
            "that gives probabilities."
        )
    if classes is None:
        classes = parameter_of(estimator, "classes")
    if missing_label is None:
        missing_label = parameter_of(estimator, "missing_label")
    Y, columns = encode_candidates(y, classes, missing_label=missing_label)
    one_each = ((Y > 0).sum(axis=1) == 1).all()
    target, answer = (
        (columns[Y.argmax(axis=1)], partial(_proba_by_label, classes=columns))
        if one_each
        else (Y, _proba_by_column)
    )
    return out_of_fold(
        estimator, X, target, answer, cv=cv, n_jobs=n_jobs, params=params
    )


def out_of_fold(
    estimator: Any,
    X: Any,
    target: NDArray[Any],
    answer: Answer,
    *,
    cv: Any = 5,
    n_jobs: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> NDArray[np.float64]:
    """Answers for each row by a clone that has not seen it. -> (n, n_classes).

    `target`, plain labels or an indicator, is what the clones are fitted to; `cv`,
    `n_jobs` and `params` are those of `cross_val_proba`. For joblib's sake `answer`
    must pickle.
    """
    X, target = indexable(X, target)
    splits = _splits(cv, X, target)
    held_out = np.concatenate([np.empty(0, dtype=np.intp), *(t for _, t in splits)])
    _check_partition(held_out, len(target))
    answers = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_answer)(
            clone(estimator), X, target, train, test, params, answer
        )
        for train, test in splits
    )
    found = np.concatenate(answers).astype(np.float64)
    proba = np.empty_like(found)
    proba[held_out] = found
    return proba


def _splits(cv: Any, X: Any, target: NDArray[Any]) -> list[Any]:
    """Rows to train on and to hold out; of an integer, as a shuffled, seeded KFold."""
    if cv is None or isinstance(cv, Integral):
        Y, _ = encode_candidates(target)
        return list(folds(Y, check_cv(cv).n_splits, RandomState(0)))
    if hasattr(cv, "split") and hasattr(cv, "get_n_splits"):  # tensors and words split
        return list(cv.split(X, target))
    try:
        n = len(target)
        return [(_row_numbers(train, n), _row_numbers(test, n)) for train, test in cv]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            "cv must be a number of folds, a splitter, or an iterable of pairs of row "
            f"numbers, to train on and to hold out; got {cv!r:.80}."
        ) from error


def _row_numbers(rows: Any, n_rows: int) -> NDArray[np.intp]:
    """Row numbers, or those of a mask. -> (b,)."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_rows,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError("no row numbers")
    if rows.size and not -1 < rows.min() <= rows.max() < n_rows:
        raise IndexError("no such row")
    return rows.astype(np.intp)


def _fit_and_answer(
    model: Any,
    X: Any,
    target: NDArray[Any],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    params: Mapping[str, Any] | None,
    answer: Answer,
) -> NDArray[Any]:
    """One fold: fit to the one part, answer for the other. -> (b, n_classes)."""
    params = _check_method_params(X, dict(params or {}), indices=train)
    with refusal_explained(model):
        model.fit(_safe_indexing(X, train), target[train], **params)
    return answer(model, _safe_indexing(X, test), target[test])


def _proba_by_label(
    model: Any, X: Any, target: NDArray[Any], classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Probabilities in the columns of `classes`, by the labels of the model."""
    known = np.asarray(model.classes_)
    columns = columns_of(known, classes)
    if columns.min() < 0:
        raise not_a_class("classes_ of the estimator", known, columns, classes)
    proba = np.zeros((len(target), len(classes)))
    proba[:, columns] = model.predict_proba(X)
    return proba


def _proba_by_column(model: Any, X: Any, target: NDArray[Any]) -> NDArray[Any]:
    """Probabilities of a model whose classes are the columns of its target."""
    found = model.predict_proba(X)
    # A list is one table a class, from a classifier that took sets for multi-label.
    is_table = not isinstance(found, list) and np.shape(found) == target.shape
    if is_table and np.allclose(np.sum(found, axis=1), 1, atol=_ROW_SUM_TOLERANCE):
        return found
    raise ValueError(
        f"{type(model).__name__} was given candidate sets of {target.shape[1]} classes "
        "and its predict_proba returned no distribution over them: it may have taken "
        "the matrix for a multi-label problem. Use a classifier for candidate sets; "
        "CandidateWeightedClassifier makes one of any classifier."
    )


def _check_partition(held_out: NDArray[np.intp], n_rows: int) -> None:
    """Refuse splits that hold a row out more than once, or never."""
    times = np.bincount(held_out, minlength=n_rows)
    if (times != 1).any():
        row = int(np.argmax(times != 1))
        raise ValueError(
            f"cv holds row {row} out {times[row]} times. Each row is predicted once: "
            "use CandidateStratifiedKFold or KFold, not random or partial splits."
        )
