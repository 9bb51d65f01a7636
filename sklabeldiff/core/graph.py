"""Beliefs from neighbours: who is near, whose candidate sets agree, who votes for what.

The first pseudo-clean labels of DDMP, a reconstruction (section 3 of the method page).
Everything is a table of k edges per row; nothing is n x n.

    Y       (n, C)  candidate mask
    Ybar    (n, C)  where beliefs start: Y, or the user's weights, rows sum to 1
    d_ij    distance of row i to its neighbour j;  sigma_i  distance to its k-th
    J_ij    |Y_i and Y_j| / |Y_i or Y_j|, Jaccard similarity of the sets
    W_ij    exp(-(d_ij / sigma_i)^2) J_ij, rows sum to 1
    S       (n, C)  beliefs

Pass:  S_i <- rownorm( Y_i o ( alpha sum_j W_ij S_j + (1 - alpha) Ybar_i ) )
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from .neighbours import exact_search

ALPHA = 0.95  # share of the neighbours in a pass
MIN_SIGMA = 1e-12  # duplicated rows are at distance zero
BLOCK_ROWS = 4096  # rows whose k x C set comparisons are in memory at a time

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]
Rows = NDArray[np.floating] | Tensor


def nearest_neighbours(X: Rows, n_neighbors: int) -> tuple[Floats, Indices]:
    """Find the other rows nearest to each row. (n, p) -> (n, k) distances, indices.

    A row is never its own neighbour, also where it has duplicates. Rows on a GPU are
    searched there, by our own search; on the CPU it is scikit-learn's, which knows
    trees for few columns.
    """
    k = min(n_neighbors, len(X) - 1)
    if isinstance(X, Tensor) and on_accelerator(X):
        found = exact_search(X, k)
        distances, indices = (a.cpu().numpy() for a in found)
        return distances, indices
    X = np.asarray(X)
    search = NearestNeighbors(n_neighbors=k + 1).fit(X)
    distances, indices = search.kneighbors(X)
    return without_self(distances, indices)


def on_accelerator(X: Tensor) -> bool:
    """Whether rows are elsewhere than in main memory."""
    return X.device.type != "cpu"


def without_self(distances: Floats, indices: Indices) -> tuple[Floats, Indices]:
    """Drop each row from its own neighbours. (n, k + 1) -> (n, k)."""
    own = indices == np.arange(len(indices))[:, None]
    # Among many duplicates a row may not find itself: then the farthest has to go.
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return distances[~own].reshape(shape), indices[~own].reshape(shape)


def jaccard(Y: Mask, neighbours: Indices) -> Floats:
    """Similarity of each row's candidate set to its neighbours'. (n, k)."""
    J = np.empty(neighbours.shape)
    for start in range(0, len(Y), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        mine, theirs = Y[rows, None], Y[neighbours[rows]]  # (b, 1, C), (b, k, C)
        J[rows] = (mine & theirs).sum(-1) / (mine | theirs).sum(-1)
    return J


def edge_weights(
    distances: Floats, neighbours: Indices, similarity: Floats | None = None
) -> csr_array:
    """W, rows sum to 1; a row without compatible neighbours has none. (n, n) sparse."""
    n, k = neighbours.shape
    sigma = np.maximum(distances[:, -1:], MIN_SIGMA)
    weights = np.exp(-((distances / sigma) ** 2))
    if similarity is not None:
        weights *= similarity
    total = weights.sum(1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    ends = np.arange(0, n * k + 1, k)
    return csr_array((weights.ravel(), neighbours.ravel(), ends), shape=(n, n))


def propagate(
    W: csr_array, Y: Mask, Ybar: Floats, n_passes: int, alpha: float = ALPHA
) -> Floats:
    """Beliefs after ``n_passes`` passes over the graph. (n, C)."""
    S = Ybar
    for _ in range(n_passes):
        S = W @ S
        S *= alpha
        S += (1 - alpha) * Ybar
        S *= Y
        S /= S.sum(1, keepdims=True)  # never zero: alpha < 1 and Ybar is on Y
    return S


def graph_beliefs(
    Z: Rows,
    Y: Mask,
    Ybar: Floats,
    n_neighbors: int,
    n_passes: int,
    use_similarity: bool = True,
) -> Floats:
    """Beliefs from scaled rows and candidate sets, all steps in one. (n, C)."""
    if n_passes == 0:
        return Ybar
    distances, neighbours = nearest_neighbours(Z, n_neighbors)
    similarity = jaccard(Y, neighbours) if use_similarity else None
    W = edge_weights(distances, neighbours, similarity)
    return propagate(W.astype(Ybar.dtype), Y, Ybar, n_passes)
