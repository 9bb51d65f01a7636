"""Rows of a table that may be larger than memory, scaled when they are asked for.

`StreamedRows` answers to what the code does with a tensor of rows: `len`, `shape`,
`device`, indexing, `index_select`, `split`. A table that fits is such a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCALED_ENTRIES = 2**20  # at a time, of an array of any precision: 8 MB in double

Scale = Callable[[NDArray[np.floating]], NDArray[np.float32]]


class StreamedRows:
    """Scaled rows of an array that stays where it is, on disk for example.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Often memory-mapped.
    scale : callable
        ``scale(X[rows])`` gives float32 rows, each from that row alone.
    device : torch.device
        Where rows go when they are asked for.
    """

    def __init__(
        self, X: NDArray[np.floating], scale: Scale, device: torch.device
    ) -> None:
        self.X, self.scale, self.device = X, scale, device

    @property
    def shape(self) -> torch.Size:
        """(n, p)."""
        return torch.Size(self.X.shape)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.X)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Return rows by a slice, numbers or a mask. -> (b, p)."""
        if isinstance(rows, slice):
            numbers = np.arange(*rows.indices(len(self)))
        else:
            numbers = rows.cpu().numpy()
            numbers = np.flatnonzero(numbers) if numbers.dtype == bool else numbers
        found = np.empty((len(numbers), self.X.shape[1]), dtype=np.float32)
        step = max(1, SCALED_ENTRIES // self.X.shape[1])
        for start in range(0, len(numbers), step):
            some = slice(start, start + step)
            found[some] = self.scale(self.X[numbers[some]])
        return torch.as_tensor(found, device=self.device)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Rows by their numbers. (b,) -> (b, p)."""
        assert dim == 0
        return self[rows]

    def split(self, n_rows: int) -> Iterator[Tensor]:
        """Yield all rows, so many at a time."""
        starts = range(0, len(self), n_rows)
        return (self[start : start + n_rows] for start in starts)


Rows = Tensor | StreamedRows
