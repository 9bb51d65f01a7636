"""Arithmetic on results: means, ranks, paired differences. Prints nothing.

A result is one fold of one cell by one method, as `runner` writes it. Folds of one cell
share training rows, and with several seeds also test rows, so that a paired standard
error over folds is too small rather than too large.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Fold = tuple[int, int]  # seed, number
# What a result says beside its figures.
NO_FIGURES = ("method", "kind", "cell", "seed", "fold", "warnings")


class Difference(NamedTuple):
    """Mean of paired differences, its standard error, and how many they are."""

    mean: float
    error: float
    n: int


@dataclass
class Scores:
    """Scores by cell, method and fold, in the order of `cells` and `methods`.

    A score is an accuracy, or what else the suite measures; more is better. ``other``
    holds all further figures.
    """

    cells: list[str]
    methods: list[str]
    kinds: dict[str, str]
    score: dict[tuple[str, str], dict[Fold, float]]
    other: dict[tuple[str, str], dict[str, dict[Fold, float]]] = field(
        default_factory=dict
    )

    @classmethod
    def of(
        cls,
        results: Iterable[dict[str, Any]],
        cells: list[str],
        methods: list[str],
    ) -> Scores:
        """Sort results; cells and methods without any are left out."""
        scores = cls([], [], {}, {})
        for r in results:
            scores.kinds[r["method"]] = r["kind"]
            key, fold = (r["cell"], r["method"]), (r["seed"], r["fold"])
            scores.score.setdefault(key, {})[fold] = r["score"]
            kept = scores.other.setdefault(key, {})
            for name in r.keys() - {"score", *NO_FIGURES}:
                if r[name] is not None:
                    kept.setdefault(name, {})[fold] = r[name]
        found_cells = {cell for cell, _ in scores.score}
        scores.cells = [cell for cell in cells if cell in found_cells]
        scores.methods = [method for method in methods if method in scores.kinds]
        return scores

    @property
    def ours(self) -> list[str]:
        """The package's own methods."""
        return [method for method in self.methods if self.kinds[method] == "ours"]

    def values(self, cell: str, method: str) -> NDArray[np.float64]:
        """Scores of the folds that are done."""
        return np.array(list(self.score.get((cell, method), {}).values()))

    def mean(self, cell: str, method: str) -> float:
        values = self.values(cell, method)
        return float(values.mean()) if len(values) else np.nan

    def spread(self, cell: str, method: str) -> float:
        """Return the standard deviation over folds and seeds."""
        values = self.values(cell, method)
        return float(values.std(ddof=1)) if len(values) > 1 else np.nan

    def total(self, method: str) -> float:
        """Mean over cells of the mean score."""
        return float(np.mean([self.mean(cell, method) for cell in self.cells]))

    def average(
        self, name: str, *, method: str | None = None, cell: str | None = None
    ) -> float:
        """Mean of a further figure, over all folds of a method or of a cell."""
        values = [
            value
            for (c, m), figures in self.other.items()
            if method in (None, m) and cell in (None, c)
            for value in figures.get(name, {}).values()
        ]
        return float(np.mean(values)) if values else np.nan

    def by(self, name: str) -> Scores:
        """Take a further figure as the score, of cells and methods that have it."""
        taken = {key: f[name] for key, f in self.other.items() if name in f}
        cells = [cell for cell in self.cells if cell in {c for c, _ in taken}]
        methods = [method for method in self.methods if method in {m for _, m in taken}]
        return replace(self, score=taken, cells=cells, methods=methods)

    def complete(self, method: str) -> bool:
        """Whether it has as many folds of every cell as any method has."""
        return all(
            len(self.values(cell, method))
            == max(len(self.values(cell, other)) for other in self.methods)
            for cell in self.cells
        )

    def ranked(self) -> list[str]:
        """Methods that take part in ranks: complete, and no ceilings."""
        return [
            m for m in self.methods if self.kinds[m] != "ceiling" and self.complete(m)
        ]

    def ranks(self) -> dict[str, NDArray[np.float64]]:
        """Rank of each method in each cell; 1 is best, ties share their mean."""
        methods = self.ranked()
        means = [[self.mean(cell, m) for m in methods] for cell in self.cells]
        rows = np.array([rankdata(-np.round(row, 9)) for row in means])
        return {m: rows[:, k] for k, m in enumerate(methods)} if methods else {}

    def differences(self, cell: str, ours: str, theirs: str) -> NDArray[np.float64]:
        """Ours minus theirs on the folds that both have."""
        a = self.score.get((cell, ours), {})
        b = self.score.get((cell, theirs), {})
        return np.array([a[fold] - b[fold] for fold in a if fold in b])

    def paired(self, ours: str, theirs: str, cells: list[str]) -> Difference:
        """Paired difference over all folds of the cells."""
        parts = [self.differences(cell, ours, theirs) for cell in cells]
        return summarise(np.concatenate(parts) if parts else np.array([]))

    def paired_cells(self, ours: str, theirs: str) -> Difference:
        """Paired difference of cell means: every cell counts alike."""
        gaps = [self.mean(c, ours) - self.mean(c, theirs) for c in self.cells]
        return summarise(np.array(gaps))


def summarise(differences: NDArray[np.float64]) -> Difference:
    """Mean and its standard error, sd / sqrt(n)."""
    n = len(differences)
    mean = float(differences.mean()) if n else np.nan
    error = float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return Difference(mean, error, n)
