"""Row-wise functions in blocks of one fixed size.

A matrix product may round differently for another number of rows. With every block of
the same shape, the last one padded, the answer for a row depends on that row alone.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

BLOCK_ROWS = 256
MAX_BLOCK_ENTRIES = 2**22  # 16 MB, of which a few are alive at a time


def rows_of(entries: int) -> int:
    """Rows to a block where each row makes ``entries`` numbers."""
    return max(1, min(BLOCK_ROWS, MAX_BLOCK_ENTRIES // entries))


def in_blocks(
    function: Callable[..., Tensor], *arrays: Tensor, block_rows: int = BLOCK_ROWS
) -> Tensor:
    """Apply ``function`` to blocks of rows. Each (n, ...) -> (n, ...).

    The result is one allocation: small pieces, joined at the end, would leave the
    process as large as it was when all of them were alive.
    """
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
