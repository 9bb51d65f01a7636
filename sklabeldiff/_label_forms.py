"""Reads the forms in which users hold labels; knows no estimator and no class order.

`unwrap` opens the container (frame, series, tensor, sparse matrix, ...) and `parse`
tells what lies inside: a `Matrix` with a column per class, or `Labels`, a flat list of
(row, label) entries. What the class order is, and which errors are left to raise once
it is known, is the business of `sklabeldiff.targets`. Optional libraries are recognised
by their methods and never imported.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from enum import Enum
from itertools import chain
from numbers import Complex, Real
from operator import methodcaller
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

Missing: TypeAlias = Callable[[Any], bool]

NUMERIC_KINDS = "biuf"
_TEXT_OR_OBJECT_KINDS = "UTSO"
_PLAIN_METHODS = ("tolist", "to_list", "as_py")


class Matrix(NamedTuple):
    """Numbers of shape (n_rows, n_classes), entries not yet checked."""

    values: NDArray[Any]


class Labels(NamedTuple):
    """Entries "row i may be label j", and the rows about which nothing is known."""

    rows: NDArray[np.intp]  # (n_entries,) ascending
    codes: NDArray[np.intp]  # (n_entries,) index into labels
    labels: list[Any]  # distinct, as first met
    dtype: np.dtype[Any] | None  # of a numeric array of labels, else None
    unknown: NDArray[np.bool_]  # (n_rows,)
    single: bool  # one label a row, not collections


def unwrap(y: Any) -> tuple[NDArray[Any] | list[Any], list[Any] | None]:
    """Open y's container: an array or a list of rows, and a frame's column names."""
    if y is None:
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. y says "
            "which classes each row may belong to."
        )
    if issparse(y):
        return y.toarray(), None
    package = type(y).__module__.partition(".")[0]
    if len(getattr(y, "shape", ())) == 2 and hasattr(y, "columns"):
        if package == "pyarrow":
            values = np.column_stack([np.asarray(column) for column in y.columns])
            return values, list(y.column_names)
        return y.to_numpy(), list(y.columns)
    # Arrow and polars turn integers with nulls into floats on their way to numpy, so
    # they are read as lists.
    if package == "pyarrow" and hasattr(y, "to_pylist"):
        return y.to_pylist(), None
    if package == "polars" and hasattr(y, "to_list"):
        return y.to_list(), None
    if hasattr(y, "detach"):  # a torch tensor, maybe on a GPU or part of a graph
        y = y.detach().cpu().numpy()
    if np.ma.isMaskedArray(y):
        masked = np.ma.getmaskarray(y)
        y = np.asarray(y, dtype=object)  # a copy
        y[masked] = None
    if hasattr(y, "__array__"):
        values = np.asarray(y)
        if values.ndim in (1, 2):
            return values, None
        raise ValueError(
            f"y has {values.ndim} dimensions. Expected one label or one collection of "
            "labels per row (1-D), or one column per class (2-D)."
        )
    ordered = hasattr(y, "__len__") and hasattr(y, "__iter__")
    if not ordered or isinstance(y, (str, bytes, Mapping, Set)):
        raise ValueError(
            "Expected array-like (array or non-string sequence), got "
            f"{reprlib.repr(y)} of type {type(y).__name__}. Put the values in a "
            "list, an array, a Series or a DataFrame."
        )
    return list(y), None


def parse(
    y: NDArray[Any] | list[Any], columns: list[Any] | None, missing: Missing
) -> Matrix | Labels:
    """Tell what an opened container holds."""
    if isinstance(y, list):
        return _parse_rows(y, missing)
    if y.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: row 0 of y holds {y.flat[0] if y.size else y}"
            ". Labels are integers, strings or bools; weights are real numbers."
        )
    if y.dtype.kind in NUMERIC_KINDS:
        return Matrix(y) if y.ndim == 2 else _parse_numbers(y, missing)
    if y.dtype.kind not in _TEXT_OR_OBJECT_KINDS:
        raise ValueError(
            f"Unknown label type: row 0 of y holds {y.flat[0] if y.size else y} (dtype "
            f"{y.dtype}). Labels are integers, strings or bools; convert them, for "
            "example with astype(str)."
        )
    if y.ndim == 2:
        return _parse_object_matrix(y, columns, missing)
    return _parse_rows(y.tolist(), missing)


def make_missing(missing_label: Any) -> Missing:
    """Return the test for None, NaN, NA, NaT or a value equal to `missing_label`."""
    (missing_label,), _ = plain([missing_label])
    try:
        hash(missing_label)
    except TypeError:
        raise TypeError(
            f"missing_label={missing_label!r} is a {type(missing_label).__name__}. It "
            "must be one value, such as -1 or '?', or None."
        ) from None
    if _is_missing(missing_label):
        return _is_missing
    kind = _kind(type(missing_label))

    def missing(value: Any) -> bool:
        # True == 1, so the kinds are compared too: missing_label=1 keeps True a label.
        same = _kind(type(value)) == kind and value == missing_label
        return bool(same) or _is_missing(value)

    return missing


def plain(values: Iterable[Any]) -> tuple[list[Any], set[type]]:
    """List values with numpy scalars, arrays, tensors as Python objects; their types.

    Callers pass the types on: finding them takes as long as hashing all values.
    """
    values = values if isinstance(values, list) else list(values)
    types = set(map(type, values))
    convert = {}
    for kind in types:
        method = next((m for m in _PLAIN_METHODS if hasattr(kind, m)), None)
        if method is not None:
            convert[kind] = methodcaller(method)
    if not convert:
        return values, types
    values = [convert[type(v)](v) if type(v) in convert else v for v in values]
    return values, set(map(type, values))


def factorize(
    values: list[Any],
    types: set[type],
    rows: NDArray[np.intp] | range,
    missing: Missing,
) -> tuple[list[Any], NDArray[np.intp]]:
    """Distinct labels as first met, and each value's index there (-1: missing).

    Hashing beats sorting on objects, and works for labels that cannot be sorted.
    `types` are those of the values; `rows[i]` is the row of `values[i]`, for the error
    messages.
    """
    try:
        table: dict[Any, int] = dict.fromkeys(values, -1)
    except TypeError:
        i = next(i for i, value in enumerate(values) if not _is_hashable(value))
        raise ValueError(
            f"row {rows[i]} holds {reprlib.repr(values[i])} "
            f"({type(values[i]).__name__}), which cannot be a label. Give one label, "
            "or one flat set or list of labels, per row."
        ) from None
    labels = [value for value in table if not missing(value)]
    table.update(zip(labels, range(len(labels)), strict=True))
    _check_one_kind(values, types, labels, rows, missing)
    codes = np.fromiter(map(table.__getitem__, values), np.intp, len(values))
    return labels, codes


def label_array(labels: list[Any]) -> NDArray[Any]:
    """Labels of one kind as an array: bool, int64, float64, str, or else object."""
    dtype: Any = {"str": str, "bool": bool, "number": np.int64}.get(
        _kind(type(labels[0])), object
    )
    if dtype is np.int64 and any(isinstance(label, float) for label in labels):
        dtype = np.float64
    try:
        array = np.array(labels, dtype=dtype)
        # Not the same: NULs at the end of a string, integers that no float can hold.
        if dtype is not object and array.tolist() == labels:
            return array
    except OverflowError:  # Python integers have no bound
        pass
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def sorted_index(labels: list[Any]) -> list[int]:
    """Order of the labels as numpy sorts them."""
    try:
        return sorted(range(len(labels)), key=labels.__getitem__)
    except TypeError:
        raise ValueError(
            f"labels such as {labels[0]!r} ({type(labels[0]).__name__}) cannot be "
            "sorted. Give classes=, all labels in the order wanted."
        ) from None


def check_classes(classes: ArrayLike, missing: Missing, name: str) -> NDArray[Any]:
    """Classes as an array: at least one, no duplicates, all of one kind."""
    try:
        labels, types = plain(unwrap(classes)[0])
        distinct, codes = factorize(labels, types, range(len(labels)), missing)
    except ValueError as error:
        raise ValueError(f"{name} must be a list of labels: {error}") from error
    if len(codes) == 0:
        raise ValueError(f"{name} is empty. Give at least one label.")
    if codes.min() < 0:
        i = int(np.argmin(codes))
        raise ValueError(
            f"{name} has {labels[i]!r} at position {i}, which marks an unlabelled row. "
            "Leave it out, or choose another missing_label."
        )
    if len(distinct) < len(labels):
        i = int(np.argmax(codes != np.arange(len(codes))))
        raise ValueError(
            f"{name} has {labels[i]!r} again at position {i}. Give each label once."
        )
    return label_array(labels)


def is_fractional(label: Any) -> bool:
    """Whether a label is a float with a fractional part, or infinite."""
    return isinstance(label, float) and not label.is_integer()


def _parse_numbers(y: NDArray[Any], missing: Missing) -> Labels:
    """Read a 1-D numeric array, one label a row. No Python per row."""
    labels, codes = np.unique(y, return_inverse=True)
    named = labels.tolist()
    gone = np.fromiter(map(missing, named), bool, len(named))
    unknown = gone[codes]
    codes = (np.cumsum(~gone) - 1)[codes[~unknown]]
    named = labels[~gone].tolist()
    return Labels(np.flatnonzero(~unknown), codes, named, y.dtype, unknown, True)


def _parse_object_matrix(
    y: NDArray[Any], columns: list[Any] | None, missing: Missing
) -> Matrix | Labels:
    """Read a 2-D array of objects or text: numbers and NA in disguise, or labels."""
    flat, types = plain(y.ravel().tolist())
    if set(map(_kind, types)) <= {"bool", "number", "missing"}:
        table = {v: np.nan if _is_missing(v) else float(v) for v in dict.fromkeys(flat)}
        values = np.fromiter(map(table.__getitem__, flat), np.float64, len(flat))
        return Matrix(values.reshape(y.shape))
    if columns is None:
        return _parse_rows(y.tolist(), missing)
    i = next(i for i, v in enumerate(flat) if _kind(type(v)) not in ("bool", "number"))
    row, j = divmod(i, y.shape[1])
    raise ValueError(
        f"row {row} holds {reprlib.repr(flat[i])} in column {columns[j]!r}. A "
        "DataFrame y has one 0/1 column per class, named after it. For one label or "
        "one list of labels per row pass that column alone, as a Series."
    )


def _parse_rows(rows: list[Any], missing: Missing) -> Matrix | Labels:
    """Read a list with one label, or one collection of labels, per row."""
    rows, types = plain(rows)
    collections = {t for t in types if _is_collection(t)}
    if collections:
        return _parse_collections(rows, types, collections, missing)
    labels, codes = factorize(rows, types, range(len(rows)), missing)
    unknown = codes < 0
    known = np.flatnonzero(~unknown)
    return Labels(known, codes[known], labels, None, unknown, True)


def _parse_collections(
    rows: list[Any], types: set[type], collections: set[type], missing: Missing
) -> Matrix | Labels:
    """Read sets, lists or tuples of labels; a None among them is an unknown row."""
    unknown = np.zeros(len(rows), dtype=bool)
    if types - collections:
        unknown[:] = [type(row) not in collections for row in rows]
        for i in np.flatnonzero(unknown):
            if not missing(rows[i]):
                raise ValueError(
                    f"row {i} is the single value {reprlib.repr(rows[i])}, but other "
                    "rows are collections of labels. Give every row a collection: "
                    f"[{rows[i]!r}] for one label, None for an unlabelled row."
                )
        rows = [row for row in rows if type(row) in collections]
    index = np.flatnonzero(~unknown)
    lengths = np.fromiter(map(len, rows), np.intp, len(rows))
    if not lengths.all():
        raise no_candidate(index[int(np.argmin(lengths))])
    entry_rows = np.repeat(index, lengths)
    entries, entry_types = plain(chain.from_iterable(rows))
    labels, codes = factorize(entries, entry_types, entry_rows, missing)
    if len(codes) and codes.min() < 0:
        k = int(np.argmin(codes))
        raise ValueError(
            f"row {entry_rows[k]} has a missing value (None, NaN or missing_label) "
            "among its labels. Leave it out. For an unlabelled row give None instead "
            "of the whole set."
        )
    if not any(issubclass(t, Set) for t in collections):
        fractional = np.fromiter(map(is_fractional, labels), bool, len(labels))[codes]
        if fractional.any():
            k = int(np.argmax(fractional))
            raise ValueError(
                f"row {entry_rows[k]} lists {labels[codes[k]]!r}, which could be a "
                "weight or a label. Pass weights as a matrix, np.asarray(y), and "
                "labels as sets."
            )
        if _is_nested_mask(labels, lengths):
            values = np.ones((len(unknown), lengths[0]), dtype=bool)
            truth = np.array(labels, dtype=bool)[codes]
            values[index] = truth.reshape(-1, lengths[0])
            return Matrix(values)
    return Labels(entry_rows, codes, labels, None, unknown, False)


def _is_nested_mask(labels: list[Any], lengths: NDArray[np.intp]) -> bool:
    """Whether lists of numbers are the rows of a 0/1 matrix.

    Equally long lists of two or more distinct labels from {0, 1} would all be [0, 1],
    so reading them as a matrix costs nobody a meaning.
    """
    same_length = lengths[0] > 1 and bool((lengths == lengths[0]).all())
    return same_length and set(labels) <= {0, 1}


def _check_one_kind(
    values: list[Any],
    types: set[type],
    labels: list[Any],
    rows: NDArray[np.intp] | range,
    missing: Missing,
) -> None:
    """Refuse labels that do not compare: text beside numbers, bools beside 0 and 1."""
    kinds = {_kind(type(label)) for label in labels}
    if {"bool", "number"} <= set(map(_kind, types)):
        # True and 1 are one key, so the table may have hidden one of the two.
        kinds = {_kind(type(v)) for v in values if not missing(v)}
    if len(kinds) < 2 and not kinds & {bytes, "complex", "set"}:
        return
    known = [(row, v) for row, v in zip(rows, values, strict=True) if not missing(v)]
    first_row, first = known[0]
    for row, label in known:
        kind, has = _kind(type(label)), f"row {row} has the label {label!r}"
        if kind is bytes:
            raise TypeError(f"{has}. Labels as bytes are not supported: decode them.")
        if kind == "complex":
            raise ValueError(
                f"Complex data not supported: {has}. Labels are integers, strings or "
                "bools."
            )
        if kind == "set":
            raise ValueError(f"{has}, a set in a set. Give one flat set per row.")
        if kind != _kind(type(first)):
            raise ValueError(
                f"{has} ({type(label).__name__}), but row {first_row} has {first!r} "
                f"({type(first).__name__}). All labels must be of one kind. Convert "
                "them, for example all to str."
            )


def no_candidate(row: int) -> ValueError:
    """Return the error for an empty candidate set."""
    return ValueError(
        f"row {row} has no candidate. Give every row at least one class, or use all "
        "classes (or None) for an unlabelled row."
    )


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _is_collection(kind: type) -> bool:
    return issubclass(kind, (Set, Sequence)) and not issubclass(kind, (str, bytes))


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _kind(kind: type) -> Any:
    """Labels of one kind compare with each other: a name, or the type itself."""
    if issubclass(kind, Enum):  # hashed by name even where it equals a str or int
        return kind
    if issubclass(kind, (bool, np.bool_)):
        return "bool"
    if issubclass(kind, str):
        return "str"
    if issubclass(kind, Real):
        return "number"
    if issubclass(kind, Complex):
        return "complex"
    if issubclass(kind, Set):
        return "set"
    if kind.__name__ in ("NoneType", "NAType", "NaTType"):
        return "missing"
    return kind
