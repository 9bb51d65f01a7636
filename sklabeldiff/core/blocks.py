"""Row-wise functions in blocks of one fixed size.

A matrix product may round differently for another number of rows. With every block of
the same shape, the last one padded, the answer for a row depends on that row alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .rows import Rows

BLOCK_ROWS = 256
MAX_BLOCK_ENTRIES = 2**22  # 16 MB, of which a few are alive at a time


def rows_of(entries: int) -> int:
    """Rows to a block where each row makes ``entries`` numbers."""
    return max(1, min(BLOCK_ROWS, MAX_BLOCK_ENTRIES // entries))


def in_blocks(
    function: Callable[..., Tensor], *arrays: Rows, block_rows: int = BLOCK_ROWS
) -> Tensor:
    """Apply ``function`` to blocks of rows. Each (n, ...) -> (n, ...).

    The result is one allocation: small pieces, joined at the end, would leave the
    process as large as it was when all of them were alive.

    Warns
    -----
    UserWarning
        If the device runs out of memory; blocks of half the rows are tried then.
    """
    try:
        return _in_blocks(function, arrays, block_rows)
    except torch.OutOfMemoryError:
        if block_rows == 1:
            raise
    block_rows = make_room(block_rows)
    return in_blocks(function, *arrays, block_rows=block_rows)


def make_room(n_rows: int) -> int:
    """Halve the rows at a time, after a device ran out of memory, and say so."""
    torch.cuda.empty_cache()  # does nothing where there is none in use
    fewer = n_rows // 2
    warnings.warn(
        f"The device ran out of memory with {n_rows} rows at a time; it goes on with "
        f"{fewer}. Results may differ in the last digits. A smaller batch_size or "
        "network spares the attempt.",
        stacklevel=3,
    )
    return fewer


def _in_blocks(
    function: Callable[..., Tensor], arrays: tuple[Rows, ...], block_rows: int
) -> Tensor:
    n = len(arrays[0])
    results: Tensor | None = None
    for start in range(0, n, block_rows):
        block = [array[start : start + block_rows] for array in arrays]
        missing = block_rows - len(block[0])
        if missing:
            block = [
                functional.pad(a, [0, 0] * (a.ndim - 1) + [0, missing]) for a in block
            ]
        found = function(*block)[: block_rows - missing]
        if results is None:
            results = found.new_empty((n, *found.shape[1:]))
        results[start : start + block_rows] = found
    if results is None:
        raise ValueError("There are no rows.")
    return results
