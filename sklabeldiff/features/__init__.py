"""Transformers from images and texts to feature vectors, for any classifier."""

from ._clip import CLIPFeatures
from ._simclr import SimCLRFeatures
from ._text import TextFeatures
from ._torch import TorchFeatures
from ._vision import VisionFeatures

__all__ = [
    "CLIPFeatures",
    "SimCLRFeatures",
    "TextFeatures",
    "TorchFeatures",
    "VisionFeatures",
]
