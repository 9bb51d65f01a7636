"""Going through many edits: each once, written block by block, with a forecast.

What an edit is, and how long a key stands for it, is the caller's concern.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.features._store import FeatureStore

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1  # between looks for what another process computes
READ_KEYS = 4096  # read from a store at a time

Edit = Callable[[list[bytes]], NDArray[np.float32]]


class MemoryStore:
    """What a run needs of `FeatureStore`, kept in memory as long as the run."""

    def __init__(self) -> None:
        self._edits: dict[bytes, NDArray[np.uint8]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._edits.clear()

    def __contains__(self, key: bytes) -> bool:
        return key in self._edits

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """Say that all that is missing is the caller's to compute."""
        return [key not in self for key in keys]

    def put(self, keys: Sequence[bytes], features: NDArray[np.float32]) -> None:
        """Keep edits (m, d) for m keys."""
        self._edits.update(zip(keys, features.astype(np.uint8), strict=True))

    def read(self, keys: Sequence[bytes]) -> NDArray[np.uint8]:
        """Gather edits. -> (n, d)."""
        return np.stack([self._edits[key] for key in keys])


class Forecast:
    """Says how long all edits take, as soon as the first block tells.

    Parameters
    ----------
    bar : tqdm
        Is told of finished edits, and shows the forecast.
    n_edits : int
        All of them.
    """

    def __init__(self, bar: Any, n_edits: int) -> None:
        self._bar = bar
        self._n_edits = n_edits
        self._told = False

    def done(self, n_edits: int, seconds: float, batch_size: int) -> None:
        """Take note of one block."""
        self._bar.update(n_edits)
        n_blocks = -(-self._n_edits // batch_size)
        if not self._told and n_blocks > 1:
            duration = in_words(n_blocks * seconds)
            logger.info("%d edits will take about %s", self._n_edits, duration)
            self._bar.set_postfix_str(f"about {duration} in all")
        self._told = True

    def remaining(self, n_edits: int) -> None:
        """Take note of what other processes have done meanwhile."""
        self._bar.update(self._n_edits - n_edits - self._bar.n)


def complete(
    store: FeatureStore | MemoryStore,
    keys: Sequence[bytes],
    edit: Edit,
    batch_size: int,
    forecast: Forecast,
) -> None:
    """Make the edits that the store lacks, and write each block when it is made.

    Processes that share a store share the work: each block is claimed before.
    """
    while keys := [key for key in keys if key not in store]:
        forecast.remaining(len(keys))
        is_idle = True
        for start in range(0, len(keys), batch_size):
            block = keys[start : start + batch_size]
            free = store.claim(block)
            mine = [key for key, is_free in zip(block, free, strict=True) if is_free]
            if not mine:
                continue
            is_idle, before = False, time.perf_counter()
            store.put(mine, edit(mine))
            forecast.done(len(mine), time.perf_counter() - before, batch_size)
        if is_idle:
            time.sleep(POLL_SECONDS)  # the rest is made by others
    forecast.remaining(0)


def gather(
    store: FeatureStore | MemoryStore, keys: Sequence[bytes], width: int
) -> NDArray[np.uint8]:
    """Read all edits. -> (n, width)."""
    edits = np.empty((len(keys), width), dtype=np.uint8)
    for start in range(0, len(keys), READ_KEYS):
        part = keys[start : start + READ_KEYS]
        edits[start : start + len(part)] = store.read(part)
    return edits


def in_words(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
