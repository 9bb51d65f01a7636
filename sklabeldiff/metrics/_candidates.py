"""Scores that need no true label: they ask the candidate sets.

The truth is asked in `sklabeldiff.metrics._truth`; probabilities are checked here for
both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import _check_sample_weight

from sklabeldiff._label_columns import (
    candidate_mask,
    check_n_columns,
    columns_of,
    entries_at,
    mask_with_labels,
    not_a_class,
    one_label_a_row,
)
from sklabeldiff._rows import check_table
from sklabeldiff.targets import encode_candidates

# Probabilities are float32 in the package's own classifiers: what is less than the
# smallest normal number may as well have been lost to rounding.
MIN_MASS = float(np.finfo(np.float32).tiny)  # 1.18e-38, its logarithm is -87.3


def covering_rate(
    y: Any,
    y_pred: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Share of the predictions that lie inside the candidate sets.

    No true label is needed. A prediction outside its set is wrong for sure (if the sets
    hold the truth), one inside may be right. Accuracy, where `y` has one label a row.

    Parameters
    ----------
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Candidate sets, in any form that :func:`~sklabeldiff.targets.encode_candidates`
        accepts. An unlabelled row covers every prediction.
    y_pred : array-like of shape (n_samples,)
        Predicted labels.
    classes : array-like of shape (n_classes,), default=None
        All labels; for a matrix `y` the labels of its columns, such as ``classes_`` of
        the estimator. By default a matrix has the labels 0, 1, ... or, for a DataFrame,
        its column names, and otherwise the labels in `y` and `y_pred` are all.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.
    sample_weight : array-like of shape (n_samples,), default=None
        How much each row counts.

    Returns
    -------
    score : float
        Between 0 and 1, the higher the better.

    Raises
    ------
    ValueError
        If a prediction is not among the classes, or the numbers of rows differ.

    See Also
    --------
    approximated_accuracy : Also asks how sure the model is among the candidates.
    covering_rate_scorer : The same for ``scoring=``.

    Notes
    -----
    With prediction :math:`\hat y_i` and candidate set :math:`S_i` of row :math:`i`

    .. math:: \mathrm{CR} = \frac1n \sum_{i=1}^n 1[\hat y_i \in S_i].

    It is never below the accuracy when every set holds the truth, and says the less the
    larger the sets are. Proposed for choosing models in [1]_.

    References
    ----------
    .. [1] W. Wang, D.-D. Wu, J. Wang, G. Niu, M.-L. Zhang, M. Sugiyama, "Realistic
           Evaluation of Deep Partial-Label Learning Algorithms", ICLR 2025,
           arXiv:2502.10184.

    Examples
    --------
    >>> from sklabeldiff.metrics import covering_rate
    >>> covering_rate([{"cat", "dog"}, {"owl"}, None, {"dog"}], ["cat"] * 4)
    0.5
    >>> covering_rate([[1, 1, 0], [0, 0, 1]], [1, 2])
    1.0
    """
    predicted = one_label_a_row(y_pred, "y_pred")
    if classes is None:
        mask, classes = mask_with_labels(
            y, predicted, missing_label, role="predicted", sparse_output="auto"
        )
    else:
        mask, classes = candidate_mask(y, classes, missing_label, "auto")
    check_consistent_length(mask, predicted)
    columns = columns_of(predicted, classes)
    if columns.min() < 0:
        raise not_a_class("y_pred", predicted, columns, classes)
    return share(entries_at(mask, columns), sample_weight)


