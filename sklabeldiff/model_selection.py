"""Cross-validation for labels that are candidate sets.

`CandidateStratifiedKFold` makes the folds, for every ``cv=`` of scikit-learn, and
`cross_val_proba` predicts each row by a model that has not seen it. What is made of
these predictions, and which estimator makes them, is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, check_cv
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params, check_consistent_length

from sklabeldiff._label_columns import columns_of, not_a_class, parameter_of
from sklabeldiff.targets import encode_candidates

__all__ = ["CandidateStratifiedKFold", "cross_val_proba"]

# A fitted model, rows it has not seen, their target -> (b, n_classes).
Answer: TypeAlias = Callable[[Any, Any, NDArray[Any]], NDArray[Any]]

_DECIMALS = 9  # of what a fold lacks: ties do not depend on the machine's rounding
_ROW_SUM_TOLERANCE = 1e-3  # float32, softmax by hand; what is no distribution is far


class CandidateStratifiedKFold(StratifiedKFold):
    r"""Folds in which every class is a likely label equally often.

    The candidate sets are split evenly, in number and in kind: each class has about
    the same weight in every fold, where a row shares a weight of 1 among its
    candidates. For ``cv=`` in ``GridSearchCV``, ``cross_val_score`` and all others;
    `y` may have any form that they let through.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds. At least 2.
    shuffle : bool, default=False
        Whether rows with equal candidate sets are dealt in random order, and ties
        between sets broken at random. Otherwise rows with equal sets stay together,
        those that come first in the first fold.
    random_state : int, RandomState instance or None, default=None
        Draws the order if `shuffle` is True. Pass an int for the same folds each time.

    See Also
    --------
    cross_val_proba : Predicts out of these folds.
    sklearn.model_selection.StratifiedKFold : The same for one label a row.

    Notes
    -----
    Numbers of rows differ by at most 1 between folds. With one label a row the numbers
    of each class differ by at most 1 as well, as in ``StratifiedKFold``; in general
    class :math:`j` has about equal :math:`\sum_i w_{ij}` in every fold, where
    :math:`w_{ij}` is 1 over the size of the set for its members, or the user's weight
    divided by the sum of its row. Rows that may be any class count for none; their
    numbers differ by at most 1.

    The method is iterative stratification [1]_: rows of the rarest class come first,
    and each goes to the fold that lacks its classes most. Two things differ. Of rows
    with equal sets each fold gets as many as divide evenly, and only the rest is placed
    one by one. And a fold's lack counts for all classes of the row, by :math:`w_{ij}`
    and relative to the weight of the class, so that a rare class is heard.

    A class that is a candidate of a single row is missing where that row is held out.
    ``StratifiedKFold`` warns of this; here it is common, and the package's classifiers,
    given a matrix or ``classes=``, answer with probability 0.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the Stratification of Multi-Label
           Data", ECML PKDD 2011.

    Examples
    --------
    On sorted data, unshuffled folds without stratification lose whole classes:

    >>> import numpy as np
    >>> from sklearn.model_selection import KFold
    >>> from sklabeldiff.model_selection import CandidateStratifiedKFold
    >>> y = np.array([{"cat"}, {"cat", "dog"}, {"dog"}, {"dog"}, {"owl"}, {"owl"}])
    >>> for splitter in (KFold(2), CandidateStratifiedKFold(2)):
    ...     print([sorted(set().union(*y[test])) for _, test in splitter.split(y, y)])
    [['cat', 'dog'], ['dog', 'owl']]
    [['cat', 'dog', 'owl'], ['cat', 'dog', 'owl']]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        super().__init__(n_splits, shuffle=shuffle, random_state=random_state)

    def split(
        self, X: Any, y: Any, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Generate the rows to train on and the rows held out, fold by fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data. Only the number of rows matters.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets, in any form that
            :func:`~sklabeldiff.targets.encode_candidates` accepts.
        groups : object
            Ignored; scikit-learn passes it.

        Yields
        ------
        train : ndarray of shape (n_train,)
            Row numbers, ascending.
        test : ndarray of shape (n_test,)
            Row numbers, ascending.

        Raises
        ------
        ValueError
            If there are fewer rows than folds, `X` and `y` differ in length, or a row
            of `y` is refused.
        """
        Y, _ = encode_candidates(y)
        check_consistent_length(X, Y)
        if self.n_splits > len(Y):
            raise ValueError(
                f"n_splits={self.n_splits} folds need as many rows, but there are "
                f"{len(Y)}. Lower n_splits."
            )
        rng = check_random_state(self.random_state) if self.shuffle else None
        fold = _stratify(_strata_weights(Y), self.n_splits, rng)
        for f in range(self.n_splits):
            yield np.flatnonzero(fold != f), np.flatnonzero(fold == f)


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
    if cv is None or isinstance(cv, Integral):
        cv = CandidateStratifiedKFold(
            5 if cv is None else int(cv), shuffle=True, random_state=0
        )
    folds = list(check_cv(cv).split(X, target))
    held_out = np.concatenate([test for _, test in folds])
    _check_partition(held_out, len(target))
    answers = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_answer)(
            clone(estimator), X, target, train, test, params, answer
        )
        for train, test in folds
    )
    found = np.concatenate(answers).astype(np.float64)
    proba = np.empty_like(found)
    proba[held_out] = found
    return proba


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
    is_table = np.shape(found) == target.shape
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


# w     (n, C)  weight of each class in a row; 0 throughout if it may be any class
# lack  (k, C)  share of each class's weight that a fold is still short of


def _strata_weights(Y: NDArray[Any]) -> NDArray[np.float64]:
    """Weights of encoded sets: rows sum to 1, or to 0. (n, C) -> (n, C)."""
    w = Y / Y.sum(axis=1, keepdims=True, dtype=np.float64)
    w[(w == w[:, :1]).all(axis=1)] = 0  # such rows say nothing about a class
    return w


def _stratify(
    w: NDArray[np.float64], n_splits: int, rng: RandomState | None
) -> NDArray[np.intp]:
    """Fold of each row. (n, C) -> (n,)."""
    first, kind, count = _distinct_rows(w)
    rest = np.repeat(np.arange(len(first)), count % n_splits)
    if rng is not None:
        rng.shuffle(rest)
    shares = np.repeat(count[:, None] // n_splits, n_splits, axis=1)
    placed = _place(w[first[rest]], w.sum(axis=0), n_splits)
    np.add.at(shares, (rest, placed), 1)

    rows = np.arange(len(w)) if rng is None else rng.permutation(len(w))
    rows = rows[np.argsort(kind[rows], kind="stable")]  # kind by kind
    fold = np.empty(len(w), dtype=np.intp)
    fold[rows] = np.repeat(np.tile(np.arange(n_splits), len(first)), shares.ravel())
    return fold


def _distinct_rows(w: NDArray[np.float64]) -> tuple[NDArray[np.intp], ...]:
    """First row of each kind (p,), kind of each row (n,), rows of each kind (p,)."""
    # As bytes: np.unique(axis=0) compares field by field, ten times as slowly.
    as_bytes = np.ascontiguousarray(w).view(f"S{w.itemsize * w.shape[1]}").ravel()
    _, *found = np.unique(
        as_bytes, return_index=True, return_inverse=True, return_counts=True
    )
    return tuple(found)


def _place(
    w: NDArray[np.float64], mass: NDArray[np.float64], n_splits: int
) -> NDArray[np.intp]:
    """Fold of each row, placed one by one. (m, C), (C,) -> (m,)."""
    relative = w / np.where(mass > 0, mass, 1)
    lack = np.tile(relative.sum(axis=0) / n_splits, (n_splits, 1))
    room, n_larger = np.full(n_splits, len(w) // n_splits), len(w) % n_splits
    fold = np.empty(len(w), dtype=np.intp)
    for i in _rarest_first(w, mass):
        closed = room + (n_larger > 0) <= 0
        f = np.lexsort((-room, -np.round(lack @ w[i], _DECIMALS), closed))[0]
        lack[f] -= relative[i]
        room[f] -= 1
        n_larger -= room[f] < 0
        fold[i] = f
    return fold


def _rarest_first(
    w: NDArray[np.float64], mass: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Order of the rows by their rarest class; the surest of it first. -> (m,).

    Rows without weights come before: while all folds have room, they part for sure.
    """
    by_mass = np.argsort(mass, kind="stable")
    rank = np.where(w.any(axis=1), (w[:, by_mass] > 0).argmax(axis=1), -1)
    sureness = w[np.arange(len(w)), by_mass[rank]]
    return np.lexsort((-sureness, rank))
