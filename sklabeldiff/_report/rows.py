"""One line per row of a report, as columns that JSON keeps small.

    n, C      rows and classes
    mask      (n, C)  candidates
    posterior (n, C)  beliefs
    order     (n,)    rows, the most suspicious first

Columns are in the order of suspicion, so that the rank of a row is its position.
Probabilities are whole numbers of 1 / SCALE; labels are numbers of columns.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklabeldiff._issues import self_consistency, suspicion_order

SCALE = 10_000  # four digits: what a reader can tell apart, and a rank needs no more
SHOWN_BELIEFS = 6  # classes of a row whose belief is written out
SURE_BELIEFS = 3  # of these, the most believed; the rest prefers the candidates
_BLOCK_ENTRIES = 2**22  # of rows times classes worked on at a time

# Text that a spreadsheet or pandas leaves as it is: begins with a letter, and is none
# of the words that are read as a missing value, a truth value or a number.
_PLAIN_TEXT = re.compile(r"[^\W\d_].*", re.DOTALL)
_READ_AS_VALUES = frozenset("na nan n/a null none true false inf infinity".split())


class Judged(NamedTuple):
    """Rows with their beliefs, and what follows from both: (n, C) or (n,)."""

    mask: NDArray[np.bool_]
    posterior: NDArray[Any]
    believed: NDArray[np.intp]
    confidence: NDArray[np.float64]
    score: NDArray[np.float64]
    order: NDArray[np.intp]
    agrees: NDArray[np.bool_]  # the believed label is among those given
    unlabelled: NDArray[np.bool_]

    @classmethod
    def from_beliefs(cls, mask: NDArray[np.bool_], posterior: NDArray[Any]) -> Judged:
        """Rank the rows by suspicion, as `label_issues` does."""
        every = np.arange(len(mask))
        believed = posterior.argmax(axis=1)
        unlabelled = mask.sum(axis=1) == mask.shape[1]
        confidence = posterior[every, believed].astype(np.float64)
        score = self_consistency(mask, posterior)
        return cls(
            mask,
            posterior,
            believed,
            confidence,
            score,
            suspicion_order(mask, score, believed, confidence),
            mask[every, believed],
            unlabelled,
        )


def blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows, so many that a block of (rows, C) stays small."""
    step = max(1, _BLOCK_ENTRIES // shape[1])
    return (slice(start, start + step) for start in range(0, shape[0], step))


def row_columns(
    judged: Judged,
    neighbours: NDArray[np.intp] | None,
    truth: NDArray[np.intp] | None,
) -> dict[str, Any]:
    """Columns of the table. Neighbours (n, k); columns of the true labels (n,)."""
    order = judged.order
    sets, given = _distinct_sets(judged)
    shown, beliefs = _shown_beliefs(judged)
    columns: dict[str, Any] = {
        "sets": sets,
        "row": order.tolist(),
        "given": given[order].tolist(),
        "believed": judged.believed[order].tolist(),
        "confidence": _scaled(judged.confidence[order]),
        "score": _scaled(judged.score[order]),
        "shown": shown,
        "beliefs": beliefs,
    }
    if neighbours is not None:
        near = judged.believed[neighbours]
        agreeing = np.take_along_axis(judged.mask, near, axis=1).sum(axis=1)
        columns["neighbours"] = neighbours[order].ravel().tolist()
        columns["agreeing"] = agreeing[order].tolist()
    if truth is not None:
        columns["truth"] = truth[order].tolist()
    return columns


def _scaled(values: NDArray[Any]) -> list[int]:
    """Probabilities as whole numbers of 1 / SCALE. (n,) -> n."""
    scaled: list[int] = np.rint(values * SCALE).astype(np.int64).tolist()
    return scaled


def _distinct_sets(judged: Judged) -> tuple[list[list[int]], NDArray[np.intp]]:
    """Return each set once, and its number for each row (n,), -1 for the unlabelled."""
    bits = np.packbits(judged.mask, axis=1)
    keys = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}").ravel()
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    number = np.where(judged.unlabelled, -1, number.ravel())
    # The set of the unlabelled keeps its number, and is not spelt out.
    spelt = judged.mask[first] & ~judged.unlabelled[first, None]
    columns = range(judged.mask.shape[1])
    return [list(compress(columns, row)) for row in spelt.tolist()], number


def _shown_beliefs(judged: Judged) -> tuple[list[int], list[int]]:
    """Return the classes whose beliefs are written out, and these. -> n * K each.

    The most believed classes, then candidates, then others, as many as there is room
    for; in each row from the most believed down.
    """
    n_classes = judged.mask.shape[1]
    k = min(n_classes, SHOWN_BELIEFS)
    classes: list[int] = []
    beliefs: list[int] = []
    for some in blocks(judged.mask.shape):
        rows = judged.order[some]
        P = judged.posterior[rows]
        worth = P + judged.mask[rows]
        if n_classes > SURE_BELIEFS:
            sure = P.argpartition(n_classes - SURE_BELIEFS)[:, -SURE_BELIEFS:]
            kept = np.take_along_axis(worth, sure, axis=1) + 2
            np.put_along_axis(worth, sure, kept, axis=1)
        worth[np.arange(len(rows)), judged.believed[rows]] += 4  # one of equals
        found = worth.argpartition(n_classes - k)[:, n_classes - k :]
        found.sort(axis=1)  # equal beliefs in the order of the classes
        values = np.take_along_axis(P, found, axis=1)
        down = (-values).argsort(axis=1, kind="stable")
        classes += np.take_along_axis(found, down, axis=1).ravel().tolist()
        beliefs += _scaled(np.take_along_axis(values, down, axis=1).ravel())
    return classes, beliefs


def display_names(
    class_names: Sequence[Any] | Mapping[Any, Any] | None, classes: NDArray[Any]
) -> list[str]:
    """Names of the columns as text, no two alike."""
    labels = classes.tolist()
    names = labels
    if isinstance(class_names, Mapping):
        unknown = [label for label in labels if label not in class_names]
        if unknown:
            raise ValueError(
                f"class_names has no name for the class {unknown[0]!r}. Give one for "
                f"each of the {len(labels)} classes."
            )
        names = [class_names[label] for label in labels]
    elif class_names is not None:
        if isinstance(class_names, str):
            raise TypeError(
                f"class_names is the text {class_names!r}. Give one name per class."
            )
        names = list(class_names)
        if len(names) != len(labels):
            raise ValueError(
                f"class_names has {len(names)} names, but there are {len(labels)} "
                "classes. Give one per class, in the order of the classes, or a "
                "mapping from label to name."
            )
    texts = [str(name) for name in names]
    times = Counter(texts)
    # 1 and "1" look alike, and two labels may have been given one name.
    return [
        text if times[text] == 1 else f"{text} (class {j}: {label!r})"
        for j, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]


def label_cells(classes: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """How the export writes labels: ``plain``, and the text of each.

    Plain where a row has one label or none, and no label could be taken for something
    else: a formula, a number, a missing value. Otherwise every cell is JSON, which
    begins with a bracket or a quotation mark and hence is no formula in a spreadsheet.
    """
    labels = classes.tolist()
    is_set = (mask.sum(axis=1) > 1) & ~mask.all(axis=1)
    plain = not is_set.any() and all(map(_is_plain, labels))
    write = str if plain else json.dumps
    return {"plain": plain, "cells": [write(label) for label in labels]}


def _is_plain(label: Any) -> bool:
    if not isinstance(label, str):
        return True
    readable = _PLAIN_TEXT.fullmatch(label) and label == label.strip()
    return bool(readable) and label.lower() not in _READ_AS_VALUES
