"""Fitted arrays by dotted name, and networks made of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

Arrays = dict[str, NDArray[Any]]


def part_of(arrays: Arrays, name: str) -> Arrays:
    """Arrays whose name starts with ``name.``, without it."""
    start = f"{name}."
    return {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}


def state_arrays(module: nn.Module) -> Arrays:
    """Weights and buffers of a module as arrays on the CPU: copies."""
    return {k: v.cpu().numpy().copy() for k, v in module.state_dict().items()}


def load_arrays(module: nn.Module, arrays: Arrays, device: torch.device) -> nn.Module:
    """Put arrays of `state_arrays` into a module, and it on a device.

    Parameters
    ----------
    module : nn.Module
        May be on the meta device, where it takes no memory: see `without_values`.
    arrays : dict of ndarray
    device : torch.device

    Returns
    -------
    module : nn.Module
        The same, ready to predict.

    Raises
    ------
    ValueError
        If the module has weights of other names, shapes or types.
    """
    wanted = module.state_dict()
    for name in sorted(wanted.keys() ^ arrays.keys()):
        what = "lack" if name in wanted else "have in excess"
        raise ValueError(f"the weights {what} {name!r:.60}")
    state = {}
    for name, like in wanted.items():
        value = torch.tensor(arrays[name])  # a copy: memory maps are read-only
        if like.dim() == 0:  # format 1 of `save` wrote them with one dimension
            value = value.squeeze()
        if value.shape != like.shape or value.dtype != like.dtype:
            raise ValueError(
                f"the weight {name!r:.60} is {tuple(value.shape)} of {value.dtype}, "
                f"where {tuple(like.shape)} of {like.dtype} is needed"
            )
        state[name] = torch.empty_like(like, device=device).copy_(value)  # its layout
    module.load_state_dict(state, assign=True)
    return module.to(device).eval()


def without_values() -> AbstractContextManager[Any]:
    """Make modules whose weights have no values yet, and take neither time nor room."""
    return torch.device("meta")
