"""What the candidate-set classifiers share: input checks, prediction, score, issues.

`CandidateClassifier` knows scikit-learn and labels; `NetworkClassifier` adds a torch
network whose weights are kept as arrays. Neither knows a method.
"""

from __future__ import annotations

import copy
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar
from zlib import crc32

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sklabeldiff._callbacks import CallbackSupportMixin
from sklabeldiff._cross_val import out_of_fold
from sklabeldiff._devices import usable_device
from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fields import Array, Labels, Number, Records, beliefs
from sklabeldiff._issues import issues_frame
from sklabeldiff._parameters import check_number, check_verbose
from sklabeldiff._rows import naming_entries, refuse_huge
from sklabeldiff._saving import SavingMixin
from sklabeldiff._training_data import Data, SparseTrainingData, TrainingData
from sklabeldiff.core import processes
from sklabeldiff.core.blocks import BLOCK_ROWS
from sklabeldiff.core.training import DivergedError
from sklabeldiff.metrics._scorers import covering_rate_scorer, true_accuracy
from sklabeldiff.targets import encode_candidates

if TYPE_CHECKING:
    import pandas as pd


TRIED_ROWS = 50  # of the training data, predicted once a fit is done
PREDICTED_ENTRIES = 2**22  # of rows and probabilities at a time: 16 MB


