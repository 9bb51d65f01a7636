"""`EditedImages`: images of a user's scale as 8-bit RGB pictures, and edits back again.

Resizing to what a model wants is the pipeline's affair, in `_editing_pipeline`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.core.blocks import rows_of
from sklabeldiff.features._image_base import _check_range
from sklabeldiff.features._images import _pixel_key

# Share of red, green and blue in the lightness of a grey picture: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)
# In steps of 8 bits: undoing a standardisation ends a hair beside black or white, and
# what is so near becomes them.
TOLERANCE = 0.5


class EditedImages:
    """Checked images, handed out as pictures, and pictures given back like them.

    Parameters
    ----------
    X : ndarray of shape (n, height, width) or (n, height, width, channels)
    value_range : (black, white) or None
        None is (0, 255) for integers and (0, 1) for floats.
    channel_mean, channel_std : float, sequence of float or None
        X is (pixels - mean) / std.

    Attributes
    ----------
    shape : (height, width, channels)
    """

    def __init__(
        self, X: Any, value_range: Any, channel_mean: Any, channel_std: Any
    ) -> None:
        _check_array(X)
        self._array: NDArray[Any] = X
        self._is_integer = X.dtype.kind in "ui"
        height, width, *channels = X.shape[1:]
        self.shape = (height, width, channels[0] if channels else 1)
        default = (0.0, 255.0) if self._is_integer else (0.0, 1.0)
        self._black, self._white = _check_range(value_range) or default
        self._is_standardised = channel_mean is not None or channel_std is not None
        if self._is_standardised and self._is_integer:
            raise ValueError(
                f"X has dtype {X.dtype}, and integers are not standardised. Leave "
                "channel_mean and channel_std out, or give X as floats."
            )
        self._mean = _per_channel("channel_mean", channel_mean, 0.0, self.shape[2])
        self._std = _per_channel("channel_std", channel_std, 1.0, self.shape[2])
        if not (self._std > 0).all():
            raise ValueError(f"channel_std must be above 0, got {channel_std!r}.")

    def __len__(self) -> int:
        return len(self._array)

    def keys(self, rows: NDArray[np.intp]) -> dict[int, bytes]:
        """Name the pictures of these rows by their pixels; refuse values outside."""
        blocks = self._blocks(np.unique(rows))
        for block in blocks:
            self._check_values(block)
        return {
            int(row): _pixel_key(pixels)
            for block in blocks
            for row, pixels in zip(block, self.pixels(block), strict=True)
        }

    def pixels(self, rows: Any) -> NDArray[np.uint8]:
        """Give the pictures of b rows. -> (b, h, w, 3)."""
        steps = self._steps(rows)
        # Rounded, not cut off: arithmetic may end a hair below a whole number.
        pixels = np.clip(np.rint(steps), 0, 255).astype(np.uint8)
        return pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels

    def from_rgb(self, pictures: NDArray[np.floating]) -> NDArray[np.float32]:
        """Round pictures in 0-255, grey where X is grey. (b, h, w, 3) -> (b, d)."""
        if self.shape[2] == 1:
            pictures = pictures @ np.array(LUMA)
        return np.rint(pictures).astype(np.float32).reshape(len(pictures), -1)

    def restored(self, edits: NDArray[np.uint8]) -> NDArray[Any]:
        """Give edits the scale, dtype and shape of X. (m, d) -> (m, ...)."""
        result = np.empty((len(edits), *self._array.shape[1:]), self._array.dtype)
        edits = edits.reshape(len(edits), *self.shape)
        for block in self._blocks(np.arange(len(edits))):
            share = edits[block].astype(np.float64) / 255
            values = self._black + share * (self._white - self._black)
            values = (values - self._mean) / self._std
            values = np.rint(values) if self._is_integer else values
            result[block] = values.reshape(len(block), *result.shape[1:])
        return result

    def _blocks(self, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Cut rows into blocks that take little memory as float64."""
        size = rows_of(int(np.prod(self.shape)))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def _steps(self, rows: Any) -> NDArray[np.float64]:
        """Pixels from 0, black, to 255, white, not rounded. -> (b, h, w, channels)."""
        values = self._array[rows].astype(np.float64).reshape(-1, *self.shape)
        values = values * self._std + self._mean
        return 255 * (values - self._black) / (self._white - self._black)

    def _check_values(self, rows: NDArray[np.intp]) -> None:
        """Refuse NaN and values outside the range, by the first row with them."""
        steps = self._steps(rows)
        # Comparisons with NaN are false.
        inside = (steps >= -TOLERANCE) & (steps <= 255 + TOLERANCE)
        if inside.all():
            return
        first = int(np.flatnonzero(~inside.all(axis=(1, 2, 3)))[0])
        row, pixel = rows[first], np.argwhere(~inside[first])[0]
        value = self._array[row].reshape(self.shape)[tuple(pixel)]
        if np.isnan(value):
            raise ValueError(
                f"row {row} of X has a pixel that is NaN. Fill the missing pixels or "
                "drop the row."
            )
        meaning = ""
        if self._is_standardised:
            undone = value * self._std[pixel[2]] + self._mean[pixel[2]]
            meaning = f" that means {undone:g} by channel_mean and channel_std"
        raise ValueError(
            f"row {row} of X has a pixel of value {value:g}{meaning}, outside "
            f"[{self._black:g}, {self._white:g}]. If X was standardised, pass "
            "channel_mean and channel_std, which undo it; otherwise rescale X, or pass "
            "value_range=(black, white)."
        )


def _check_array(X: Any) -> None:
    """Refuse what is no array of images."""
    if not isinstance(X, np.ndarray):
        raise TypeError(
            f"X must be a numpy array of images, got {type(X).__name__}. Use "
            "np.asarray or np.stack."
        )
    if X.dtype.kind not in "uif":
        raise ValueError(
            f"Images hold integers or floats, but X has dtype {X.dtype}. Convert X to "
            "uint8, or to floats between 0 and 1."
        )
    if X.ndim not in (3, 4) or (X.ndim == 4 and X.shape[3] not in (1, 3)):
        raise ValueError(
            f"X has shape {X.shape}. Images are (n, height, width) or (n, height, "
            "width, channels) with 1 or 3 channels, the channels last: flattened rows "
            "need X.reshape(len(X), height, width, channels)."
        )
    if 0 in X.shape[1:]:
        raise ValueError(f"X has shape {X.shape}: its images have no pixel.")


def _per_channel(
    name: str, value: Any, default: float, n_channels: int
) -> NDArray[np.float64]:
    """Check a number for all channels, or one for each. -> (1,) or (channels,)."""
    try:
        numbers = np.atleast_1d(np.asarray(default if value is None else value, float))
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape not in ((1,), (n_channels,)) or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name}={value!r}: give one number, or one for each of the {n_channels} "
            "channels of X."
        )
    return np.broadcast_to(numbers, (n_channels,))
