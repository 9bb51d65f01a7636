"""Entangled rows: alike in their features and in their sets, different in truth.

Where candidate sets are hardest to resolve, and what accuracy is left there. Pairs of
rows are looked at in blocks; no array is n x n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.preprocessing import normalize
from sklearn.utils import check_consistent_length, check_scalar

from sklabeldiff._label_columns import columns_of, not_a_class, one_label_a_row
from sklabeldiff._rows import check_table
from sklabeldiff.metrics._truth import same_labels, sets_and_truth

# Pairs looked at together: 32 MB of similarities, of which a few are alive at a time.
MAX_BLOCK_ENTRIES = 2**22
DECIMALS = 12  # of a cosine: ties do not depend on how a product was rounded


def entangled_subset(
    F: ArrayLike,
    y: Any,
    true_labels: ArrayLike,
    *,
    fraction: float = 1e-3,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> NDArray[np.intp]:
    r"""Rows that are hard to tell from a row of another class.

    Two rows are entangled if they have different true labels and a candidate in common.
    Of all entangled pairs those with the most similar features are taken.

    Parameters
    ----------
    F : array-like of shape (n_samples, n_features)
        Features in which similar rows point in similar directions, such as those of a
        pretrained network.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        The candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts. Of weights only the
        support counts. An unlabelled row has every class as a candidate.
    true_labels : array-like of shape (n_samples,)
        The true labels.
    fraction : float, default=1e-3
        Share of the entangled pairs to take, above 0 and at most 1. At least one pair
        is taken.
    classes : array-like of shape (n_classes,), default=None
        All labels; for a matrix `y` the labels of its columns. By default a matrix has
        the labels 0, 1, ... or, for a DataFrame, its column names, and otherwise the
        labels in `y` and `true_labels` are all.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    rows : ndarray of shape (n_entangled,)
        Numbers of the rows in the pairs taken, ascending. Empty if no two rows are
        entangled.

    Raises
    ------
    ValueError
        If `fraction` is out of range; if the arrays differ in rows, or `F` has an
        infinite or NaN entry; if the true labels do not look like labels of these
        classes: none is among `classes`, or one is not among the columns of a matrix.
    TypeError
        If `fraction` is not a number.

    See Also
    --------
    entangled_accuracy : Accuracy on these rows.

    Notes
    -----
    With true labels :math:`t_i`, candidate sets :math:`S_i` and features :math:`f_i`
    the entangled pairs are

    .. math:: E = \{(i, j) : i < j,\; t_i \ne t_j,\; S_i \cap S_j \ne \emptyset\},

    ranked by the cosine of :math:`f_i` and :math:`f_j`, which is 0 where one of them is
    0. The first :math:`\lceil \mathrm{fraction} \cdot |E| \rceil` are taken; of equal
    cosines, compared to 12 decimals, the pair with the smaller :math:`i`, then
    :math:`j`, comes first.

    Time grows with the square of the number of rows, memory with that number and with
    the number of pairs taken.

    Examples
    --------
    Rows 0 and 1 are almost the same, and either may be a cat. Rows 2 and 3 are the
    same, but no candidate set is in doubt:

    >>> from sklabeldiff.metrics import entangled_subset
    >>> F = [[1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.0, 1.0]]
    >>> sets = [{"cat", "dog"}, {"cat", "dog"}, {"cat"}, {"owl"}]
    >>> entangled_subset(F, sets, ["cat", "dog", "cat", "owl"])
    array([0, 1])
    """
    mask, _, truth = sets_and_truth(y, true_labels, classes, missing_label)
    return _entangled_rows(F, mask, truth, fraction)


def entangled_accuracy(
    true_labels: ArrayLike,
    y_pred: ArrayLike,
    F: ArrayLike,
    y: Any,
    *,
    fraction: float = 1e-3,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> float:
    r"""Accuracy on the rows that are hard to tell from a row of another class.

    Parameters
    ----------
    true_labels : array-like of shape (n_samples,)
        The true labels.
    y_pred : array-like of shape (n_samples,)
        Predicted labels, of all rows.
    F : array-like of shape (n_samples, n_features)
        Features in which similar rows point in similar directions, such as those of a
        pretrained network.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        The candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts.
    fraction : float, default=1e-3
        Share of the entangled pairs to take, above 0 and at most 1. At least one pair
        is taken.
    classes : array-like of shape (n_classes,), default=None
        All labels; for a matrix `y` the labels of its columns. By default a matrix has
        the labels 0, 1, ... or, for a DataFrame, its column names, and otherwise the
        labels in `y` and `true_labels` are all.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    score : float
        Between 0 and 1, the higher the better.

    Raises
    ------
    ValueError
        If no two rows are entangled, if no prediction is among the classes, and where
        :func:`entangled_subset` raises it.
    TypeError
        If `fraction` is not a number.

    See Also
    --------
    entangled_subset : Which rows these are.

    Notes
    -----
    A prediction may be any class, and not only a candidate. To compare models use the
    same features for all of them.

    Examples
    --------
    >>> from sklabeldiff.metrics import entangled_accuracy
    >>> F = [[1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.0, 1.0]]
    >>> sets = [{"cat", "dog"}, {"cat", "dog"}, {"cat"}, {"owl"}]
    >>> truth, y_pred = ["cat", "dog", "cat", "owl"], ["cat", "cat", "cat", "owl"]
    >>> entangled_accuracy(truth, y_pred, F, sets)
    0.5
    """
    mask, classes, truth = sets_and_truth(y, true_labels, classes, missing_label)
    predicted = one_label_a_row(y_pred, "y_pred")
    columns = columns_of(predicted, classes)
    if columns.max() < 0:
        raise not_a_class("y_pred", predicted, columns, classes)
    right = same_labels(truth, predicted)
    rows = _entangled_rows(F, mask, truth, fraction)
    if not len(rows):
        raise ValueError(
            "no two rows are entangled: none of different true labels have a candidate "
            "in common. Pass more rows, or use the accuracy on all of them."
        )
    return float(right[rows].mean())


def _entangled_rows(
    F: ArrayLike, mask: NDArray[np.bool_], truth: NDArray[Any], fraction: float
) -> NDArray[np.intp]:
    """Rows of the top pairs. (n, d), (n, C), (n,) -> (m,)."""
    check_scalar(
        fraction, "fraction", Real, min_val=0, max_val=1, include_boundaries="right"
    )
    features = check_table(F, "F")
    check_consistent_length(features, mask)
    sets = mask.astype(np.float32)  # products of bools are slow
    _, codes = np.unique(truth, return_inverse=True)
    n_pairs = sum(int(block.sum()) for _, block in _pair_blocks(sets, codes))
    # As it is written: in floats 0.07 * 100 is more than 7.
    n_taken = math.ceil(Fraction(str(fraction)) * n_pairs)
    if not n_taken:
        return np.empty(0, dtype=np.intp)
    return np.unique(_top_pairs(normalize(features), sets, codes, n_taken))


def _pair_blocks(
    sets: NDArray[np.float32], codes: NDArray[np.intp]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """First row i of a block and which of its pairs are entangled.

    Yields (b, n - i): entry (a, c) is the pair of rows i + a and i + c, False unless
    a < c. Sets (n, C), number of the true label (n,).
    """
    n_rows = len(sets)
    step = max(1, MAX_BLOCK_ENTRIES // n_rows)
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        entangled = sets[rows] @ sets[start:].T > 0
        entangled &= codes[rows, None] != codes[start:]
        yield start, np.triu(entangled, 1)


def _top_pairs(
    U: NDArray[np.float64],
    sets: NDArray[np.float32],
    codes: NDArray[np.intp],
    n_taken: int,
) -> NDArray[np.intp]:
    """Find the most similar entangled pairs. Unit rows (n, d), ... -> (n_taken, 2)."""
    top = np.empty(0)
    pairs = np.empty((0, 2), dtype=np.intp)  # ascending
    for start, entangled in _pair_blocks(sets, codes):
        cosine = np.round(U[start : start + len(entangled)] @ U[start:].T, DECIMALS)
        if len(top) == n_taken:
            # A later pair as similar as the last one taken comes after it.
            entangled &= cosine > top.min()
        found = np.flatnonzero(entangled)
        places = np.stack(np.divmod(found, entangled.shape[1]), axis=1)
        top = np.concatenate([top, cosine.ravel()[found]])
        pairs = np.concatenate([pairs, start + places])
        kept = _first_largest(top, n_taken)
        top, pairs = top[kept], pairs[kept]
    return pairs


def _first_largest(values: NDArray[np.float64], k: int) -> NDArray[np.bool_]:
    """Mark the `k` largest values, of equal ones the first. (m,) -> (m,)."""
    if len(values) <= k:
        return np.ones(len(values), dtype=bool)
    cut = np.partition(values, -k)[-k]
    kept = values > cut
    kept[np.flatnonzero(values == cut)[: k - kept.sum()]] = True
    return kept
