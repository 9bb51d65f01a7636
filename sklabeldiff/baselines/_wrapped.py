"""CandidateWeightedClassifier: any scikit-learn classifier on candidate sets."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import has_fit_parameter

from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import Fitted
from sklabeldiff._fitting import whole_fit
from sklabeldiff._parameters import check_number, check_option
from sklabeldiff._standardize import (
    SCALER_FIELD,
    check_standardize,
    fit_standardizer,
)
from sklabeldiff._training_data import TrainingData
from sklabeldiff.base import CandidateClassifier
from sklabeldiff.core.graph import graph_beliefs
from sklabeldiff.core.scaling import Standardizer

MAX_ITER = 1000  # scikit-learn's 100 warns on ordinary tables


def _wrapped_has_proba(self: CandidateWeightedClassifier) -> bool:
    """Whether the wrapped classifier, fitted or to be fitted, gives probabilities."""
    wrapped = getattr(self, "estimator_", self.estimator)
    return wrapped is None or hasattr(wrapped, "predict_proba")


class CandidateWeightedClassifier(CandidateClassifier):
    r"""Any scikit-learn classifier, trained on candidate sets.

    Either on every row once for each candidate, with the belief in it as sample weight,
    which assumes that wrong candidates cancel out; or on one label a row, found by
    propagation among neighbours, which assumes that near rows share their class.

    Parameters
    ----------
    estimator : classifier, default=None
        A clone of it is trained. None stands for
        ``LogisticRegression(max_iter=1000)``. It sees classes as their positions in
        ``classes_``, 0, 1, ..., and its own ``random_state`` is used as it is.
    labels : {"weighted", "propagated"}, default="weighted"
        "weighted" repeats each row for each of its candidates, with sample weights;
        "propagated" takes the most probable label after passes over the neighbour
        graph, without weights.
    n_neighbors : int, default=10
        Neighbours of each row in the graph of "propagated".
    n_propagations : int, default=10
        Passes of beliefs over that graph.
    standardize : {"standard", "rows", "auto"} or None, default="standard"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm, "auto" does that where it makes the candidate sets of near rows more
        alike.
    classes : array-like of shape (n_classes,), default=None
        All labels, where `y` may lack some, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.

    Attributes
    ----------
    estimator_ : classifier
        The trained clone.
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        The sets trained on: True where the class is a candidate of the training row.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs that the classifier was trained on; exactly 0 off the candidates. For
        "weighted" equal in all candidates, or the user's weights.
    scaler_ : dict
        Centres, scales, and whether rows go to equal norm.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had names.

    See Also
    --------
    PRODENClassifier : Revises the weights while it learns.

    Notes
    -----
    "weighted" minimises :math:`\sum_i \sum_j \bar Y_{ij} \ell(x_i, j)` for the loss
    :math:`\ell` of the wrapped classifier, where rows of :math:`\bar Y` sum to 1: the
    averaging strategy of partial-label learning [1]_. An unlabelled row counts for
    every class alike. "propagated" trains on the argmax of the beliefs that DDMP starts
    from.

    A class that is never believed has probability 0. ``predict_proba`` exists only if
    the wrapped classifier has it; ``predict`` is that of the wrapped classifier. `save`
    cannot write the wrapped classifier: use pickle.

    References
    ----------
    .. [1] T. Cour, B. Sapp, B. Taskar, "Learning from Partial Labels", JMLR 12, 2011.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from sklabeldiff.baselines import CandidateWeightedClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = CandidateWeightedClassifier(SVC(), labels="propagated").fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _fields: ClassVar = CandidateClassifier._fields | {
        "scaler_": SCALER_FIELD,
        "estimator_": Fitted("C"),
    }

    def __init__(
        self,
        estimator: Any = None,
        labels: str = "weighted",
        *,
        n_neighbors: int = 10,
        n_propagations: int = 10,
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
    ) -> None:
        self.estimator = estimator
        self.labels = labels
        self.n_neighbors = n_neighbors
        self.n_propagations = n_propagations
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Train a clone of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unknown label.

        Returns
        -------
        self : CandidateWeightedClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X holds NaN, or a parameter is out of range; if
            propagation leaves one class.
        TypeError
            If a parameter is of the wrong type; if the labels are "weighted" and the
            classifier takes no sample weights.
        """
        self._check_params()
        if self.estimator is None:
            estimator = LogisticRegression(max_iter=MAX_ITER)
        elif not hasattr(self.estimator, "fit") or isinstance(self.estimator, type):
            raise TypeError(f"estimator must be a classifier, got {self.estimator!r}.")
        else:
            estimator = clone(self.estimator)
        if self.labels == "weighted" and not has_fit_parameter(
            estimator, "sample_weight"
        ):
            raise TypeError(
                f"{type(estimator).__name__}.fit takes no sample_weight. Use "
                "labels='propagated', or a classifier that takes it; of a Pipeline, "
                "wrap the last step alone."
            )
        data = self._check_fit(X, y)
        task = FitTask(self, X, y)
        scaler = fit_standardizer(data, self.standardize, self.n_neighbors)
        # In single precision, answers would differ with the number of rows.
        Z = scaler(data.X).astype(np.float64)
        if self.labels == "weighted":
            beliefs: NDArray[np.floating] = data.Ybar
            rows, columns = np.nonzero(data.Y)
            weights = beliefs[rows, columns]
            self.estimator_ = estimator.fit(Z[rows], columns, sample_weight=weights)
        else:
            beliefs, columns = self._propagated(Z, data)
            self.estimator_ = estimator.fit(Z, columns)
        self.scaler_ = vars(scaler)
        self.label_distribution_ = beliefs.astype(np.float32)
        task.end()
        return self

    def _check_params(self) -> None:
        check_option("labels", self.labels, ("weighted", "propagated"))
        check_number("n_neighbors", self.n_neighbors, 1, integer=True)
        check_number("n_propagations", self.n_propagations, 0, integer=True)
        check_standardize(self.standardize)

    def _propagated(
        self, Z: NDArray[np.float64], data: TrainingData
    ) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        """Beliefs (n, C) and their argmax (n,)."""
        beliefs = graph_beliefs(
            Z, data.Y, data.Ybar, self.n_neighbors, self.n_propagations
        )
        columns = beliefs.argmax(axis=1)
        if (columns == columns[0]).all():
            raise ValueError(
                f"propagation leaves 1 class, {self.classes_.tolist()[columns[0]]!r}, "
                "in every row. Use labels='weighted', or lower n_propagations."
            )
        return beliefs, columns

    @available_if(_wrapped_has_proba)
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probability of each class, if the wrapped classifier gives it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float32
            Rows sum to 1; columns in the order of ``classes_``.
        """
        return super().predict_proba(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of ``classes_``.
        """
        Z = self._scaled(self._checked(X))
        return self.classes_[self.estimator_.predict(Z)]

    def _scaled(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        return Standardizer(**self.scaler_)(X).astype(np.float64)

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        proba = np.zeros((len(X), len(self.classes_)), dtype=np.float32)
        found = self.estimator_.predict_proba(self._scaled(X))
        proba[:, self.estimator_.classes_] = found
        return proba
