"""What users might pass, right and wrong, as hypothesis strategies."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
import torch
from hypothesis import reject
from hypothesis import strategies as st

MAX_ROWS, MAX_CLASSES = 8, 6

# Values that end up somewhere they do not belong.
ODDITIES = st.sampled_from(
    [
        *(np.nan, np.inf, -np.inf, -1, -0.0, 1e308, 5e-324, 2**63 - 1, -(2**63), 2**70),
        *(None, "", "a|b", b"bytes", (), frozenset(), {}, [[]], object(), 1j, True),
        *(np.datetime64("2020-01-01"), datetime.date(2020, 1, 1), pd.NA, pd.NaT),
        *("\x00", "\ud800", "é" * 50, np.float16(0.1), np.int8(-128), Ellipsis),
    ]
)

POOLS = st.sampled_from(
    [
        tuple(range(MAX_CLASSES)),
        (7, 3, -5, 100, 2**62, 0),
        (-1, 0, 1, 2, 3, 4),
        ("cat", "dog", "owl", "ant", "", "a b"),
        ("0", "1", "2", "3", "10", "é"),
        (False, True, 2, 3, 4, 5),
        (0.5, 1.5, 2.5, 3.5, -0.5, 1e300),
        (np.int8(1), np.int8(2), np.int8(3), np.int8(4), np.int8(5), np.int8(6)),
        ("a", 1, 2.5, True, None, ("x",)),
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    ]
)

DTYPES = st.sampled_from(
    [bool, *(f"{k}{b}" for k in "iu" for b in (1, 2, 4, 8)), "f2", "f4", "f8", object]
)


@st.composite
def masks(draw: Any, min_rows: int = 0) -> np.ndarray:
    """Draw 0/1 matrices, mostly with a candidate in every row."""
    n = draw(st.integers(min_rows, MAX_ROWS))
    C = draw(st.integers(1, MAX_CLASSES))
    bits = draw(st.lists(st.integers(1, 2**C - 1), min_size=n, max_size=n))
    mask = (np.array(bits, dtype=np.int64)[:, None] >> np.arange(C)) & 1
    if n and draw(st.integers(0, 9)) == 0:
        mask[draw(st.integers(0, n - 1))] = draw(st.integers(0, 1))
    return mask.reshape(n, C).astype(bool)


def laid_out(draw: Any, array: np.ndarray) -> np.ndarray:
    """Give the same array another layout in memory."""
    how = draw(st.sampled_from(["C", "F", "strided", "reversed", "read-only", "C"]))
    if how == "strided":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if how == "reversed":
        return array[::-1].copy()[::-1]
    out = np.array(array, order="F" if how == "F" else "C")
    if how == "read-only":
        out.flags.writeable = False
    return out


def spoilt(draw: Any, array: np.ndarray) -> np.ndarray:
    """Put an oddity somewhere, now and then."""
    if not array.size or draw(st.integers(0, 3)):
        return array
    array = array.astype(object) if draw(st.booleans()) else array.copy()
    try:
        array.flat[draw(st.integers(0, array.size - 1))] = draw(ODDITIES)
    except (TypeError, ValueError, OverflowError):
        pass  # this dtype cannot hold it
    return array


MATRIX_FORMS = (
    *("array", "weights", "list", "tuples", "frame", "polars", "torch", "csr", "csc"),
    *("coo", "matrix", "masked"),
)
LABEL_FORMS = (
    *("sets", "frozensets", "lists", "objects", "series", "arrow", "polars lists"),
    *("single", "single array", "categorical", "nested"),
)


@st.composite
def targets(draw: Any, min_rows: int = 0) -> Any:
    """Draw y in any form, mostly sound."""
    mask = draw(masks(min_rows))
    form = draw(st.sampled_from([*MATRIX_FORMS, *LABEL_FORMS]))
    try:
        if form in MATRIX_FORMS:
            return as_matrix(draw, mask, form)
        return as_labels(draw, mask, form, draw(POOLS))
    except UnicodeEncodeError:
        reject()  # arrow and polars hold no half of a surrogate pair


def as_matrix(draw: Any, mask: np.ndarray, form: str) -> Any:
    """Write a mask as a matrix of some kind."""
    try:
        values = mask.astype(draw(DTYPES))
    except (TypeError, ValueError):
        values = mask
    if form == "weights":
        scale = draw(st.sampled_from([1e-300, 1e-30, 0.1, 1.0, 1e30, 1e300]))
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        values = mask * scale * rng.random(mask.shape)
    values = spoilt(draw, values)
    if form in ("list", "tuples"):
        rows = values.tolist()
        return [tuple(row) for row in rows] if form == "tuples" else rows
    if form == "frame":
        names = draw(st.sampled_from([None, list("abcdef"), [3, 1, 2, 9, 8, 7]]))
        names = None if names is None else names[: mask.shape[1]]
        return pd.DataFrame(values, columns=names)
    plain = values if values.dtype != object else mask
    if form == "polars":
        columns = {f"c{j}": plain[:, j] for j in range(plain.shape[1])}
        return pl.DataFrame(columns) if plain.dtype != np.float16 else columns
    if form == "torch":
        return torch.as_tensor(np.ascontiguousarray(plain)) if plain.size else plain
    if form in ("csr", "csc", "coo"):
        kind = draw(st.sampled_from([f"{form}_matrix", f"{form}_array"]))
        if plain.dtype == np.float16:
            plain = mask
        sparse = getattr(sp, kind)(plain)
        if draw(st.booleans()) and sparse.nnz and hasattr(sparse, "data"):
            sparse.data[0] = 0  # stored, and yet none
        return sparse
    if form == "matrix":
        return np.asmatrix(plain)
    if form == "masked":
        return np.ma.masked_array(plain)
    return laid_out(draw, values)


def as_labels(draw: Any, mask: np.ndarray, form: str, pool: tuple[Any, ...]) -> Any:
    """Write a mask as collections of labels, or as one label a row."""
    rows: list[Any] = [[pool[j] for j in np.flatnonzero(row)] for row in mask]
    if form.startswith(("single", "categorical")):
        rows = [row[0] if row else None for row in rows]
        if rows and draw(st.integers(0, 3)) == 0:
            rows[draw(st.integers(0, len(rows) - 1))] = draw(ODDITIES)
        if form == "single array":
            try:
                return np.array(rows)
            except ValueError:
                return np.array([*rows, None], dtype=object)[:-1]
        if form == "categorical":
            try:
                return pd.Series(rows).astype("category")
            except Exception:  # pandas cannot hold them
                return rows
        return rows
    if rows and draw(st.integers(0, 3)) == 0:
        i = draw(st.integers(0, len(rows) - 1))
        odd = draw(ODDITIES)
        rows[i] = odd if draw(st.booleans()) else [*rows[i], odd]
    if form in ("sets", "frozensets", "objects", "series"):
        kind = set if form == "sets" else frozenset
        try:
            rows = [kind(row) if isinstance(row, list) else row for row in rows]
        except TypeError:
            return rows
    if form == "objects":
        out = np.empty(len(rows), dtype=object)
        out[:] = rows
        return out
    if form == "series":
        return pd.Series(rows, dtype=object)
    if form in ("arrow", "polars lists"):
        try:
            array = pa.array(rows)
            return pl.Series(array) if form == "polars lists" else array
        except Exception:  # what these libraries cannot hold is not ours to judge
            return rows
    if form == "nested":
        return tuple(tuple(row) if isinstance(row, list) else row for row in rows)
    return rows


CLASSES = st.one_of(
    st.none(),
    st.none(),
    POOLS.map(list),
    POOLS.flatmap(lambda pool: st.lists(st.sampled_from(pool), max_size=7)),
    st.lists(ODDITIES, max_size=3),
    ODDITIES,
)
MISSING = st.one_of(st.none(), st.sampled_from([-1, "", "?", np.nan]), ODDITIES)


@st.composite
def probabilities(draw: Any, n: int | None = None, C: int | None = None) -> Any:
    """Draw rows that mostly sum to 1."""
    n = draw(st.integers(0, MAX_ROWS)) if n is None else n
    C = draw(st.integers(1, MAX_CLASSES)) if C is None else C
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    P = rng.dirichlet(np.full(C, 0.5), size=n)
    if draw(st.booleans()):
        P = np.eye(C)[P.argmax(1)] if n else P
    P = P.astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    return laid_out(draw, spoilt(draw, P))


TABLE_KINDS = (
    *("normal", "normal", "constant", "duplicates", "huge", "tiny", "mixed"),
    *("denormal", "integers", "float16", "float32", "bool", "wide range", "equal rows"),
    *("near overflow", "sparse", "frame", "objects", "odd", "lists"),
)


@st.composite
def tables(draw: Any, n: int, odd: bool = True) -> Any:
    """Draw X of n rows in many kinds, sound or not."""
    p = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    X = rng.normal(size=(n, p))
    kind = draw(st.sampled_from(TABLE_KINDS))
    if kind == "constant":
        X[:, 0] = 3.0
    elif kind == "duplicates":
        X = X[rng.integers(0, max(1, n // 3), n)]
    elif kind == "huge":
        X *= 1e30
    elif kind == "near overflow":
        X *= 1e307
    elif kind == "tiny":
        X *= 1e-30
    elif kind == "denormal":
        X *= 1e-310
    elif kind == "mixed":
        X *= 10.0 ** rng.integers(-20, 20, p)
    elif kind == "wide range":
        X *= 10.0 ** rng.integers(-12, 12, (n, 1))
    elif kind == "equal rows":
        X[:] = X[:1]
    elif kind == "integers":
        X = (1000 * X).astype(draw(st.sampled_from(["i1", "i4", "i8", "u1", "u8"])))
    elif kind == "float16":
        X = X.astype(np.float16)
    elif kind == "float32":
        X = X.astype(np.float32)
    elif kind == "bool":
        X = X > 0
    elif kind == "sparse":
        return sp.csr_matrix(X)
    elif kind == "frame":
        choices = [list("abcde"), [0, 1, 2, 3, 4], ["a", "a", 1, 2, 3]]
        names = draw(st.sampled_from(choices))
        return pd.DataFrame(X, columns=names[:p])
    elif kind == "objects":
        X = X.astype(object)
        if X.size and draw(st.booleans()):
            X.flat[0] = draw(ODDITIES)
        return X
    elif kind == "lists":
        return X.tolist()
    if kind == "odd" and odd:
        X = spoilt(draw, X)
        shape = draw(st.sampled_from(["same", "1-D", "3-D", "no columns", "no rows"]))
        if shape == "1-D":
            X = X[:, 0]
        elif shape == "3-D":
            X = X[:, :, None]
        elif shape == "no columns":
            X = X[:, :0]
        elif shape == "no rows":
            X = X[:0]
        return X
    return laid_out(draw, X)
