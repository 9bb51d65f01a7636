"""Reads the forms in which users hold the answers of annotators, and counts them.

`count_votes` takes a row of answers per item, a long table with an answer per row, or
counts, and returns how often each class was given to each item. What follows from the
counts is the business of `sklabeldiff._votes`.
"""

# N   (n, C)   how many annotators gave class j to item i

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._label_forms import (
    NUMERIC_KINDS,
    Labels,
    Missing,
    check_classes,
    factorize,
    is_fractional,
    label_array,
    make_missing,
    parse,
    plain,
    unwrap,
)


class _Answers(NamedTuple):
    """One entry per place for an answer; those without one are still there."""

    labels: list[Any]  # distinct
    codes: NDArray[np.intp]  # (n_entries,) index into labels, -1: no answer
    dtype: np.dtype[Any] | None  # of a numeric array of labels, else None
    items: NDArray[np.intp]  # (n_entries,) row of the result
    rows: NDArray[np.intp]  # (n_entries,) row of the input, for messages
    n_items: int


def count_votes(
    votes: Any,
    counts: bool,
    tasks: ArrayLike | None,
    classes: ArrayLike | None,
    missing_label: Any,
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Count votes in any form. -> N (n, C), label of each column (C,)."""
    missing = make_missing(missing_label)
    given = None if classes is None else check_classes(classes, missing, "classes")
    is_table = not counts and {"task", "label"} <= set(_column_names(votes))
    if tasks is not None and not is_table:
        raise ValueError(
            "tasks= gives the order of the tasks of a long table, which has the "
            'columns "task" and "label". Here row i of votes is item i: leave it out.'
        )
    if counts:
        N, labels = _read_counts(votes, given, missing)
    else:
        answers = (
            _read_table(votes, tasks, missing)
            if is_table
            else _read_wide(votes, missing)
        )
        N, labels = _tally(answers, given)
    if not N.any():
        raise ValueError(
            f"no vote for any of the {len(N)} items. At least one answer is required; "
            "one that says nothing is None, NaN, NA or missing_label."
        )
    return N, labels


def _tally(
    answers: _Answers, given: NDArray[Any] | None
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Count the answers of each item. -> (n, C), (C,)."""
    labels, codes, rows = answers.labels, answers.codes, answers.rows
    asked = np.flatnonzero(codes >= 0)
    codes = codes[asked]
    if given is None:
        fraction = next(filter(is_fractional, labels), None)
        if fraction is not None:
            row = rows[asked[np.argmax(codes == labels.index(fraction))]]
            raise ValueError(
                f"row {row} of votes holds {fraction}. Answers are integers, strings "
                "or bools. If these numbers are classes, list them in classes=; if "
                "they are weights with one column per class, use encode_candidates."
            )
    order, column = _arrange(labels, answers.dtype, given, "classes")
    foreign = column[codes] < 0
    if foreign.any():
        i = int(np.argmax(foreign))
        raise ValueError(
            f"row {rows[asked[i]]} of votes has the answer {labels[codes[i]]!r}, which "
            f"is not among the classes {reprlib.repr(order.tolist())}. Add it to "
            "classes=, correct it, or give missing_label= if it means no answer."
        )
    shape = (answers.n_items, len(order))
    cells = answers.items[asked] * shape[1] + column[codes]
    return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape), order


