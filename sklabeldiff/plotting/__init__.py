"""Pictures of labels, beliefs and trainings, in scikit-learn's Display protocol.

Each class is made by ``from_estimator`` or ``from_predictions``, keeps the arrays that
it shows, and draws them with ``plot``. Colours are those of Okabe and Ito, which the
colour-blind tell apart; what has a colour has a shape too, so that it prints in grey.
matplotlib is needed (extra ``plot``), and imported when something is drawn.
"""

from sklabeldiff.plotting._beliefs import BeliefDisplay
from sklabeldiff.plotting._cooccurrence import CooccurrenceDisplay
from sklabeldiff.plotting._denoising import DenoisingPathDisplay
from sklabeldiff.plotting._embedding import EmbeddingDisplay
from sklabeldiff.plotting._reliability import ReliabilityDisplay
from sklabeldiff.plotting._training import TrainingCurveDisplay
from sklabeldiff.plotting._transitions import TransitionMatrixDisplay

__all__ = [
    "BeliefDisplay",
    "CooccurrenceDisplay",
    "DenoisingPathDisplay",
    "EmbeddingDisplay",
    "ReliabilityDisplay",
    "TrainingCurveDisplay",
    "TransitionMatrixDisplay",
]
