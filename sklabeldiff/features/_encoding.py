"""A frozen network and how it is run over rows: block by block, prepared ahead.

`Encoder` holds the network, `Source` says what images and texts have in common, and
`encode_blocks` brings the two together. Where features go is not decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._images import ArrayImages, n_threads, stack_pixels

Batch = Any  # a tensor of b rows, or a dict of such tensors and of what else is needed
Rows = NDArray[np.intp]


class Source(Protocol):
    """Rows to encode, checked as far as can be told without reading files."""

    first_row: int  # its number in X: parts of a stream count on
    bad_rows: dict[int, str] | None  # what cannot be read; None: raise instead

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Source:
        """Give these rows alone, under the same numbers."""

    def keys(self) -> list[bytes | None]:
        """Name every row by its content."""

    def check(self, rows: Rows) -> None:
        """Refuse, or note as bad, what cannot be read."""

    def items(self, rows: Rows) -> list[Any]:
        """Give these rows; None for what has turned out to be bad."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded network and the functions around it.

    Parameters
    ----------
    module : nn.Module
        On its device and in its precision.
    preprocess : callable
        List of b items -> batch of b rows on the CPU: a tensor, or a dict of tensors.
        Runs in threads of its own.
    encode : callable
        Batch on the device -> features (b, d).
    n_features_out : int or None
        d, as far as it is known beforehand.
    takes_pixels : bool
        Whether `preprocess` gets one array (b, h, w, 3) uint8 in place of a list of PIL
        images. What it makes of them is divided by 255 on the device, where floats do
        not take their time on the way.
    device, dtype : torch.device, torch.dtype
        Where the module is, and in which precision.
    """

    module: nn.Module
    preprocess: Callable[[Any], Batch]
    encode: Callable[[Any], Tensor]
    n_features_out: int | None
    takes_pixels: bool = False
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32


def encode_blocks(
    encoder: Encoder, source: Source, blocks: Iterator[Rows], batch_size: int
) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Encode blocks of at most `batch_size` rows, in their order.

    Reading and preprocessing the next blocks goes on in threads while the network runs.
    Rows that turn out to be bad are left out.

    Yields
    ------
    rows : ndarray of shape (b,)
    features : ndarray of shape (b, d), float32
    """
    n_ahead = n_threads()
    waiting: deque[Future[tuple[Rows, Batch | None]]] = deque()
    pool = ThreadPoolExecutor(n_ahead)
    try:
        for block in blocks:
            waiting.append(pool.submit(_prepare, encoder, source, block))
            if len(waiting) > n_ahead:
                yield from _finish(encoder, source, waiting.popleft(), batch_size)
        while waiting:
            yield from _finish(encoder, source, waiting.popleft(), batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def cut(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut rows into successive blocks."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _prepare(encoder: Encoder, source: Source, rows: Rows) -> tuple[Rows, Batch | None]:
    """Read and preprocess one block; rows that cannot be read are left out."""
    if encoder.takes_pixels and isinstance(source, ArrayImages):
        return rows, encoder.preprocess(source.pixels(rows))
    items: Any = source.items(rows)
    good = [k for k, item in enumerate(items) if item is not None]
    if not good:
        return rows[:0], None
    rows, items = rows[good], [items[k] for k in good]
    if encoder.takes_pixels:
        items = stack_pixels(items, rows, source.first_row)
    return rows, encoder.preprocess(items)


def _finish(
    encoder: Encoder,
    source: Source,
    prepared: Future[tuple[Rows, Batch | None]],
    batch_size: int,
) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Run the network on a prepared block. -> (b,), (b, d)."""
    rows, batch = prepared.result()
    if batch is None:
        return
    with torch.inference_mode():
        encoded = encoder.encode(_on_device(batch, encoder, batch_size))
        features = encoded[: len(rows)].float().cpu().numpy()
    if len(encoded) != batch_size:
        raise ValueError(
            f"The network gives {len(encoded)} rows for {batch_size} items. It must "
            "give one vector for each item of a batch, in their order."
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise ValueError(
            "The network gives NaN or infinity for row "
            f"{source.first_row + rows[bad[0]]}. Numbers may be too large for half "
            "precision: try precision='float32'."
        )
    yield rows, features


def _on_device(batch: Batch, encoder: Encoder, batch_size: int) -> Batch:
    """Fill a batch up to `batch_size` rows, and move it; floats in the precision.

    The result of a matrix product depends on its size in the last bits. Blocks of one
    size make features independent of the split.
    """
    if isinstance(batch, dict):
        return {k: _on_device(v, encoder, batch_size) for k, v in batch.items()}
    if not isinstance(batch, Tensor):
        return batch
    missing = batch_size - len(batch)
    if missing:
        batch = torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])])
    is_float = batch.is_floating_point() or encoder.takes_pixels
    batch = batch.to(encoder.device).to(encoder.dtype if is_float else batch.dtype)
    if not encoder.takes_pixels:
        return batch.contiguous()
    # The order in memory chooses the kernel, too, and a filled-up block has lost it.
    return (batch / 255).contiguous(memory_format=torch.channels_last)
