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
from collections.abc import Sequence
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


class DamagedShardError(RuntimeError):
    """A shard was damaged or gone when it was read: what it held is missing now."""


class FeatureStore:
    """Features by key in a folder; use as a context manager.

    Parameters
    ----------
    folder : Path
        Made if it is missing. One folder holds vectors of one length.
    dtype : dtype
        What is written: float32 or float16. `read` gives float32.

    Attributes
    ----------
    width : int or None
        Length of the vectors; None while there are none.
    """

    def __init__(self, folder: Path, dtype: Any) -> None:
        self._folder = folder
        self._dtype = np.dtype(dtype)

    def __enter__(self) -> Self:
        self._shards: list[tuple[str, int]] = []  # name, rows
        self._place: dict[bytes, int] = {}
        self._claimed: set[bytes] = set()
        self.width: int | None = None
        self._lock = FileLock(self._folder / "lock")
        self._claims = self._folder / "writers" / uuid4().hex
        # Held until the end, and let go by the system if this process is killed.
        self._alive = FileLock(_alive_file(self._claims))
        try:
            (self._folder / "writers").mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._alive.acquire()
                self._look_up()
        except OSError as error:
            self._alive.release()
            raise unusable(self._folder, error) from error
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
            with suppress(OSError):  # a full disk: all that was asked for is done
                self._join_small_shards()

    def __contains__(self, key: bytes | None) -> bool:
        """Whether the feature lay on disk at the last look."""
        return key in self._place

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
        if self.width not in (None, rows.shape[1]):
            raise ValueError(
                f"The network gives {rows.shape[1]} features, and this cache holds "
                f"{self.width} for others. Bring all images to one size, or give each "
                "size a cache_dir of its own."
            )
        if not np.isfinite(rows).all():
            raise ValueError(
                f"Features up to {np.abs(features).max():g} do not fit {self._dtype}. "
                "Use cache_dtype='float32'."
            )
        with self._lock:
            self._write(keys, rows)
            self._claimed.difference_update(keys)
            self._write_claims()

    def release(self) -> None:
        """Give up what was claimed and not put."""
        if self._claimed:
            with self._lock:
                self._claimed.clear()
                self._write_claims()

    def read(self, keys: Sequence[bytes | None]) -> NDArray[np.float32]:
        """Gather features (n, d) float32, each shard read once; NaN for None.

        Raises
        ------
        DamagedShardError
            If features are not there any more. Those that are stay.
        """
        with self._lock:  # else a shard may be joined to others meanwhile
            self._look_up()
            if any(key is not None and key not in self._place for key in keys):
                raise DamagedShardError(
                    f"Features vanished from the cache {str(self._folder)!r} while "
                    "they were used. Run it again: only these are computed."
                )
            return self._gather(keys)

    def _gather(self, keys: Sequence[bytes | None]) -> NDArray[np.float32]:
        """Read every shard that holds some of the keys. -> (n, d)."""
        features = np.full((len(keys), self.width or 0), np.nan, dtype=np.float32)
        rows = np.array([row for row, key in enumerate(keys) if key], dtype=np.intp)
        place = np.array([self._place[keys[row] or b""] for row in rows], np.int64)
        shard, line = np.divmod(place, _STRIDE)
        order = np.argsort(shard, kind="stable")
        cuts = np.flatnonzero(np.diff(shard[order])) + 1
        for part in np.split(order, cuts) if len(order) else ():
            name, _ = self._shards[shard[part[0]]]
            features[rows[part]] = self._read_features(name)[line[part]]
        return features

    def _look_up(self) -> None:
        """Learn of new and vanished shards; remove damaged ones. Under the lock."""
        _remove(*self._folder.glob("*.draft"))  # of killed writers: we have the lock
        found = {path.name for path in self._folder.glob("*.safetensors")}
        known = {name for name, _ in self._shards}
        if known - found:
            self._shards, self._place, self.width, known = [], {}, None, set()
        for name in sorted(found - known):
            try:
                self._note(name, *self._read_keys(name))
            # Not OSError: a shard that cannot be read now may be read again.
            except (SafetensorError, ValueError, KeyError) as error:
                self._discard(name, error)

    def _discard(self, name: str, error: Exception) -> None:
        """Remove a damaged shard, and say so."""
        path = self._folder / name
        _remove(path)
        warnings.warn(
            f"The file {path} of the cache of features was damaged ({error}). It is "
            "removed, and its features are computed again.",
            stacklevel=2,
        )

    def _note(self, name: str, keys: Sequence[bytes], width: int) -> None:
        """Remember where the features of a shard lie."""
        start = len(self._shards) * _STRIDE
        self._shards.append((name, len(keys)))
        self._place.update((key, start + row) for row, key in enumerate(keys))
        self.width = width

    def _read_keys(self, name: str) -> tuple[list[bytes], int]:
        """Keys of a shard of the right length, and the width. -> m keys, d."""
        with safe_open(self._folder / name, framework="numpy") as file:
            keys = file.get_tensor("keys")
            written = (file.metadata() or {}).get("keys")
            width = file.get_slice("features").get_shape()[1]
        if written != _checksum(keys):
            raise ValueError("the checksum of its keys differs")
        return [key.tobytes() for key in keys], width

    def _read_features(self, name: str) -> NDArray[Any]:
        """Features of a shard, (m, d); DamagedShardError if they are not whole."""
        try:
            with safe_open(self._folder / name, framework="numpy") as file:
                rows = file.get_tensor("features")
                written = (file.metadata() or {}).get("features")
            if written != _checksum(rows):
                raise ValueError("the checksum of its features differs")
        except (SafetensorError, ValueError, KeyError) as error:
            self._discard(name, error)
            raise DamagedShardError(
                f"A file of the cache {str(self._folder)!r} was damaged. Run it again: "
                "only its features are computed."
            ) from error
        return rows

    def _write(self, keys: Sequence[bytes], rows: NDArray[Any]) -> None:
        """Write a shard whole or not at all."""
        table = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
        rows = np.ascontiguousarray(rows)
        content = save(
            {"keys": table, "features": rows},
            metadata={"keys": _checksum(table), "features": _checksum(rows)},
        )
        name = f"{uuid4().hex}.safetensors"
        draft = self._folder / f"{name}.draft"
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._folder / name)
        self._note(name, keys, rows.shape[1])

    def _write_claims(self) -> None:
        self._claims.write_bytes(b"".join(sorted(self._claimed)))

    def _claims_of_others(self) -> set[bytes]:
        """Collect what living writers compute now; clear up after dead ones."""
        taken: set[bytes] = set()
        for path in sorted((self._folder / "writers").glob("*.lock")):
            claims = path.with_suffix("")
            if claims == self._claims:
                continue
            alive = FileLock(path)
            try:
                alive.acquire(timeout=0)
            except Timeout:
                taken.update(_listed(claims))
            else:
                _remove(claims, path)
                alive.release()
        return taken

    def _join_small_shards(self) -> None:
        """Join shards that are far too small. Under the lock."""
        self._look_up()
        small = [name for name, n_rows in self._shards if 2 * n_rows < SHARD_ROWS]
        if len(small) <= MAX_SMALL_SHARDS:
            return
        keys = [key for name in small for key in self._read_keys(name)[0]]
        rows = np.concatenate([self._read_features(name) for name in small])
        for start in range(0, len(keys), SHARD_ROWS):
            stop = start + SHARD_ROWS
            self._write(keys[start:stop], rows[start:stop])
        _remove(*(self._folder / name for name in small))


def unusable(folder: Path, error: OSError) -> OSError:
    """Error to raise for a folder that cannot hold a store."""
    return OSError(
        f"The cache of features {str(folder)!r} cannot be used ({error}). cache_dir= "
        "wants a folder that you may write to; None does without."
    )


def content_key(content: Any, kind: str) -> bytes:
    """Name bytes by a hash of them, apart from equal bytes of another kind."""
    digest = blake2b(content, digest_size=KEY_BYTES)
    digest.update(kind.encode())
    return digest.digest()


def _checksum(array: NDArray[Any]) -> str:
    return str(zlib.crc32(array.tobytes()))


def _alive_file(claims: Path) -> Path:
    """File that the writer of these claims holds locked while it lives."""
    return claims.with_suffix(".lock")


def _listed(claims: Path) -> list[bytes]:
    """Keys of a file of claims; none if its writer has claimed nothing yet."""
    content = claims.read_bytes() if claims.exists() else b""
    return [content[i : i + KEY_BYTES] for i in range(0, len(content), KEY_BYTES)]


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
