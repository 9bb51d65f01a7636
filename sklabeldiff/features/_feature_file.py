"""Features in one file of numpy's format, written part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from sklabeldiff._files import write_whole

FILE_ROWS = 4096  # in memory at a time, about
_HEADER_BYTES = 128  # numpy's, for any number of rows


def write_features(
    transform: Callable[[Any], NDArray[np.float32]],
    X: Any,
    path: Path,
    batch_size: int,
) -> np.memmap[Any, Any]:
    """Transform X part by part into a file, and map it."""

    def write(draft: Path) -> None:
        shape = (0, 0)
        with draft.open("wb") as file:
            file.write(_header(shape))
            for part in _parts(X, -(-FILE_ROWS // batch_size) * batch_size):
                try:
                    features = transform(part)
                except Exception as error:
                    error.add_note(f"Row 0 stands for row {shape[0]} of X here.")
                    raise
                file.write(np.ascontiguousarray(features).data)
                shape = shape[0] + len(features), features.shape[1]
            if not shape[0]:
                transform(X)  # says that X holds no row
            file.seek(0)
            file.write(_header(shape))

    write_whole(path, write)
    mapped: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
    return mapped


def _parts(X: Any, size: int) -> Iterator[Any]:
    """Rows in succession, of whatever X is."""
    if not hasattr(X, "__len__"):
        stream = iter(X)
        while part := list(islice(stream, size)):
            yield part
        return
    for start in range(0, len(X), size):
        rows = slice(start, min(start + size, len(X)))
        # scikit-learn knows frames; arrays, lists and tensors know slices.
        yield _safe_indexing(X, rows) if hasattr(X, "iloc") else X[rows]


def _header(shape: tuple[int, int]) -> bytes:
    """Return the beginning of the file, of the same length for all shapes."""
    out = BytesIO()
    what = {"descr": "<f4", "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(out, what)
    assert out.tell() == _HEADER_BYTES
    return out.getvalue()
