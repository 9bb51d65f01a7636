"""The scores of this package for ``scoring=`` in scikit-learn's model selection.

Scorers that need no true label are plain functions. Those that need it are made by
`make_true_label_scorer`, which takes the truth through scikit-learn's metadata routing.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metadata_routing import MetadataRequest

from sklabeldiff._issues import self_consistency
from sklabeldiff._label_columns import (
    candidate_mask,
    column_labels,
    columns_of,
    mask_with_labels,
    not_a_class,
    one_label_a_row,
    parameter_of,
)
from sklabeldiff.metrics._candidates import (
    approximated_accuracy,
    candidate_log_likelihood,
    covering_rate,
    share,
)
from sklabeldiff.metrics._entangled import entangled_accuracy
from sklabeldiff.metrics._proba import (
    brier_score,
    expected_calibration_error,
    top_k_accuracy,
)
from sklabeldiff.metrics._truth import (
    disambiguation_accuracy,
    label_issues_average_precision,
    same_labels,
)


def covering_rate_scorer(
    estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None = None
) -> float:
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
    sample_weight : array-like of shape (n_samples,), default=None
        How much each row counts.

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
        sample_weight=sample_weight,
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
    P, classes, missing_label = _proba_in_columns_of(y, estimator, X)
    return approximated_accuracy(y, P, classes=classes, missing_label=missing_label)


def candidate_log_likelihood_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Candidate log-likelihood of an estimator, to be used as ``scoring=``.

    Model selection without any true label, by the probabilities themselves. Labels that
    only the scored fold has, or only the training folds, are no error; one that the
    estimator does not know has probability 0.

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
        See :func:`candidate_log_likelihood`.

    See Also
    --------
    candidate_log_likelihood : The function behind it.
    approximated_accuracy_scorer : Judges the predicted class.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklabeldiff.metrics import candidate_log_likelihood_scorer as scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> cross_val_score(GaussianNB(), X, y, cv=3, scoring=scorer).round(2)
    array([-0.14, -0.2 , -0.08])
    """
    P, classes, missing_label = _proba_in_columns_of(y, estimator, X)
    return candidate_log_likelihood(y, P, classes=classes, missing_label=missing_label)


def make_true_label_scorer(
    function: Callable[..., float],
    *,
    response: str = "predict",
    greater_is_better: bool = True,
    **options: Any,
) -> _TrueLabelScorer:
    """Make a scorer that compares an estimator with true labels kept aside.

    The estimator learns from candidate sets, and scikit-learn hands the sets of the
    scored rows to the scorer; the true labels of these rows come as metadata named
    `true_labels`, which the scorer requests by itself.

    Parameters
    ----------
    function : callable
        Called as ``function(true_labels, answer, **options)`` and returns a number: a
        score of this package, or one of scikit-learn for one label a row. It is also
        given, by name, whichever of these are among its parameters: `y`, the candidate
        sets; `F`, the rows `X`; `classes`, the labels of the columns of the answer; and
        with `y` `missing_label`, that of the estimator.
    response : {"predict", "predict_proba"}, default="predict"
        The method of the estimator that answers.
    greater_is_better : bool, default=True
        Whether a higher value is better. If not, the score is the negative value.
    **options : object
        Further parameters of the function, such as ``k=3``.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y, true_labels=...)`` returns a float.

    Raises
    ------
    ValueError
        If `response` is not a method named above. When called, if `true_labels` is
        missing, or as the function raises it.

    See Also
    --------
    sklearn.metrics.make_scorer : Compares with the `y` that was passed.

    Notes
    -----
    Ready made, with the defaults of their functions, are

    - ``true_accuracy_scorer``: share of right predictions;
    - ``top_k_accuracy_scorer``: :func:`top_k_accuracy`;
    - ``neg_expected_calibration_error_scorer``: minus
      :func:`expected_calibration_error`;
    - ``neg_brier_score_scorer``: minus :func:`brier_score`;
    - ``disambiguation_accuracy_scorer``: :func:`disambiguation_accuracy` of the most
      probable candidates;
    - ``label_issues_scorer``: :func:`label_issues_average_precision` of the probability
      on the given labels;
    - ``entangled_accuracy_scorer``: :func:`entangled_accuracy`, with the rows given to
      the scorer as features.

    A true label that the estimator does not know counts as wrong, as the function says.
    Labels that only the scored fold has, or only the training folds, are no error; in
    an answer that a function compares with `y` they have probability 0.

    Unless metadata routing is enabled, scikit-learn hands `true_labels` to the
    classifier's ``fit``, which refuses it.

    Examples
    --------
    The classifier sees candidate sets only, the scorer the truth:

    >>> import sklearn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> from sklabeldiff.metrics import make_true_label_scorer, true_accuracy_scorer
    >>> from sklabeldiff.model_selection import CandidateStratifiedKFold
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, rate=0.3, random_state=0)
    >>> search = GridSearchCV(
    ...     PLKNNClassifier(),
    ...     {"n_neighbors": [5, 20]},
    ...     scoring=true_accuracy_scorer,
    ...     cv=CandidateStratifiedKFold(5),
    ... )
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     search = search.fit(X, sets, true_labels=y)
    >>> search.best_params_
    {'n_neighbors': 20}

    Called directly it needs no routing. Scores of scikit-learn will do, with options:

    >>> from sklearn.metrics import f1_score
    >>> scorer = make_true_label_scorer(f1_score, average="macro")
    >>> round(scorer(search, X, sets, true_labels=y), 2)
    0.95
    """
    if response not in ("predict", "predict_proba"):
        raise ValueError(
            f'response is {response!r}. Choose "predict" or "predict_proba".'
        )
    return _TrueLabelScorer(function, response, greater_is_better, options)


