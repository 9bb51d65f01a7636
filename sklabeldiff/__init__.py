"""Classifiers for imprecise labels, built on diffusion and made for scikit-learn."""

import os

# Read by MKL at its first product. Without it what a product gives a row depends, on
# some processors, on the rows beside it: predictions would change in the last bits with
# the way that rows are cut.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

from sklabeldiff.cad import CADClassifier
from sklabeldiff.ddmp import DDMPClassifier
from sklabeldiff.dmis import DMISClassifier
from sklabeldiff.dtm import DTMClassifier
from sklabeldiff.editing import DiffusionEditor
from sklabeldiff.features import CLIPFeatures
from sklabeldiff.targets import (
    CandidateBinarizer,
    candidates_from_votes,
    encode_candidates,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "CADClassifier",
    "CLIPFeatures",
    "CandidateBinarizer",
    "DDMPClassifier",
    "DMISClassifier",
    "DTMClassifier",
    "DiffusionEditor",
    "candidates_from_votes",
    "encode_candidates",
]