def share(hits: NDArray[np.bool_], sample_weight: ArrayLike | None) -> float:
    """Share of the rows, or of their weight, that are hits. (n,), (n,) -> scalar."""
    if sample_weight is None:
        return float(hits.mean())
    check_consistent_length(hits, sample_weight)
    weights: NDArray[np.float64] = _check_sample_weight(
        sample_weight, hits, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise ValueError("sample_weight is 0 in every row. Give one row a weight.")
    return float(np.average(hits.astype(np.float64), weights=weights))


def approximated_accuracy(
    y: Any,
    y_proba: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> float:
    r"""Accuracy to be expected, given the candidate sets, if the model is calibrated.

    No true label is needed. A row whose most probable class is a candidate counts with
    the share of that class in the probability of all its candidates, another with 0.

    Parameters
    ----------
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Candidate sets, in any form that :func:`~sklabeldiff.targets.encode_candidates`
        accepts. Of weights only the support counts.
    y_proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities, not negative. Their scale within a row is immaterial.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `y_proba`, such as ``classes_`` of the estimator.
        By default those that :func:`~sklabeldiff.targets.encode_candidates` finds in
        `y`.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    score : float
        Between 0 and the covering rate of the most probable classes; the higher the
        better.

    Raises
    ------
    ValueError
        If `y` and `y_proba` differ in rows or classes, or `y_proba` has a negative,
        infinite or NaN entry.

    See Also
    --------
    covering_rate : Counts every prediction inside its set as a whole.
    candidate_log_likelihood : Asks all the probabilities, not the largest only.
    approximated_accuracy_scorer : The same for ``scoring=``.

    Notes
    -----
    With probabilities :math:`p_{ij}` and candidate set :math:`S_i` of row :math:`i` the
    criterion of [1]_ is

    .. math::

        \mathrm{AA} = \frac1n \sum_{i=1}^n \sum_{j \in S_i}
            \frac{p_{ij}}{\sum_{k \in S_i} p_{ik}} \;
            1\bigl[j = \arg\max_k p_{ik}\bigr],

    the arg max being over all classes. If :math:`p` are the true class probabilities,
    and a set is as likely for any one of its members being the truth, the fraction is
    the probability of class :math:`j` given the set, and AA has the accuracy as its
    expectation. Otherwise it depends on how sure the model is: an overconfident
    model gets its covering rate. A row with no probability on any candidate counts 0
    (in the code of [1]_, which adds 1e-12 to the denominator, it counts 1).

    References
    ----------
    .. [1] W. Wang, D.-D. Wu, J. Wang, G. Niu, M.-L. Zhang, M. Sugiyama, "Realistic
           Evaluation of Deep Partial-Label Learning Algorithms", ICLR 2025,
           arXiv:2502.10184.

    Examples
    --------
    The first row counts .6 / (.6 + .2), the second, predicted outside its set, 0:

    >>> from sklabeldiff.metrics import approximated_accuracy
    >>> y_proba = [[0.6, 0.2, 0.2], [0.5, 0.3, 0.2]]
    >>> round(approximated_accuracy([[1, 1, 0], [0, 1, 1]], y_proba), 4)
    0.375
    """
    mask, classes = candidate_mask(y, classes, missing_label)
    P = checked_proba(y_proba)
    check_consistent_length(mask, P)
    check_n_columns("y_proba", P, classes)
    rows, predicted = np.arange(len(P)), P.argmax(axis=1)
    inside = np.where(mask, P, 0.0)  # (n, C)
    mass = inside.sum(axis=1)
    share = np.zeros(len(P))
    np.divide(inside[rows, predicted], mass, out=share, where=mass > 0)
    return float(share.mean())


def candidate_log_likelihood(
    y: Any,
    y_proba: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
) -> float:
    r"""Mean logarithm of the probability that a model gives to the candidate sets.

    No true label is needed. It judges the probabilities themselves, so that a
    temperature can be fitted by it. With one label a row it is minus the log loss.

    Parameters
    ----------
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Candidate sets, in any form that :func:`~sklabeldiff.targets.encode_candidates`
        accepts. A candidate with a weight counts with the ratio of its weight to the
        largest of its row. An unlabelled row counts 0, whatever its probabilities.
    y_proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities, not negative. Rows are divided by their sums.
    classes : array-like of shape (n_classes,), default=None
        The labels of the columns of `y_proba`, such as ``classes_`` of the estimator.
        By default those that :func:`~sklabeldiff.targets.encode_candidates` finds in
        `y`.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row of `y`.

    Returns
    -------
    score : float
        Natural logarithm, between -87.34 and 0; the higher the better.

    Raises
    ------
    ValueError
        If `y` and `y_proba` differ in rows or classes, or `y_proba` has a negative,
        infinite or NaN entry or a row of zeros.

    See Also
    --------
    approximated_accuracy : Judges the predicted class.
    candidate_log_likelihood_scorer : The same for ``scoring=``.
    sklearn.metrics.log_loss : Minus the same, for one label a row.

    Notes
    -----
    With probabilities :math:`p_{ij}`, rows summing to 1, and :math:`v_{ij}` the weight
    of class :math:`j` for row :math:`i` over the largest of the row, which is 1 for
    every candidate of a plain set and 0 off the set,

    .. math:: \frac1n \sum_{i=1}^n \log \sum_j v_{ij} \, p_{ij} .

    If a set is as likely for any one of its members being the truth, or as likely as
    the weights say, this is the log-likelihood up to a constant that no model changes
    [1]_. The true class probabilities then have the largest expectation: it is a proper
    score. The sum is clipped to the smallest normal float32, about 1.18e-38, from
    below, so that one row without probability on any candidate counts -87.34 and not
    minus infinity.

    References
    ----------
    .. [1] D. F. Heitjan, D. B. Rubin, "Ignorability and Coarse Data", The Annals of
           Statistics 19(4), 1991.

    Examples
    --------
    The sets have probability .8 and .5:

    >>> from sklabeldiff.metrics import candidate_log_likelihood
    >>> y_proba = [[0.6, 0.2, 0.2], [0.5, 0.3, 0.2]]
    >>> round(candidate_log_likelihood([[1, 1, 0], [0, 1, 1]], y_proba), 4)
    -0.4581
    """
    Y, classes = encode_candidates(y, classes, missing_label=missing_label)
    P = normalised(checked_proba(y_proba))
    check_consistent_length(Y, P)
    check_n_columns("y_proba", P, classes)
    weights = Y.astype(np.float64)
    weights /= weights.max(axis=1, keepdims=True)  # V, (n, C)
    # Over the sum of the same products: exactly 1 in an unlabelled row.
    mass = (weights * P).sum(axis=1) / P.sum(axis=1)
    return float(np.log(np.maximum(mass, MIN_MASS)).mean())


def checked_proba(y_proba: ArrayLike) -> NDArray[np.float64]:
    """Probabilities as an array, in any scale. -> (n, C)."""
    P = check_table(y_proba, "y_proba")
    if (P < 0).any():
        row = int(np.argmax((P < 0).any(axis=1)))
        raise ValueError(
            f"y_proba holds {P[row].min():g} in row {row}. Give probabilities; turn "
            "decision values or logits into probabilities first."
        )
    return P


def normalised(P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide rows by their sums. (n, C) -> (n, C)."""
    total = P.sum(axis=1, keepdims=True)
    if not total.all():
        raise ValueError(
            f"y_proba is 0 for every class in row {int(np.argmin(total))}. Give "
            "probabilities that sum to 1."
        )
    return P / total
