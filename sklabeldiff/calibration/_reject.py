"""RejectOptionClassifier: no answer where the classifier is not sure enough."""

from __future__ import annotations

from numbers import Real
from types import NoneType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import ROUNDING, Number
from sklabeldiff._fitting import whole_fit
from sklabeldiff._parameters import check_number
from sklabeldiff.calibration._wrapper import CandidateWrapper
from sklabeldiff.metrics import covering_rate


class RejectOptionClassifier(CandidateWrapper):
    """Withholds the answer for rows of which a classifier is not sure enough.

    Parameters
    ----------
    estimator : classifier
        Has ``predict_proba``, and learns from whatever form `y` has. A clone of it is
        fitted.
    coverage : float, default=0.9
        Share of rows to be answered, in (0, 1]: the threshold is set so that this share
        of the training rows is, each judged by a clone that has not seen it.
    threshold : float or None, default=None
        Least probability of the most probable class for an answer, in [0, 1]. Given, it
        takes the place of `coverage`, and nothing is held out.
    reject_label : int, float, str or None, default=None
        What `predict_with_reject` gives instead of an answer. No class may have it.
    cv : int, splitter or iterable, default=5
        How rows are held out, as in
        :func:`~sklabeldiff.model_selection.cross_val_proba`; not by groups.
    n_jobs : int, default=None
        Folds fitted at a time.

    Attributes
    ----------
    estimator_ : classifier
        A clone fitted to all rows.
    threshold_ : float
        Rows are rejected whose most probable class has less.
    covering_rate_ : float
        Of the held-out rows that are answered: share of answers inside the candidate
        sets, and so an upper estimate of the accuracy. NaN if `threshold` was given.
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    n_features_in_ : int
        Number of columns of `X`, where the classifier has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where the classifier has them.

    See Also
    --------
    CandidateCalibratedClassifier : Makes a threshold mean what it says.

    Notes
    -----
    ``predict`` answers every row, as scikit-learn expects of a classifier;
    `predict_with_reject` is what makes the difference.

    To reject by the largest probability is optimal for calibrated probabilities [1]_.
    A temperature does not change the order of the rows by it where there are two
    classes, and changes it little where there are more: `coverage` needs no
    calibration, `threshold` does.

    References
    ----------
    .. [1] C. Chow, "On Optimum Recognition Error and Reject Tradeoff", IEEE
           Transactions on Information Theory 16, 1970.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.calibration import RejectOptionClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_digits(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    >>> clf = RejectOptionClassifier(PLKNNClassifier(), coverage=0.8, reject_label=-1)
    >>> labels = clf.fit(X[:900], sets[:900]).predict_with_reject(X[900:])
    >>> answered = labels != -1
    >>> right = labels == y[900:]
    >>> print(f"{answered.mean():.2f} answered, {right[answered].mean():.2f} right")
    0.74 answered, 0.95 right
    >>> print(f"{(clf.predict(X[900:]) == y[900:]).mean():.2f} right if all are")
    0.87 right if all are
    """

    _fields: ClassVar = CandidateWrapper._fields | {
        "threshold_": Number(low=0, high=1 + ROUNDING),
        "covering_rate_": Number(low=0, high=1, nan=True),
    }

    def __init__(
        self,
        estimator: Any,
        *,
        coverage: float = 0.9,
        threshold: float | None = None,
        reject_label: Any = None,
        cv: Any = 5,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.coverage = coverage
        self.threshold = threshold
        self.reject_label = reject_label
        self.cv = cv
        self.n_jobs = n_jobs

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Find the threshold on held-out rows, then fit to all.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, in any form that the classifier takes.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets, in any form that the classifier takes.

        Returns
        -------
        self : RejectOptionClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If the classifier refuses the data, a row is not held out exactly once, a
            parameter is out of range, or `reject_label` is a class.
        TypeError
            If the classifier has no ``predict_proba``, or a parameter is of the wrong
            type.
        """
        self._check_estimator()
        if not isinstance(self.reject_label, (Real, np.bool_, str, NoneType)):
            raise TypeError(
                "reject_label must be a number, a string or None, got "
                f"{self.reject_label!r}."
            )
        check_number("coverage", self.coverage, 0, 1, open_low=True)
        if self.threshold is not None:
            check_number("threshold", self.threshold, 0, 1)
        task = FitTask(self, X, y, 1)
        self._fit_clone(X, y, task)
        if self.reject_label in self.classes_.tolist():
            raise ValueError(
                f"reject_label={self.reject_label!r} is one of the classes. Choose a "
                "value that no class has."
            )
        if self.threshold is None:
            self.threshold_, self.covering_rate_ = self._find_threshold(X, y)
        else:
            self.threshold_, self.covering_rate_ = float(self.threshold), np.nan
        task.end()
        return self

    def _find_threshold(self, X: Any, y: Any) -> tuple[float, float]:
        """Threshold for the coverage, and the covering rate of what it lets through."""
        P = self._out_of_fold(X, y)
        confidence = P.max(axis=1)
        n_answered = max(1, round(self.coverage * len(P)))
        threshold = np.sort(confidence)[-n_answered]
        answered = confidence >= threshold
        Y, classes = self._encode(y)
        labels = classes[P.argmax(axis=1)]
        rate = covering_rate(Y[answered], labels[answered], classes=classes)
        return float(threshold), rate

    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating]:
        """Probability of each class, as the classifier gives it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to 1; columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def is_rejected(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Whether the answer is withheld, for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        rejected : ndarray of shape (n_samples,), bool
            True where the most probable class has less than ``threshold_``.
        """
        return self.predict_proba(X).max(axis=1) < self.threshold_

    def predict_with_reject(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row, or `reject_label` where in doubt.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of ``classes_`` and `reject_label`. Of the type of ``classes_`` if
            both are numbers or both strings, otherwise of objects.
        """
        P = self.predict_proba(X)
        labels = self.classes_[P.argmax(axis=1)].astype(object)
        labels[P.max(axis=1) < self.threshold_] = self.reject_label
        both = (self.classes_.dtype, np.asarray(self.reject_label).dtype)
        kinds = {"U" if dtype.kind == "U" else dtype.kind in "iuf" for dtype in both}
        alike = kinds in ({"U"}, {True})
        return labels.astype(np.result_type(*both)) if alike else labels
