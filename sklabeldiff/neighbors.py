"""Nearest neighbours of very many rows, in the way of KNeighborsTransformer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, csr_matrix, issparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fitting import CALLER_OF_FIT
from sklabeldiff._optional import require
from sklabeldiff._parameters import (
    check_folder,
    check_number,
    checked_random_state,
)
from sklabeldiff.core.graph import Rows as DenseRows
from sklabeldiff.core.graph import nearest_neighbours, without_self
from sklabeldiff.core.rows import StreamedRows

EXACT_ROWS = 100_000  # with neighbors="auto"; above, all pairs take minutes
# Of k-means, which only has to cut roughly. Lists are many and short, because finding
# the nearest of them is a matrix product, and going through one is not.
LISTS_PER_ROOT, N_ITERATIONS, POINTS_PER_LIST = 8, 5, 32
TRAINING_BYTES = 2**28  # of points that k-means has copies of
SEARCHED_ROWS = 65_536  # at a time
FILE_BYTES = 2**27  # of rows to a file, where lists are kept in a folder
WRITTEN_BYTES = 2**25  # of scaled rows at a time

Found: TypeAlias = tuple[NDArray[np.floating], NDArray[np.intp]]
Search: TypeAlias = Callable[[DenseRows | StreamedRows, int], Found]


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
    folder : str, Path or None, default=None
        Where the lists are kept, in files that are mapped into memory, for rows that do
        not fit there. Files of an earlier fit are replaced. None keeps them in memory.
    random_state : int, RandomState instance or None, default=None
        Of the start of k-means.

    Attributes
    ----------
    index_ : faiss.IndexIVFFlat or list of them
        The lists; with `folder` those of each file.
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

    _local_params: ClassVar = ("folder",)  # never saved

    def __init__(
        self,
        n_neighbors: int = 10,
        *,
        n_probes: int = 16,
        folder: str | Path | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.n_probes = n_probes
        self.folder = folder
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
        OSError
            If `folder` cannot be written to.
        """
        check_number("n_neighbors", self.n_neighbors, 1, integer=True)
        check_number("n_probes", self.n_probes, 1, integer=True)
        if self.folder is not None:
            check_folder("folder", self.folder)
        faiss = require("faiss", "ann")
        rows = self._checked(X, reset=True)
        n, d = rows.shape
        most = TRAINING_BYTES // (4 * d * POINTS_PER_LIST)
        n_lists = max(1, min(n // 4, round(LISTS_PER_ROOT * np.sqrt(n)), most))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, n_lists)
        index.cp.niter = N_ITERATIONS
        index.cp.max_points_per_centroid = POINTS_PER_LIST
        index.cp.min_points_per_centroid = 1
        index.cp.seed = int(checked_random_state(self.random_state).randint(2**31 - 1))
        index.train(rows)
        if self.folder is None:
            index.add(rows)
            self.index_ = index
        else:
            self.index_ = _in_files(index, rows, Path(self.folder))
        self.n_samples_fit_ = n
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
        squares, neighbours = self._search_lists(rows, k, self.n_probes)
        short = np.flatnonzero(neighbours[:, -1] < 0)
        if len(short):
            found = self._search_lists(rows[short], k, None)
            squares[short], neighbours[short] = found
        return squares, neighbours

    def _search_lists(
        self, rows: NDArray[np.float32], k: int, n_probes: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Squared distances and indices of what is in some lists, -1 for none."""
        parts = self.index_ if isinstance(self.index_, list) else [self.index_]
        found = []
        for part in parts:
            part.nprobe = min(n_probes or part.nlist, part.nlist)
            found.append(part.search(rows, k))
        if len(found) == 1:
            return found[0]
        squares, neighbours = (np.hstack(arrays) for arrays in zip(*found, strict=True))
        nearest = squares.argsort(axis=1, kind="stable")[:, :k]
        squares, neighbours = (
            np.take_along_axis(a, nearest, axis=1) for a in (squares, neighbours)
        )
        return squares, neighbours

    def _checked(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = validate_data(
            self, X, dtype=np.float32, order="C", reset=reset
        )
        return rows


def _in_files(index: Any, rows: NDArray[np.float32], folder: Path) -> list[Any]:
    """Put rows into lists that lie in files, and map these. One index a file."""
    import faiss

    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("lists-*.faiss"):  # of an earlier fit
        path.unlink()
    at_once = max(1, FILE_BYTES // rows[:1].nbytes)
    paths: list[Path] = []
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        index.add_with_ids(some, np.arange(start, start + len(some)))
        paths.append(folder / f"lists-{len(paths)}.faiss")
        faiss.write_index(index, str(paths[-1]))
        index.reset()
    return [faiss.read_index(str(path), faiss.IO_FLAG_MMAP) for path in paths]


def check_neighbors(neighbors: Any) -> None:
    """Refuse what is neither a word, nor a transformer, nor a graph."""
    is_word = isinstance(neighbors, str) and neighbors in ("auto", "exact")
    if is_word or hasattr(neighbors, "fit_transform") or issparse(neighbors):
        return
    raise ValueError(
        "neighbors must be 'auto', 'exact', a transformer such as "
        "KNeighborsTransformer, or the sparse matrix of distances that one makes, got "
        f"{neighbors!r}."
    )


def search_by(neighbors: Any, seed: int) -> Search:
    """Return the search that ``neighbors`` of an estimator asks for."""

    def search(Z: DenseRows | StreamedRows, n_neighbors: int) -> Found:
        if issparse(neighbors):
            return _by_graph(neighbors, len(Z), n_neighbors)
        if not isinstance(Z, StreamedRows):
            return _search(neighbors, Z, n_neighbors, seed, folder=None)
        with TemporaryDirectory() as folder:
            rows = _written(Z, Path(folder) / "rows.npy")
            found = _search(neighbors, rows, n_neighbors, seed, folder)
            del rows  # where mapped files cannot be removed
            return found

    return search


def _search(
    neighbors: Any, Z: DenseRows, n_neighbors: int, seed: int, folder: str | None
) -> Found:
    """Search as the word or the transformer says; lists go to a folder, if any."""
    transformer = neighbors
    if isinstance(neighbors, str):
        if neighbors == "exact" or len(Z) <= EXACT_ROWS or not _has_faiss(len(Z)):
            return nearest_neighbours(Z, n_neighbors)
        transformer = ApproximateNeighbors(folder=folder, random_state=seed)
    rows = Z.cpu().numpy() if isinstance(Z, torch.Tensor) else Z
    return _by_transformer(transformer, rows, n_neighbors)


def _written(Z: StreamedRows, path: Path) -> NDArray[np.float32]:
    """Scaled rows in a file, mapped into memory: a search wants them as an array."""
    rows: NDArray[np.float32] = np.lib.format.open_memmap(
        path, "w+", dtype=np.float32, shape=tuple(Z.shape)
    )
    step = max(1, WRITTEN_BYTES // rows[:1].nbytes)
    for start, some in zip(range(0, len(Z), step), Z.split(step), strict=True):
        rows[start : start + step] = some.cpu().numpy()
    return rows


def _has_faiss(n_rows: int) -> bool:
    """Whether faiss can be imported; warns if not."""
    found = find_spec("faiss") is not None
    if not found:
        warnings.warn(
            f"The neighbours of {n_rows} rows are searched by comparing all pairs, "
            "which takes long. Install faiss for an approximate search: "
            'pip install "sklabeldiff[ann]", or say neighbors="exact".',
            UserWarning,
            # Asked for by a search in a search, and a step of fit.
            stacklevel=CALLER_OF_FIT + 3,
        )
    return found


def _by_transformer(
    transformer: Any, Z: NDArray[np.floating], n_neighbors: int
) -> Found:
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


def _by_graph(graph: Any, n_rows: int, n_neighbors: int) -> Found:
    """Neighbours from distances that the user has. (n, n) sparse -> (n, k) each."""
    k = min(n_neighbors, n_rows - 1)
    graph = coo_array(graph)
    if graph.shape != (n_rows, n_rows):
        raise ValueError(
            f"neighbors is a graph of shape {graph.shape}, but X has {n_rows} rows. "
            "It must hold distances between the rows of X; in cross-validation, where "
            "rows change, give a transformer instead."
        )
    other = graph.row != graph.col
    rows, columns, distances = (a[other] for a in (graph.row, graph.col, graph.data))
    order = np.lexsort((columns, distances, rows))
    found = np.bincount(rows, minlength=n_rows)
    if found.min() < k:
        row = int(found.argmin())
        raise ValueError(
            f"row {row} has {found[row]} neighbours in the graph given as neighbors, "
            f"and n_neighbors={n_neighbors} are needed. Lower n_neighbors, or make the "
            "graph with more."
        )
    starts = np.cumsum(found) - found
    chosen = order[starts[:, None] + np.arange(k)]
    return distances[chosen], columns[chosen]
