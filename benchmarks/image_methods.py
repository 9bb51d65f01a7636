"""What is compared on images, by name: methods for sets, and for wrong labels.

Those for sets take one label a row as well. The others are left out where there are
sets (`image_cells.measure`).
"""

from __future__ import annotations

from typing import Any

from sklearn.neural_network import MLPClassifier

from benchmarks import methods, noisy_methods
from benchmarks.frame import Method
from sklabeldiff.baselines import CandidateWeightedClassifier, PLKNNClassifier

NAMES = (
    *(
        "DDMP",
        "DTM",
        "DMIS",
        "PL-kNN",
        "kNN vote",
        "kNN vote, unscaled",
        "PRODEN",
        "CC",
    ),
    *("kernel yardstick, wide", "kernel yardstick, wide, equal norm"),
    *("kernel yardstick, narrow", "kernel yardstick, narrow, equal norm"),
    *("LogisticRegression, weighted", "MLPClassifier, weighted"),
    *("VolMinNet", "cross-entropy", "CleanLearning"),
    *("truth: LogisticRegression", "truth: SVC", "truth: cross-entropy"),
)
# A row stands in an epoch once for every candidate: about the updates of PRODEN and CC.
# The 200 epochs of the default overfit, and take longer than any other method.
MLP_EPOCHS = 40


def image_methods() -> list[Method]:
    """DDMP, DTM, DMIS, baselines and ceilings."""
    known = [
        *noisy_methods.noisy_methods(),
        *methods.accuracy_methods(),
        # Last, so that it takes the place of the one with the default's epochs.
        Method("MLPClassifier, weighted", weighted_network, "baseline", 6.0),
        Method("kNN vote", neighbour_vote, "baseline", 0.1),
        # Scaled columns give the last component as much weight as the first.
        Method("kNN vote, unscaled", unscaled_vote, "baseline", 0.1),
    ]
    named = {method.name: method for method in known}
    return [named[name] for name in NAMES]


def weighted_network(random_state: int) -> Any:
    network = MLPClassifier(max_iter=MLP_EPOCHS, random_state=random_state)
    return CandidateWeightedClassifier(network, standardize="standard")


def neighbour_vote(random_state: int) -> PLKNNClassifier:
    return PLKNNClassifier(weights="uniform")


def unscaled_vote(random_state: int) -> PLKNNClassifier:
    return PLKNNClassifier(weights="uniform", standardize=None)
