"""What classifiers around a classifier share: the clone, its labels and its score."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import get_tags

from sklabeldiff._callbacks import CallbackSupportMixin, FitTask
from sklabeldiff._cross_val import cross_val_proba
from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fields import Fitted, Labels, Number
from sklabeldiff._label_columns import parameter_of
from sklabeldiff._pipelines import refusal_explained
from sklabeldiff._saving import SavingMixin
from sklabeldiff.metrics._scorers import covering_rate_scorer, true_accuracy
from sklabeldiff.targets import encode_candidates


class CandidateWrapper(
    DocumentedMixin,
    SavingMixin,
    CallbackSupportMixin,
    MetaEstimatorMixin,
    ClassifierMixin,
    BaseEstimator,
):
    """A classifier around a clone of `estimator`; rows are checked by the clone."""

    _fields: ClassVar = {
        "estimator_": Fitted("C"),
        "classes_": Labels("C"),
        "n_features_in_": Number(integer=True, low=1, size="p", optional=True),
        "feature_names_in_": Labels("p", text=True, optional=True),
    }

    def _check_loaded(self) -> None:
        if self.classes_.tolist() != self.estimator_.classes_.tolist():
            raise ValueError("the classifier inside has other classes")

    def _check_estimator(self) -> None:
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError(
                f"estimator must be a classifier with predict_proba, got "
                f"{self.estimator!r}."
            )

    def _encode(self, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Read `y` as the classifier will. -> indicator (n, C), classes (C,)."""
        return encode_candidates(
            y,
            parameter_of(self.estimator, "classes"),
            missing_label=parameter_of(self.estimator, "missing_label"),
        )

    def _out_of_fold(self, X: Any, y: Any) -> NDArray[np.float64]:
        """Probabilities of each row by a clone that has not seen it. -> (n, C)."""
        return cross_val_proba(self.estimator, X, y, cv=self.cv, n_jobs=self.n_jobs)

    def _fit_clone(self, X: Any, y: Any, task: FitTask) -> None:
        """Fit the clone that predicts; callbacks follow into it, not into the folds."""
        self.estimator_ = clone(self.estimator)
        with task.handed_to(self.estimator_), refusal_explained(self.estimator_):
            self.estimator_.fit(X, y)
        self.classes_ = self.estimator_.classes_
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)  # of an earlier fit
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row, however sure.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def score(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        true_labels: ArrayLike | None = None,
    ) -> float:
        """Covering rate: the share of predictions inside the candidate sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets, in any form that fit takes.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.
        true_labels : array-like of shape (n_samples,), default=None
            True labels, where they are known: the score is then the accuracy.

        Returns
        -------
        score : float
            Between 0 and 1; where `y` has one label a row it is the accuracy.
        """
        if true_labels is not None:
            predicted = self.predict(X)
            return true_accuracy(true_labels, predicted, self.classes_, sample_weight)
        return covering_rate_scorer(self, X, y, sample_weight=sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags = inner.input_tags
        tags.classifier_tags = inner.classifier_tags
        return tags
