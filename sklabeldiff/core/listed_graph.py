"""Beliefs from neighbours for candidate sets that are lists. Formulas as in `graph`.

The sets Y (n, C) are sparse with sorted indices; beliefs S (e,) are of its entries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .graph import ALPHA, Indices
from .lists import GATHERED

Floats = NDArray[np.floating]


def jaccard(Y: csr_array, neighbours: Indices) -> Floats:
    """Similarity of each row's candidate set to its neighbours'. (n, k)."""
    sizes = np.diff(Y.indptr)
    ones = csr_array((np.ones(Y.nnz), Y.indices, Y.indptr), shape=Y.shape)
    J = np.empty(neighbours.shape)
    for rows in _runs(sizes[neighbours].sum(1) + sizes * neighbours.shape[1]):
        theirs = neighbours[rows]
        mine = np.repeat(np.arange(len(sizes))[rows], theirs.shape[1])
        both = ones[mine].multiply(ones[theirs.ravel()]).sum(axis=1)
        either = sizes[mine] + sizes[theirs.ravel()] - both
        J[rows] = (both / either).reshape(theirs.shape)
    return J


def propagate(
    W: csr_array, Y: csr_array, Ybar: Floats, n_passes: int, alpha: float = ALPHA
) -> Floats:
    """Beliefs after ``n_passes`` passes over the graph. (n, n), (e,) -> (e,)."""
    starts, sizes = Y.indptr[:-1], np.diff(Y.indptr)
    keys = _keys(Y)
    reached = np.asarray((W != 0).astype(np.float64) @ sizes.astype(np.float64))
    blocks = list(_runs(reached + sizes))
    S = Ybar
    for _ in range(n_passes):
        table = csr_array((S, Y.indices, Y.indptr), shape=Y.shape)
        said = np.empty_like(Ybar)
        for rows in blocks:
            mine = slice(Y.indptr[rows.start], Y.indptr[rows.stop])
            found = W[rows] @ table
            found.sort_indices()
            said[mine] = _looked_up(found, keys[mine], rows.start * Y.shape[1])
        S = alpha * said + (1 - alpha) * Ybar
        S /= np.repeat(np.add.reduceat(S, starts), sizes)  # never zero, see `graph`
    return S


def _keys(Y: csr_array) -> NDArray[np.int64]:
    """Entries as i C + j, rising."""
    rows = np.repeat(np.arange(Y.shape[0], dtype=np.int64), np.diff(Y.indptr))
    return rows * Y.shape[1] + Y.indices


def _looked_up(
    found: csr_array, keys: NDArray[np.int64], first: int
) -> NDArray[np.floating]:
    """Values of a block at some entries, 0 where it has none."""
    there = _keys(found) + first
    if not len(there):
        return np.zeros(len(keys), dtype=found.dtype)
    place = np.minimum(np.searchsorted(there, keys), len(there) - 1)
    return np.where(there[place] == keys, found.data[place], 0)


def _runs(entries: NDArray[np.number]) -> list[slice]:
    """List runs of rows that take some entries each, and together few enough."""
    total = np.cumsum(entries)
    limits = np.arange(GATHERED, total[-1] + GATHERED, GATHERED)
    ends = np.unique(np.searchsorted(total, limits, side="right"))
    ends = np.unique(np.append(ends[ends > 0], len(entries)))
    return [slice(a, b) for a, b in zip(np.append(0, ends[:-1]), ends, strict=True)]
