"""Scores that need the true labels: of beliefs and of suspicions.

For evaluation, where the truth was kept aside. A true label that is no class is an
error of the model and not of the user, unless none of them is a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.metrics import average_precision_score
from sklearn.utils import check_array, check_consistent_length

from sklabeldiff._label_columns import (
    candidate_mask,
    check_n_columns,
    columns_of,
    entries_at,
    is_full,
    mask_with_labels,
    not_a_class,
    one_label_a_row,
)
from sklabeldiff._label_forms import check_classes, make_missing
from sklabeldiff._rows import check_table, naming_entries


def disambiguation_accuracy(
    true_labels: ArrayLike,
    label_distribution: ArrayLike,
    y: Any = None,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> float:
    r"""Share of the training rows whose most believed class is the true one.

    Also called transductive accuracy: how well the candidate sets that a model was
    trained on have been resolved.

    Parameters
    ----------
    true_labels : array-like of shape (n_samples,)
        The true labels of the training rows.
    label_distribution : array-like or sparse array of shape (n_samples, n_classes)
        Beliefs about the training rows, such as ``label_distribution_`` of the
        estimator.
    y : array-like of shape (n_samples, n_classes) or (n_samples,), default=None
        The candidate sets. If given, the most believed *candidate* is compared with the
        truth. That makes a difference only for beliefs that are not 0 off the sets,
        such as predicted probabilities.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `label_distribution`, such as ``classes_`` of the
        estimator. By default those found in `y` or, without `y`, 0, 1, ...
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    score : float
        Between 0 and 1, the higher the better.

    Raises
    ------
    ValueError
        If the arrays differ in rows or classes, or if `true_labels` do not look like
        labels of these columns: one is not among 0, 1, ..., where neither `y` nor
        `classes` was given, or none is among the classes.

    See Also
    --------
    covering_rate : Needs no true label.

    Notes
    -----
    With beliefs :math:`S_{ij}`, true class :math:`t_i` and, if given, candidate sets
    :math:`S_i` (else all classes)

    .. math::

        \frac1n \sum_{i=1}^n 1\bigl[t_i = \arg\max_{j \in S_i} S_{ij}\bigr].

    A true label that is not among the classes, since it never was a candidate, counts
    as wrong.

    Examples
    --------
    >>> from sklabeldiff.metrics import disambiguation_accuracy
    >>> beliefs = [[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]]
    >>> disambiguation_accuracy(["cat", "dog"], beliefs, classes=["cat", "dog", "owl"])
    0.5
    """
    beliefs: Any
    if issparse(label_distribution):
        beliefs = csr_array(label_distribution, dtype=np.float64)
        with naming_entries(beliefs, "label_distribution"):
            check_array(beliefs, accept_sparse="csr", input_name="label_distribution")
    else:
        beliefs = check_table(label_distribution, "label_distribution")
    if y is not None:
        sparse = issparse(beliefs)
        mask, classes = candidate_mask(y, classes, missing_label, sparse)
        check_consistent_length(mask, beliefs)
        check_n_columns("label_distribution", beliefs, classes)
        if sparse:
            # Off the sets below any belief; a candidate without one is not.
            beliefs = beliefs.multiply(mask) + mask
        else:
            beliefs = np.where(mask, beliefs, -np.inf)
    columns = true_columns(true_labels, beliefs, classes, "label_distribution")
    best = np.asarray(beliefs.argmax(axis=1)).ravel()
    return float((best == columns).mean())


def label_issues_average_precision(
    y: Any,
    true_labels: ArrayLike,
    score: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> float:
    r"""How well a score finds the rows whose given label is wrong.

    Rows are looked through from the lowest score up; what counts is the share of wrong
    ones among those seen. Of a candidate set, wrong means that it lacks the true label.

    Parameters
    ----------
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        The given labels or candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts. An unlabelled row is
        never wrong.
    true_labels : array-like of shape (n_samples,)
        The true labels.
    score : array-like of shape (n_samples,)
        Low for suspicious rows, such as the column "score" of ``label_issues``, in the
        order of `y`. Its scale is immaterial.
    classes : array-like of shape (n_classes,), default=None
        All labels that can be given; for a matrix `y` the labels of its columns. By
        default a matrix has the labels 0, 1, ... or, for a DataFrame, its column names,
        and otherwise the labels in `y` and `true_labels` are all.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    score : float
        Between 0 and 1, the higher the better. A score that knows nothing gets about
        the share of wrong rows, one that puts all wrong rows first gets 1.

    Raises
    ------
    ValueError
        If no row is wrong, so that there is nothing to find, or every row, so that all
        scores are equally good; if the arrays differ in rows, or `score` has an
        infinite or NaN entry; if the true labels do not look like labels of these
        classes: none is among `classes`, or one is not among the columns of a matrix.

    See Also
    --------
    sklearn.metrics.average_precision_score : The measure, for any yes or no.
    disambiguation_accuracy : Whether candidate sets were resolved rightly.

    Notes
    -----
    With the precision :math:`P_k` and the recall :math:`R_k` of the rows whose score is
    at most the :math:`k`-th smallest distinct value, and :math:`R_0 = 0`,

    .. math:: \mathrm{AP} = \sum_k (R_k - R_{k-1}) \, P_k .

    Rows with equal scores count as one step, so their order is immaterial. A true label
    that is not among `classes` was not given to any row: it makes the row wrong.

    Examples
    --------
    The second and the fourth label are wrong; they come first and third:

    >>> from sklabeldiff.metrics import label_issues_average_precision
    >>> given, truth = ["cat", "cat", "dog", "dog"], ["cat", "dog", "dog", "cat"]
    >>> round(label_issues_average_precision(given, truth, [0.4, 0.1, 0.9, 0.6]), 4)
    0.8333
    """
    mask, classes, truth = sets_and_truth(y, true_labels, classes, missing_label)
    with naming_entries(score, "score"):
        scores = check_array(
            score, ensure_2d=False, dtype=np.float64, input_name="score"
        )
    if scores.ndim != 1:
        raise ValueError(
            f"score has shape {scores.shape}. Give one number per row of y."
        )
    check_consistent_length(mask, scores)
    columns = columns_of(truth, classes)
    given = entries_at(mask, columns) & (columns >= 0)
    wrong = ~given & ~is_full(mask)
    if wrong.all() or not wrong.any():
        which = "every row" if wrong.all() else "no row"
        raise ValueError(
            f"{which} of y lacks its true label, so no score finds wrong rows better "
            "or worse than another. Pass rows of both kinds."
        )
    return float(average_precision_score(wrong, -scores))


def same_labels(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether labels are equal, whatever the dtypes. (n,), (n,) -> (n,)."""
    check_consistent_length(first, second)
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return np.array([a == b for a, b in pairs], dtype=bool)


