"""CAD and two of its parts on CIFAR-10 with a ResNet-18: for a GPU.

All training images, candidates that depend on the image, a thirtieth of the paper's
epochs: what is shown is the order of the methods. A fit leaves its state in a folder as
it goes, so that a run that is cut off goes on when it is called again:

    timeout 480 python -m benchmarks entangled-cifar --jobs 1
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.random import RandomState

from benchmarks.cells import Cell
from benchmarks.entangled_methods import ADJUSTED, GATED, UNIFORM, family
from benchmarks.frame import ROOT, Method, Split, data_home
from benchmarks.report import goal, method_table, rivals, score_tables
from benchmarks.scores import Scores
from sklabeldiff.datasets import fetch_cifar10, make_candidate_sets

CELLS = (Cell("CIFAR-10", "instance", 1.0),)
ORDER = (UNIFORM, ADJUSTED, GATED)  # from the worst to the best, as the paper has it
IMAGE_SHAPE = (32, 32, 3)
EPOCHS = 15
FOLDER = ROOT / "benchmarks" / "results" / "checkpoints"


def methods() -> list[Method]:
    """Parts of CAD with the network of the paper's kind, resumable."""
    shared = {
        "image_shape": IMAGE_SHAPE,
        "backbone": "resnet18",
        "max_epochs": EPOCHS,
        "checkpoint_dir": str(FOLDER),
    }
    return [method for method in family(**shared) if method.name in ORDER]


@cache
def split(cell: Cell, seed: int, k: int = 0) -> Split:
    """All images as rows of pixels to 1, and candidates of the training images."""
    X, y, X_test, y_test = (
        part
        for subset in ("train", "test")
        for part in fetch_cifar10(
            data_home(), subset=subset, return_X_y=True, download_if_missing=False
        )
    )
    X, X_test = (
        np.reshape(images, (len(images), -1)).astype(np.float32) / 255
        for images in (X, X_test)
    )
    rng = RandomState(seed)
    Y = make_candidate_sets(y, cell.kind, rate=cell.rate, X=X, random_state=rng)
    return Split(X, Y, y, X_test, y_test)


def body(scores: Scores) -> list[str]:
    """Table of accuracies, and the order."""
    text = (
        f"All training and test images, {EPOCHS} epochs; the paper has 500. A seed "
        "decides the candidates, made by an early stopped perceptron that knows the "
        "true classes of the training images, and the estimator's own draws."
    )
    return [text, "", *score_tables(scores), *method_table(scores), "", *order(scores)]


def order(scores: Scores) -> list[str]:
    """Each method above the one before it, as far as both are there."""
    lines = []
    for below, above in pairwise(ORDER):
        if rivals(scores, above, (below,)):
            gap = scores.paired(above, below, scores.cells).mean
            lines.append(goal(f"{above} above {below}", gap > 0, f"{gap:+.4f}"))
    return lines
