"""Does training lift `SimCLRFeatures` over random weights? Fashion-MNIST, 5-NN.

10 000 training images, without labels, for the network; the same images, with labels,
for the 5 nearest neighbours; all 10 000 test images for the accuracy. The control is
the same network with random weights (``max_epochs=0``), and neighbours of raw pixels
are reported beside.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.frame import data_home
from benchmarks.report import markdown, provenance, publish
from sklabeldiff.datasets import fetch_fashion_mnist
from sklabeldiff.features import SimCLRFeatures

N_NEIGHBORS = 5
MARGIN = 0.01  # that training has to gain
HELD_OUT = 50_000  # settings were chosen on the training images from here on
Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    sub.add_argument("--rows", type=int, default=10_000, metavar="N")
    sub.add_argument("--epochs", type=int, default=5, metavar="N")
    sub.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    sub.add_argument("--held-out", action="store_true", help="in place of test images")


def read(subset: str) -> Images:
    """Images (n, 28, 28) and labels (n,) of Fashion-MNIST."""
    data = fetch_fashion_mnist(data_home(), subset=subset, download_if_missing=False)
    return data.images, data.target


def accuracy(train: Images, test: Images) -> float:
    """Share of right answers of the nearest neighbours; (n, p) features and labels."""
    knn = KNeighborsClassifier(N_NEIGHBORS, algorithm="brute").fit(*train)
    return float(knn.score(*test))


def measure(
    train: Images, test: Images, seed: int, epochs: int
) -> tuple[float, float, float]:
    """Accuracy with random and with trained weights, and the seconds of training."""
    scores = []
    for n_epochs in (0, epochs):
        encoder = SimCLRFeatures(max_epochs=n_epochs, random_state=seed, device="cpu")
        start = time.perf_counter()
        encoder.fit(train[0])
        seconds = time.perf_counter() - start
        features = [(encoder.transform(X), y) for X, y in (train, test)]
        scores.append(accuracy(*features))
    print(f"seed {seed}: {scores}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return scores[0], scores[1], seconds


def make(args: argparse.Namespace, command: str) -> str:
    """Run all seeds and write the document."""
    images, labels = read("train")
    train = images[: args.rows], labels[: args.rows]
    held_out = images[HELD_OUT:], labels[HELD_OUT:]
    test = held_out if args.held_out else read("test")
    raw = [(X.reshape(len(X), -1) / 255, y) for X, y in (train, test)]
    runs = np.array([measure(train, test, seed, args.epochs) for seed in args.seeds])
    random, trained, seconds = runs.T
    gain = trained - random
    rows = {
        "raw pixels": f"{accuracy(*raw):.4f}",
        "random weights": spread(random),
        "trained": spread(trained),
        "gain by training": spread(gain),
    }
    where = "held-out training images" if args.held_out else "test images"
    verdict = "met" if gain.mean() >= MARGIN else "**not met**"
    each = ", ".join(f"{g:+.4f}" for g in gain)
    return "\n".join(
        [
            "# Self-supervised features against random weights",
            "",
            *provenance(command, ", ".join(map(str, args.seeds)), ("transformers",)),
            "",
            f"Fashion-MNIST, {N_NEIGHBORS}-NN accuracy on {len(test[0])} {where}, "
            f"fitted on the features of {len(train[0])} training images; mean ± "
            f"standard deviation over seeds. {args.epochs} epochs, defaults otherwise.",
            "",
            *markdown(["features", "accuracy"], [list(row) for row in rows.items()]),
            "",
            f"Goal, a gain of {MARGIN} in the mean: {verdict}; by seed {each}. A fit "
            f"took {seconds.mean():.0f} ± {deviation(seconds):.0f} s on "
            f"{torch.get_num_threads()} threads.",
        ]
    )


def spread(values: NDArray[np.float64]) -> str:
    """Mean ± standard deviation."""
    return f"{values.mean():.4f} ± {deviation(values):.4f}"


def deviation(values: NDArray[np.float64]) -> float:
    """Sample standard deviation; 0 for one value."""
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def main(args: argparse.Namespace, command: str) -> int:
    """Run, print and save; returns 1 if the goal is missed."""
    torch.set_num_threads(args.threads)
    text = make(args, command)
    publish(text, args.save)
    return int("**not met**" in text)
