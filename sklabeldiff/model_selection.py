"""Cross-validation for labels that are candidate sets.

The splitters serve every ``cv=`` of scikit-learn, `candidate_train_test_split` divides
the data once, and `cross_val_proba` predicts each row by a model that has not seen it.
What is made of these predictions, and which estimator makes them, is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import (
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import check_consistent_length

from sklabeldiff._cross_val import cross_val_proba
from sklabeldiff._label_forms import factorize, make_missing, plain, unwrap
from sklabeldiff._parameters import checked_random_state
from sklabeldiff._stratification import (
    each_held_out,
    folds,
    strata_weights,
    stratify_groups,
    train_and_test,
)
from sklabeldiff.targets import encode_candidates

__all__ = [
    "CandidateStratifiedGroupKFold",
    "CandidateStratifiedKFold",
    "CandidateStratifiedShuffleSplit",
    "RepeatedCandidateStratifiedKFold",
    "candidate_train_test_split",
    "cross_val_proba",
]


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
        those that come first in the first fold: on rows sorted by their true class,
        which the sets hide, the lower classes then gather in the first folds.
    random_state : int, RandomState instance or None, default=None
        Draws the order if `shuffle` is True. Pass an int for the same folds each time.

    See Also
    --------
    CandidateStratifiedGroupKFold : Keeps the rows of a group together.
    RepeatedCandidateStratifiedKFold : The same again and again.
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
    given a matrix or ``classes=``, answer with probability 0; those for wrong labels
    (DTM, VolMinNet) refuse the fold. A value that a classifier knows as `missing_label`
    is a class here: write None or NaN for rows without a label.

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
        rng = checked_random_state(self.random_state) if self.shuffle else None
        yield from folds(Y, self.n_splits, rng)


class RepeatedCandidateStratifiedKFold(RepeatedStratifiedKFold):
    """Stratified folds of candidate sets, made several times, each time others.

    One partition into folds is one draw of luck; the mean over several depends on it
    less. For ``cv=`` in ``GridSearchCV``, ``cross_val_score`` and all others.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds in each repeat. At least 2.
    n_repeats : int, default=10
        Number of times the rows are split into folds. At least 1.
    random_state : int, RandomState instance or None, default=None
        Draws the folds. Pass an int for the same folds each time.

    See Also
    --------
    CandidateStratifiedKFold : One repeat, and what is even about it.
    CandidateStratifiedShuffleSplit : Repeats with a test part of any size.
    sklearn.model_selection.RepeatedStratifiedKFold : The same for one label a row.

    Notes
    -----
    Each repeat is a `CandidateStratifiedKFold` that shuffles, but for the order within
    a rarest class: at random, where that class puts the surest rows first. Weights that
    all differ leave it no ties to break, so that the repeats would be all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from sklabeldiff.model_selection import RepeatedCandidateStratifiedKFold
    >>> y = np.array([{"cat"}, {"cat", "dog"}, {"dog"}, {"dog"}, {"owl"}, {"owl"}])
    >>> splitter = RepeatedCandidateStratifiedKFold(
    ...     n_splits=2, n_repeats=2, random_state=1
    ... )
    >>> for train, test in splitter.split(y, y):
    ...     print(train, test)
    [0 3 4] [1 2 5]
    [1 2 5] [0 3 4]
    [0 3 5] [1 2 4]
    [1 2 4] [0 3 5]
    """

    def __init__(
        self,
        *,
        n_splits: int = 5,
        n_repeats: int = 10,
        random_state: int | RandomState | None = None,
    ) -> None:
        super().__init__(
            n_splits=n_splits, n_repeats=n_repeats, random_state=random_state
        )
        self.cv = CandidateStratifiedKFold

    def split(
        self, X: Any, y: Any, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Generate the rows to train on and the rows held out, repeat by repeat.

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
            If `n_splits` is less than 2 or more than the rows, `X` and `y` differ in
            length, or a row of `y` is refused.
        """
        n_splits = self.cv(**self.cvargs).n_splits
        Y, _ = encode_candidates(y)
        check_consistent_length(X, Y)
        rng = checked_random_state(self.random_state)
        for _ in range(self.n_repeats):
            yield from folds(Y, n_splits, rng, surest_first=False)


