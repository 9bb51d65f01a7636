"""DMIS on images: the small U-Net on CIFAR-10, beside ordinary conditioning.

Candidates are random, every wrong class with probability .5. Both fits leave their
state in a folder as they go: a run that is cut off goes on when it is called again, so
that hours fit into pieces of minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from benchmarks.frame import data_home
from benchmarks.generate import CONDITIONINGS, OURS, VANILLA
from benchmarks.report import goal, markdown, provenance, publish
from sklabeldiff.datasets import fetch_cifar10, make_candidate_sets
from sklabeldiff.dmis import DMISClassifier
from sklabeldiff.metrics import frechet_distance

RATE = 0.5  # the paper's random candidates
N_COMPONENTS = 64  # of the pixels, in which samples are compared
SETTINGS = ("samples", "epochs", "batch_size", "size", "seed", "device")


class Images(NamedTuple):
    """Images (n, h, w, 3) from 0 to 255, and classes (n,)."""

    X: NDArray[np.uint8]
    y: NDArray[np.int64]


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--rows", type=int, default=50_000, metavar="N")
    sub.add_argument("--test-rows", type=int, default=10_000, metavar="N")
    sub.add_argument("--samples", type=int, default=100, metavar="N", help="a class")
    sub.add_argument("--epochs", type=int, default=20, metavar="N")
    sub.add_argument("--batch-size", type=int, default=64, metavar="N")
    sub.add_argument("--size", default="small", choices=("tiny", "small", "paper"))
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--device", default="auto")
    sub.add_argument(
        "--folder", type=Path, required=True, help="where cut off fits go on"
    )


def read(part: Literal["train", "test"], n_rows: int) -> Images:
    """Return the first rows of CIFAR-10's "train" or "test" part."""
    data = fetch_cifar10(data_home(), subset=part)
    return Images(data.images[:n_rows], data.target[:n_rows])


def measure(
    train: Images, test: Images, args: argparse.Namespace
) -> dict[str, list[float]]:
    """Accuracy, class-wise distance and seconds, by what is conditioned on.

    What is finished is kept in a file of the folder, and not run again.
    """
    sets = make_candidate_sets(train.y, "uniform", rate=RATE, random_state=args.seed)
    pca = PCA(min(N_COMPONENTS, len(test.X)), random_state=args.seed)
    real = pca.fit_transform(flat(test.X))
    settings = [*(getattr(args, name) for name in SETTINGS), len(train.X), len(test.X)]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    kept = args.folder / f"finished-{digest}.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for name, conditioning in CONDITIONINGS.items():
        if name in found:
            continue
        clf = DMISClassifier(
            conditioning=conditioning,
            image_shape=train.X.shape[1:],
            unet_size=args.size,
            max_epochs=args.epochs,
            batch_size=args.batch_size,
            checkpoint_dir=args.folder,
            device=args.device,
            random_state=args.seed,
            verbose=1,
        )
        start = time.perf_counter()
        clf.fit(train.X, sets)
        seconds = time.perf_counter() - start
        drawn, y_drawn = clf.condense(args.samples)
        found[name] = [
            float((clf.predict(test.X) == test.y).mean()),
            frechet_distance(
                real, pca.transform(drawn / 255), y=test.y, y_generated=y_drawn
            ),
            seconds,
        ]
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    return found


def flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Images as rows from 0 to 1. (n, h, w, 3) -> (n, d)."""
    return images.reshape(len(images), -1) / 255


def make(train: Images, test: Images, args: argparse.Namespace, command: str) -> str:
    """Fit both and write the document."""
    found = measure(train, test, args)
    rows = [
        [name, f"{accuracy:.3f}", f"{distance:.2f}", f"{seconds:.0f}"]
        for name, (accuracy, distance, seconds) in found.items()
    ]
    gain = found[OURS][0] - found[VANILLA][0]
    device = "a GPU" if is_gpu(args.device) else "a CPU"
    return "\n".join(
        [
            "# A U-Net on images with candidate sets",
            "",
            *provenance(command, str(args.seed), ("diffusers",)),
            "",
            f"CIFAR-10, {len(train.X)} training images, every wrong class a candidate "
            f"with probability {RATE}; {args.epochs} epochs of the {args.size!r} U-Net "
            f"in batches of {args.batch_size}, on {device}. Accuracy of the diffusion "
            f"classifier on {len(test.X)} test images; class-wise Fréchet distance of "
            f"{args.samples} samples a class in {N_COMPONENTS} principal components of "
            "the test pixels. Seconds are of the last piece, where a fit was cut off.",
            "",
            *markdown(["", "accuracy", "Fréchet distance", "fit seconds"], rows),
            "",
            goal(
                "DMIS above ordinary conditioning in accuracy", gain > 0, f"{gain:+.3f}"
            ),
        ]
    )


def is_gpu(device: str) -> bool:
    """Whether a fit on ``device`` runs on a GPU."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def main(args: argparse.Namespace, command: str) -> int:
    """Run, print and save."""
    text = make(read("train", args.rows), read("test", args.test_rows), args, command)
    publish(text, args.save)
    return int("**missed**" in text)