def sets_and_truth(
    y: Any, true_labels: ArrayLike, classes: ArrayLike | None, missing_label: Any
) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any]]:
    """Mask (n, C), labels of its columns (C,) and true labels (n,) that fit them."""
    truth = one_label_a_row(true_labels, "true_labels")
    if classes is None:
        mask, classes = mask_with_labels(
            y, truth, missing_label, role="a true label", sparse_output="auto"
        )
    else:
        mask, classes = candidate_mask(y, classes, missing_label, "auto")
    check_consistent_length(mask, truth)
    columns = columns_of(truth, classes)
    if columns.max() < 0:
        raise not_a_class("true_labels", truth, columns, classes)
    return mask, classes, truth


def true_columns(
    true_labels: ArrayLike,
    values: NDArray[np.float64],
    classes: ArrayLike | None,
    name: str,
) -> NDArray[np.intp]:
    """Column of each true label, -1 where it is no class. `values` (n, C) -> (n,)."""
    unnamed = classes is None
    if classes is None:
        classes = np.arange(values.shape[1])
    else:
        classes = check_classes(classes, make_missing(None), "classes")
    check_n_columns(name, values, classes)
    truth = one_label_a_row(true_labels, "true_labels")
    check_consistent_length(truth, values)
    columns = columns_of(truth, classes)
    outside = columns < 0
    if outside.all() or (unnamed and outside.any()):
        raise not_a_class("true_labels", truth, columns, classes)
    return columns
