"""Scores of predictions and of training beliefs when labels are candidate sets.

`covering_rate` and `approximated_accuracy` need no true label, so they can choose a
model; their scorers are for ``scoring=`` in scikit-learn's model selection.
`disambiguation_accuracy` and `label_issues_average_precision` need the truth and are
for evaluation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score
from sklearn.utils import check_array, check_consistent_length

from sklabeldiff._label_columns import (
    candidate_mask,
    check_n_columns,
    column_labels,
    columns_of,
    mask_with_labels,
    not_a_class,
    one_label_a_row,
    parameter_of,
)

__all__ = [
    "approximated_accuracy",
    "approximated_accuracy_scorer",
    "covering_rate",
    "covering_rate_scorer",
    "disambiguation_accuracy",
    "label_issues_average_precision",
]


def covering_rate(
    y: Any,
    y_pred: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    missing_label: Any = None,
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
        mask, classes = mask_with_labels(y, predicted, missing_label, role="predicted")
    else:
        mask, classes = candidate_mask(y, classes, missing_label)
    check_consistent_length(mask, predicted)
    columns = columns_of(predicted, classes)
    if columns.min() < 0:
        raise not_a_class("y_pred", predicted, columns, classes)
    return float(mask[np.arange(len(mask)), columns].mean())


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
    P = check_array(y_proba, dtype=np.float64, input_name="y_proba")
    check_consistent_length(mask, P)
    check_n_columns("y_proba", P, classes)
    if (P < 0).any():
        row = int(np.argmax((P < 0).any(axis=1)))
        raise ValueError(
            f"y_proba holds {P[row].min():g} in row {row}. Give probabilities; turn "
            "decision values or logits into probabilities first."
        )
    rows, predicted = np.arange(len(P)), P.argmax(axis=1)
    inside = np.where(mask, P, 0.0)  # (n, C)
    mass = inside.sum(axis=1)
    share = np.zeros(len(P))
    np.divide(inside[rows, predicted], mass, out=share, where=mass > 0)
    return float(share.mean())


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
    label_distribution : array-like of shape (n_samples, n_classes)
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
    beliefs = check_array(
        label_distribution, dtype=np.float64, input_name="label_distribution"
    )
    unnamed = classes is None and y is None
    if y is not None:
        mask, classes = candidate_mask(y, classes, missing_label)
        check_consistent_length(mask, beliefs)
        check_n_columns("label_distribution", beliefs, classes)
        beliefs = np.where(mask, beliefs, -np.inf)
    elif classes is not None:
        classes = np.asarray(classes)
        check_n_columns("label_distribution", beliefs, classes)
    else:
        classes = np.arange(beliefs.shape[1])
    truth = one_label_a_row(true_labels, "true_labels")
    check_consistent_length(truth, beliefs)
    columns = columns_of(truth, classes)
    outside = columns < 0
    if outside.all() or (unnamed and outside.any()):
        raise not_a_class("true_labels", truth, columns, classes)
    return float((beliefs.argmax(axis=1) == columns).mean())


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
    truth = one_label_a_row(true_labels, "true_labels")
    if classes is None:
        mask, classes = mask_with_labels(y, truth, missing_label, role="a true label")
    else:
        mask, classes = candidate_mask(y, classes, missing_label)
    scores = check_array(score, ensure_2d=False, dtype=np.float64, input_name="score")
    if scores.ndim != 1:
        raise ValueError(
            f"score has shape {scores.shape}. Give one number per row of y."
        )
    check_consistent_length(mask, truth, scores)
    columns = columns_of(truth, classes)
    if columns.max() < 0:
        raise not_a_class("true_labels", truth, columns, classes)
    given = mask[np.arange(len(mask)), columns] & (columns >= 0)
    wrong = ~given & ~mask.all(axis=1)
    if wrong.all() or not wrong.any():
        which = "every row" if wrong.all() else "no row"
        raise ValueError(
            f"{which} of y lacks its true label, so no score finds wrong rows better "
            "or worse than another. Pass rows of both kinds."
        )
    return float(average_precision_score(wrong, -scores))


def covering_rate_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Covering rate of an estimator, to be used as ``scoring=``.

    Model selection without any true label: ``scoring="accuracy"`` fails on candidate
    sets. Labels that only the scored fold has, or only the training folds, are no
    error.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier with ``predict``. A parameter `missing_label` of it, or of a
        step of a Pipeline, is obeyed in reading `y`.
    X : array-like of shape (n_samples, n_features)
        Rows to predict.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Their candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts. The columns of a matrix
        are taken for the estimator's ``classes_`` where the numbers agree.

    Returns
    -------
    score : float
        See :func:`covering_rate`.

    See Also
    --------
    covering_rate : The function behind it.
    approximated_accuracy_scorer : Also asks how sure the model is.

    Examples
    --------
    With one label a row it is the accuracy:

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklabeldiff.metrics import covering_rate_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> cross_val_score(GaussianNB(), X, y, cv=3, scoring=covering_rate_scorer)
    array([0.92, 0.94, 0.96])
    """
    return covering_rate(
        y,
        estimator.predict(X),
        classes=column_labels(y, getattr(estimator, "classes_", None)),
        missing_label=parameter_of(estimator, "missing_label"),
    )


def approximated_accuracy_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Approximated accuracy of an estimator, to be used as ``scoring=``.

    Model selection without any true label: ``scoring="accuracy"`` fails on candidate
    sets. Labels that only the scored fold has, or only the training folds, are no
    error; one that the estimator does not know has probability 0.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier with ``predict_proba`` and ``classes_``. A parameter
        `missing_label` of it, or of a step of a Pipeline, is obeyed in reading `y`.
    X : array-like of shape (n_samples, n_features)
        Rows to predict.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Their candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts. The columns of a matrix
        are taken for the estimator's ``classes_`` where the numbers agree.

    Returns
    -------
    score : float
        See :func:`approximated_accuracy`.

    See Also
    --------
    approximated_accuracy : The function behind it.
    covering_rate_scorer : Needs no probabilities.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklabeldiff.metrics import approximated_accuracy_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> cross_val_score(GaussianNB(), X, y, cv=3, scoring=approximated_accuracy_scorer)
    array([0.92, 0.94, 0.96])
    """
    P = estimator.predict_proba(X)
    known = np.asarray(estimator.classes_)
    missing_label = parameter_of(estimator, "missing_label")
    classes = column_labels(y, known)
    if classes is None:
        _, classes = mask_with_labels(y, known, missing_label, role="predicted")
        wide = np.zeros((len(P), len(classes)))
        wide[:, columns_of(known, classes)] = P
        P = wide
    return approximated_accuracy(y, P, classes=classes, missing_label=missing_label)
