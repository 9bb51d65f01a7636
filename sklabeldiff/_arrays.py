"""Fitted arrays by dotted name."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def part_of(arrays: Arrays, name: str) -> Arrays:
    """Arrays whose name starts with ``name.``, without it."""
    start = f"{name}."
    return {k[len(start) :]: v for k, v in arrays.items() if k.startswith(start)}
