"""KernelPropagationClassifier: kernel ridge regression and its own labels, in turn."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import Array
from sklabeldiff._fitting import whole_fit
from sklabeldiff._parameters import check_number, checked_random_state
from sklabeldiff._standardize import (
    SCALER_FIELD,
    check_standardize,
    fit_standardizer,
)
from sklabeldiff.base import CandidateClassifier
from sklabeldiff.core.blocks import in_blocks
from sklabeldiff.core.graph import graph_beliefs
from sklabeldiff.core.kernels import RidgeSmoother, kernel_matrix, whitening
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.transitions import normalise_rows

KERNEL = "gaussian"


class KernelPropagationClassifier(CandidateClassifier):
    r"""Kernel ridge regression on propagated labels, refitted and masked in turn.

    Assumes that the true label of a row is among its candidates, and that a smooth
    function of the features tells the classes apart.

    Parameters
    ----------
    gamma : float, default=0.1
        Width of the kernel; larger is narrower.
    ridge : float, default=0.1
        Penalty on the weights.
    n_passes : int, default=10
        Times that the regression is fitted and its answers, masked to the candidates,
        become the labels of the next. 0 fits it once, to the propagated labels.
    n_components : int, default=1000
        Training rows drawn as centres of the kernel. All rows, if there are fewer.
    n_neighbors : int, default=10
        Neighbours of each row in the graph of the first beliefs.
    n_propagations : int, default=10
        Passes of beliefs over the graph. 0 starts from equal belief.
    standardize : {"standard", "rows", "auto"} or None, default="standard"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm, "auto" does that where it makes the candidate sets of near rows more
        alike.
    classes : array-like of shape (n_classes,), default=None
        All labels, where `y` may lack some, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.
    random_state : int, RandomState instance or None, default=None
        Draws the centres.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        The sets trained on: True where the class is a candidate of the training row.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs over the candidates of each training row; exactly 0 off the candidates.
    centres_ : ndarray of shape (n_centres, n_features), float32
        The rows drawn, scaled.
    weights_ : ndarray of shape (n_centres, n_classes), float32
        Weight of each centre in the answer for each class.
    offset_ : ndarray of shape (n_classes,), float32
        Answer far from all centres.
    scaler_ : dict
        Centres, scales, and whether rows go to equal norm.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had names.

    See Also
    --------
    sklabeldiff.DDMPClassifier : Starts from a smoother that leaves each row's own label
        out, holds class masses, and chooses its kernel.

    Notes
    -----
    With the Nystroem features F of the kernel :math:`\exp(-\gamma d^2 / p)` for p
    columns [1]_, beliefs S on the candidates, and their column means :math:`\bar S`,
    a pass is

    .. math:: A = F (F^T F + \mathrm{ridge} \cdot I)^{-1} F^T (S - \bar S) + \bar S,
        \quad S_{ij} \propto v_{ij} \max(A_{ij}, 0),

    where F is centred and :math:`v_{ij}` is 1 for candidates and 0 otherwise, or the
    soft weight divided by the largest of the row. S starts from the passes over the
    neighbour graph that DDMP starts from.

    Probabilities are the answers A of the last fit, clipped at 0 and divided by their
    sum. They are not calibrated.

    References
    ----------
    .. [1] C. Williams, M. Seeger, "Using the Nyström Method to Speed Up Kernel
           Machines", NeurIPS 2000.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import KernelPropagationClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = KernelPropagationClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _fields: ClassVar = CandidateClassifier._fields | {
        "scaler_": SCALER_FIELD,
        "centres_": Array("f", ("m", "p")),
        "weights_": Array("f", ("m", "C")),
        "offset_": Array("f", ("C",)),
    }

    def __init__(
        self,
        gamma: float = 0.1,
        ridge: float = 0.1,
        *,
        n_passes: int = 10,
        n_components: int = 1000,
        n_neighbors: int = 10,
        n_propagations: int = 10,
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        random_state: Any = None,
    ) -> None:
        self.gamma = gamma
        self.ridge = ridge
        self.n_passes = n_passes
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.n_propagations = n_propagations
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.random_state = random_state

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Propagate the labels, then fit and mask in turn.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unknown label.

        Returns
        -------
        self : KernelPropagationClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X holds NaN, or a parameter is out of range.
        TypeError
            If a parameter is of the wrong type.
        """
        self._check_params()
        data = self._check_fit(X, y)
        task = FitTask(self, X, y)
        rng = checked_random_state(self.random_state)
        scaler = fit_standardizer(data, self.standardize, self.n_neighbors)
        Z = scaler(data.X)
        S0 = graph_beliefs(Z, data.Y, data.Ybar, self.n_neighbors, self.n_propagations)
        centres = Z[rng.permutation(len(Z))[: self.n_components]]

        c, z, S, V, Ybar = (
            torch.as_tensor(array, dtype=torch.float32)
            for array in (Z, centres, S0, data.relative_weights(), data.Ybar)
        )
        white = whitening(z, KERNEL, self.gamma)
        F = kernel_matrix(c, z, KERNEL, self.gamma) @ white
        smoother = RidgeSmoother(F)
        for _ in range(self.n_passes):
            weights, offset = smoother.coefficients(S, self.ridge)
            A = smoother.scores @ weights + offset
            S = normalise_rows(V * A.clamp(min=0), Ybar)
        weights, offset = smoother.predictor(S, self.ridge)

        self.label_distribution_ = S.numpy()
        self.centres_ = centres
        self.weights_ = (white @ weights).numpy()
        self.offset_ = offset.numpy()
        self.scaler_ = vars(scaler)
        task.end()
        return self

    def _check_params(self) -> None:
        check_number("gamma", self.gamma, 0, open_low=True)
        check_number("ridge", self.ridge, 0, open_low=True)
        for name in ("n_components", "n_neighbors"):
            check_number(name, getattr(self, name), 1, integer=True)
        for name in ("n_passes", "n_propagations"):
            check_number(name, getattr(self, name), 0, integer=True)
        check_standardize(self.standardize)

    def _check_loaded(self) -> None:
        super()._check_loaded()
        self._try_out()

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        arrays = (self.centres_, self.weights_, self.offset_)
        centres, weights, offset = (torch.tensor(array) for array in arrays)
        Z = torch.as_tensor(Standardizer(**self.scaler_)(X))
        answers = in_blocks(
            lambda c: kernel_matrix(c, centres, KERNEL, self.gamma) @ weights + offset,
            Z,
        ).clamp(min=0)  # before this, rows sum to 1
        return (answers / answers.sum(1, keepdim=True)).numpy()
