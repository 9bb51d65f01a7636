"""What a fit learns from, once it is checked: rows, sets and the weights of these."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


class TrainingData(NamedTuple):
    """Checked training data.

    ``X`` (n, p) float64 or float32, ``Y`` (n, C) bool, and the user's ``weights``
    (n, C) float64, None where all candidates of a row weigh the same.
    """

    X: NDArray[np.floating]
    Y: NDArray[np.bool_]
    weights: NDArray[np.float64] | None

    @property
    def Ybar(self) -> NDArray[np.float64]:
        """Equal belief in every candidate, or the user's weights. (n, C).

        Rows sum to 1. Made anew at every call: kept, it would be the largest array of a
        table with few columns.
        """
        weights = self.Y if self.weights is None else self.weights
        beliefs: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
        return beliefs

    def arrays(self) -> list[NDArray[Any]]:
        """Return all that was given, for a digest."""
        given: list[NDArray[Any]] = [self.X, self.Y]
        return given if self.weights is None else [*given, self.weights]

    def relative_weights(self) -> NDArray[np.float64]:
        """V: the weight of each candidate, 1 for the heaviest of its row. (n, C).

        The 0/1 mask, unless the user gave weights.
        """
        beliefs = self.Ybar
        return beliefs / beliefs.max(axis=1, keepdims=True)


class SparseTrainingData(NamedTuple):
    """Checked training data of very many classes.

    ``X`` (n, p) float64 or float32, ``Y`` (n, C) sparse bools with e entries, and the
    user's ``weights`` of these (e,) float64, None where candidates weigh the same.
    """

    X: NDArray[np.floating]
    Y: csr_array
    weights: NDArray[np.float64] | None

    @property
    def Ybar(self) -> NDArray[np.float64]:
        """Equal belief in every candidate, or the user's weights. (e,)."""
        weights = np.ones(self.Y.nnz) if self.weights is None else self.weights
        total = np.add.reduceat(weights, self.Y.indptr[:-1])
        sizes = np.diff(self.Y.indptr)
        beliefs: NDArray[np.float64] = weights / np.repeat(total, sizes)
        return beliefs

    def arrays(self) -> list[NDArray[Any]]:
        """Return all that was given, for a digest."""
        given = [self.X, self.Y.indptr, self.Y.indices]
        return given if self.weights is None else [*given, self.weights]


Data = TypeVar("Data", TrainingData, SparseTrainingData)
