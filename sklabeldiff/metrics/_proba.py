"""Predicted probabilities beside the truth: top-k accuracy, calibration, Brier score.

For evaluation, where the truth was kept aside.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar

from sklabeldiff.metrics._candidates import checked_proba, normalised
from sklabeldiff.metrics._truth import true_columns


def top_k_accuracy(
    true_labels: ArrayLike,
    y_proba: ArrayLike,
    *,
    k: int = 2,
    classes: ArrayLike | None = None,
) -> float:
    r"""Share of the rows whose true label is among the `k` most probable classes.

    Parameters
    ----------
    true_labels : array-like of shape (n_samples,)
        The true labels.
    y_proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities, not negative. Their scale within a row is immaterial.
    k : int, default=2
        How many classes may be named, from 1 to n_classes. 1 gives the accuracy.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `y_proba`, such as ``classes_`` of the estimator.
        By default 0, 1, ...

    Returns
    -------
    score : float
        Between 0 and 1, the higher the better.

    Raises
    ------
    ValueError
        If `k` is out of range; if the arrays differ in rows or classes, or `y_proba`
        has a negative, infinite or NaN entry; if, without `classes`, a true label is
        not among 0, 1, ..., or, with `classes`, none is among them.
    TypeError
        If `k` is not an integer.

    See Also
    --------
    sklearn.metrics.top_k_accuracy_score : Wants every true label to be a class.

    Notes
    -----
    Of equally probable classes the first column counts as the more probable, as in
    ``predict``. A true label that is not among `classes` counts as wrong.

    Examples
    --------
    >>> from sklabeldiff.metrics import top_k_accuracy
    >>> y_proba = [[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6], [0.1, 0.2, 0.7]]
    >>> [top_k_accuracy([1, 1, 2, 2], y_proba, k=k) for k in (1, 2, 3)]
    [0.5, 0.75, 1.0]
    """
    P = checked_proba(y_proba)
    check_scalar(k, "k", Integral, min_val=1, max_val=P.shape[1])
    columns = true_columns(true_labels, P, classes, "y_proba")
    own = P[np.arange(len(P)), columns][:, None]
    earlier = np.arange(P.shape[1]) < columns[:, None]
    rank = ((P > own) | ((P == own) & earlier)).sum(axis=1)
    return float(((rank < k) & (columns >= 0)).mean())


def expected_calibration_error(
    true_labels: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    classes: ArrayLike | None = None,
) -> float:
    r"""How far the confidence in the predicted class is from the accuracy.

    Rows of like confidence are binned together; in a bin a model that knows how sure it
    may be is right as often as it believes.

    Parameters
    ----------
    true_labels : array-like of shape (n_samples,)
        The true labels.
    y_proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities, not negative. Rows are divided by their sums.
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, as in [1]_, or bins of about equally many rows.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `y_proba`, such as ``classes_`` of the estimator.
        By default 0, 1, ...

    Returns
    -------
    error : float
        Between 0 and 1, the lower the better.

    Raises
    ------
    ValueError
        If `n_bins` or `strategy` is out of range; if the arrays differ in rows or
        classes, or `y_proba` has a negative, infinite or NaN entry or a row of zeros;
        if, without `classes`, a true label is not among 0, 1, ..., or, with `classes`,
        none is among them.
    TypeError
        If `n_bins` is not an integer.

    See Also
    --------
    brier_score : Judges all probabilities, and without bins.

    Notes
    -----
    With :math:`c_i = \max_j p_{ij}` the confidence of row :math:`i` and :math:`B_b` the
    rows of bin :math:`b`

    .. math::

        \sum_b \frac{|B_b|}{n} \,
            \bigl| \mathrm{accuracy}(B_b) - \mathrm{mean}_{i \in B_b} \, c_i \bigr| .

    Bins hold their upper edge and not their lower one. Few rows in a bin make the error
    too large, since chance does not cancel there: compare models on the same rows and
    bins only. A true label that is not among `classes` counts as wrong.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural
           Networks", ICML 2017, arXiv:1706.04599.

    Examples
    --------
    Two rows at .9, of which one is right, and one at .6 that is right:

    >>> from sklabeldiff.metrics import expected_calibration_error
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]
    >>> round(expected_calibration_error([0, 1, 1], y_proba, n_bins=5), 4)
    0.4
    """
    bins = confidence_bins(true_labels, y_proba, n_bins, strategy, classes)
    return bins.calibration_error


class ConfidenceBins(NamedTuple):
    """Rows binned by their confidence, and sums over each bin. (n_bins,) each."""

    n_rows: NDArray[Any]
    confidence: NDArray[Any]
    right: NDArray[Any]

    @property
    def calibration_error(self) -> float:
        """Mean over the rows of the gap in their bin."""
        gaps = np.abs(self.right - self.confidence)
        return float(gaps.sum() / self.n_rows.sum())


def confidence_bins(
    true_labels: ArrayLike,
    y_proba: ArrayLike,
    n_bins: int,
    strategy: str,
    classes: ArrayLike | None,
) -> ConfidenceBins:
    """Bins of `expected_calibration_error`, whose arguments these are."""
    check_scalar(n_bins, "n_bins", Integral, min_val=1)
    if strategy not in ("uniform", "quantile"):
        raise ValueError(f'strategy is {strategy!r}. Choose "uniform" or "quantile".')
    P = normalised(checked_proba(y_proba))
    columns = true_columns(true_labels, P, classes, "y_proba")
    confidence = P.max(axis=1)
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    if strategy == "quantile":
        edges = np.quantile(confidence, edges)
    bins = np.searchsorted(edges, confidence)  # the upper edge belongs to the bin
    right = P.argmax(axis=1) == columns
    return ConfidenceBins(
        np.bincount(bins, minlength=n_bins),
        np.bincount(bins, weights=confidence, minlength=n_bins),
        np.bincount(bins, weights=right, minlength=n_bins),
    )


def brier_score(
    true_labels: ArrayLike, y_proba: ArrayLike, *, classes: ArrayLike | None = None
) -> float:
    r"""Mean squared distance of the probabilities from the true label.

    A proper score: none but the true class probabilities has a lower expectation.

    Parameters
    ----------
    true_labels : array-like of shape (n_samples,)
        The true labels.
    y_proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities, not negative. Rows are divided by their sums.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `y_proba`, such as ``classes_`` of the estimator.
        By default 0, 1, ...

    Returns
    -------
    error : float
        Between 0 and 2, the lower the better.

    Raises
    ------
    ValueError
        If the arrays differ in rows or classes, or `y_proba` has a negative, infinite
        or NaN entry or a row of zeros; if, without `classes`, a true label is not among
        0, 1, ..., or, with `classes`, none is among them.

    See Also
    --------
    expected_calibration_error : Asks only how sure the model may be.
    sklearn.metrics.brier_score_loss : Half of this, for two classes.

    Notes
    -----
    With rows of :math:`p` summing to 1 and true class :math:`t_i`

    .. math:: \frac1n \sum_{i=1}^n \sum_j \bigl(p_{ij} - 1[j = t_i]\bigr)^2 .

    A true label that is not among `classes` was given probability 0: its row adds
    :math:`1 + \sum_j p_{ij}^2`.

    Examples
    --------
    >>> from sklabeldiff.metrics import brier_score
    >>> round(brier_score([0, 1], [[0.8, 0.2], [0.6, 0.4]]), 4)
    0.4
    """
    P = normalised(checked_proba(y_proba))
    columns = true_columns(true_labels, P, classes, "y_proba")
    is_true = np.arange(P.shape[1]) == columns[:, None]  # (n, C)
    distance = ((P - is_true) ** 2).sum(axis=1) + (columns < 0)
    return float(distance.mean())
