"""Data: loaders of real sets, generators of candidate sets and of wrong labels."""

from sklabeldiff.datasets._candidates import make_candidate_sets
from sklabeldiff.datasets._cifar10n import load_cifar10n
from sklabeldiff.datasets._labelme import load_labelme
from sklabeldiff.datasets._loaders import load_pll
from sklabeldiff.datasets._noise import make_noisy_labels

__all__ = [
    "load_cifar10n",
    "load_labelme",
    "load_pll",
    "make_candidate_sets",
    "make_noisy_labels",
]
