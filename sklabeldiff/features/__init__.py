"""Transformers from images to feature vectors, for use before any classifier."""

from ._clip import CLIPFeatures

__all__ = ["CLIPFeatures"]
