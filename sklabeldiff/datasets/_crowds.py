"""What the files of crowds share: tables of integers, and their checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.datasets._bunch import damaged
from sklabeldiff.datasets._facts import DataSet


def read_table(path: Path) -> NDArray[np.int64]:
    """Integers between blanks, a row a line. -> (n, m)."""
    try:
        # By way of float: the files write 1 as "1", others of this family as "1.0".
        return np.loadtxt(path, ndmin=2).astype(np.int64)
    except ValueError as error:
        raise damaged(path, error) from error


def check_answers(answers: NDArray[Any], facts: DataSet, path: Path) -> None:
    """Refuse answers (n, annotators) of other rows, with odd classes, or none."""
    n_rows = facts.rows["train"]
    if answers.ndim != 2 or len(answers) != n_rows:
        raise ValueError(
            f"{path}: the answers have shape {answers.shape}, but {facts.title} has "
            f"{n_rows} rows."
        )
    rows, columns = np.nonzero((answers < -1) | (answers >= facts.n_classes))
    if rows.size:
        raise ValueError(
            f"{path}: row {rows[0]} has the answer {answers[rows[0], columns[0]]}. The "
            f"classes are 0 to {facts.n_classes - 1}, and -1 means not asked."
        )
    silent = np.flatnonzero((answers == -1).all(axis=1))
    if silent.size:
        raise ValueError(f"{path}: row {silent[0]} has no answer.")
