"""What fitted attributes look like, so that those of a file are checked before use.

An estimator lists its attributes by name with a `Field` for each; `check_fields` holds
what a file brought against the list. Sizes have names (n rows, C classes, p columns),
and a name stands for one number throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_array

ROUNDING = 1e-3  # by which a probability may exceed 1
_KINDS = {"b": "bools", "i": "integers", "f": "real numbers"}
_PLAIN = (str, int, float, bool, type(None))

Sizes = dict[str, int]


class Field(Protocol):
    """What one attribute may hold."""

    @property
    def optional(self) -> bool:
        """Whether the attribute may be missing."""

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Raise ValueError if it holds something else; learns sizes by name."""


@dataclass(frozen=True)
class Array:
    """Numbers of one kind: "b", "i" or "f". A size is a name or a number."""

    kind: str
    shape: tuple[str | int, ...]
    low: float = -np.inf
    high: float = np.inf
    nan: bool = False
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check kind, shape, and the range of the entries."""
        if not isinstance(value, np.ndarray) or value.dtype.kind != self.kind:
            raise ValueError(f"{name} must be an array of {_KINDS[self.kind]}")
        if value.ndim != len(self.shape):
            raise ValueError(
                f"{name} must have {len(self.shape)} dimensions, has {value.ndim}"
            )
        for size, found in zip(self.shape, value.shape, strict=True):
            _check_size(name, size, found, sizes)
        if self.kind == "b":
            return
        entries = value[~np.isnan(value)] if self.nan else value
        if not np.isfinite(entries).all():
            raise ValueError(f"{name} holds values that are not finite")
        if entries.size and not (
            self.low <= entries.min() and entries.max() <= self.high
        ):
            raise ValueError(f"{name} holds values outside of its range")


@dataclass(frozen=True)
class OneOf:
    """An array in one of two forms, told apart by their number of dimensions."""

    one: Array
    other: Array
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check it in the form that it has."""
        is_one = np.ndim(value) == len(self.one.shape)
        (self.one if is_one else self.other).check(name, value, sizes)


@dataclass(frozen=True)
class MaybeSparse:
    """A table, or a sparse array of the same shape, of which entries are checked."""

    table: Array

    @property
    def optional(self) -> bool:
        """Whether the attribute may be missing."""
        return self.table.optional

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check it in the form that it has."""
        if not isinstance(value, csr_array):
            self.table.check(name, value, sizes)
            return
        for size, found in zip(self.table.shape, value.shape, strict=True):
            _check_size(name, size, found, sizes)
        replace(self.table, shape=("",)).check(name, value.data, {})


def beliefs(*shape: str) -> Array:
    """Probabilities."""
    return Array("f", shape, 0, 1 + ROUNDING)


# A `Standardizer` of p columns: in a dict of its own, and among other arrays.
SCALER_ARRAYS: dict[str, Field] = {
    "mean": Array("f", ("p",)),
    "scale": Array("f", ("p",), low=0),
}


@dataclass(frozen=True)
class Number:
    """One number in a range; of an integer, perhaps a size with a name."""

    integer: bool = False
    low: float = -np.inf
    high: float = np.inf
    size: str | None = None
    nan: bool = False
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check type and range."""
        wanted: Any = int if self.integer else (int, float)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{name} must be a number, is {value!r:.60}")
        if not (self.low <= value <= self.high or (self.nan and value != value)):
            raise ValueError(f"{name} is {value!r:.60}, out of its range")
        if self.size is not None:
            _check_size(name, self.size, value, sizes)


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check that it is one of them."""
        if not any(type(value) is type(v) and value == v for v in self.values):
            raise ValueError(f"{name} must be one of {self.values}, is {value!r:.60}")


@dataclass(frozen=True)
class Labels:
    """Names of classes, or of columns if `text`: all different."""

    size: str
    text: bool = False
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check that it is a list of different labels."""
        if not isinstance(value, np.ndarray) or value.ndim != 1:
            raise ValueError(f"{name} must be a list of labels")
        labels = value.tolist()
        wanted: Any = str if self.text else (str, int, float, bool)
        if not all(isinstance(label, wanted) for label in labels):
            raise ValueError(f"{name} holds something that is no label")
        if len(set(labels)) < len(labels):
            raise ValueError(f"{name} holds a label twice")
        _check_size(name, self.size, len(labels), sizes)


@dataclass(frozen=True)
class Records:
    """A list of dicts: of `fields`, or of any plain values."""

    fields: Mapping[str, Field] | None = None
    size: str | None = None
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check that it is a list of such dicts."""
        if not isinstance(value, list) or not all(
            isinstance(record, dict) and all(map(_is_plain, record.values()))
            for record in value
        ):
            raise ValueError(f"{name} must be a list of records")
        if self.fields is not None:
            for record in value:
                check_fields(f"{name} ", self.fields, record, sizes)
        if self.size is not None:
            _check_size(name, self.size, len(value), sizes)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


@dataclass(frozen=True)
class Parts:
    """A dict: of fields by name, and of the weights of networks.

    The names of weights start with one of `networks` and a dot, or with anything if it
    is (""): which there must be, and their shapes, is checked when they are put into
    the network.
    """

    fields: Mapping[str, Field]
    networks: tuple[str, ...] = ()
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check every field, and that weights are finite numbers."""
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a dict")
        starts = tuple(f"{start}." if start else "" for start in self.networks)
        weights = {k for k in value if k not in self.fields and k.startswith(starts)}
        rest = {k: v for k, v in value.items() if k not in weights}
        check_fields(f"{name} ", self.fields, rest, sizes)
        for key in sorted(weights):
            array = value[key]
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "fi":
                raise ValueError(f"{name} {key} must be an array of numbers")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} {key} holds values that are not finite")


@dataclass(frozen=True)
class Plain:
    """Plain values, perhaps in lists."""

    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check that it is plain."""
        if not _is_plain(value):
            raise ValueError(f"{name} must be plain values")


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier; what is in it was checked when it was made."""

    size: str
    optional: bool = False

    def check(self, name: str, value: Any, sizes: Sizes) -> None:
        """Check that it has the right number of classes."""
        classes = getattr(value, "classes_", None)
        if not isinstance(classes, np.ndarray):
            raise ValueError(f"{name} must be a fitted classifier")
        _check_size(name, self.size, len(classes), sizes)


def check_fields(
    what: str, fields: Mapping[str, Field], values: Mapping[str, Any], sizes: Sizes
) -> None:
    """Hold values against their fields, by name.

    Raises
    ------
    ValueError
        If one is missing, not known, or not as it must be.
    """
    for name in sorted(values.keys() - fields.keys()):
        raise ValueError(f"{what}{name!r:.60} is not known")
    for name, field in fields.items():
        if name in values:
            field.check(f"{what}{name}", values[name], sizes)
        elif not field.optional:
            raise ValueError(f"{what}{name} is missing")


def _check_size(name: str, size: str | int, found: int, sizes: Sizes) -> None:
    wanted = size if isinstance(size, int) else sizes.setdefault(size, found)
    if found != wanted:
        raise ValueError(f"{name} has a size of {found} where {wanted} is needed")
