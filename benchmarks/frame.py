"""The words of the benchmarks: method, split and suite. Measures and reads nothing.

A suite is one table: its cells, how a cell and a seed become training and test rows,
what is measured there, by which methods, and what the report says about it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from benchmarks.scores import Scores

ROOT = Path(__file__).resolve().parents[1]


class Cell(Protocol):
    """A data set with its labels: what one row of a table stands for."""

    @property
    def name(self) -> str: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Method:
    """One row to run.

    Parameters
    ----------
    name : str
    make : callable
        ``make(random_state)`` -> unfitted estimator.
    kind : {"ours", "baseline", "ceiling", "ablation"}
        Ceilings are trained on the true labels.
    cost : float
        Rough seconds of a fit on 1000 rows of 10 classes; only orders the work.
    """

    name: str
    make: Callable[[int], Any]
    kind: str
    cost: float = 1.0


@dataclass(frozen=True)
class Split:
    """Training and test rows.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Training rows, raw: every method scales by itself.
    Y : ndarray of shape (n, C), bool, or (n,), int
        What the methods learn from: candidate masks, or one label a row.
    y : ndarray of shape (n,), int
        The true classes.
    X_test, y_test : ndarray of shape (m, d) and (m,)
    Y_test : ndarray of shape (m, C), bool, or None
        Candidates of the test rows, where there are any.
    """

    X: NDArray[np.float32]
    Y: NDArray[Any]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    Y_test: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Suite:
    """One table.

    Parameters
    ----------
    title, help : str
        Heading of the report; line of the command's help.
    cells : tuple of Cell
    methods : callable
        ``methods()`` -> list of Method.
    split : callable
        ``split(cell, seed, fold)`` -> Split.
    measure : callable
        ``measure(estimator, split, ceiling)`` -> dict with "score" and further figures;
        a ceiling learns from the true labels.
    body : callable
        ``body(scores)`` -> lines of markdown.
    folder : str
        Where results are kept. Suites of one folder share those of equal methods on
        equal cells.
    n_folds : int
        Folds of a cell and seed.
    packages : tuple of str
        Whose versions the report names beside the usual ones.
    """

    title: str
    help: str
    cells: tuple[Cell, ...]
    methods: Callable[[], list[Method]]
    split: Callable[[Any, int, int], Split]
    measure: Callable[[Any, Split, bool], dict[str, Any]]
    body: Callable[[Scores], list[str]]
    folder: str
    n_folds: int = 1
    packages: tuple[str, ...] = ()

    def matching_cells(self, words: list[str] | None) -> list[Cell]:
        """Cells whose name starts with one of ``words``; all without words.

        Raises
        ------
        ValueError
            If a word fits no cell.
        """
        for word in words or ():
            if not any(cell.name.startswith(word) for cell in self.cells):
                names = ", ".join(cell.name for cell in self.cells)
                raise ValueError(f"No cell starts with {word!r}. There are: {names}.")
        starts = tuple(words) if words else ("",)
        return [cell for cell in self.cells if cell.name.startswith(starts)]


def data_home() -> Path:
    """Folder of the data sets: SKLABELDIFF_DATA, or shared/data beside the checkout."""
    setting = os.environ.get("SKLABELDIFF_DATA")
    return Path(setting).expanduser() if setting else ROOT.parent / "shared" / "data"


def cell_name(dataset: str, kind: str, rate: float) -> str:
    """Name of a cell with made labels: "glass uniform .7"."""
    return " ".join([dataset, *filter(None, [kind]), f"{rate:g}"]).replace(" 0.", " .")
