"""A name for what an object holds, equal in every process and for every copy.

For the cache of `TorchFeatures`: pickles of equal modules differ, by the addresses of
their tensors and by what they share.
"""

from __future__ import annotations

import io
import pickle
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def content_hash(thing: Any) -> str:
    """Hash weights, buffers, attributes and code of functions; classes by their names.

    Raises
    ------
    ValueError
        If a part of it cannot be pickled.
    """
    stream = io.BytesIO()
    try:
        _ContentPickler(stream).dump(thing)
    except Exception as error:  # pickling fails in many ways
        raise ValueError(
            f"{thing!r} cannot be told from others by the cache: a part of it cannot "
            f"be pickled ({error}). Use cache_dir=None, or leave that part out."
        ) from error
    return blake2b(stream.getvalue(), digest_size=16).hexdigest()


class _ContentPickler(pickle.Pickler):
    """Pickles what is only to be compared, never read back."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=5)
        # No references back to equal strings: which of them are one object varies.
        self.fast = True

    def reducer_override(self, thing: Any) -> Any:
        """Write tensors, modules and functions by content, classes by name."""
        if isinstance(thing, Tensor):
            return tuple, (_tensor_parts(thing),)
        if isinstance(thing, nn.Module):
            return tuple, (_module_parts(thing),)
        if isinstance(thing, FunctionType):
            return tuple, (_function_parts(thing),)
        # Builtins are named by pickle itself: they are what is written above.
        if isinstance(thing, type) and thing.__module__ != "builtins":
            return str, (f"{thing.__module__}.{thing.__qualname__}",)
        return NotImplemented


def _tensor_parts(tensor: Tensor) -> list[Any]:
    """List number format, shape and bytes, wherever the tensor is."""
    dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor
    flat = dense.detach().cpu().contiguous().view(-1)
    values: Any = flat.view(torch.uint8).numpy() if len(flat) else np.empty(0)
    return [str(tensor.dtype), list(tensor.shape), values.tobytes()]


def _module_parts(module: nn.Module) -> list[Any]:
    """Class and attributes, but for what changes no feature."""
    parts = []
    for name, value in sorted(vars(module).items()):
        if name == "training":  # it runs in evaluation mode in any case
            continue
        if name.endswith("_hooks") and isinstance(value, dict):
            value = list(value.values())  # numbered over all modules of a process
        parts.append((name, sorted(value) if isinstance(value, set) else value))
    return [type(module), parts]


def _function_parts(function: FunctionType) -> list[Any]:
    """Name, code, and what the code finds besides its arguments."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    name = f"{function.__module__}.{function.__qualname__}"
    return [name, _code_parts(function.__code__), function.__defaults__, cells]


def _code_parts(code: CodeType) -> list[Any]:
    """Instructions and constants, without the file and the line they stand in."""
    constants = [
        _code_parts(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts
    ]
    return [code.co_code, list(code.co_names), constants]
