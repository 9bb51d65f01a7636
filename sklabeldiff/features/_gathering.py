"""`Gatherer`: the features of all rows in one array, computed or out of a store.

Knows which rows are bad, and encodes no content twice. The network comes as a function,
so that what a store has in full needs none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._encoding import Encoder, Rows, Source, cut, encode_blocks
from ._store import SHARD_ROWS, FeatureStore
from ._table import FeatureTable

_POLL_SECONDS = 0.1  # between looks for what another process computes
_NAMED_ROWS, _NUMBERED_ROWS = 3, 20  # bad rows described in full, and by their number

Cutter = Callable[[Encoder, Source, Rows], Iterator[Rows]]


class NothingReadableError(ValueError):
    """No row of X can be read."""


class Gatherer:
    """Bring the features of the rows of some sources together.

    Parameters
    ----------
    encoder : callable
        ``encoder()`` -> the loaded `Encoder`.
    blocks : callable
        ``blocks(encoder, source, rows)`` -> blocks of rows that the network takes
        together.
    batch_size : int
        Rows of a block at most.
    claim_rows : int
        Rows that are claimed at a time, about.
    bar : tqdm
        Is told of finished rows.

    Attributes
    ----------
    bad : dict
        What is wrong, by row of X, where it is not an error.
    """

    def __init__(
        self,
        encoder: Callable[[], Encoder],
        blocks: Cutter,
        batch_size: int,
        claim_rows: int,
        bar: Any,
    ) -> None:
        self._encoder = encoder
        self._blocks = blocks
        self._batch_size = batch_size
        self._claim_rows = claim_rows
        self._bar = bar
        self.bad: dict[int, str] = {}

    def compute(
        self, sources: Iterable[Source], n_rows: int | None
    ) -> NDArray[np.float32]:
        """Encode every row. -> (n, d), NaN for bad rows."""
        table = FeatureTable(n_rows)
        for source in sources:
            for rows, features in self.encode(source):
                table.put(rows, features)
            table.n_rows = source.first_row + len(source)
            self.bad |= bad_rows(source)
        refuse_nothing(self.bad, table.n_rows)
        return table.finish()

    def encode(self, source: Source) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """Encode what can be read. Yields rows of X, and their features."""
        encoder = self._encoder()
        rows = np.arange(len(source))
        source.check(rows)
        rows = good_rows(source, rows)
        blocks = self._blocks(encoder, source, rows)
        for block, features in encode_blocks(encoder, source, blocks, self._batch_size):
            yield source.first_row + block, features
            self._bar.update(len(block))

    def recall(
        self, store: FeatureStore, sources: Iterable[Source]
    ) -> NDArray[np.float32]:
        """Encode what the store lacks, and read all from there. -> (n, d)."""
        keys: list[bytes | None] = []
        for source in sources:
            own = self.complete(store, source)
            self.bad |= bad_rows(source)
            bad = source.bad_rows or {}
            keys += [None if row in bad else key for row, key in enumerate(own)]
        refuse_nothing(self.bad, len(keys))
        return store.read(keys)

    def complete(self, store: FeatureStore, source: Source) -> list[bytes | None]:
        """Encode the rows whose keys the store lacks, each key once. -> all keys."""
        keys = source.keys()
        lacking: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key is not None and key not in store:
                lacking.setdefault(key, row)
        rows = np.array(list(lacking.values()), dtype=np.intp)
        self._bar.update(len(source) - len(rows))
        source.check(rows)
        while len(rows := self._lacking(store, source, keys, rows)):
            if not self._encode_claimed(store, source, keys, rows):
                time.sleep(_POLL_SECONDS)  # the rest is computed by others
        bad = source.bad_rows or {}
        for row, key in enumerate(keys):
            tried = None if key is None else lacking.get(key)
            if tried is not None and tried in bad and row not in bad:
                here, twin = source.first_row + row, source.first_row + tried
                bad[row] = f"row {here} has the content of row {twin}."
        return keys

    @staticmethod
    def _lacking(
        store: FeatureStore, source: Source, keys: list[bytes | None], rows: Rows
    ) -> Rows:
        """Rows that can be read and are not in the store."""
        rows = good_rows(source, rows)
        return rows[[keys[row] not in store for row in rows]] if len(rows) else rows

    def _encode_claimed(
        self,
        store: FeatureStore,
        source: Source,
        keys: list[Any],
        rows: Rows,
    ) -> int:
        """Encode what no other process does, and write it; says how many rows."""
        n_done = 0
        held: list[tuple[Rows, NDArray[np.float32]]] = []  # computed, not yet written
        encoder = self._encoder()
        claimed = self._claimed(store, source, keys, rows)

        def write() -> None:
            blocks, held[:] = list(held), []
            if blocks:
                done = np.concatenate([block for block, _ in blocks])
                features = np.concatenate([features for _, features in blocks])
                store.put([keys[row] for row in done], features)

        try:
            for block, features in encode_blocks(
                encoder, source, claimed, self._batch_size
            ):
                held.append((block, features))
                n_done += len(block)
                self._bar.update(len(block))
                if sum(len(block) for block, _ in held) >= SHARD_ROWS:
                    write()
        except BaseException:
            with suppress(OSError):  # keep what is done, and the first error
                write()
            raise
        else:
            write()
        finally:
            store.release()  # what turned out to be bad: others may wait for it
        return n_done

    def _claimed(
        self, store: FeatureStore, source: Source, keys: list[Any], rows: Rows
    ) -> Iterator[Rows]:
        """Blocks of the rows that are ours to encode, claimed a shard at a time."""
        size = -(-self._claim_rows // self._batch_size) * self._batch_size
        for part in cut(rows, size):
            mine = part[store.claim([keys[row] for row in part])]
            yield from self._blocks(self._encoder(), source, mine)


def good_rows(source: Source, rows: Rows) -> Rows:
    """Rows that are not known to be bad."""
    bad = source.bad_rows
    return rows[[row not in bad for row in rows]] if bad else rows


def bad_rows(source: Source) -> dict[int, str]:
    """Give what is wrong with rows of a source, numbered as in X."""
    return {source.first_row + k: text for k, text in (source.bad_rows or {}).items()}


def refuse_nothing(bad: dict[int, str], n_rows: int) -> None:
    """Refuse X of which no row can be read."""
    if n_rows == 0:
        raise ValueError("X holds no row: nothing to compute features of.")
    if len(bad) == n_rows:
        raise NothingReadableError(
            f"None of the {n_rows} rows of X can be read: {named(bad)}"
        )


def named(bad: dict[int, str]) -> str:
    """Describe the first bad rows, and number the others."""
    rows = sorted(bad)
    text = " ".join(bad[row] for row in rows[:_NAMED_ROWS])
    more = rows[_NAMED_ROWS:]
    if not more:
        return text
    numbers = ", ".join(map(str, more[:_NUMBERED_ROWS]))
    end = ", ..." if len(more) > _NUMBERED_ROWS else "."
    return f"{text} And {len(more)} more: rows {numbers}{end}"
