"""The answers of several annotators become candidate sets, or one label a row.

Both follow from how many annotators gave each class to an item. How good an annotator
is, and which class is likely, is not decided here.
"""

# N   (n, C)   how many annotators gave class j to item i

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._parameters import checked_random_state
from sklabeldiff._vote_forms import count_votes


def candidates_from_votes(
    votes: Any,
    *,
    min_votes: int | float = 1,
    soft: bool = False,
    counts: bool = False,
    tasks: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Turn the answers of several annotators into candidate sets.

    A class is a candidate of an item if enough annotators gave it. The result has
    the form that `encode_candidates` returns, and goes into ``fit`` as it is.

    Parameters
    ----------
    votes : array-like of shape (n_items, n_annotators), table, or array-like of counts
        The answers, one of:

        - one row per item and one column per annotator: array, DataFrame or nested
          list. None, NaN, NA or `missing_label` where an annotator was not asked.
          Rows of a nested list may differ in length;
        - a long table with one row per answer: a DataFrame, or a dict of arrays, with
          the columns "task" and "label" and, if wanted, others such as "worker". It is
          recognised by these two names. Each of its rows is one vote, so that an
          annotator who answered twice counts twice;
        - with ``counts=True``, the number of votes for each class, of shape
          (n_items, n_classes).
    min_votes : int or float, default=1
        How many annotators must agree on a class: a number of votes, from 1, or as a
        float in (0, 1] a share of the item's votes. 1 is one vote, 1.0 all of them.
    soft : bool, default=False
        Whether to return each candidate's share of the votes in place of True.
    counts : bool, default=False
        Whether `votes` holds counts, one column per class.
    tasks : array-like of shape (n_items,), default=None
        For a long table: all tasks, in the order of the rows wanted, which is that of
        the rows of X. By default those found, sorted, as ``np.unique`` has them.
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of the columns wanted. By default those found, sorted;
        for counts the columns of a DataFrame, or 0, 1, ...
    missing_label : int, float, str or None, default=None
        A further value that means "no answer", such as -1.

    Returns
    -------
    Y : ndarray of shape (n_items, n_classes)
        Bools, True where the class is a candidate; with ``soft=True`` float32, rows
        summing to 1.
    classes : ndarray of shape (n_classes,)
        The user's own label for each column of `Y`.

    Raises
    ------
    ValueError
        If `min_votes` is out of range; if nobody answered anything; if an answer is not
        in `classes`, a task not in `tasks`, or one of them is of another kind than the
        rest; if an answer is a number with a fractional part, or a count is not a whole
        number >= 0; if `votes` is of no accepted form. The message names the first such
        row, counted from 0, and the remedy.
    TypeError
        If `min_votes` is not a number, labels are bytes, or `missing_label` is not a
        single value.

    See Also
    --------
    vote_labels : One label per item from the same votes.
    encode_candidates : For sets, masks and weights that need no counting.

    Notes
    -----
    Where no class reaches `min_votes`, the classes with the most votes remain, all of
    them on a tie. An item without any vote may belong to every class, each with weight
    ``1 / n_classes`` if `soft`.

    Every annotator counts alike. The sets of a crowd may miss the true class; with a
    larger `min_votes` they get smaller and miss it more often.

    Examples
    --------
    >>> from sklabeldiff.targets import candidates_from_votes
    >>> votes = [["cat", "dog", None], ["owl", "owl", "cat"], [None, None, None]]
    >>> Y, classes = candidates_from_votes(votes)
    >>> Y
    array([[ True,  True, False],
           [ True, False,  True],
           [ True,  True,  True]])
    >>> classes
    array(['cat', 'dog', 'owl'], dtype='<U3')

    At least two annotators agree, or else the best:

    >>> candidates_from_votes(votes[:2], min_votes=2)[0]
    array([[ True,  True, False],
           [False, False,  True]])

    A long table, and the shares of the votes:

    >>> table = {"task": [8, 8, 3, 8], "worker": list("abac"), "label": [1, 0, 1, 1]}
    >>> candidates_from_votes(table, soft=True, tasks=[8, 3])[0].round(2)
    array([[0.33, 0.67],
           [0.  , 1.  ]], dtype=float32)
    """
    _check_min_votes(min_votes)
    N, labels = count_votes(votes, counts, tasks, classes, missing_label)
    total = N.sum(axis=1, keepdims=True)
    if isinstance(min_votes, Integral):
        enough = N >= min_votes
    else:
        # Divided, not multiplied: 3 / 10 rounds to the float that 0.3 is.
        enough = N / np.maximum(total, 1) >= min_votes
    # An item without votes has 0 of each class, so all its classes have the most.
    most = N == N.max(axis=1, keepdims=True)
    Y = np.where(enough.any(axis=1, keepdims=True), enough, most)
    if not soft:
        return Y, labels
    weights = np.where(total > 0, N * Y, 1)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), labels


def vote_labels(
    votes: Any,
    how: Literal["majority", "random"] = "majority",
    *,
    counts: bool = False,
    tasks: ArrayLike | None = None,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
    random_state: int | RandomState | None = None,
) -> NDArray[Any]:
    """Reduce the answers of several annotators to one label per item.

    The label may be wrong: this is what a method for noisy labels takes, and the
    baseline that a method for candidate sets is to beat.

    Parameters
    ----------
    votes : array-like of shape (n_items, n_annotators), table, or array-like of counts
        The answers, in any form that `candidates_from_votes` accepts.
    how : {"majority", "random"}, default="majority"
        Which label: the one with the most votes, drawn among them on a tie, or the
        answer of one annotator of the item, drawn anew for each item.
    counts : bool, default=False
        Whether `votes` holds counts, one column per class.
    tasks : array-like of shape (n_items,), default=None
        For a long table: all tasks, in the order of the rows wanted. By default those
        found, sorted.
    classes : array-like of shape (n_classes,), default=None
        All labels. By default those found; for counts the columns of a DataFrame, or
        0, 1, ...
    missing_label : int, float, str or None, default=None
        A further value that means "no answer", such as -1.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. An int gives the same labels every time.

    Returns
    -------
    y : ndarray of shape (n_items,)
        The user's own labels. If there are items without a vote, they are None and the
        array holds objects.

    Raises
    ------
    ValueError
        If `how` is unknown, beside the errors of `candidates_from_votes`.

    See Also
    --------
    candidates_from_votes : Keep the doubt: all classes that were voted for.

    Examples
    --------
    >>> from sklabeldiff.targets import vote_labels
    >>> vote_labels([["cat", "dog", "cat"], ["owl", None, None]])
    array(['cat', 'owl'], dtype='<U3')
    >>> vote_labels([[2, 1], [0, 3]], "random", counts=True, random_state=0)
    array([0, 1])
    """
    if how not in ("majority", "random"):
        raise ValueError(f"how={how!r} is not 'majority' or 'random'.")
    N, labels = count_votes(votes, counts, tasks, classes, missing_label)
    total = N.sum(axis=1)
    urn = N if how == "random" else (N == N.max(axis=1, keepdims=True)).astype(np.intp)
    # The ball drawn has a whole number; the classes whose balls all come before it
    # are passed over.
    filled = urn.cumsum(axis=1)
    uniform = checked_random_state(random_state).random_sample(len(urn))
    ball = (uniform * filled[:, -1]).astype(np.intp)
    code = (filled <= ball[:, None]).sum(axis=1)
    if total.all():
        return labels[code]
    y = np.full(len(N), None, dtype=object)
    y[total > 0] = labels[code[total > 0]].tolist()
    return y


def _check_min_votes(min_votes: int | float) -> None:
    """Refuse what is neither a number of votes nor a share of them."""
    allowed = "an integer from 1, or a float in (0, 1], a share of the item's votes"
    if not isinstance(min_votes, Real) or isinstance(min_votes, bool):
        raise TypeError(f"min_votes={min_votes!r} must be {allowed}.")
    whole = isinstance(min_votes, Integral)
    if not (min_votes >= 1 if whole else 0 < min_votes <= 1):
        raise ValueError(f"min_votes={min_votes!r} must be {allowed}.")
