"""PLKNNClassifier: the candidates of the nearest rows vote."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import Array
from sklabeldiff._fitting import whole_fit
from sklabeldiff._parameters import check_number, check_option
from sklabeldiff._standardize import (
    SCALER_FIELD,
    check_standardize,
    fit_standardizer,
)
from sklabeldiff.base import CandidateClassifier
from sklabeldiff.core.blocks import BLOCK_ROWS, in_blocks
from sklabeldiff.core.graph import nearest_neighbours
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.transitions import normalise_rows

MAX_DISTANCES = 2**24  # in memory at a time
MIN_BLOCK_ROWS = 8


class PLKNNClassifier(CandidateClassifier):
    r"""Nearest neighbours whose candidate sets vote (PL-kNN).

    Assumes that the true label of a row is among its candidates, and that the wrong
    candidates of near rows differ: then the true class gathers most votes.

    Parameters
    ----------
    n_neighbors : int, default=10
        Neighbours that vote. All rows, if there are fewer.
    weights : {"distance", "uniform"}, default="distance"
        Weight of a vote: falling with the distance as in the paper, or 1.
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
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        The sets trained on: True where the class is a candidate of the training row.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Votes of the other rows for the candidates of each training row; exactly 0 off
        the candidates.
    rows_ : ndarray of shape (n_samples, n_features), float32
        The training rows, scaled.
    votes_ : ndarray of shape (n_samples, n_classes), float32
        What each training row gives to each class.
    scaler_ : dict
        Centres, scales, and whether rows go to equal norm.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had names.

    See Also
    --------
    sklabeldiff.DDMPClassifier : Beliefs from neighbours are only where it starts.

    Notes
    -----
    With the neighbours :math:`N(x)` at distances :math:`d_i`, class :math:`j` gets

    .. math:: \sum_{i \in N(x)} w_i \, 1[j \in Y_i], \quad
        w_i = 1 - d_i / \textstyle\sum_{l \in N(x)} d_l .

    A neighbour gives its full vote to each of its candidates (the vote is not split
    among them), as in [1]_; of soft weights the heaviest candidate of a row gets the
    full vote, the others their share of it. So an unlabelled neighbour decides nothing.
    Probabilities are votes divided by their sum, and not calibrated. With one
    neighbour, or with all at distance 0, votes weigh 1.

    References
    ----------
    .. [1] E. Hüllermeier, J. Beringer, "Learning from ambiguously labeled examples",
           Intelligent Data Analysis 10(5), 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = PLKNNClassifier().fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _fields: ClassVar = CandidateClassifier._fields | {
        "scaler_": SCALER_FIELD,
        "rows_": Array("f", ("n", "p")),
        "votes_": Array("f", ("n", "C"), low=0),
    }

    def __init__(
        self,
        n_neighbors: int = 10,
        *,
        weights: str = "distance",
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Keep the rows and their votes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unknown label.

        Returns
        -------
        self : PLKNNClassifier
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
        scaler = fit_standardizer(data, self.standardize, self.n_neighbors)
        self.scaler_ = vars(scaler)
        self.rows_ = scaler(data.X)
        self.votes_ = data.relative_weights().astype(np.float32)

        V = torch.tensor(self.votes_)
        found = nearest_neighbours(self.rows_, self.n_neighbors)
        distances, neighbours = (torch.as_tensor(array) for array in found)
        votes = in_blocks(lambda d, i: self._count(d, V[i]), distances, neighbours)
        beliefs = normalise_rows(V * votes, torch.as_tensor(data.Ybar))
        self.label_distribution_ = beliefs.float().numpy()
        task.end()
        return self

    def _check_params(self) -> None:
        check_number("n_neighbors", self.n_neighbors, 1, integer=True)
        check_option("weights", self.weights, ("distance", "uniform"))
        check_standardize(self.standardize)

    def _count(self, distances: Tensor, votes: Tensor) -> Tensor:
        """Weighted votes of the neighbours. (b, k), (b, k, C) -> (b, C)."""
        weights = torch.ones_like(distances)
        if self.weights == "distance" and distances.shape[1] > 1:
            total = distances.sum(1, keepdim=True)
            weights -= distances / torch.where(total > 0, total, 1.0)
        return torch.einsum("bk,bkj->bj", weights, votes.to(weights.dtype))

    def _check_loaded(self) -> None:
        super()._check_loaded()
        self._try_out()

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        rows, V = torch.tensor(self.rows_).double(), torch.tensor(self.votes_)
        k = min(self.n_neighbors, len(rows))

        def votes(Z: Tensor) -> Tensor:
            # In double, since the distance to a duplicate is a difference of squares.
            distances, neighbours = torch.cdist(Z, rows).topk(k, largest=False)
            return self._count(distances, V[neighbours])

        Z = torch.as_tensor(Standardizer(**self.scaler_)(X)).double()
        fitting = MAX_DISTANCES // len(rows)
        block_rows = min(BLOCK_ROWS, max(MIN_BLOCK_ROWS, fitting))
        counts = in_blocks(votes, Z, block_rows=block_rows)
        return (counts / counts.sum(1, keepdim=True)).float().numpy()
