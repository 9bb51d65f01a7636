"""Probabilities that mean what they say, and answers withheld in doubt.

Two wrappers for any classifier of candidate sets: `CandidateCalibratedClassifier` finds
one temperature for its probabilities, `RejectOptionClassifier` the confidence below
which it had better not answer. Neither needs a true label. Conformal prediction is left
to MAPIE, see the gallery.
"""

from sklabeldiff.calibration._reject import RejectOptionClassifier
from sklabeldiff.calibration._temperature import CandidateCalibratedClassifier

__all__ = ["CandidateCalibratedClassifier", "RejectOptionClassifier"]
