"""Calibration without a true label: expected calibration error before and after."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks import cells
from benchmarks.cells import Cell, CellData
from benchmarks.frame import Method, Split
from benchmarks.methods import seeded
from benchmarks.report import goal, markdown, short
from benchmarks.scores import Scores
from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.calibration import CandidateCalibratedClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import brier_score, expected_calibration_error

SEEDS = (0, 1, 2)
CELLS = (
    Cell("digits", "uniform", 0.5, seeds=SEEDS),
    Cell("pendigits", "uniform", 0.5, seeds=SEEDS),
    Cell("birdsong", seeds=SEEDS),
)
GOAL_CELLS = ("digits uniform .5", "pendigits uniform .5")
GOAL = 0.05


def methods() -> list[Method]:
    """Classifiers whose probabilities are tempered."""
    return [
        Method("DDMP", seeded(DDMPClassifier), "ours", 36.0),
        Method("PRODEN", seeded(PRODENClassifier), "baseline", 30.0),
        Method(
            "kernel yardstick", seeded(KernelPropagationClassifier), "baseline", 3.0
        ),
        Method(
            "LogisticRegression, weighted",
            lambda seed: CandidateWeightedClassifier(),
            "baseline",
            3.0,
        ),
        Method("PL-kNN", lambda seed: PLKNNClassifier(), "baseline", 0.5),
    ]


@cache
def _load(cell: Cell) -> CellData:
    if cell.dataset != "digits":
        return cells.load_cell(cell)
    X, y = load_digits(return_X_y=True)
    Y = make_candidate_sets(
        y, cell.kind, rate=cell.rate, random_state=cells.CANDIDATE_SEED
    )
    return CellData(X.astype(np.float32), Y, y)


def split(cell: Cell, seed: int, k: int) -> Split:
    """Half for training, half for the test."""
    data = _load(cell)
    X, X_test, Y, Y_test, y, y_test = train_test_split(
        *(data.X, data.Y, data.y), test_size=0.5, random_state=seed, stratify=data.y
    )
    return Split(X, Y, y, X_test, y_test, Y_test)


def measure(estimator: Any, split: Split, ceiling: bool) -> dict[str, Any]:
    """Errors of the probabilities of test rows, before and after."""
    start = time.perf_counter()
    model = CandidateCalibratedClassifier(estimator).fit(split.X, split.Y)
    done = time.perf_counter()
    before = model.estimator_.predict_proba(split.X_test)
    after = model.predict_proba(split.X_test)
    error = expected_calibration_error(split.y_test, after)
    return {
        "score": -error,
        "ece_before": expected_calibration_error(split.y_test, before),
        "ece_after": error,
        "brier_before": brier_score(split.y_test, before),
        "brier_after": brier_score(split.y_test, after),
        "temperature": model.temperature_,
        "accuracy": float((after.argmax(axis=1) == split.y_test).mean()),
        "fit_seconds": done - start,
    }


def body(scores: Scores) -> list[str]:
    """Rows cells and classifiers; and the goals."""
    names = ("ece_before", "ece_after", "brier_before", "brier_after")
    rows = []
    for cell in scores.cells:
        for m in scores.methods:
            figures = [scores.average(n, cell=cell, method=m) for n in names]
            rows.append(
                [
                    cell,
                    m,
                    short(scores.average("accuracy", cell=cell, method=m)),
                    *(short(value) for value in figures),
                    short(scores.spread(cell, m)),
                    f"{scores.average('temperature', cell=cell, method=m):.2f}",
                ]
            )
    head = ["cell", "classifier", "accuracy", "ECE before", "ECE after"]
    head += ["Brier before", "Brier after", "spread of ECE after", "temperature"]
    return [
        "Expected calibration error of the most probable class (15 bins of equal "
        "width) and Brier score, both on true test labels, before and after a "
        "temperature that was fitted by the likelihood of held-out candidate sets "
        "(CandidateCalibratedClassifier, 5 folds). Means over seeds, which decide the "
        "split in halves and the estimator's own draws; the spread is a standard "
        "deviation. BirdSong has real sets, whose wrong candidates depend on the "
        "recording: there the likelihood of a set cannot tell how sure to be in it.",
        "",
        *markdown(head, rows),
        "",
        "## Against the goals",
        "",
        *_goals(scores),
    ]


def _goals(scores: Scores) -> list[str]:
    lines = []
    for ours in scores.ours:
        for cell in scores.cells:
            before = scores.average("ece_before", cell=cell, method=ours)
            after = scores.average("ece_after", cell=cell, method=ours)
            below = cell in GOAL_CELLS
            text = f"{ours} on {cell}: " + (f"below {GOAL}" if below else "lower")
            met = after < GOAL if below else after < before
            lines.append(goal(text, met, f"{before:.4f} before, {after:.4f} after"))
    return lines
