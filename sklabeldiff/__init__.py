"""Classifiers for imprecise labels, built on diffusion and made for scikit-learn."""

from sklabeldiff.ddmp import DDMPClassifier
from sklabeldiff.dmis import DMISClassifier
from sklabeldiff.dtm import DTMClassifier
from sklabeldiff.features import CLIPFeatures
from sklabeldiff.targets import (
    CandidateBinarizer,
    candidates_from_votes,
    encode_candidates,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "CLIPFeatures",
    "CandidateBinarizer",
    "DDMPClassifier",
    "DMISClassifier",
    "DTMClassifier",
    "candidates_from_votes",
    "encode_candidates",
]
