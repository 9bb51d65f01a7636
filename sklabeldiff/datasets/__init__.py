"""Data: loaders of real partial-label sets and generators of candidate sets."""

from sklabeldiff.datasets._candidates import make_candidate_sets
from sklabeldiff.datasets._loaders import load_pll
from sklabeldiff.datasets._noise import make_noisy_labels

__all__ = ["load_pll", "make_candidate_sets", "make_noisy_labels"]
