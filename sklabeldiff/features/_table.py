"""`FeatureTable`: rows of features that arrive in any order, in one array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FeatureTable:
    """Rows (n, d) float32, NaN where nothing was put.

    The array is made once if `n_rows` is known, and grows by doubling otherwise. d is
    that of the first rows put.
    """

    def __init__(self, n_rows: int | None) -> None:
        self.n_rows = n_rows or 0
        self._table: NDArray[np.float32] | None = None

    def put(self, rows: NDArray[np.intp], features: NDArray[np.float32]) -> None:
        """Fill rows. (b,), (b, d)."""
        needed = max(self.n_rows, int(rows.max()) + 1)
        width = features.shape[1]
        if self._table is None:
            self._table = np.full((needed, width), np.nan, dtype=np.float32)
        elif needed > len(self._table):
            grown = np.full((2 * needed, width), np.nan, dtype=np.float32)
            grown[: len(self._table)] = self._table
            self._table = grown
        self._table[rows] = features

    def finish(self) -> NDArray[np.float32]:
        """Give the first `n_rows` rows, which is how many there are in the end."""
        assert self._table is not None  # no caller is without any row
        missing = self.n_rows - len(self._table)  # bad rows at the end of a stream
        if missing > 0:
            gap = np.full((missing, self._table.shape[1]), np.nan, dtype=np.float32)
            return np.concatenate([self._table, gap])
        return self._table if missing == 0 else self._table[: self.n_rows].copy()
