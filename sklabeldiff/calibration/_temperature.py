"""CandidateCalibratedClassifier: a temperature by the likelihood of candidate sets."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import Array, Number, Plain
from sklabeldiff._fitting import whole_fit
from sklabeldiff.calibration._wrapper import CandidateWrapper
from sklabeldiff.core.temperature import (
    fit_temperature,
    set_log_likelihood,
    tempered,
)


class CandidateCalibratedClassifier(CandidateWrapper):
    r"""Temperature for a classifier's probabilities, without any true label.

    Assumes that the true label of a row is among its candidates, and that which wrong
    candidates join it does not depend on the features: then held-out sets are most
    likely under calibrated probabilities.

    Parameters
    ----------
    estimator : classifier
        Has ``predict_proba``, and learns from whatever form `y` has. Clones of it are
        fitted.
    cv : int, splitter or iterable, default=5
        How rows are held out, as in
        :func:`~sklabeldiff.model_selection.cross_val_proba`; not by groups.
    n_jobs : int, default=None
        Folds fitted at a time.

    Attributes
    ----------
    estimator_ : classifier
        A clone fitted to all rows, which is the one that predicts.
    temperature_ : float
        Above 1 if the classifier was too sure of itself, below 1 if too shy. From 1/30
        to 30; a value at an end says that the probabilities tell little of the sets.
    log_likelihood_ : tuple of float
        Mean log-likelihood of the held-out candidate sets, before and after.
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    possible_ : ndarray of shape (n_classes,), bool
        Whether the class was a candidate of any row; the others have probability 0.
    n_features_in_ : int
        Number of columns of `X`, where the classifier has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where the classifier has them.

    See Also
    --------
    RejectOptionClassifier : Withholds answers below a confidence.
    sklearn.calibration.CalibratedClassifierCV : Calibrates on true labels; takes a
        fitted model as ``FrozenEstimator(model)``.

    Notes
    -----
    With probabilities :math:`p_{ij}` of held-out row :math:`i` and weights
    :math:`v_{ij}`, 1 for its candidates and 0 otherwise (or the soft weight divided by
    the largest of the row), the temperature is

    .. math:: \arg\max_T \sum_i \log \sum_j v_{ij}
        \frac{p_{ij}^{1/T}}{\sum_k p_{ik}^{1/T}} .

    It is temperature scaling [1]_ with the likelihood of the set in place of that of
    the label, and the same where every set has one member. The most probable class
    stays the same. Probabilities below 1e-7 count as 1e-7; where a classifier is often
    wrong with an exact zero, these rows decide the temperature, and it is of no use.

    Sets that depend on the features mislead it: where wrong candidates are those that
    look right, every class of a set may be likely, and the likelihood of the set cannot
    tell how sure to be among them. There the error mostly falls, and is not small.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural
           Networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.calibration import CandidateCalibratedClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> from sklabeldiff.metrics import expected_calibration_error
    >>> X, y = load_digits(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    >>> plain = PLKNNClassifier().fit(X[:900], sets[:900])
    >>> tempered = CandidateCalibratedClassifier(plain).fit(X[:900], sets[:900])
    >>> for model in (plain, tempered):
    ...     proba = model.predict_proba(X[900:])
    ...     print(round(expected_calibration_error(y[900:], proba), 2))
    0.69
    0.05
    """

    _fields: ClassVar = CandidateWrapper._fields | {
        "possible_": Array("b", ("C",)),
        "temperature_": Number(low=0),
        "log_likelihood_": Plain(),
    }

    def __init__(
        self, estimator: Any, *, cv: Any = 5, n_jobs: int | None = None
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.n_jobs = n_jobs

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Find the temperature on held-out rows, then fit to all.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, in any form that the classifier takes.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets, in any form that the classifier takes.

        Returns
        -------
        self : CandidateCalibratedClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If the classifier refuses the data, or a row is not held out exactly once.
        TypeError
            If the classifier has no ``predict_proba``.
        """
        self._check_estimator()
        task = FitTask(self, X, y, 1)
        self._fit_clone(X, y, task)  # first: it knows what to say of unfit data
        Y, _ = self._encode(y)
        self.possible_ = (Y > 0).any(axis=0)
        V = (Y / Y.max(axis=1, keepdims=True))[:, self.possible_]
        P = self._out_of_fold(X, y)[:, self.possible_]
        self.temperature_ = fit_temperature(P, V)
        self.log_likelihood_ = tuple(
            set_log_likelihood(tempered(P, T), V) for T in (1.0, self.temperature_)
        )
        task.end()
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probability of each class, at the temperature.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float64
            Rows sum to 1; columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        P = self.estimator_.predict_proba(X)
        proba = np.zeros(P.shape)
        proba[:, self.possible_] = tempered(P[:, self.possible_], self.temperature_)
        return proba