class CandidateStratifiedShuffleSplit(StratifiedShuffleSplit):
    r"""Random training and test parts with about the same share of every class.

    Each split is drawn anew. The weight of each class, where a row shares a weight of 1
    among its candidates, is divided in the ratio of the sizes. For ``cv=`` in
    ``GridSearchCV``, ``cross_val_score`` and all others; `y` may have any form that
    they let through.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float or int, default=None
        Share of the rows to test on, between 0 and 1, or their number. By default what
        the training part leaves; 0.1 if its size is not given either.
    train_size : float or int, default=None
        Share of the rows to train on, between 0 and 1, or their number. By default what
        the test part leaves. Where both sizes leave rows, these are in neither part.
    random_state : int, RandomState instance or None, default=None
        Draws the splits. Pass an int for the same splits each time.

    See Also
    --------
    candidate_train_test_split : Divides the data once.
    CandidateStratifiedKFold : Tests on every row once.
    sklearn.model_selection.StratifiedShuffleSplit : The same for one label a row.

    Notes
    -----
    The sizes are exact, and are found as by ``StratifiedShuffleSplit``. With one label
    a row and no unused rows, the number of each class in a part differs from its share
    by less than 1; in general its weight does by about 1, where random parts are off
    by several rows. Rows that may be any class count as one class more.

    The method is that of `CandidateStratifiedKFold`, with parts of unequal size: a row
    goes to the part by which :math:`\sum_{pj} m_j l_{pj}^2 / s_p` falls most, with
    :math:`m_j` the weight of class :math:`j` in all rows, :math:`l_{pj}` the share of
    it that part :math:`p` still lacks, and :math:`s_p` the size of the part. Rows of
    the same rarest class come in random order.

    A class that is a candidate of two rows or more has one in the training part. Where
    the draw has it otherwise, rows are swapped, as long as swaps of two help: training
    parts of few rows may not hold all classes. ``StratifiedShuffleSplit`` demands two
    rows for every class, and as many rows in each part as there are classes; here rare
    candidates are common, and no such demand is made.

    Examples
    --------
    >>> import numpy as np
    >>> from sklabeldiff.model_selection import CandidateStratifiedShuffleSplit
    >>> y = np.array([{"cat"}, {"cat", "dog"}, {"dog"}, {"dog"}, {"owl"}, {"owl"}])
    >>> splitter = CandidateStratifiedShuffleSplit(3, test_size=0.5, random_state=0)
    >>> for train, test in splitter.split(y, y):
    ...     print(sorted(train.tolist()), sorted(test.tolist()))
    [0, 2, 4] [1, 3, 5]
    [0, 3, 4] [1, 2, 5]
    [1, 2, 4] [0, 3, 5]
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | None = None,
        train_size: float | None = None,
        random_state: int | RandomState | None = None,
    ) -> None:
        super().__init__(
            n_splits,
            test_size=test_size,
            train_size=train_size,
            random_state=random_state,
        )

    def split(
        self, X: Any, y: Any, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Generate the rows to train on and to test on, split by split.

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
            Row numbers, in random order.
        test : ndarray of shape (n_test,)
            Row numbers, in random order.

        Raises
        ------
        ValueError
            If the sizes are no shares or numbers of the rows, or together more than
            these; if `X` and `y` differ in length or a row of `y` is refused.
        """
        Y, _ = encode_candidates(y)
        check_consistent_length(X, Y)
        sizes = self._sizes(len(Y))
        w, rng = strata_weights(Y), checked_random_state(self.random_state)
        for _ in range(self.n_splits):
            part = train_and_test(w, sizes, rng)
            train, test = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
            yield rng.permutation(train), rng.permutation(test)

    def _sizes(self, n_rows: int) -> NDArray[np.intp]:
        """Rows to train on, to test on and unused, by scikit-learn's rules. (3,)."""
        rules = ShuffleSplit(
            1, test_size=self.test_size, train_size=self.train_size, random_state=0
        )
        train, test = next(rules.split(np.empty(n_rows)))
        return np.array([len(train), len(test), n_rows - len(train) - len(test)])