class _TrueLabelScorer:
    """What `make_true_label_scorer` returns. It pickles if the function does."""

    def __init__(
        self,
        function: Callable[..., float],
        response: str,
        greater_is_better: bool,
        options: dict[str, Any],
    ) -> None:
        self.function = function
        self.response = response
        self.greater_is_better = greater_is_better
        self.options = options

    def __call__(
        self, estimator: Any, X: Any, y: Any, *, true_labels: Any = None
    ) -> float:
        if true_labels is None:
            raise ValueError(
                f"{self!r} needs the true labels of the rows. Call it as "
                "scorer(estimator, X, y, true_labels=...). In model selection, call "
                "sklearn.set_config(enable_metadata_routing=True) first, then "
                "search.fit(X, y, true_labels=...) or cross_validate(estimator, X, y, "
                'params={"true_labels": ...}).'
            )
        wanted = signature(self.function).parameters
        answer = getattr(estimator, self.response)(X)
        offered = {"F": X, "y": y, "classes": np.asarray(estimator.classes_)}
        if "y" in wanted:
            offered["classes"], offered["missing_label"] = _joint_classes(y, estimator)
            if self.response == "predict_proba":
                answer = _widened(answer, estimator.classes_, offered["classes"])
        given = {name: offered[name] for name in offered if name in wanted}
        value = float(self.function(true_labels, answer, **{**given, **self.options}))
        return value if self.greater_is_better else -value

    def get_metadata_routing(self) -> MetadataRequest:
        """Request `true_labels`, for scikit-learn's metadata routing."""
        request = MetadataRequest(owner=type(self).__name__)
        request.score.add_request(param="true_labels", alias=True)
        return request

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        arguments: dict[str, Any] = {"response": self.response}
        if not self.greater_is_better:
            arguments["greater_is_better"] = False
        arguments |= self.options
        shown = "".join(f", {k}={v!r}" for k, v in arguments.items())
        return f"make_true_label_scorer({name}{shown})"


def true_accuracy(
    true_labels: ArrayLike,
    y_pred: ArrayLike,
    classes: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Share of right predictions; a true label may be no class, but not all."""
    truth = one_label_a_row(true_labels, "true_labels")
    classes = np.asarray(classes)
    columns = columns_of(truth, classes)
    if columns.max() < 0:
        raise not_a_class("true_labels", truth, columns, classes)
    right = same_labels(truth, one_label_a_row(y_pred, "y_pred"))
    return share(right, sample_weight)


def label_issues(
    true_labels: ArrayLike,
    y_proba: NDArray[Any],
    y: Any,
    classes: ArrayLike,
    missing_label: Any,
) -> float:
    """How well the probability on the given labels finds those that are wrong."""
    mask, _ = candidate_mask(y, classes, missing_label)
    return label_issues_average_precision(
        y,
        true_labels,
        self_consistency(mask, y_proba),
        classes=classes,
        missing_label=missing_label,
    )


def _joint_classes(y: Any, estimator: Any) -> tuple[NDArray[Any], Any]:
    """Labels that the estimator or y has, and what marks an unlabelled row of y."""
    known = np.asarray(estimator.classes_)
    missing_label = parameter_of(estimator, "missing_label")
    classes = column_labels(y, known)
    if classes is None:
        _, classes = mask_with_labels(y, known, missing_label, role="predicted")
    return classes, missing_label


def _widened(
    P: NDArray[Any], known: NDArray[Any], classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Probabilities of `classes`, 0 for those not known. (n, c) -> (n, C)."""
    wide = np.zeros((len(P), len(classes)))
    wide[:, columns_of(np.asarray(known), classes)] = P
    return wide


def _proba_in_columns_of(
    y: Any, estimator: Any, X: Any
) -> tuple[NDArray[np.float64], NDArray[Any], Any]:
    """Predicted probabilities (n, C), labels of the columns (C,), missing label."""
    classes, missing_label = _joint_classes(y, estimator)
    P = _widened(estimator.predict_proba(X), estimator.classes_, classes)
    return P, classes, missing_label


true_accuracy_scorer = make_true_label_scorer(true_accuracy)
top_k_accuracy_scorer = make_true_label_scorer(
    top_k_accuracy, response="predict_proba", k=2
)
neg_expected_calibration_error_scorer = make_true_label_scorer(
    expected_calibration_error, response="predict_proba", greater_is_better=False
)
neg_brier_score_scorer = make_true_label_scorer(
    brier_score, response="predict_proba", greater_is_better=False
)
disambiguation_accuracy_scorer = make_true_label_scorer(
    disambiguation_accuracy, response="predict_proba"
)
label_issues_scorer = make_true_label_scorer(label_issues, response="predict_proba")
entangled_accuracy_scorer = make_true_label_scorer(entangled_accuracy)
