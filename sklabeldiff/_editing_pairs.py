"""Which row is edited towards what: checks, prompts, names and seeds of edits."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.features._store import content_key


def check_rows(rows: Any, n_rows: int) -> NDArray[np.intp]:
    """Check the rows to edit. -> (n_pairs,)."""
    found = np.asarray(rows)
    if found.ndim != 1:
        raise ValueError(
            f"rows must be one number for each edit, got the shape {found.shape}."
        )
    if len(found) and found.dtype.kind not in "ui":
        raise TypeError(
            f"rows must be integers, the rows of X, got dtype {found.dtype}. Of a "
            "mask, give np.flatnonzero(mask)."
        )
    outside = np.flatnonzero((found < 0) | (found >= n_rows))
    if outside.size:
        raise ValueError(
            f"rows[{outside[0]}] is {found[outside[0]]}, but X has the rows 0 to "
            f"{n_rows - 1}."
        )
    return found.astype(np.intp)


def make_prompts(labels: Any, class_prompts: Mapping[Any, str] | None) -> list[str]:
    """Give the text for every label."""
    # Python's own numbers and texts: what a user's mapping has for its keys.
    labels = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    if class_prompts is not None:
        return [_prompt(label, class_prompts) for label in labels]
    number = next((label for label in labels if _is_numeric(label)), None)
    if number is not None:
        warnings.warn(
            f"The class {number!r} has a number for its name, which tells the model "
            "nothing. Pass class_prompts, a text for each class: "
            f"{{{number!r}: 'cat', ...}}.",
            stacklevel=3,
        )
    return [str(label) for label in labels]


def _prompt(label: Any, class_prompts: Mapping[Any, str]) -> str:
    """Look up the text for one label."""
    if label not in class_prompts:
        raise ValueError(
            f"class_prompts has no text for the class {label!r}. Give one for every "
            f"class; there are texts for {list(class_prompts)}."
        )
    text = class_prompts[label]
    if not isinstance(text, str):
        raise TypeError(
            f"class_prompts must hold texts, but that of the class {label!r} is "
            f"{text!r}."
        )
    return text


def _is_numeric(label: Any) -> bool:
    """Whether a label reads as a number."""
    try:
        float(str(label))
    except ValueError:
        return False
    return True


def pair_key(picture: bytes, prompt: str) -> bytes:
    """Name an edit by the name of its picture and the prompt."""
    return content_key(prompt.encode(), f"edit of {picture.hex()}")


def seed_of(key: bytes, random_state: int) -> int:
    """Seed of an edit's noise, by image, prompt and `random_state`."""
    digest = blake2b(f"{random_state} ".encode() + key, digest_size=8).digest()
    return int.from_bytes(digest, "big")
