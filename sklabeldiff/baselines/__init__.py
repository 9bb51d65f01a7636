"""Yardsticks for learning from candidate sets, without any diffusion.

Established methods and plain scikit-learn classifiers behind the interface of the
package's own estimators, so that a comparison is one loop.
"""

from sklabeldiff.baselines._dirk import DIRKClassifier
from sklabeldiff.baselines._kernel import KernelPropagationClassifier
from sklabeldiff.baselines._neighbors import PLKNNClassifier
from sklabeldiff.baselines._networks import CCClassifier, PRODENClassifier
from sklabeldiff.baselines._volmin import VolMinNetClassifier
from sklabeldiff.baselines._wrapped import CandidateWeightedClassifier

__all__ = [
    "CCClassifier",
    "CandidateWeightedClassifier",
    "DIRKClassifier",
    "KernelPropagationClassifier",
    "PLKNNClassifier",
    "PRODENClassifier",
    "VolMinNetClassifier",
]
