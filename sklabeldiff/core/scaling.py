"""How columns and rows are scaled before distances mean anything.

Columns go to mean 0 and variance 1. Rows may then go to equal norm, which is right for
histograms and embeddings (only the direction of a row tells) and wrong where length
matters. `choose_row_scaling` asks the candidate sets: under the better scaling, near
rows have more similar sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from . import graph, listed_graph

MIN_SCALE = 1e-6  # a column that hardly varies is left in its own unit
SAMPLE_ROWS = 5000  # enough to compare two means
BLOCK_ENTRIES = 2**20  # in double at a time: 8 MB
# Row scaling throws information away, so it has to earn its place.
MIN_GAIN = 1.05

Floats = NDArray[np.floating]
Sets: TypeAlias = NDArray[np.bool_] | csr_array


@dataclass(frozen=True)
class Standardizer:
    """Column centres and scales, and whether rows go to norm sqrt(p).

    Parameters
    ----------
    mean, scale : ndarray of shape (p,)
    equal_norm : bool
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    equal_norm: bool

    @classmethod
    def fit(cls, X: Floats, equal_norm: bool = False) -> Standardizer:
        """Learn centres and scales of the columns of X, (n, p)."""
        mean = X.mean(0, dtype=np.float64)
        scale = np.sqrt(sum(((x - mean) ** 2).sum(0) for x in _blocks(X)) / len(X))
        return cls(mean, np.where(scale > MIN_SCALE, scale, 1.0), equal_norm)

    @classmethod
    def identity(cls, p: int) -> Standardizer:
        """Leave rows as they are."""
        return cls(np.zeros(p), np.ones(p), equal_norm=False)

    def __call__(self, X: Floats) -> NDArray[np.float32]:
        """Scale rows. (n, p) -> (n, p)."""
        Z = np.empty(X.shape, dtype=np.float32)  # one layout: products round by it
        for x, out in zip(_blocks(X), _blocks(Z), strict=True):
            z = (x - self.mean) / self.scale
            if self.equal_norm:
                norm = np.linalg.norm(z, axis=1, keepdims=True)
                z *= np.sqrt(z.shape[1]) / np.maximum(norm, MIN_SCALE)
            out[:] = z
        return Z


def _blocks(X: Floats) -> Iterator[Floats]:
    """Yield views of some rows each."""
    rows = max(1, BLOCK_ENTRIES // X.shape[1])
    return (X[start : start + rows] for start in range(0, len(X), rows))


def neighbour_agreement(Z: Floats, Y: Sets, n_neighbors: int) -> float:
    """Mean similarity of the candidate sets of near rows, in [0, 1]."""
    _, neighbours = graph.nearest_neighbours(Z, n_neighbors)
    if issparse(Y):
        return float(listed_graph.jaccard(Y, neighbours).mean())
    return float(graph.jaccard(Y, neighbours).mean())


def choose_row_scaling(X: Floats, Y: Sets, n_neighbors: int) -> Standardizer:
    """Standardise columns, and rows too where neighbours then agree more."""
    step = -(-len(X) // SAMPLE_ROWS)
    sample, sets = X[::step], Y[::step]
    plain = Standardizer.fit(X)
    equal = replace(plain, equal_norm=True)
    before = neighbour_agreement(plain(sample), sets, n_neighbors)
    after = neighbour_agreement(equal(sample), sets, n_neighbors)
    return equal if after > MIN_GAIN * before else plain
