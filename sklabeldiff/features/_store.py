"""`FeatureStore`: features on disk by the content they were computed from.

Features lie in shards, files that are written whole or not at all and never change.
Several processes and threads may use one folder at a time: before a writer computes
features it claims them, so that nothing is computed twice, and the claims of a writer
that was killed are void. What the keys and the features mean is the caller's concern.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

KEY_BYTES = 16  # 2^64 images before two are likely to share a key
SHARD_ROWS = 512  # a killed run loses at most so many features of each writer
# So many shards of less than half the size are joined: serving single images makes
# a shard for each.
MAX_SMALL_SHARDS = 64
_STRIDE = 1 << 20  # number of a shard * stride + row is where a feature lies


class FeatureStore:
    """Features by key in a folder; use as a context manager.

    Parameters
    ----------
    folder : Path
        Made if it is missing. One folder holds vectors of one length.
    dtype : dtype
        What is written: float32 or float16. `read` gives float32.
    """

    def __init__(self, folder: Path, dtype: Any) -> None:
        self._folder = folder
        self._dtype = np.dtype(dtype)
        self._shards: list[str] = []
        self._place: dict[bytes, int] = {}
        self._claimed: set[bytes] = set()

    def __enter__(self) -> Self:
        (self._folder / "writers").mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / "lock")
        self._claims = self._folder / "writers" / uuid4().hex
        # Held until the end, and let go by the system if this process is killed.
        self._alive = FileLock(_alive_file(self._claims))
        self._alive.acquire()
        with self._lock:
            self._look_up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            _remove(self._claims, _alive_file(self._claims))
            self._alive.release()
            self._join_small_shards()

    def __contains__(self, key: bytes | None) -> bool:
        """Whether the feature lay on disk at the last look."""
        return key in self._place

    @property
    def width(self) -> int | None:
        """Length of the vectors; None while there are none."""
        if not self._shards:
            return None
        return int(self._load(self._shards[0])[1].shape[1])

    def claim(self, keys: Sequence[bytes]) -> list[bool]:
        """Take over what is neither on disk nor claimed by a living writer.

        Says for each key whether it is now to be computed and `put` by the caller.
        """
        with self._lock:
            self._look_up()
            taken = self._claims_of_others()
            mine = [key not in self._place and key not in taken for key in keys]
            self._claimed.update(k for k, m in zip(keys, mine, strict=True) if m)
            self._write_claims()
        return mine

    def put(self, keys: Sequence[bytes], features: NDArray[np.float32]) -> None:
        """Write one shard. features (m, d), a row for each key."""
        if not len(keys):
            return
        with np.errstate(over="ignore"):  # said more clearly below
            rows = features.astype(self._dtype)
        if not np.isfinite(rows).all():
            raise ValueError(
                f"Features up to {np.abs(features).max():g} do not fit {self._dtype}. "
                "Use cache_dtype='float32'."
            )
        with self._lock:
            self._write(keys, rows)
            self._claimed.difference_update(keys)
            self._write_claims()

    def read(self, keys: Sequence[bytes | None]) -> NDArray[np.float32]:
        """Gather features (n, d) float32, each shard read once; NaN for None."""
        with self._lock:  # else a shard may be joined to others meanwhile
            self._look_up()
            return self._gather(keys)

    def _gather(self, keys: Sequence[bytes | None]) -> NDArray[np.float32]:
        width = self.width
        if width is None:  # no image could be read
            return np.empty((len(keys), 0), dtype=np.float32)
        features = np.full((len(keys), width), np.nan, dtype=np.float32)
        rows = np.array([row for row, key in enumerate(keys) if key], dtype=np.intp)
        place = np.array([self._place[keys[row]] for row in rows], dtype=np.int64)
        shard, line = np.divmod(place, _STRIDE)
        order = np.argsort(shard, kind="stable")
        cuts = np.flatnonzero(np.diff(shard[order])) + 1
        for part in np.split(order, cuts) if len(order) else ():
            _, stored = self._load(self._shards[shard[part[0]]])
            features[rows[part]] = stored[line[part]]
        return features

    def _look_up(self) -> None:
        """Learn of new and vanished shards; remove damaged ones. Under the lock."""
        _remove(*self._folder.glob("*.draft"))  # of killed writers: we have the lock
        found = {path.name: path for path in self._folder.glob("*.safetensors")}
        if set(self._shards) - set(found):
            self._shards, self._place = [], {}
        for name in sorted(set(found) - set(self._shards)):
            try:
                keys, _ = self._load(name)
            except (SafetensorError, OSError, ValueError, KeyError) as error:
                warnings.warn(
                    f"The file {found[name]} of the cache of features is damaged "
                    f"({error}). It is removed, and its features are computed again.",
                    stacklevel=2,
                )
                _remove(found[name])
                continue
            self._note(name, keys)

    def _note(self, name: str, keys: Sequence[bytes]) -> None:
        """Remember where the features of a shard lie."""
        start = len(self._shards) * _STRIDE
        self._shards.append(name)
        self._place.update((key, start + row) for row, key in enumerate(keys))

    def _load(self, name: str) -> tuple[list[bytes], NDArray[Any]]:
        """Read a shard and check that it is whole. -> m keys, (m, d)."""
        with safe_open(self._folder / name, framework="numpy") as file:
            keys, rows = file.get_tensor("keys"), file.get_tensor("features")
            written = (file.metadata() or {}).get("crc32")
        if written != _checksum(keys, rows):
            raise ValueError("its checksum differs")
        return [key.tobytes() for key in keys], rows

    def _write(self, keys: Sequence[bytes], rows: NDArray[Any]) -> None:
        """Write a shard whole or not at all."""
        table = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        content = save(
            {"keys": table, "features": np.ascontiguousarray(rows)},
            metadata={"crc32": _checksum(table, rows)},
        )
        name = f"{uuid4().hex}.safetensors"
        draft = self._folder / f"{name}.draft"
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / name)
        self._note(name, keys)

    def _write_claims(self) -> None:
        self._claims.write_bytes(b"".join(sorted(self._claimed)))

    def _claims_of_others(self) -> set[bytes]:
        """Collect what living writers compute now; clear up after dead ones."""
        taken: set[bytes] = set()
        for claims in self._other_writers():
            alive = FileLock(_alive_file(claims))
            try:
                alive.acquire(timeout=0)
            except Timeout:
                taken.update(_read_keys(claims))
            else:
                _remove(claims, _alive_file(claims))
                alive.release()
        return taken

    def _other_writers(self) -> Iterator[Path]:
        """Files of claims that are not ours."""
        for path in sorted((self._folder / "writers").iterdir()):
            if path.suffix == "" and path != self._claims:
                yield path

    def _join_small_shards(self) -> None:
        """Join shards that are far too small. Under the lock."""
        self._look_up()
        n_shards, n_rows = len(self._shards), len(self._place)
        if n_shards <= MAX_SMALL_SHARDS or 2 * n_rows > n_shards * SHARD_ROWS:
            return
        parts = {name: self._load(name) for name in self._shards}
        small = [n for n, (keys, _) in parts.items() if 2 * len(keys) < SHARD_ROWS]
        keys = [key for name in small for key in parts[name][0]]
        rows = np.concatenate([parts[name][1] for name in small])
        for start in range(0, len(keys), SHARD_ROWS):
            stop = start + SHARD_ROWS
            self._write(keys[start:stop], rows[start:stop])
        _remove(*(self._folder / name for name in small))


def content_key(content: Any, kind: str) -> bytes:
    """Name bytes by a hash of them, apart from equal bytes of another kind."""
    digest = blake2b(content, digest_size=KEY_BYTES)
    digest.update(kind.encode())
    return digest.digest()


def _checksum(keys: NDArray[np.uint8], rows: NDArray[Any]) -> str:
    return str(zlib.crc32(rows.tobytes(), zlib.crc32(keys.tobytes())))


def _alive_file(claims: Path) -> Path:
    """File that the writer of these claims holds locked while it lives."""
    return claims.with_suffix(".lock")


def _read_keys(path: Path) -> list[bytes]:
    """Keys of a file of claims; none if its writer has just ended."""
    with suppress(FileNotFoundError):
        content = path.read_bytes()
        return [content[i : i + KEY_BYTES] for i in range(0, len(content), KEY_BYTES)]
    return []


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
