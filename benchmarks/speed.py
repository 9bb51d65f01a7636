"""Training loop, memory and fit times against their targets.

Times are taken on one thread. Ratios are of CPU time, both loops in turn in one run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks import _large_fit, image_speed, training_speed
from benchmarks.frame import ROOT
from benchmarks.report import provenance, publish
from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier
from sklabeldiff.core import edm
from sklabeldiff.core.blocks import BLOCK_ROWS
from sklabeldiff.core.class_denoisers import ClassDenoiser
from sklabeldiff.datasets import make_candidate_sets

EPOCH_TARGETS = {256: 1.25, 1024: 1.0}  # over a bare loop, of each batch size
MAX_OVER_PRODUCTS = 2  # half of the rate of the matrix products, at the larger batch
PRODUCT_REPEATS = 5  # an update is short
PREDICTED, N_CLASSES = (10_000, 64), 10  # rows and columns of DMIS's predictions
# Seconds of default fits on so many rows of digits.
FIT_TARGETS: dict[type[Any], dict[int, int]] = {
    DDMPClassifier: {1257: 20, 300: 2},
    DMISClassifier: {1257: 60, 300: 2},
    CADClassifier: {1257: 60, 300: 2},
}
MB = 1e6


class Figure(NamedTuple):
    """A measured number beside its target; smaller is better."""

    name: str
    value: float
    target: float
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.target


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--repeats", type=int, default=5, metavar="N")
    sub.add_argument(
        "--training", action="store_true", help="DDMP's epochs and updates alone"
    )


def main(args: argparse.Namespace, command: str) -> int:
    """Measure all, print and save the table; returns 1 if a target is missed."""
    torch.set_num_threads(1)
    repeats = args.repeats
    figures = list(epoch_figures(repeats))
    if not args.training:
        figures += [image_epoch_ratio(repeats), prediction_ratio(repeats)]
        figures += large_fits()
        for kind, targets in FIT_TARGETS.items():
            figures += digits_fits(kind, targets, min(repeats, 3))
    title = "Training loop" if args.training else "Speed and memory"
    text = f"{table(figures, command, title)}\n\n{profile_line()}"
    publish(text, args.save)
    return int(not all(figure.met for figure in figures))


def table(figures: list[Figure], command: str, title: str = "Speed") -> str:
    """Figures beside their targets, as markdown."""
    lines = [
        f"# {title}",
        "",
        *provenance(command, "0, one thread"),
        "",
        "| what | measured | target | met | how |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, value, target, unit, detail in figures:
        met = "yes" if value <= target else "**no**"
        lines.append(
            f"| {name} | {value:.3g} {unit} | {target:g} {unit} | {met} | {detail} |"
        )
    return "\n".join(lines)


# -- one epoch against a bare loop -----------------------------------------------------


def epoch_figures(repeats: int) -> Iterator[Figure]:
    """Median epoch of DDMP's training over a bare loop's; an update over products."""
    data, shapes = training_speed.tables(), training_speed.SHAPES
    for batch, target in EPOCH_TARGETS.items():
        ours, bare = in_turn(
            repeats,
            training_speed.our_epoch(data, batch),
            training_speed.bare_epoch(data, batch),
        )
        yield Figure(
            f"epoch, {shapes}, batch {batch}",
            ours / bare,
            target,
            "x",
            f"{ours:.2f} s over {bare:.2f} s, medians of {repeats} epochs each; the "
            "bare torch loop has the same network, batch, denoising loss, fused AdamW, "
            "gradient clipping and averaged weights, written out by hand",
        )
    batch = max(EPOCH_TARGETS)
    update, alone = in_turn(
        PRODUCT_REPEATS * repeats,
        training_speed.our_epoch(training_speed.tables(batch), batch),
        training_speed.products(batch),
    )
    yield Figure(
        f"update, {shapes}, batch {batch}",
        update / alone,
        MAX_OVER_PRODUCTS,
        "x",
        f"{1000 * update:.1f} ms over {1000 * alone:.1f} ms of its matrix products "
        f"alone, forward and backward: {alone / update:.0%} of their rate",
    )


def profile_line() -> str:
    """Where the time of an epoch goes."""
    batch = max(EPOCH_TARGETS)
    epoch = training_speed.our_epoch(training_speed.tables(), batch)
    epoch()
    shares = training_speed.profiled(epoch)
    listed = ", ".join(f"{name.removeprefix('aten::')} {p:.1%}" for name, p in shares)
    rest = 1 - sum(share for _, share in shares)
    return (
        f"Where an epoch goes, {training_speed.SHAPES}, batch {batch}, by torch's "
        f"profiler, shares of the time inside torch's operations: {listed}, all "
        f"others {rest:.1%}."
    )


def image_epoch_ratio(repeats: int) -> Figure:
    """Median epoch of CAD on images over that of a loop by hand."""
    ours, bare = in_turn(repeats, image_speed.our_epoch(), image_speed.bare_epoch())
    n, side = image_speed.N_IMAGES, image_speed.SIDE
    return Figure(
        f"epoch, CAD-CAM, {n} images of {side} x {side}",
        ours / bare,
        1 / 0.85,
        "x",
        f"{ours:.2f} s over {bare:.2f} s, medians of {repeats} epochs each; the bare "
        "torch loop has the same network, views, batch, losses, gates, queue, "
        "fused AdamW and averaged weights, written out by hand",
    )


def in_turn(repeats: int, *tasks: Callable[[], object]) -> list[float]:
    """Median CPU seconds of each task; they take turns, after one round to warm up."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for task in tasks:
        task()
    for _ in range(repeats):
        for task, times in zip(tasks, seconds, strict=True):
            start = time.process_time()
            task()
            times.append(time.process_time() - start)
    return [median(times) for times in seconds]