class CandidateStratifiedGroupKFold(StratifiedGroupKFold):
    r"""Folds that part no group, in which every class is a likely label equally often.

    Rows of one patient, video or annotator resemble each other: in both the training
    and the held-out part they make a model look better than it is. Here they stay
    together, and each class has as even a weight over the folds as whole groups allow,
    where a row shares a weight of 1 among its candidates. For ``cv=`` in
    ``GridSearchCV``, ``cross_val_score`` and all others that take ``groups``.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds. At least 2.
    shuffle : bool, default=False
        Whether groups of equal size are placed in random order. Otherwise those that
        come first in the data are placed first.
    random_state : int, RandomState instance or None, default=None
        Draws the order if `shuffle` is True. Pass an int for the same folds each time.

    See Also
    --------
    CandidateStratifiedKFold : Where rows have no groups.
    sklearn.model_selection.StratifiedGroupKFold : The same for one label a row.

    Notes
    -----
    The largest group comes first, and each goes to the fold where
    :math:`\sum_{fj} W_{fj}^2 / m_j` grows least; between equals, to the fold of fewest
    rows. :math:`W_{fj}` is the weight of class :math:`j` in fold :math:`f` so far and
    :math:`m_j` that in all rows. Rows that may be any class have a column of their own,
    so that they spread too. ``StratifiedGroupKFold`` places the groups of the most
    uneven classes first and evens out standard deviations; with shared weights that
    comes out less even, in sizes as well.

    Only groups of equal size change places when shuffled, so other seeds may give
    folds that are much alike.

    `cross_val_proba` takes no groups: give it
    ``cv=CandidateStratifiedGroupKFold().split(X, y, groups)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklabeldiff.model_selection import CandidateStratifiedGroupKFold
    >>> y = np.array([{"cat"}, {"cat", "dog"}, {"dog"}, {"dog"}, {"cat"}, {"dog"}])
    >>> groups = np.array(["ann", "ann", "bob", "bob", "cid", "dan"])
    >>> splitter = CandidateStratifiedGroupKFold(2)
    >>> for train, test in splitter.split(y, y, groups):
    ...     print(groups[train], groups[test])
    ['bob' 'bob' 'cid'] ['ann' 'ann' 'dan']
    ['ann' 'ann' 'dan'] ['bob' 'bob' 'cid']
    """

    def __init__(
        self,
        n_splits: int = 5,
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
        groups : array-like of shape (n_samples,)
            The group of each row: integers, strings or other labels.

        Yields
        ------
        train : ndarray of shape (n_train,)
            Row numbers, ascending.
        test : ndarray of shape (n_test,)
            Row numbers, ascending.

        Raises
        ------
        ValueError
            If `groups` is None or lacks a value, there are fewer groups than folds,
            `X`, `y` and `groups` differ in length, or a row of `y` is refused.
        """
        Y, _ = encode_candidates(y)
        group = _group_numbers(groups)
        check_consistent_length(X, Y, group)
        n_groups = group.max() + 1
        if self.n_splits > n_groups:
            raise ValueError(
                f"n_splits={self.n_splits} folds need as many groups, but there are "
                f"{n_groups}. Lower n_splits."
            )
        rng = checked_random_state(self.random_state) if self.shuffle else None
        fold = stratify_groups(strata_weights(Y), group, self.n_splits, rng)
        yield from each_held_out(fold, self.n_splits)


def candidate_train_test_split(
    X: Any,
    y: Any,
    *arrays: Any,
    test_size: float | None = None,
    train_size: float | None = None,
    random_state: int | RandomState | None = None,
) -> list[Any]:
    """Divide data and candidate sets, once, into a training and a test part.

    The parts are random and have about the same share of every class.
    ``train_test_split(..., stratify=y)`` of scikit-learn is not enough: it takes every
    distinct set for a class of its own. A set that only one row has is then an error,
    frozensets and ragged lists always are, and where all sets have two rows, it is the
    sets that are balanced and not the classes in them.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The data, in any form that can be cut into rows.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts, ragged lists and sparse
        matrices included.
    *arrays : array-like of shape (n_samples, ...)
        Further arrays to divide with them, such as the true labels.
    test_size : float or int, default=None
        Share of the rows to test on, between 0 and 1, or their number. By default what
        the training part leaves; 0.25 if its size is not given either.
    train_size : float or int, default=None
        Share of the rows to train on, between 0 and 1, or their number. By default what
        the test part leaves. Where both sizes leave rows, these are in neither part.
    random_state : int, RandomState instance or None, default=None
        Draws the split. Pass an int for the same split each time.

    Returns
    -------
    splitting : list of length 2 * (2 + len(arrays))
        X_train, X_test, y_train, y_test, and two parts of each further array. Each has
        the form of what was given; sparse matrices become CSR.

    Raises
    ------
    ValueError
        If the sizes are no shares or numbers of the rows, or together more than these;
        if the arrays differ in length or a row of `y` is refused.

    See Also
    --------
    CandidateStratifiedShuffleSplit : Such splits for ``cv=``; says what is even in it.
    sklearn.model_selection.train_test_split : The same for one label a row.

    Examples
    --------
    >>> from sklabeldiff.model_selection import candidate_train_test_split
    >>> X = [[0.1], [0.2], [0.5], [0.6], [0.8], [0.9]]
    >>> y = [["cat"], ["cat", "dog"], ["dog"], ["dog"], ["owl"], ["owl", "cat"]]
    >>> X_train, X_test, y_train, y_test = candidate_train_test_split(
    ...     X, y, test_size=2, random_state=0
    ... )
    >>> y_test
    [['cat', 'dog'], ['dog']]
    """
    arrays = tuple(indexable(X, y, *arrays))
    if test_size is None and train_size is None:
        test_size = 0.25
    splitter = CandidateStratifiedShuffleSplit(
        1, test_size=test_size, train_size=train_size, random_state=random_state
    )
    parts = next(splitter.split(*arrays[:2]))
    pairs = ([_safe_indexing(a, rows) for rows in parts] for a in arrays)
    return list(chain.from_iterable(pairs))


def _group_numbers(groups: ArrayLike | None) -> NDArray[np.intp]:
    """Return the number of each row's group, as first met. (n,)."""
    if groups is None:
        raise ValueError(
            "groups is None. Pass groups=, the group of each row, or use "
            "CandidateStratifiedKFold where rows have none."
        )
    try:
        values, types = plain(unwrap(groups)[0])
        _, number = factorize(values, types, range(len(values)), make_missing(None))
    except ValueError as error:
        raise ValueError(f"groups must be a list of labels: {error}") from error
    if (number < 0).any():
        raise ValueError(
            f"row {int(np.argmax(number < 0))} has no group. Give it a group of its "
            "own if it has none in common with others."
        )
    return number
