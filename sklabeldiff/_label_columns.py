"""Brings candidate sets, labels and an estimator's answers into the same columns.

Beside `sklabeldiff.targets`, which reads one `y` by itself: here two things must agree
on their classes, such as candidate sets and predictions.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from sklabeldiff._label_forms import Matrix, make_missing, parse, unwrap
from sklabeldiff.targets import _encode, encode_candidates


def candidate_mask(
    y: Any,
    classes: ArrayLike | None,
    missing_label: Any,
    sparse_output: bool | str = False,
) -> tuple[Any, NDArray[Any]]:
    """Candidate sets as a mask (n, C), and the labels of its columns (C,).

    Nothing is learnt from them: all rows may be unlabelled, as in a fold of few labels.
    """
    Y, columns = _encode(
        y, classes, missing_label, to_learn=False, sparse=sparse_output
    )
    if not Y.shape[0]:
        raise ValueError("y has 0 rows. At least one row is required.")
    return Y.astype(bool), columns


def mask_with_labels(
    y: Any,
    labels: NDArray[Any],
    missing_label: Any,
    *,
    role: str,
    sparse_output: bool | str = False,
) -> tuple[Any, NDArray[Any]]:
    """Like `candidate_mask`, with a column for each of `labels` too. -> (n, C), (C,).

    Encoded anew with them, since an unlabelled row may also have a label that no other
    row of y has. `role` says in the error what the labels are.
    """
    mask, classes = candidate_mask(y, None, missing_label, sparse_output)
    further = np.unique(labels[columns_of(labels, classes) < 0]).tolist()
    if not further:
        return mask, classes
    try:
        wider = [*classes.tolist(), *further]
        return candidate_mask(y, wider, missing_label, sparse_output)
    except ValueError as error:  # a matrix, or labels of another kind
        raise ValueError(
            f"{further[0]!r} is {role}, but the classes of y are "
            f"{reprlib.repr(classes.tolist())}. If the columns of y have other names, "
            "give these in classes=, in the order of the columns."
        ) from error


def one_label_a_row(values: ArrayLike, name: str) -> NDArray[Any]:
    """Labels as an array (n,), whatever container they came in."""
    Y, classes = encode_candidates(values, sparse_output="auto")
    several = np.asarray(Y.astype(bool).sum(axis=1)) != 1
    if several.any():
        row = int(np.argmax(several))
        raise ValueError(
            f"row {row} of {name} is missing or has more than one label. Give one "
            "label for every row; leave out the rows that have none."
        )
    return classes[Y.indices if issparse(Y) else Y.argmax(axis=1)]


def entries_at(mask: Any, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """One entry of each row of a mask, dense or sparse. (n, C), (n,) -> (n,)."""
    found: NDArray[np.bool_] = np.asarray(mask[np.arange(mask.shape[0]), columns])
    return found.ravel()


def is_full(mask: Any) -> NDArray[np.bool_]:
    """Which rows may be any class, of a mask, dense or sparse. (n, C) -> (n,)."""
    full: NDArray[np.bool_] = np.asarray(mask.sum(axis=1)) == mask.shape[1]
    return full


def columns_of(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Position of each label among the classes, -1 where it is none. (n,) -> (n,)."""
    position = {label: j for j, label in enumerate(classes.tolist())}
    return np.array([position.get(v, -1) for v in labels.tolist()], dtype=np.intp)


def not_a_class(
    name: str, labels: NDArray[Any], columns: NDArray[np.intp], classes: NDArray[Any]
) -> ValueError:
    """Return the error for labels that are no class."""
    row = int(np.argmax(columns < 0))
    return ValueError(
        f"{name} is {labels.tolist()[row]!r} in row {row}, which is not among the "
        f"classes {reprlib.repr(classes.tolist())}. Give the labels of the columns, in "
        "their order, in classes=, for example classes=estimator.classes_."
    )


def check_n_columns(
    name: str, values: NDArray[np.float64], classes: NDArray[Any]
) -> None:
    """Refuse an array that has not one column for each class."""
    if values.shape[1] != len(classes):
        raise ValueError(
            f"{name} has {values.shape[1]} columns, but there are {len(classes)} "
            f"classes: {reprlib.repr(classes.tolist())}. Give the labels of its "
            "columns in classes=, for example classes=estimator.classes_."
        )


def column_labels(y: Any, known: Any) -> Any:
    """Return the labels an estimator knows where they must be those of y's columns."""
    shape = getattr(y, "shape", None)
    if shape is None:  # a list of equally long masks is a matrix too
        form = parse(*unwrap(y), make_missing(None))
        shape = form.values.shape if isinstance(form, Matrix) else ()
    is_matrix = len(shape) == 2 and shape[1] > 1
    return known if is_matrix and np.shape(known) == (shape[1],) else None


def parameter_of(estimator: Any, name: str) -> Any:
    """Find a parameter of an estimator, or of a step of it, or None."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    values = [v for k, v in params.items() if k.split("__")[-1] == name]
    return values[0] if values else None
