"""Frozen features of images with imprecise labels: 12 cells, each with three seeds.

The seed decides everything that is drawn: which rows are for training, and the wrong
labels where they are made. Features are 128 principal components of a network that was
trained on ImageNet, equal for all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from benchmarks import measures
from benchmarks.frame import Split, cell_name, data_home
from sklabeldiff.base import CandidateClassifier
from sklabeldiff.datasets import make_candidate_sets

# The networks take 10 to 20 seconds each: with more rows the whole takes hours.
N_TRAIN = 3000
N_TEST = 10_000  # where training and test rows are cut from one part
# As the literature has it; 1 is its factor for instances of both these sets.
MADE = (("uniform", 0.1), ("uniform", 0.3), ("uniform", 0.5), ("instance", 1.0))
ANSWERS = ("random1", "random2", "random3")
CIFAR, FASHION = "CIFAR-10", "Fashion-MNIST"


@dataclass(frozen=True)
class ImageCell:
    """A set of images and where its labels come from.

    Parameters
    ----------
    dataset : {"CIFAR-10", "Fashion-MNIST", "CIFAR-10N", "CIFAR-10H"}
    labels : str
        "uniform" or "instance" candidates, made; of people the "three answers" as a
        set, "shares" of all answers, or one label a row by its name in CIFAR-10N.
    rate : float
        Of made candidates.
    """

    dataset: str
    labels: str
    rate: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def name(self) -> str:
        if self.rate:
            return cell_name(self.dataset, self.labels, self.rate)
        return f"{self.dataset} {self.labels}"


SET_CELLS = (
    *(
        ImageCell(dataset, kind, rate)
        for dataset in (CIFAR, FASHION)
        for kind, rate in MADE
    ),
    ImageCell("CIFAR-10N", "three answers"),
    ImageCell("CIFAR-10H", "shares"),
)
NOISY_CELLS = (ImageCell("CIFAR-10N", "random1"), ImageCell("CIFAR-10N", "worst"))
CELLS = SET_CELLS + NOISY_CELLS


class Images(NamedTuple):
    """Features and true classes of the training and the test part."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


@cache
def split(cell: ImageCell, seed: int, k: int = 0) -> Split:
    """Training rows with imprecise labels, and test rows."""
    images = load_images(FASHION if cell.dataset == FASHION else CIFAR)
    if cell.dataset == "CIFAR-10H":
        return cut(images.X_test, read_shares(), images.y_test, seed)
    if cell.dataset == "CIFAR-10N":
        return cut(images.X, read_answers(cell.labels), images.y, seed)
    return surround(images, cell, seed)


def surround(images: Images, cell: ImageCell, seed: int) -> Split:
    """Make candidates for rows of the training part, and for the test part."""
    rng = RandomState(seed)
    rows = rng.permutation(len(images.X))[:N_TRAIN]
    clean = Split(images.X[rows], images.y[rows], images.y[rows], *images[2:])

    def candidates(X: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
        features = X if cell.labels == "instance" else None
        return make_candidate_sets(
            y, cell.labels, rate=cell.rate, X=features, random_state=rng
        )

    Y = candidates(clean.X, clean.y)
    return replace(clean, Y=Y, Y_test=candidates(clean.X_test, clean.y_test))


def cut(X: NDArray[Any], Y: NDArray[Any], y: NDArray[np.int64], seed: int) -> Split:
    """Cut training and test rows from one part, whose labels are people's."""
    rows = RandomState(seed).permutation(len(X))
    train, test = rows[:N_TRAIN], rows[N_TRAIN : N_TRAIN + N_TEST]
    Y_test = Y[test] > 0 if Y.ndim == 2 else None
    return Split(X[train], Y[train], y[train], X[test], y[test], Y_test)


@cache
def load_images(dataset: str) -> Images:
    """Features of the images of one set."""
    if dataset == CIFAR:
        arrays = _read("cifar10_features.npz")
    else:
        # By its name, so that it counts as data: made once, and an edit of what
        # encodes images makes no result stale.
        arrays = import_module("benchmarks.image_features").fashion_mnist()
    X, X_test = (arrays[key].astype(np.float32) for key in ("X_train", "X_test"))
    y, y_test = (arrays[key].astype(np.int64) for key in ("y_train", "y_test"))
    return Images(X, y, X_test, y_test)


def read_answers(name: str) -> NDArray[Any]:
    """Labels of CIFAR-10N: of one name (n,), or all three answers as a set (n, 10)."""
    labels = _read("cifar10n_labels.npz")
    if name != "three answers":
        return labels[name].astype(np.int64)
    return np.any([np.eye(10, dtype=bool)[labels[key]] for key in ANSWERS], axis=0)


def read_shares() -> NDArray[np.float64]:
    """Shares of the answers to each test image of CIFAR-10. (n, 10)."""
    counts = _read("cifar10h_counts.npz")["counts"]
    return counts / counts.sum(axis=1, keepdims=True)


def _read(name: str) -> dict[str, NDArray[Any]]:
    with np.load(data_home() / "images" / name) as file:
        return dict(file)


def measure(estimator: Any, split: Split, ceiling: bool) -> dict[str, Any]:
    """Test accuracy; NaN, untried, for sets where one label a row is wanted."""
    takes_sets = isinstance(estimator, CandidateClassifier)
    if split.Y.ndim == 2 and not takes_sets and not ceiling:
        return {"score": np.nan}
    return measures.accuracy(estimator, split, ceiling)
