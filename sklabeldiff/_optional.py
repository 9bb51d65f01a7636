"""Packages that only some parts need, imported when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_PACKAGES = {"PIL": "pillow", "sentence_transformers": "sentence-transformers"}


def require(module: str, extra: str = "vision") -> ModuleType:
    """Import an optional dependency, or say which extra installs it."""
    try:
        # What a package makes when it is imported has values, even where networks are
        # made that have none.
        with torch.device("cpu"):
            return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(
            f"This needs {_PACKAGES.get(name, name)}, which cannot be imported "
            f'({error}). Install it with: pip install "sklabeldiff[{extra}]"'
        ) from error
