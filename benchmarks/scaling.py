"""Seconds and memory of a fit, from a thousand rows to a million, or over classes.

Each size runs in a process of its own. Rows are low-dimensional clouds in ``D``
columns, as features are; the number of updates is the same for all sizes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from benchmarks import class_scaling
from benchmarks._large_fit import forget_peak, peak_bytes
from benchmarks.frame import ROOT
from benchmarks.report import goal, markdown, provenance, publish
from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.neighbors import ApproximateNeighbors

SIZES = (1_000, 10_000, 100_000, 1_000_000)
D, N_CLASSES, N_DIMENSIONS, RATE = 64, 20, 8, 0.1
N_UPDATES, BATCH = 1000, 1000  # one epoch of the largest table
RECALL_ROWS, WARM_UP_ROWS = 1000, 2000
MAX_EXPONENT, MAX_MEMORY = 1.2, 3.0  # memory in sizes of X and beliefs
MB = 1e6


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="ROWS")
    sub.add_argument(
        "--classes",
        nargs="*",
        type=int,
        metavar="C",
        help=f"scale these, by default {class_scaling.CLASSES}, and not the rows",
    )
    sub.add_argument(
        "--rows", type=int, default=class_scaling.N_ROWS, help="with --classes"
    )


def make_rows(n_rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Clouds of 8 dimensions, a cloud a class, and their classes."""
    rng = np.random.RandomState(0)
    centres = 2 * rng.standard_normal((N_CLASSES, D))
    axes = 0.5 * rng.standard_normal((N_CLASSES, N_DIMENSIONS, D))
    y = rng.randint(N_CLASSES, size=n_rows)
    X = np.empty((n_rows, D), dtype=np.float32)
    for rows in np.array_split(np.arange(n_rows), max(1, n_rows // 10_000)):
        z = rng.standard_normal((len(rows), 1, N_DIMENSIONS))
        noise = 0.3 * rng.standard_normal((len(rows), D))
        X[rows] = centres[y[rows]] + (z @ axes[y[rows]])[:, 0] + noise
    return X, y


# -- the child processes ---------------------------------------------------------------


def search_once(n_rows: int) -> dict[str, float]:
    """Seconds of the approximate search, its index, and what it finds."""
    X, _ = make_rows(n_rows)
    start = time.perf_counter()
    search = ApproximateNeighbors(random_state=0).fit(X)
    found = search.transform(X).indices.reshape(n_rows, -1)
    seconds = time.perf_counter() - start
    rows = np.random.RandomState(0).permutation(n_rows)[:RECALL_ROWS]
    return {
        "search": seconds,
        "index": index_bytes(search),
        "recall": recall(X, rows, found[rows]),
    }


def index_bytes(search: ApproximateNeighbors) -> int:
    """Size of the index."""
    import faiss

    return int(faiss.serialize_index(search.index_).nbytes)


def recall(
    X: NDArray[np.float32], rows: NDArray[np.intp], found: NDArray[np.int32]
) -> float:
    """Share of the true neighbours of some rows that were found."""
    _, true = NearestNeighbors(n_neighbors=found.shape[1]).fit(X).kneighbors(X[rows])
    pairs = zip(true, found, strict=True)
    return float(np.mean([np.isin(t, f).mean() for t, f in pairs]))


class WatchedNeighbors(ApproximateNeighbors):
    """Keeps the peak of memory of the search, less the index: that counts apart."""

    peak = 0

    def fit_transform(self, X: Any, y: Any = None, **_: Any) -> Any:
        graph = super().fit_transform(X)
        peak = peak_bytes()
        WatchedNeighbors.peak = peak - index_bytes(self)
        forget_peak()
        return graph


def _sets(
    n_rows: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64]]:
    """Rows, their candidate sets, and their classes."""
    X, y = make_rows(n_rows)
    return X, make_candidate_sets(y, "uniform", rate=RATE, random_state=0), y


def _fit(
    X: NDArray[np.float32], Y: NDArray[np.bool_], *, max_epochs: int
) -> DDMPClassifier:
    clf = DDMPClassifier(
        neighbors=WatchedNeighbors(random_state=0),
        max_epochs=max_epochs,
        batch_size=BATCH,
        random_state=0,
    )
    return clf.fit(X, Y)


def fit_once(n_rows: int) -> dict[str, float]:
    """Seconds, peak memory and accuracy of one fit."""
    X, Y, y = _sets(WARM_UP_ROWS)
    _fit(X, Y, max_epochs=1)  # loads what is imported on demand, and buffers of MKL
    forget_peak()
    before = peak_bytes()
    X, Y, y = _sets(n_rows)
    y = y[:RECALL_ROWS].copy()
    start = time.perf_counter()
    clf = _fit(X, Y, max_epochs=max(1, N_UPDATES * BATCH // n_rows))
    seconds = time.perf_counter() - start
    right = np.mean(clf.predict(X[:RECALL_ROWS]) == y)
    data = X.nbytes + clf.label_distribution_.nbytes
    return {
        "fit": seconds,
        "memory": max(peak_bytes(), WatchedNeighbors.peak) - before,
        "data": data,
        "accuracy": float(right),
    }


PARTS = {"search": search_once, "fit": fit_once}


def child(part: str, n_rows: int) -> dict[str, float]:
    """Run a part in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", part, str(n_rows)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- the table -------------------------------------------------------------------------


def main(args: argparse.Namespace, command: str) -> int:
    """Measure all sizes, print and save the table; returns 1 if a target is missed."""
    found: dict[Any, dict[str, float]] = {}
    if args.classes is not None:
        classes = args.classes or class_scaling.CLASSES
        found = class_scaling.measure(args.rows, classes)
        text, draw = class_scaling.table(found, command), class_scaling.plot
    else:
        for n in args.sizes:
            found[n] = child("search", n) | child("fit", n)
            print(n, found[n], file=sys.stderr, flush=True)
        text, draw = table(found, command), plot
    if args.save is not None:
        args.save.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
        picture = args.save.with_suffix(".png")
        draw(found, picture)
        text += f"\n\n![Seconds and memory, logarithmic]({picture.name})"
    publish(text, args.save)
    return int("**missed**" in text)


def plot(found: dict[int, dict[str, float]], path: Path) -> None:
    """Seconds and memory over rows, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows = list(found)
    curves = {
        "seconds": {"fit": "fit", "search within": "search"},
        "bytes": {
            "peak above a first small fit": "memory",
            "X and beliefs": "data",
            "index, apart": "index",
        },
    }
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (unit, lines) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        for marker, (label, key) in zip("osv", lines.items(), strict=False):
            values = [figures[key] for figures in found.values()]
            axes.loglog(rows, values, marker=marker, label=label)
        axes.set(xlabel="rows", ylabel=unit)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def exponent(seconds: dict[int, float]) -> float:
    """Slope of log seconds over log rows."""
    slope, _ = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)
    return float(slope)


def sizes_of_data(figures: dict[str, float]) -> float:
    """Peak memory without the index, in sizes of X and beliefs."""
    return figures["memory"] / figures["data"]


def table(found: dict[int, dict[str, float]], command: str) -> str:
    """Figures of all sizes, as markdown."""
    rows = [
        [
            f"{n}",
            f"{figures['fit']:.1f}",
            f"{1e6 * figures['fit'] / n:.0f}",
            f"{figures['search']:.2f}",
            f"{figures['recall']:.3f}",
            f"{figures['index'] / MB:.0f}",
            f"{figures['memory'] / MB:.0f}",
            f"{sizes_of_data(figures):.2f}",
            f"{figures['accuracy']:.3f}",
        ]
        for n, figures in found.items()
    ]
    head = [
        *("rows", "fit, s", "fit, us a row", "of it search, s", "recall", "index, MB"),
        *("peak less index, MB", "over X and beliefs", "accuracy"),
    ]
    slope = exponent({n: figures["search"] for n, figures in found.items()})
    largest = max(found)
    memory = sizes_of_data(found[largest])
    return "\n".join(
        [
            "# Scaling",
            "",
            *provenance(command, "0, one thread"),
            "",
            f"DDMP with {N_UPDATES} updates of {BATCH} rows, d = {D}, C = {N_CLASSES}; "
            f"clouds of {N_DIMENSIONS} dimensions; neighbours by "
            "`ApproximateNeighbors` at every size. Each line is a process of its own, "
            f"one fit. Recall and accuracy are of {RECALL_ROWS} training rows. The "
            "peak is above that of the same process after it made and fitted "
            f"{WARM_UP_ROWS} rows, which loads what is imported on demand; X and the "
            "sets are within; the index, while it is there, is not.",
            "",
            *markdown(head, rows),
            "",
            "## Against the goals",
            "",
            goal(
                f"seconds of the search: an exponent of {MAX_EXPONENT} or less",
                slope <= MAX_EXPONENT,
                f"{slope:.2f}",
            ),
            goal(
                f"peak memory at {largest} rows, the index apart, at most "
                f"{MAX_MEMORY:g} times that of X and beliefs",
                memory <= MAX_MEMORY,
                f"{memory:.2f}",
            ),
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[sys.argv[1]](int(sys.argv[2]))))