class CandidateClassifier(
    DocumentedMixin,
    SavingMixin,
    CallbackSupportMixin,
    ClassifierMixin,
    BaseEstimator,
    ABC,
):
    """Base of classifiers that learn from candidate sets.

    Subclasses have the parameters `classes` and `missing_label`, call `_check_fit`
    first in fit, set ``label_distribution_``, and define `_predict_proba`.
    """

    # Whether beliefs may leave the sets; our exported checks of estimators ask.
    candidate_sets_may_lack_truth = False

    _fields: ClassVar = {
        "classes_": Labels("C"),
        "candidate_sets_": Array("b", ("n", "C")),
        "label_distribution_": beliefs("n", "C"),
        "n_features_in_": Number(integer=True, low=1, size="p"),
        "feature_names_in_": Labels("p", text=True, optional=True),
    }

    def _check_fit(self, X: ArrayLike, y: Any) -> TrainingData:
        """Check and encode the training data.

        Sets ``classes_`` and ``candidate_sets_``.
        """
        return self._dense_data(*self._check_data(X, y, sparse_output=False))

    def _check_sparse_fit(
        self, X: ArrayLike, y: Any
    ) -> TrainingData | SparseTrainingData:
        """Do the same, with sparse sets where classes are very many."""
        rows, Y = self._check_data(X, y, sparse_output="auto")
        if not issparse(Y):
            return self._dense_data(rows, Y)
        weights = None if Y.dtype == bool else Y.data.astype(np.float64)
        self.candidate_sets_ = Y.astype(bool)
        self._keep_some(rows)
        return self._agreed(SparseTrainingData(rows, self.candidate_sets_, weights))

    def _agreed(self, data: Data) -> Data:
        """Return the data of a fit, which processes that share it all must have."""
        return data

    def _dense_data(self, rows: NDArray[np.floating], Y: NDArray[Any]) -> TrainingData:
        # One memory layout, whatever y came in: products round by layout.
        self.candidate_sets_ = np.ascontiguousarray(Y > 0)
        weights = None if Y.dtype == bool else Y.astype(np.float64, order="C")
        self._keep_some(rows)
        return self._agreed(TrainingData(rows, self.candidate_sets_, weights))

    def _keep_some(self, rows: NDArray[np.floating]) -> None:
        """Keep some training rows, for a look at what is fitted."""
        some = slice(None, None, -(-len(rows) // TRIED_ROWS))
        sets = self.candidate_sets_[some]
        self._tried_rows = rows[some], sets.toarray() if issparse(sets) else sets

    def _check_data(
        self, X: ArrayLike, y: Any, *, sparse_output: bool | str
    ) -> tuple[NDArray[np.floating], Any]:
        """Check rows and encode sets; sets ``classes_``."""
        Y, classes = encode_candidates(
            y,
            self.classes,
            missing_label=self.missing_label,
            sparse_output=sparse_output,
        )
        with naming_entries(X):
            rows: NDArray[np.floating] = validate_data(
                self, X, dtype=[np.float64, np.float32], ensure_min_samples=2
            )
        refuse_huge(rows)
        check_consistent_length(rows, Y)
        if len(classes) < 2:
            raise ValueError(
                f"y holds 1 class ({classes.tolist()[0]!r}); a classifier needs at "
                "least 2. Name every class in classes= if y lacks some of them."
            )
        self.classes_ = classes
        return rows, Y

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float32
            Rows sum to 1; columns in the order of ``classes_``. A row's answer does
            not depend on the rows around it. A class that was no candidate of any
            training row has probability 0.
        """
        rows = self._checked(X)
        blocks = self._blocks(rows)
        if len(blocks) == 1:
            return self._block_proba(rows, blocks[0])
        P = np.empty((len(rows), len(self.classes_)), dtype=np.float32)
        for block in blocks:
            P[block] = self._block_proba(rows, block)
        return P

    def _blocks(self, rows: NDArray[np.floating]) -> list[slice]:
        """Rows to predict at a time, so that what is made of them on the way is small.

        The rows may lie on disk, and the classes be very many.
        """
        width = rows.shape[1] + len(self.classes_)
        step = max(1, PREDICTED_ENTRIES // (width * BLOCK_ROWS)) * BLOCK_ROWS
        return [slice(i, i + step) for i in range(0, len(rows), step)]

    def _block_proba(
        self, rows: NDArray[np.floating], block: slice
    ) -> NDArray[np.float32]:
        """Probabilities of some of the rows to predict. -> (b, C)."""
        P = self._without_absent(self._predict_proba(rows[block]))
        finite = np.isfinite(P).all(axis=1)
        if not finite.all():
            row = block.start + int(np.argmin(finite))
            raise ValueError(
                f"Row {row} of X gets no probabilities: numbers overflowed on the way. "
                "If it is far from the training rows, check its values; if it is not, "
                "fit again with a smaller learning_rate."
            )
        return P

    def _checked(self, X: ArrayLike) -> NDArray[np.floating]:
        """Rows as the fitted estimator takes them. (n, p)."""
        check_is_fitted(self)
        with naming_entries(X):
            rows: NDArray[np.floating] = validate_data(
                self, X, dtype=[np.float64, np.float32], reset=False
            )
        refuse_huge(rows)
        return rows

    def _without_absent(self, P: NDArray[np.float32]) -> NDArray[np.float32]:
        """P without classes that were never a candidate: no network learns a 0."""
        possible = self._possible()
        if possible.all():
            return P
        P = np.where(possible, P, 0)
        total = P.sum(axis=1, keepdims=True)
        everywhere = np.broadcast_to(possible / possible.sum(), P.shape)
        return np.divide(P, total, out=everywhere.astype(P.dtype), where=total > 0)

    def _possible(self) -> NDArray[np.bool_]:
        """Classes that were a candidate of some training row. (C,)."""
        possible: NDArray[np.bool_] = np.asarray(self.candidate_sets_.sum(axis=0)) > 0
        return possible

    @abstractmethod
    def _check_params(self) -> None:
        """Refuse parameters that fit cannot work with."""

    def _check_loaded(self) -> None:
        """Refuse what a file brought, where its parts do not fit together."""
        self._check_params()
        sizes = np.asarray(self.candidate_sets_.sum(axis=1))
        if len(self.classes_) < 2 or not sizes.all():
            raise ValueError("a row has no candidate, or there is one class only")

    def _try_out(self) -> None:
        """Refuse what a file brought, where it cannot predict."""
        P = self._predict_proba(np.zeros((1, self.n_features_in_)))
        if P.shape != (1, len(self.classes_)) or not np.isfinite(P).all():
            raise ValueError("it cannot predict")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the rows that the end of a fit looks at."""
        state = dict(super().__getstate__())  # it may be the estimator's own
        state.pop("_tried_rows", None)
        return state

    def _try_fitted(self) -> None:
        """Look at the predictions for some training rows, when a fit is done.

        Raises
        ------
        DivergedError
            If they are no numbers: the last update may have broken a network.

        Warns
        -----
        ConvergenceWarning
            If they are all one class, which is no candidate of most of the rows.
        """
        rows, sets = self.__dict__.pop("_tried_rows")
        if not hasattr(self, "predict_proba"):
            return  # around a classifier without
        P = self._without_absent(self._predict_proba(rows))
        if not np.isfinite(P).all():
            raise DivergedError(
                "training diverged: what was fitted gives no probabilities, since "
                "numbers overflow. Lower learning_rate, or check the scale of X."
            )
        best = P.argmax(axis=1)
        share = sets[:, best[0]].mean()
        if (best == best[0]).all() and share < 0.5:
            label = self.classes_.tolist()[best[0]]
            warnings.warn(
                f"Every one of {len(rows)} training rows is predicted to be {label!r}, "
                f"which is a candidate of {share:.0%} of them: nothing else is learnt. "
                "Train longer (max_epochs), take fewer n_neighbors, or check that the "
                "columns of X differ between classes and are of similar scale.",
                ConvergenceWarning,
                stacklevel=3,
            )

    @abstractmethod
    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probability of each class for checked rows. (n, p) -> (n, C)."""

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        rows = self._checked(X)
        best = [
            self._block_proba(rows, block).argmax(axis=1)
            for block in self._blocks(rows)
        ]
        return self.classes_[np.concatenate(best)]

    def score(
        self,
        X: ArrayLike,
        y: Any,
        sample_weight: ArrayLike | None = None,
        true_labels: ArrayLike | None = None,
    ) -> float:
        """Covering rate: the share of predictions inside the candidate sets.

        No true label is needed. Where `y` has one label a row this is accuracy. A row
        that may be any class is always covered: score labelled rows only for the
        accuracy on them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets, in any form that fit takes.
        sample_weight : array-like of shape (n_samples,), default=None
            How much each row counts.
        true_labels : array-like of shape (n_samples,), default=None
            True labels, where they are known: the score is then the accuracy. Travels
            through searches and cross-validation as metadata, if
            ``set_score_request(true_labels=True)`` asks for it.

        Returns
        -------
        score : float
            Between 0 and 1.
        """
        if true_labels is not None:
            predicted = self.predict(X)
            return true_accuracy(true_labels, predicted, self.classes_, sample_weight)
        return covering_rate_scorer(self, X, y, sample_weight=sample_weight)

    def label_issues(
        self, X: ArrayLike | None = None, y: Any = None, cv: Any = None
    ) -> pd.DataFrame:
        """Which of the given labels are wrong: all rows, the most suspicious first.

        There are three ways to ask. ``label_issues(X, y, cv=5)`` judges every row by a
        clone that has not seen it; the estimator itself need not be fitted. This is the
        way to check a data set. ``label_issues(X, y)`` asks the fitted estimator about
        other rows. ``label_issues()`` shows what it came to believe of its training
        rows (see Notes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Rows whose labels are in question. None stands for the training rows.
        y : array-like of shape (n_samples, n_classes) or (n_samples,), default=None
            Their given labels or candidate sets, in any form that fit takes.
        cv : int, splitter or iterable, default=None
            How to split `X` and `y`, as in
            :func:`~sklabeldiff.model_selection.cross_val_proba`: an integer is the
            number of stratified, shuffled folds.

        Returns
        -------
        issues : pandas.DataFrame
            One line per row, with the columns

            - "row": position in `y`, or among the training rows, as ``iloc`` takes it;
            - "given": the label, where no row has several, else a frozenset of labels;
              None for a row that may be any class;
            - "believed": the most probable label;
            - "confidence": its probability;
            - "score": self-consistency, the probability that the true label is among
              the given ones. From 0, surely wrong, to 1; 1 where every class is given.

            Sorted by score. Among equal scores, rows believed to have a label that was
            not given come first, the surest of them first; then those believed to have
            a given one, the least sure first; then those that may be any class. Further
            ties keep the order of the rows.

        Raises
        ------
        ValueError
            If one of `X` and `y` is given without the other, or `cv` without them; if
            fit would refuse `y`, or it has a label that the fitted estimator does not
            know; if a row is not held out exactly once by `cv`.
        ImportError
            If pandas is not installed.

        See Also
        --------
        sklabeldiff.metrics.label_issues_average_precision : How good the ranking is,
            where the truth is known.
        sklabeldiff.model_selection.cross_val_proba : The probabilities, for any
            classifier.

        Notes
        -----
        An estimator whose training beliefs are confined to the candidates takes it for
        granted that the sets hold the truth. ``label_issues()`` then has score 1 in
        every row and ranks the rows by confidence: which sets are hard to resolve, not
        which are wrong. To find sets that lack the true label, give `cv`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklabeldiff.baselines import PLKNNClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> y = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
        >>> y[[7, 30]] = "virginica"
        >>> issues = PLKNNClassifier().label_issues(X, y, cv=5)
        >>> issues[["row", "given", "believed"]].head(2)
           row      given believed
        0    7  virginica   setosa
        1   30  virginica   setosa
        """
        if cv is None and (X is None) == (y is None):
            check_is_fitted(
                self,
                msg="This %(name)s is not fitted. Fit it first, or give X, y and cv=5 "
                "to have every row judged by a clone that has not seen it.",
            )
        if X is None and y is None and cv is None:
            sets, classes = self.candidate_sets_, self.classes_
            posterior = self._training_posterior()
        elif X is None or y is None:
            names = {"X": X, "y": y, "cv": cv}
            given = " and ".join(k for k, value in names.items() if value is not None)
            raise ValueError(
                f"label_issues was given {given} only. Give X, y and cv to have every "
                "row judged by a model that has not seen it, X and y to ask the fitted "
                "estimator, or nothing for the training rows."
            )
        elif cv is None:
            classes = self.classes_
            Y, _ = encode_candidates(y, classes, missing_label=self.missing_label)
            check_consistent_length(X, Y)
            sets, posterior = Y > 0, self._label_posterior(X, Y)
        else:
            Y, classes = encode_candidates(
                y, self.classes, missing_label=self.missing_label
            )
            sets, posterior = Y > 0, out_of_fold(self, X, Y, _held_out_posterior, cv=cv)
        return issues_frame(sets, posterior, classes)

    def _label_posterior(self, X: Any, Y: NDArray[Any]) -> NDArray[np.floating]:
        """Beliefs about the true label of rows as the user gave them. -> (n, C).

        `Y` (n, C), the bool or weighted indicator of what was given, is not consulted
        here. A method that knows how labels go wrong overrides this.
        """
        return self.predict_proba(X)

    def _training_posterior(self) -> NDArray[np.floating]:
        """Beliefs about the true label of the training rows. (n, C)."""
        return self.label_distribution_


def _held_out_posterior(
    model: CandidateClassifier, X: Any, Y: NDArray[Any]
) -> NDArray[np.floating]:
    """Answer of a fold's model to `label_issues`; a function, so that it pickles."""
    return model._label_posterior(X, Y)


class NetworkClassifier(CandidateClassifier):
    """Base of classifiers around a torch network.

    The weights are kept as arrays in fitted attributes, so that an estimator pickles,
    memory-maps and moves between devices. Subclasses define `_build`, which returns
    the object that predicts; it is built on first use and never pickled.
    """

    _fields: ClassVar = CandidateClassifier._fields | {
        "history_": Records(),
        "n_iter_": Number(integer=True, low=0),
    }
    # Parameters that what was fitted depends on. As fit had them they stay in force,
    # whatever `set_params` says: that is for the next fit.
    _shaping: ClassVar[tuple[str, ...]] = ()
    _fit_params: Mapping[str, Any] = MappingProxyType({})
    _built: tuple[torch.device, Any] | None = None

    def _check_data(
        self, X: ArrayLike, y: Any, *, sparse_output: bool | str
    ) -> tuple[NDArray[np.floating], Any]:
        # Copies that callbacks make on the way have the parameters of this fit.
        for name in ("_fit_params", "_built"):
            self.__dict__.pop(name, None)
        return super()._check_data(X, y, sparse_output=sparse_output)

    def _agreed(self, data: Data) -> Data:
        shared = processes.current()
        if shared.count > 1:
            digests = [
                crc32(np.ascontiguousarray(array).data) for array in data.arrays()
            ]
            shared.check_same("rows or labels", digests)
        return data

    def _share_fitted(self) -> None:
        """Take over what the main process has fitted, where several share the fit."""
        # What is not trained is computed by each: on machines that round otherwise it
        # differs in the last bits.
        shared = processes.current()
        if shared.count > 1:
            fitted = {k: v for k, v in vars(self).items() if re.search("[^_]_$", k)}
            self.__dict__.update(shared.of_main(fitted))
            self._built = None
            self._built_model()

    # Every network classifier has these parameters.
    learning_rate: float
    max_epochs: int | str
    device: str
    verbose: int

    def _check_params(self) -> None:
        check_number("learning_rate", self.learning_rate, 0, open_low=True)
        check_number("max_epochs", self.max_epochs, 1, integer=True, or_word="auto")
        check_verbose(self.verbose)

    @abstractmethod
    def _build(self, device: torch.device) -> Any:
        """Return the object that predicts, from the fitted arrays.

        Its networks get their shapes from the parameters and their weights from the
        arrays: `load_arrays` checks the one against the other.
        """

    @property
    def _model(self) -> Any:
        return self._built_model()

    def _built_model(self) -> Any:
        """Return what predicts, built on first use and after a change of device."""
        device = self._device()
        built = self._built  # read once: another thread may set it
        if built is None or built[0] != device:
            as_fitted = copy.copy(self)
            as_fitted.__dict__.update(self._fit_params)
            built = self._built = device, as_fitted._build(device)
        return built[1]

    def _as_in_fit(self, name: str) -> Any:
        """Parameter that predictions depend on, as fit had it."""
        return self._fit_params.get(name, getattr(self, name))

    def _finish_fit(self, fitted: dict[str, Any]) -> None:
        """Take over what was fitted. It is built, so that predict changes nothing."""
        self.__dict__.update(fitted)
        self._fit_params = {name: getattr(self, name) for name in self._shaping}
        self._built = None
        self._built_model()

    def _params_to_save(self) -> dict[str, Any]:
        return super()._params_to_save() | dict(self._fit_params)

    def _check_loaded(self) -> None:
        super()._check_loaded()
        self._fit_params = {name: getattr(self, name) for name in self._shaping}
        self._try_out()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the built network."""
        state = super().__getstate__()
        state.pop("_built", None)
        return state

    def _device(self) -> torch.device:
        """Return the device asked for; "auto" is a GPU where there is one."""
        if isinstance(self.device, str) and self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return usable_device(self.device)