# -- predictions against bare passes ---------------------------------------------------


def prediction_ratio(repeats: int) -> Figure:
    """Median `predict_proba` of DMIS over as many bare passes as levels and classes."""
    rng = np.random.RandomState(0)
    n_rows, d = PREDICTED
    X = rng.randn(n_rows, d)
    y = rng.randint(N_CLASSES, size=300)
    clf = DMISClassifier(max_epochs=1, standardize="standard", random_state=0)
    clf.fit(X[:300], y)
    network: ClassDenoiser = clf._model.network
    sigmas = clf._model.levels.grid(clf.n_sampling_steps, clf.grid).float()
    x = torch.as_tensor(X, dtype=torch.float32)

    @torch.inference_mode()
    def bare() -> None:
        for rows in x.split(BLOCK_ROWS):
            for sigma in sigmas.split(1):
                u, c_noise = edm.c_in(sigma) * rows, edm.c_noise(sigma)
                for k in range(N_CLASSES):
                    condition = torch.full((len(rows), 1), k)
                    network(u, c_noise.expand(len(rows)), condition)

    ours, bare_loop = in_turn(repeats, lambda: clf.predict_proba(X), bare)
    n_passes = clf.n_sampling_steps * N_CLASSES
    return Figure(
        f"DMIS predicts, n = {n_rows}, d = {d}, C = {N_CLASSES}",
        ours / bare_loop,
        1.2,
        "x",
        f"{ours:.2f} s over {bare_loop:.2f} s, medians of {repeats}; bare: "
        f"{n_passes} passes of the network, one for each level and class, in blocks of "
        f"{BLOCK_ROWS} rows; ours asks for all classes at once",
    )


# -- memory ----------------------------------------------------------------------------


def large_fits() -> Iterator[Figure]:
    """Peak resident memory and seconds of large fits, each in a process of its own."""
    for name, case in _large_fit.CASES.items():
        done = subprocess.run(
            [sys.executable, "-m", _large_fit.__name__, name],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        found = json.loads(done.stdout)
        matrices = 4 * case.n_rows * case.n_classes**2 / MB
        yield Figure(
            f"peak memory, {name}, {case.size}",
            found["fit"] / MB,
            case.megabytes,
            "MB",
            f"whole process; interpreter and imports {found['imports'] / MB:.0f} MB, "
            f"with the data {found['data'] / MB:.0f} MB; "
            f"{_large_fit.PREDICTED_ROWS} rows predicted",
        )
        if case.minutes is not None:
            yield Figure(
                f"fit, {name}, {case.size}",
                found["seconds"] / 60,
                case.minutes,
                "min",
                f"one fit; accuracy {found['accuracy']:.3f} on training rows; a matrix "
                f"for each row would take {matrices:.0f} MB",
            )


# -- whole fits ------------------------------------------------------------------------


def digits_fits(kind: type[Any], targets: dict[int, int], repeats: int) -> list[Figure]:
    """Seconds of the default fit on digits."""
    X, y = load_digits(return_X_y=True)
    Y = make_candidate_sets(y, "instance", rate=0.3, X=X, random_state=0)
    figures = []
    for n_rows, target in targets.items():
        Xt, Xe, Yt, _, _, ye = train_test_split(
            X, Y, y, train_size=n_rows, random_state=0
        )
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                clf = kind(random_state=0).fit(Xt, Yt)
            seconds.append(time.perf_counter() - start)
        accuracy = np.mean(clf.predict(Xe) == ye)
        figures.append(
            Figure(
                f"default fit, {kind.__name__}, digits, {n_rows} rows",
                median(seconds),
                target,
                "s",
                f"median of {repeats}; {clf.n_iter_} epochs; accuracy {accuracy:.3f} "
                "on the rows left out",
            )
        )
    return figures
