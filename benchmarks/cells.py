"""The data of the benchmarks: 33 cells, each a set with its kind of candidates.

Real sets come with their candidates and are cut into folds three times; clean sets get
candidates from a seeded generator and are cut once. X is passed on as it is: every
method scales by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold

from benchmarks.frame import Split, cell_name, data_home
from sklabeldiff.datasets import load_pll, make_candidate_sets

N_FOLDS = 5
MAX_ROWS = {"pendigits": 3000}
CANDIDATE_SEED = 0

REAL = ("lost", "msrcv2", "birdsong")
CLEAN = ("vehicle", "segment", "satimage", "pendigits", "yeast", "ecoli", "glass")
KINDS = (("uniform", 0.3), ("uniform", 0.7), ("pair", 0.9), ("instance", 0.3))
DIGITS_KINDS = (("uniform", 0.3), ("instance", 0.3))


@dataclass(frozen=True)
class Cell:
    """A data set, how its candidates are made, and the seeds of its folds.

    ``kind`` is None for the set as it is: with candidates of its own, or none but the
    true classes.
    """

    dataset: str
    kind: str | None = None
    rate: float = 0.0
    seeds: tuple[int, ...] = (0,)

    @property
    def name(self) -> str:
        if self.kind is None:
            return self.dataset
        return cell_name(self.dataset, self.kind, self.rate)


@dataclass(frozen=True)
class CellData:
    """Features (n, d) float32, candidates (n, C) bool, true classes (n,) int."""

    X: NDArray[np.float32]
    Y: NDArray[np.bool_]
    y: NDArray[np.int64]


CELLS = (
    *(Cell(name, seeds=(0, 1, 2)) for name in REAL),
    *(Cell(name, kind, rate) for name in CLEAN for kind, rate in KINDS),
    *(Cell("digits", kind, rate) for kind, rate in DIGITS_KINDS),
)
ABLATION_CELLS = (
    Cell("lost"),
    Cell("msrcv2"),
    Cell("vehicle", "uniform", 0.7),
    Cell("segment", "pair", 0.9),
    Cell("satimage", "instance", 0.3),
)


@cache
def load_cell(cell: Cell) -> CellData:
    """Read the set, cut it if it is large, and make its candidates."""
    data = read(cell.dataset)
    X, Y, y = data.X, data.Y, data.y
    limit = MAX_ROWS.get(cell.dataset, len(X))
    if len(X) > limit:
        order = np.random.RandomState(CANDIDATE_SEED).permutation(len(X))
        rows = np.sort(order[:limit])
        X, Y, y = X[rows], Y[rows], y[rows]
    if cell.kind is not None:
        one_hot = np.eye(Y.shape[1], dtype=bool)[y]
        Y = make_candidate_sets(
            one_hot,
            cell.kind,
            rate=cell.rate,
            X=X if cell.kind == "instance" else None,
            random_state=CANDIDATE_SEED,
        )
    return CellData(X, Y, y)


def read(dataset: str) -> CellData:
    """Features, candidates and true classes of the whole set."""
    if dataset == "digits":
        X, y = load_digits(return_X_y=True)
        return CellData(X.astype(np.float32), np.eye(10, dtype=bool)[y], y)
    data = load_pll(dataset, data_home())
    return CellData(data.data, data.candidates, data.target)


def split(cell: Cell, seed: int, k: int) -> Split:
    """Cut fold ``k`` off."""
    data = load_cell(cell)
    train, test = fold(len(data.X), seed, k)
    return Split(
        *(data.X[train], data.Y[train], data.y[train]),
        *(data.X[test], data.y[test], data.Y[test]),
    )


def fold(n_rows: int, seed: int, k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Training and test rows of fold ``k``."""
    splits = KFold(N_FOLDS, shuffle=True, random_state=seed).split(np.empty(n_rows))
    return list(splits)[k]
