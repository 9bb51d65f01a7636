"""Data with few labels: 6 cells, each with three seeds.

The seed decides which rows are for training, and which of these keep their label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from benchmarks import cells
from benchmarks.frame import Split, cell_name

TEST_SHARE = 0.2
UNLABELLED = -1  # as scikit-learn marks such rows


@dataclass(frozen=True)
class SemiCell:
    """A data set and the share of its training rows that keep their label."""

    dataset: str
    share: float
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def name(self) -> str:
        return cell_name(self.dataset, "", self.share)


CELLS = (
    *(SemiCell(name, 0.1) for name in ("digits", "pendigits", "segment", "satimage")),
    *(SemiCell(name, 0.03) for name in ("digits", "pendigits")),
)


def split(cell: SemiCell, seed: int, k: int = 0) -> Split:
    """Training rows with few labels, and test rows; both cuts are stratified."""
    whole = cells.load_cell(cells.Cell(cell.dataset))
    X, X_test, y, y_test = train_test_split(
        *(whole.X, whole.y),
        test_size=TEST_SHARE,
        stratify=whole.y,
        random_state=seed,
    )
    return Split(X, keep_labels(y, cell.share, seed), y, X_test, y_test)


def keep_labels(y: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Labels of a share of the rows, equal in all classes; -1 in the others. (n,)."""
    rows = np.arange(len(y))
    kept, _ = train_test_split(rows, train_size=share, stratify=y, random_state=seed)
    given = np.full_like(y, UNLABELLED)
    given[kept] = y[kept]
    return given
