"""Images as rows of X: for classifiers with a parameter `image_shape`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sklabeldiff._parameters import check_number


def checked_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Height, width and channels, of which there is one unless said otherwise."""
    wanted = "image_shape must be (height, width) or (height, width, channels), "
    if not isinstance(image_shape, tuple | list):
        raise TypeError(f"{wanted}got {image_shape!r}.")
    if len(image_shape) not in (2, 3):
        raise ValueError(f"{wanted}got {image_shape!r}.")
    names = ("height", "width", "number of channels")
    for name, side in zip(names, image_shape, strict=False):
        check_number(f"The {name} in image_shape", side, 1, integer=True)
    height, width, *channels = (int(side) for side in image_shape)
    return height, width, channels[0] if channels else 1


def as_rows(X: Any, image_shape: Sequence[int] | None, name: str = "X") -> Any:
    """Images as rows; anything else is left to the checks."""
    if image_shape is None:
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"{name} has shape {tuple(X.shape)}, not (n_samples, n_features). If "
                f"it holds images, say so: image_shape={tuple(X.shape[1:])}."
            )
        return X
    X = np.asarray(X) if isinstance(X, list) else X
    if getattr(X, "ndim", 2) <= 2:
        return X
    if tuple(X.shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"{name} holds images of shape {tuple(X.shape[1:])}, but image_shape is "
            f"{tuple(image_shape)}."
        )
    return X.reshape(len(X), -1)


def check_columns(n_columns: int, image_shape: Sequence[int] | None) -> None:
    """Refuse rows that are no images of `image_shape`."""
    if image_shape is None:
        return
    n_pixels = math.prod(image_shape)
    if n_pixels != n_columns:
        raise ValueError(
            f"X has {n_columns} columns, but images of image_shape "
            f"{tuple(image_shape)} have {n_pixels} values."
        )
