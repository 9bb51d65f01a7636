"""Entries of tables that nothing can be computed with, named by row and column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

LARGEST = 1e100


@contextmanager
def naming_entries(X: Any, name: str = "X") -> Iterator[None]:
    """Add row, column and value to an error about an entry that is no number.

    Parameters
    ----------
    X : array-like
        What is checked within.
    name : str
        What the user calls it.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        found = _first_that_is_none(X)
        if found is None:
            raise
        place, value = found
        raise type(error)(
            f"{name} holds {value!r:.60} in {place}, which is no number ({error}). "
            "Encode what is not numeric first, for example with scikit-learn's "
            "OneHotEncoder, or leave it out."
        ) from error


def check_table(X: Any, name: str) -> NDArray[np.float64]:
    """Check a table of finite numbers. -> (n, p)."""
    with naming_entries(X, name):
        table: NDArray[np.float64] = check_array(X, dtype=np.float64, input_name=name)
    refuse_huge(table, name)
    return table


def refuse_huge(
    table: NDArray[np.floating], name: str = "X", largest: float = LARGEST
) -> None:
    """Refuse numbers whose squares, summed, would overflow. (n, p)."""
    # As Python's numbers: float32 cannot hold the limit.
    if table.size and max(float(table.max()), -float(table.min())) > largest:
        row, column = np.unravel_index(np.abs(table).argmax(), table.shape)
        raise ValueError(
            f"{name} holds {table[row, column]:g} in row {row}, column {column}, which "
            f"is beyond {largest:g}: distances would overflow. Use a larger unit for "
            "this column, or its logarithm."
        )


def _first_that_is_none(X: Any) -> tuple[str, Any] | None:
    """Row and column, in words, and value of the first entry that float() refuses."""
    names = list(X.columns) if hasattr(X, "columns") else None
    try:
        table = np.asarray(X, dtype=object) if names is None else X.to_numpy()
    except (TypeError, ValueError, AttributeError):
        return None
    if table.dtype.kind not in "OUS" or not table.ndim:
        return None
    for (i, *rest), value in np.ndenumerate(table):
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            found = rest if names is None else [names[rest[0]]]
            return ", ".join([f"row {i}", *(f"column {j!r:.60}" for j in found)]), value
    return None
