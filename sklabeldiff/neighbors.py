"""Nearest neighbours of very many rows, in the way of KNeighborsTransformer."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fitting import CALLER_OF_FIT
from sklabeldiff._optional import require
from sklabeldiff._parameters import check_number, checked_random_state
from sklabeldiff.core.graph import Rows, Search, nearest_neighbours, without_self

EXACT_ROWS = 100_000  # with neighbors="auto"; above, all pairs take minutes
# Of k-means, which only has to cut roughly. Lists are many and short, because finding
# the nearest of them is a matrix product, and going through one is not.
LISTS_PER_ROOT, N_ITERATIONS, POINTS_PER_LIST = 8, 5, 32
SEARCHED_ROWS = 65_536  # at a time


class ApproximateNeighbors(TransformerMixin, DocumentedMixin, BaseEstimator):
    r"""Find near rows in lists of similar ones, most of which are never looked at.

    An inverted file of faiss (extra ``ann``): k-means cuts the rows into about
    :math:`8 \sqrt n` lists; a row is compared with those of the ``n_probes`` nearest
    lists. A row that has too few there is compared with all.

    It gives what ``KNeighborsTransformer(mode="distance")`` gives, and can stand
    wherever scikit-learn takes such a transformer.

    Parameters
    ----------
    n_neighbors : int, default=10
        Neighbours of each row, besides itself.
    n_probes : int, default=16
        Lists looked at. More find more of the true neighbours and take longer.
    random_state : int, RandomState instance or None, default=None
        Of the start of k-means.

    Attributes
    ----------
    index_ : faiss.IndexIVFFlat
        The lists.
    n_samples_fit_ : int
        Rows in them.
    n_features_in_ : int
        Columns.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X has them.

    See Also
    --------
    sklearn.neighbors.KNeighborsTransformer : The exact search.

    References
    ----------
    M. Douze et al., "The Faiss library", arXiv:2401.08281, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklabeldiff.neighbors import ApproximateNeighbors
    >>> X, _ = load_digits(return_X_y=True)
    >>> ApproximateNeighbors(5, random_state=0).fit_transform(X).shape
    (1797, 1797)
    """

    def __init__(
        self, n_neighbors: int = 10, *, n_probes: int = 16, random_state: Any = None
    ) -> None:
        self.n_neighbors = n_neighbors
        self.n_probes = n_probes
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Cut the rows into lists.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, compared by Euclidean distance in single precision.
        y : object, default=None
            Not used.

        Returns
        -------
        self : ApproximateNeighbors
            The fitted transformer.

        Raises
        ------
        ImportError
            If faiss is not installed.
        """
        check_number("n_neighbors", self.n_neighbors, 1, integer=True)
        check_number("n_probes", self.n_probes, 1, integer=True)
        faiss = require("faiss", "ann")
        rows = self._checked(X, reset=True)
        n, d = rows.shape
        n_lists = max(1, min(n // 4, round(LISTS_PER_ROOT * np.sqrt(n))))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, n_lists)
        index.cp.niter = N_ITERATIONS
        index.cp.max_points_per_centroid = POINTS_PER_LIST
        index.cp.min_points_per_centroid = 1
        index.cp.seed = int(checked_random_state(self.random_state).randint(2**31 - 1))
        index.train(rows)
        index.add(rows)
        self.index_, self.n_samples_fit_ = index, n
        return self

    def transform(self, X: ArrayLike) -> csr_matrix:
        """Find the neighbours of rows among those of fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows. Those of fit find themselves.

        Returns
        -------
        graph : sparse matrix of shape (n_samples, n_samples_fit)
            Distances to ``n_neighbors + 1`` rows, in rising order in each row; float32,
            CSR.
        """
        check_is_fitted(self)
        distances, neighbours = self._search(self._checked(X, reset=False))
        n, k = neighbours.shape
        ends = np.arange(0, n * k + 1, k)
        shape = (n, self.n_samples_fit_)
        return csr_matrix((distances.ravel(), neighbours.ravel(), ends), shape=shape)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the graph is in single precision."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _search(
        self, rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Distances and indices, each (n, k + 1)."""
        k = self.n_neighbors + 1
        if k > self.n_samples_fit_:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} and the row itself are more than the "
                f"{self.n_samples_fit_} rows of fit. Ask for fewer."
            )
        squares = np.empty((len(rows), k), dtype=np.float32)
        neighbours = np.empty((len(rows), k), dtype=np.int32)  # faiss gives int64
        for start in range(0, len(rows), SEARCHED_ROWS):
            some = slice(start, start + SEARCHED_ROWS)
            squares[some], neighbours[some] = self._search_block(rows[some], k)
        return np.sqrt(squares, out=squares), neighbours

    def _search_block(
        self, rows: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances and indices, each (b, k)."""
        self.index_.nprobe = min(self.n_probes, self.index_.nlist)
        squares, neighbours = self.index_.search(rows, k)
        short = np.flatnonzero(neighbours[:, -1] < 0)
        if len(short):
            self.index_.nprobe = self.index_.nlist
            squares[short], neighbours[short] = self.index_.search(rows[short], k)
        return squares, neighbours

    def _checked(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = validate_data(
            self, X, dtype=np.float32, order="C", reset=reset
        )
        return rows


def check_neighbors(neighbors: Any) -> None:
    """Refuse what is neither a word nor a transformer."""
    is_word = isinstance(neighbors, str) and neighbors in ("auto", "exact")
    if is_word or hasattr(neighbors, "fit_transform"):
        return
    raise ValueError(
        "neighbors must be 'auto', 'exact' or a transformer such as "
        f"KNeighborsTransformer, got {neighbors!r}."
    )


def search_by(neighbors: Any, seed: int) -> Search:
    """Return the search that ``neighbors`` of an estimator asks for."""

    def search(
        Z: Rows, n_neighbors: int
    ) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
        transformer = neighbors
        if isinstance(neighbors, str):
            if neighbors == "exact" or len(Z) <= EXACT_ROWS or not _has_faiss(len(Z)):
                return nearest_neighbours(Z, n_neighbors)
            transformer = ApproximateNeighbors(random_state=seed)
        rows = Z.cpu().numpy() if isinstance(Z, torch.Tensor) else Z
        return _by_transformer(transformer, rows, n_neighbors)

    return search


def _has_faiss(n_rows: int) -> bool:
    """Whether faiss can be imported; warns if not."""
    found = find_spec("faiss") is not None
    if not found:
        warnings.warn(
            f"The neighbours of {n_rows} rows are searched by comparing all pairs, "
            "which takes long. Install faiss for an approximate search: "
            'pip install "sklabeldiff[ann]", or say neighbors="exact".',
            UserWarning,
            # Asked for by the search, the graph, and a step of fit.
            stacklevel=CALLER_OF_FIT + 3,
        )
    return found


def _by_transformer(
    transformer: Any, Z: NDArray[np.floating], n_neighbors: int
) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Neighbours from a transformer's graph of distances. (n, p) -> (n, k) each."""
    n, k = len(Z), min(n_neighbors, len(Z) - 1)
    graph = csr_matrix(clone(transformer).set_params(n_neighbors=k).fit_transform(Z))
    found = np.diff(graph.indptr)
    if graph.shape != (n, n) or (found != k + 1).any():
        row = int((found != k + 1).argmax())
        raise ValueError(
            f"{transformer!r} must give a graph of {n} x {n} with {k + 1} entries a "
            "row, the row itself among them, as "
            f"KNeighborsTransformer(mode='distance') does. It has shape {graph.shape}, "
            f"and row {row} has {found[row]} entries."
        )
    distances = graph.data.reshape(n, k + 1)
    neighbours = graph.indices.reshape(n, k + 1)
    if (distances[:, 1:] < distances[:, :-1]).any():
        order = distances.argsort(axis=1, kind="stable")
        distances, neighbours = (
            np.take_along_axis(a, order, axis=1) for a in (distances, neighbours)
        )
    return without_self(distances, neighbours)
