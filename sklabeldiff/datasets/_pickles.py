"""Pickles and files of torch, read without running code that they may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

# numpy's functions that unpickle an array and a number. The files were written with
# numpy 1, which had them in numpy.core; numpy 2 has them in numpy._core.
_ARRAY = np.empty(0).__reduce__()[0]
_NUMBER = np.int64(0).__reduce__()[0]
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _ARRAY for module in _MODULES},
    **{(module, "scalar"): _NUMBER for module in _MODULES},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): str.encode,  # how old pickles write bytes
    # Python 2, and pickles for it, have the second name.
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, list)
    },
}


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, strings, containers and arrays; refuses all other objects."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}") from None


def read_pickle(stream: IO[bytes], path: Path, advice: str) -> dict[Any, Any]:
    """Read a dict of numbers, strings, containers and arrays that pickle wrote."""
    try:
        # Batches of CIFAR were written by Python 2, whose strings this encoding reads.
        raw = _PlainUnpickler(stream, encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is damaged, or holds more than plain values ({error}). Get it "
            f"anew. {advice}"
        ) from error
    return _dict(raw, path, advice)


def read_torch(path: Path, advice: str) -> dict[str, Any]:
    """Read a dict of numpy arrays that torch.save wrote; refuse all other objects."""
    allowed: list[Any] = [
        *((_ARRAY, f"{module}._reconstruct") for module in _MODULES),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
    ]
    with torch.serialization.safe_globals(allowed):
        try:
            raw = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise ValueError(
                f"{path} is damaged, or holds more than arrays of int64. Get it anew. "
                f"{advice}"
            ) from error
    return _dict(raw, path, advice)


def _dict(raw: Any, path: Path, advice: str) -> dict[Any, Any]:
    if not isinstance(raw, dict):
        raise ValueError(
            f"{path} holds a {type(raw).__name__}, where a dict is expected. {advice}"
        )
    return raw
