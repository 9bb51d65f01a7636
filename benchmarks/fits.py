"""Whole fits beside peers': CPU time of fit and prediction, and accuracy, in one run.

robust-pll's PRODEN comes from a checkout of mathefuchs/robust-pll and runs as it is.
scikit-learn's MLPClassifier takes no sets: it is told the true classes.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import beside
from benchmarks.noisy_cells import read_clean
from benchmarks.report import markdown, provenance, publish
from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import PRODENClassifier
from sklabeldiff.datasets import make_candidate_sets

DATASETS = ("digits", "pendigits")
RATE = 0.3  # of each other class to be a candidate too
N_PREDICTED = 10_000


class PeerPRODEN:
    """robust-pll's PRODEN, standardised, with the words of scikit-learn."""

    def __init__(self, checkout: Path) -> None:
        if not (checkout / "partial_label_learning").is_dir():
            raise FileNotFoundError(
                f"{checkout} is no checkout of mathefuchs/robust-pll: it has no "
                "partial_label_learning."
            )
        # Its module of data sets, of which one function is used, imports torchvision.
        stubs = {"torchvision": MagicMock()}
        path = [str(checkout), *sys.path]
        with patch.dict(sys.modules, stubs), patch.object(sys, "path", path):
            from partial_label_learning.methods.proden_2020 import (  # type: ignore[import-not-found]
                Proden,
            )
        self.method = Proden

    def fit(self, X: NDArray[Any], Y: NDArray[np.bool_]) -> Self:
        self.scaler_ = StandardScaler().fit(X)
        self.model_ = self.method(np.random.default_rng(0))
        self.model_.fit(self.scaler_.transform(X), Y.astype(float))
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[np.intp]:
        found: NDArray[np.intp] = self.model_.predict(self.scaler_.transform(X)).pred
        return found


class Line(NamedTuple):
    """CPU seconds and accuracy of one method."""

    data: str
    method: str
    fit: float
    prediction: float
    accuracy: float


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    beside.add_arguments(sub, "mathefuchs/robust-pll", DATASETS)


def main(args: argparse.Namespace, command: str) -> int:
    """Run all methods on all data sets, print and save the table."""
    torch.set_num_threads(1)
    found = [line for name in args.datasets for line in lines(name, args.checkout)]
    publish(table(found, command), args.save)
    return 0


def lines(dataset: str, checkout: Path) -> list[Line]:
    """Measure all methods on one data set."""
    X, y = read_clean(dataset)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
    Y = make_candidate_sets(y, "uniform", rate=RATE, random_state=0)
    classifiers: dict[str, tuple[Any, Any]] = {
        "DDMP": (DDMPClassifier(random_state=0), Y),
        "PRODEN": (PRODENClassifier(random_state=0), Y),
        "PRODEN of robust-pll": (PeerPRODEN(checkout), Y),
        "MLPClassifier, told the truth": (
            make_pipeline(StandardScaler(), MLPClassifier(random_state=0)),
            y,
        ),
    }
    many = np.resize(X_test, (N_PREDICTED, X.shape[1]))
    found = []
    for name, (clf, target) in classifiers.items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            clf.fit(X, target)
        seconds = time.process_time() - start
        predict: Callable[[Any], Any] = clf.predict
        accuracy = float(np.mean(predict(X_test) == y_test))
        prediction = beside.cpu_seconds(lambda predict=predict: predict(many))  # type: ignore[misc]
        found.append(Line(dataset, name, seconds, prediction, accuracy))
    return found


def table(found: list[Line], command: str) -> str:
    """Figures of all methods, as markdown."""
    rows = [
        [
            *(line.data, line.method, f"{line.fit:.2f}"),
            *(f"{line.prediction:.3f}", f"{line.accuracy:.3f}"),
        ]
        for line in found
    ]
    head = ["data", "method", "fit, s", "prediction, s", "test accuracy"]
    return "\n".join(
        [
            "# Whole fits beside peers'",
            "",
            *provenance(command, "0, one thread"),
            "",
            "CPU seconds of one fit with the defaults of each, scaling included, on "
            f"candidate sets with uniform distractors at rate {RATE}; {N_PREDICTED} "
            "rows are predicted, least of three. The first line includes what is "
            "imported on demand.",
            "",
            *markdown(head, rows),
        ]
    )
