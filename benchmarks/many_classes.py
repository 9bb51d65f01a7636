"""Seconds, memory and accuracy of DTM and DMIS from ten classes to a thousand.

Each line is a process of its own. Rows lie in two clouds a class. A label that goes
wrong goes to the class whose number is one or two more, by cloud, and more often in one
of the clouds; candidate sets have five wrong classes on average, or a third of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._large_fit import peak_bytes
from benchmarks.frame import ROOT
from benchmarks.report import goal, markdown, provenance, publish
from sklabeldiff import DMISClassifier, DTMClassifier
from sklabeldiff.baselines import CCClassifier, PRODENClassifier
from sklabeldiff.datasets import make_candidate_sets

CLASSES = (10, 100, 1000)
ROWS_PER_CLASS, MIN_ROWS, TEST_ROWS, D = 20, 4000, 2000, 64
RATE, CLOUD_RATES = 0.3, (1.4, 0.6)
WRONG_CANDIDATES, MAX_RATE = 5, 1 / 3
MEGABYTES = 4000  # of a whole process, at a thousand classes
MB = 1e6
# What each learns from, and the plain method that it should not be below.
METHODS: dict[str, tuple[Any, str, str | None]] = {
    "CE": (CCClassifier((256, 256), max_epochs=20), "labels", None),
    "DTM": (DTMClassifier(), "labels", "CE"),
    "DTM, groups": (DTMClassifier(generator="group"), "labels", "CE"),
    "PRODEN": (PRODENClassifier(max_epochs=50), "sets", None),
    "DMIS": (DMISClassifier(), "sets", "PRODEN"),
    "DMIS, all classes": (DMISClassifier(), "sets", "PRODEN"),
}


class Problem(NamedTuple):
    """Rows to learn from, with labels and sets; rows to test on, with classes."""

    X: NDArray[np.float32]
    labels: NDArray[np.int64]
    sets: NDArray[np.bool_]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--classes", nargs="+", type=int, default=CLASSES, metavar="C")
    sub.add_argument("--methods", nargs="+", default=tuple(METHODS), metavar="NAME")
    sub.add_argument("--seeds", nargs="+", type=int, default=(0,), metavar="SEED")
    sub.add_argument("--rows", type=int, default=None, help="20 a class, or 4000")


def make_problem(n_classes: int, seed: int, n_rows: int | None = None) -> Problem:
    """Two clouds a class; labels that are wrong, and sets."""
    rng = np.random.RandomState(seed)
    n = max(MIN_ROWS, ROWS_PER_CLASS * n_classes) if n_rows is None else n_rows
    centres = rng.standard_normal((n_classes, 2, D))
    y, cloud = rng.randint([n_classes, 2], size=(n + TEST_ROWS, 2)).T
    y[:n_classes] = np.arange(n_classes)
    X = (centres[y, cloud] + rng.standard_normal((len(y), D))).astype(np.float32)
    is_wrong = rng.rand(len(y)) < RATE * np.array(CLOUD_RATES)[cloud]
    is_wrong[:n_classes] = False  # every class is given
    labels = np.where(is_wrong, (y + 1 + cloud) % n_classes, y)
    rate = min(MAX_RATE, WRONG_CANDIDATES / n_classes)
    sets = make_candidate_sets(y[:n], "uniform", rate=rate, random_state=seed)
    return Problem(X[:n], labels[:n], sets, X[n:], y[n:])


def fit_once(
    method: str, n_classes: int, seed: int, n_rows: int | None = None
) -> dict[str, float]:
    """Seconds, peak memory and accuracy of one fit."""
    problem = make_problem(n_classes, seed, n_rows)
    estimator, given, _ = METHODS[method]
    estimator.set_params(random_state=seed)
    if method == "DMIS, all classes":
        estimator.set_params(top_k=n_classes)
    start = time.perf_counter()
    used = time.process_time()
    estimator.fit(problem.X, problem.labels if given == "labels" else problem.sets)
    fitted = time.perf_counter()
    used = time.process_time() - used
    right = np.mean(estimator.predict(problem.X_test) == problem.y_test)
    return {
        "rows": len(problem.X),
        "fit": fitted - start,
        "cpu": used,
        "predict": time.perf_counter() - fitted,
        "memory": peak_bytes(),
        "accuracy": float(right),
    }


def child(
    method: str, n_classes: int, seed: int, n_rows: int | None
) -> dict[str, float]:
    """Run one fit in a process of its own."""
    words = [method, str(n_classes), str(seed)] + [str(n_rows)] * (n_rows is not None)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.many_classes", *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(args: argparse.Namespace, command: str) -> int:
    """Measure all, print and save the table; returns 1 if a target is missed."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for n_classes in args.classes:
        for method in args.methods:
            for seed in args.seeds:
                result = child(method, n_classes, seed, args.rows)
                found.setdefault((method, n_classes), []).append(result)
                print(method, n_classes, seed, result, file=sys.stderr, flush=True)
    text = table(found, command, args.seeds)
    publish(text, args.save)
    return int("**missed**" in text)


def table(
    found: dict[tuple[str, int], list[dict[str, float]]], command: str, seeds: Any
) -> str:
    """Means over seeds, as markdown."""
    rows, goals = [], []
    for (method, C), results in found.items():
        mean = {key: np.mean([r[key] for r in results]) for key in results[0]}
        spread = np.std([r["accuracy"] for r in results])
        rows.append(
            [
                *(str(C), method, f"{mean['rows']:.0f}", f"{mean['fit']:.0f}"),
                *(f"{mean['cpu']:.0f}", f"{mean['predict']:.1f}"),
                f"{mean['memory'] / MB:.0f}",
                f"{mean['accuracy']:.3f} ± {spread:.3f}",
            ]
        )
        plain = METHODS[method][2]
        if plain is not None and (plain, C) in found:
            other = np.mean([r["accuracy"] for r in found[plain, C]])
            goals.append(
                goal(
                    f"accuracy of {method} at {C} classes at least that of {plain}",
                    bool(mean["accuracy"] >= other),
                    f"{mean['accuracy']:.3f} and {other:.3f}",
                )
            )
    memory = max(r["memory"] for results in found.values() for r in results) / MB
    text = f"peak memory at most {MEGABYTES} MB"
    goals.append(goal(text, memory <= MEGABYTES, f"{memory:.0f}"))
    head = [
        *("classes", "method", "rows", "fit, s", "CPU of it, s"),
        *("predict, s", "peak, MB", "accuracy"),
    ]
    return "\n".join(
        [
            "# Many classes",
            "",
            *provenance(command, ", ".join(map(str, seeds)) + ", one thread"),
            "",
            f"d = {D}, two clouds a class. CE and DTM learn from labels of which "
            f"{RATE:.0%} are wrong, PRODEN and DMIS from candidate sets. Each line is "
            f"a process of its own; accuracy is that on {TEST_ROWS} other rows, memory "
            "that of the whole process.",
            "",
            *markdown(head, rows),
            "",
            "## Against the goals",
            "",
            *goals,
        ]
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name, *numbers = sys.argv[1:]
        print(json.dumps(fit_once(name, *map(int, numbers))))
