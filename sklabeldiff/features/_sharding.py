"""Rows of a source shared between joblib's workers, whatever engine runs them.

A worker gets a copy of the transformer and some rows in succession. Where there is a
cache it only fills that: nothing is sent back, what a worker that is lost has done is
kept, and whoever asked reads the whole from there, and encodes what still lacks.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel, delayed

from ._encoding import Rows, Source
from ._gathering import bad_rows
from ._store import FeatureStore
from ._table import FeatureTable

if TYPE_CHECKING:
    from ._base import FeatureExtractor

Shard = tuple[list[tuple[Rows, NDArray[np.float32]]], dict[int, str]]


def n_shards(n_jobs: int | None, n_rows: int | None, batch_size: int) -> int:
    """Count the workers that get rows: no batch is cut, and a stream has no parts."""
    if n_rows is None or n_rows <= batch_size:
        return 1
    return min(int(effective_n_jobs(n_jobs)), -(-n_rows // batch_size))


def cut_source(source: Source, n_shards: int, batch_size: int) -> list[Source]:
    """Parts of whole batches, in the order of the rows."""
    n_batches = -(-len(source) // batch_size)
    cuts = [batch_size * (n_batches * k // n_shards) for k in range(n_shards)]
    ends = [*cuts[1:], len(source)]
    return [source.part(a, b) for a, b in zip(cuts, ends, strict=True)]


def encode_shards(
    extractor: FeatureExtractor, shards: Sequence[Source], folder: Path | None
) -> list[Shard]:
    """Let workers encode. -> blocks of rows and their features, and what is bad.

    With the `folder` of a cache the features are there, and not in the answer.
    """
    worker = copy.copy(extractor)
    worker.__dict__.update(n_jobs=1, verbose=0, _loaded=None)
    # One fit a worker: each loads the network once.
    return list(
        Parallel(n_jobs=extractor.n_jobs)(
            delayed(_encode_shard)(worker, shard, folder) for shard in shards
        )
    )


def _encode_shard(
    extractor: FeatureExtractor, shard: Source, folder: Path | None
) -> Shard:
    """Encode in this process."""
    gatherer: Any
    with extractor._gatherer(folder, len(shard)) as gatherer:
        if folder is None:
            blocks = list(gatherer.encode(shard))
            return blocks, bad_rows(shard)
        with FeatureStore(folder, extractor.cache_dtype) as store:
            gatherer.complete(store, shard)
        return [], {}


def table_of(found: Sequence[Shard], n_rows: int) -> FeatureTable:
    """Put the features of all shards together."""
    table = FeatureTable(n_rows)
    for blocks, _ in found:
        for rows, features in blocks:
            table.put(rows, features)
    return table
