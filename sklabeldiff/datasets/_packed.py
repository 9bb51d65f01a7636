"""Reader of CIFAR images in a compact npz layout: xz over prediction errors.

An image is kept as its green, red minus green and blue minus green planes, each as the
difference to a prediction from the pixels to the left, above and between them.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.datasets._bunch import read_npz

_SIDE = 32


def read_packed_labels(path: Path) -> NDArray[Any]:
    """Classes of the images. -> (n,)."""
    return read_npz(path, ("pixels", "y"))["y"]


def read_packed_pixels(path: Path) -> NDArray[np.uint8]:
    """Pixels of the images. -> (n, 32, 32, 3)."""
    raw = read_npz(path, ("pixels", "y"))
    errors = np.frombuffer(lzma.decompress(raw["pixels"].tobytes()), np.uint8)
    errors = errors.reshape(3, len(raw["y"]), _SIDE, _SIDE)
    green, red_less, blue_less = (_undo_prediction(plane) for plane in errors)
    pixels = np.stack([red_less + green, green, blue_less + green])  # modulo 256
    return np.ascontiguousarray(pixels.transpose(3, 1, 2, 0))


def _undo_prediction(errors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Prediction errors (n, 32, 32) -> plane (32, 32, n)."""
    # Pixel-major, since a step needs one pixel of all images. int16: the prediction
    # left + up - corner leaves the range of uint8.
    plane = np.ascontiguousarray(errors.transpose(1, 2, 0)).astype(np.int16)
    for i in range(_SIDE):
        for j in range(_SIDE):
            plane[i, j] = (plane[i, j] + _predict(plane, i, j)) & 255
    return plane.astype(np.uint8)


def _predict(plane: NDArray[np.int16], i: int, j: int) -> NDArray[np.int16] | int:
    """Median of left, up and left + up - corner; the one there is at the edges."""
    if i == 0 or j == 0:
        return plane[i, j - 1] if j else plane[i - 1, j] if i else 0
    left, up, corner = plane[i, j - 1], plane[i - 1, j], plane[i - 1, j - 1]
    low, high = np.minimum(left, up), np.maximum(left, up)
    return np.clip(left + up - corner, low, high)