def _arrange(
    labels: list[Any],
    dtype: np.dtype[Any] | None,
    given: NDArray[Any] | None,
    name: str,
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """All labels in order: given, or sorted; each label's place there, -1: none."""
    if given is not None:
        index = {label: j for j, label in enumerate(given.tolist())}
        return given, np.array([index.get(v, -1) for v in labels], dtype=np.intp)
    try:
        order = sorted(range(len(labels)), key=labels.__getitem__)
    except TypeError:
        raise ValueError(
            f"values such as {labels[0]!r} ({type(labels[0]).__name__}) cannot be "
            f"sorted. Give {name}=, all of them in the order wanted."
        ) from None
    ordered = label_array([labels[k] for k in order]) if labels else np.empty(0)
    return ordered if dtype is None else ordered.astype(dtype), np.argsort(order)


def _read_wide(votes: Any, missing: Missing) -> _Answers:
    """Read one row of answers per item."""
    values = _open(votes)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        n_items, width = values.shape
        rows = np.repeat(np.arange(n_items), width)
        return _Answers(*_codes(values.ravel(), rows, missing), rows, rows, n_items)
    lists, types = plain(list(values))
    if not all(issubclass(kind, (list, tuple)) for kind in types):
        i = next(i for i, row in enumerate(lists) if not isinstance(row, (list, tuple)))
        raise ValueError(
            f"row {i} of votes is {reprlib.repr(lists[i])} "
            f"({type(lists[i]).__name__}). Give one list of answers per item, one "
            "column per annotator. One label per item needs no counting: "
            "encode_candidates reads it."
        )
    lengths = np.fromiter(map(len, lists), np.intp, len(lists))
    rows = np.repeat(np.arange(len(lists)), lengths)
    answers = list(chain.from_iterable(lists))
    return _Answers(*_codes(answers, rows, missing), rows, rows, len(lists))


def _read_table(votes: Any, tasks: ArrayLike | None, missing: Missing) -> _Answers:
    """Read the columns "task" and "label", one answer per row."""
    columns = {name: _open(votes[name]) for name in ("task", "label")}
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and column.ndim != 1:
            raise ValueError(
                f'the column "{name}" of votes has shape {column.shape}. Give it '
                "one value per answer, shape (n_answers,)."
            )
    n_tasks, n_labels = map(len, columns.values())
    if n_tasks != n_labels:
        raise ValueError(
            f"the columns of votes differ in length: {n_tasks} tasks, {n_labels} "
            "labels. Give one of each per answer."
        )
    rows = np.arange(n_tasks)
    never = make_missing(None)
    try:
        names, codes, dtype = _codes(columns["task"], rows, never)
    except (TypeError, ValueError) as error:
        raise type(error)(f'in the column "task" of votes: {error}') from error
    if len(codes) and codes.min() < 0:
        raise ValueError(
            f"row {np.argmin(codes)} of votes has no task (None, NaN or NA). Say which "
            "item was labelled, or drop the row."
        )
    given = None if tasks is None else check_classes(tasks, never, "tasks")
    order, place = _arrange(names, dtype, given, "tasks")
    items = place[codes]
    if len(items) and items.min() < 0:
        i = int(np.argmin(items))
        raise ValueError(
            f"row {i} of votes has the task {names[codes[i]]!r}, which is not among "
            f"the {len(order)} tasks {reprlib.repr(order.tolist())}. Add it to tasks=, "
            "or drop the row."
        )
    return _Answers(*_codes(columns["label"], rows, missing), items, rows, len(order))


def _read_counts(
    votes: Any, given: NDArray[Any] | None, missing: Missing
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Check counts, one column per class. -> (n, C), (C,)."""
    try:
        values = np.asarray(_open(votes))
    except ValueError as error:
        raise ValueError(
            "votes has rows of several lengths. With counts=True it holds numbers of "
            "shape (n_items, n_classes)."
        ) from error
    if values.ndim != 2 or values.dtype.kind not in NUMERIC_KINDS:
        raise ValueError(
            f"votes has shape {values.shape} and dtype {values.dtype}. With "
            "counts=True it holds numbers of shape (n_items, n_classes)."
        )
    columns = _column_names(votes)
    if columns and given is not None:
        raise ValueError(
            "the columns of votes have names, and classes= was given too. Leave one "
            "out: votes.to_numpy() has no names."
        )
    if columns:
        given = check_classes(columns, missing, "the columns of votes")
    elif given is None:
        given = np.arange(values.shape[1])
    if values.shape[1] != len(given):
        raise ValueError(
            f"votes has {values.shape[1]} columns of counts, but there are "
            f"{len(given)} classes: {reprlib.repr(given.tolist())}. Give one column "
            "per class, 0 throughout for a class without votes."
        )
    with np.errstate(invalid="ignore"):  # NaN and inf are refused just below
        N = values.astype(np.intp)
    bad = (values != N) | (N < 0)
    if bad.any():
        i, j = np.argwhere(bad)[0]
        raise ValueError(
            f"row {i} of votes has {values[i, j]} for class {given[j]!s}. Counts are "
            "whole numbers >= 0. Shares and other weights need no counting: "
            "encode_candidates reads them."
        )
    return N, given


def _codes(
    values: NDArray[Any] | list[Any], rows: NDArray[np.intp], missing: Missing
) -> tuple[list[Any], NDArray[np.intp], np.dtype[Any] | None]:
    """Distinct values, each entry's index there (-1: missing), dtype if numeric."""
    if isinstance(values, np.ndarray) and values.dtype.kind in NUMERIC_KINDS:
        form = parse(values, None, missing)
        assert isinstance(form, Labels)  # what 1-D numbers always are
        codes = np.full(len(values), -1)
        codes[form.rows] = form.codes
        return form.labels, codes, form.dtype
    entries, types = plain(values.tolist() if hasattr(values, "tolist") else values)
    return *factorize(entries, types, rows, missing), None


def _open(votes: Any) -> NDArray[Any] | list[Any]:
    """Open the container of answers, or of one column."""
    try:
        return unwrap(votes)[0]
    except ValueError as error:
        raise ValueError(
            "votes must be a 2-D array of answers, a list of answers per item, or a "
            f'table with the columns "task" and "label": {error}'
        ) from error


def _column_names(votes: Any) -> list[Any]:
    """Names of the columns of a frame or dict; none for an array."""
    if isinstance(votes, Mapping):
        return list(votes)
    names: Iterable[Any] = getattr(votes, "column_names", getattr(votes, "columns", []))
    return list(names)
