"""Candidates that depend on the row: 8 cells of vectors and one of images.

Cells of vectors are those of the accuracy table. Of images the seed decides which are
for training, which for the test, and the candidates. Beside the usual figures it is
measured how many of the entangled training rows are told right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import cells, measures
from benchmarks.cells import Cell
from benchmarks.frame import Split, data_home
from sklabeldiff.datasets import fetch_fashion_mnist, make_candidate_sets
from sklabeldiff.metrics import entangled_subset

RATE = 0.3
TUNED_CELLS = (
    *(Cell(name) for name in ("lost", "msrcv2", "birdsong")),
    *(Cell(name, "instance", RATE) for name in ("digits", "yeast")),
)
ASIDE_CELLS = tuple(
    Cell(name, "instance", RATE) for name in ("pendigits", "vehicle", "segment")
)
VECTOR_CELLS = TUNED_CELLS + ASIDE_CELLS
IMAGE_CELLS = (Cell("Fashion-MNIST", "instance", RATE, seeds=(0, 1, 2)),)
# An epoch has an update for every 64 images: with all 60,000 it takes many hours.
N_TRAIN, N_TEST = 6000, 10_000
FRACTIONS = (1e-3, 1e-4, 1e-5)  # of the entangled pairs, as the paper has them
N_COMPONENTS = 50


def scaled(X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Columns of mean 0 and variance 1. (n, d) -> (n, d)."""
    return StandardScaler().fit_transform(X.astype(np.float64))


def components(X: NDArray[np.float32]) -> NDArray[np.float64]:
    """First principal components of the scaled columns. (n, d) -> (n, 50)."""
    pca = make_pipeline(StandardScaler(), PCA(N_COMPONENTS, random_state=0))
    return pca.fit_transform(X.astype(np.float64))


@dataclass(frozen=True)
class EntangledSplit(Split):
    """Training and test rows, and which training rows are entangled.

    Parameters
    ----------
    features : callable
        X -> what rows are compared by, equal for all methods.
    """

    features: Callable[[NDArray[np.float32]], NDArray[np.float64]] = scaled

    @cached_property
    def entangled(self) -> dict[float, NDArray[np.intp]]:
        """Training rows in each fraction of the entangled pairs."""
        F = self.features(self.X)
        return {f: entangled_subset(F, self.Y, self.y, fraction=f) for f in FRACTIONS}


# Kept, and with it the entangled rows: they are compared once for all methods.
@cache
def split_vectors(cell: Cell, seed: int, k: int) -> EntangledSplit:
    """Cut fold ``k`` off."""
    return EntangledSplit(**vars(cells.split(cell, seed, k)))


@cache
def split_images(cell: Cell, seed: int, k: int = 0) -> EntangledSplit:
    """Training images with candidates, and test images, as rows of pixels to 1."""
    rng = RandomState(seed)
    X, y = draw_images("train", N_TRAIN, rng)
    X_test, y_test = draw_images("test", N_TEST, rng)
    Y = make_candidate_sets(y, "instance", rate=cell.rate, X=X, random_state=rng)
    return EntangledSplit(X, Y, y, X_test, y_test, features=components)


def draw_images(
    part: str, n_images: int, rng: RandomState
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images of one part and their classes. -> (n_images, 784), (n_images,)."""
    X, y = fetch_fashion_mnist(
        data_home(), subset=part, return_X_y=True, download_if_missing=False
    )
    rows = rng.permutation(len(X))[:n_images]
    return X[rows].astype(np.float32) / 255, y[rows]


def measure(estimator: Any, split: EntangledSplit, ceiling: bool) -> dict[str, Any]:
    """Accuracy, and that on the entangled training rows, where any class may win."""
    figures = measures.accuracy(estimator, split, ceiling)
    answers = estimator.classes_[estimator.predict_proba(split.X).argmax(axis=1)]
    right = answers == split.y
    for fraction, rows in split.entangled.items():
        figures[accuracy_name(fraction)] = float(right[rows].mean())
        figures[size_name(fraction)] = len(rows)
    return figures | {"rows": len(split.X), "candidates": float(split.Y.sum(1).mean())}


def accuracy_name(fraction: float) -> str:
    """Name of the accuracy on the rows in a fraction of the pairs."""
    return f"entangled_{fraction:g}"


def size_name(fraction: float) -> str:
    """Name of the number of these rows."""
    return f"entangled_rows_{fraction:g}"
