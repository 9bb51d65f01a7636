"""Images in any form that users hold, as 8-bit RGB images, a block at a time.

`sort_images` tells the form; `ArrayImages` and `ListImages` hold the checked images
and hand them out. The same picture gives the same pixels in every form, so features
do not depend on it. Resizing and colour normalisation belong to each model's own
preprocessing and are not done here.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import nullcontext
from numbers import Number
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
ValueRange = tuple[float, float]

_ARRAY_SHAPES = (
    "Arrays of images are (n, h, w, 3), or (n, h, w) for grey ones. Mend channels "
    "first by X.transpose(0, 2, 3, 1), a single image by X[None], grey images 1, 3 or "
    "4 pixels wide by X[..., None]."
)
_TENSOR_SHAPES = (
    "Tensors of images are (n, 3, h, w) or (n, 1, h, w). Mend channels last by "
    "X.permute(0, 3, 1, 2), a single image by X[None], grey images by X[:, None]."
)


def require(module: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = "pillow" if module.startswith("PIL") else module
        raise ImportError(
            f"Image features need {package}, which cannot be imported ({error}). "
            'Install it with: pip install "sklabeldiff[vision]"'
        ) from error


class ArrayImages:
    """Images in one numeric array (n, height, width, channels), read block by block.

    The array is never copied whole: a memory map stays on disk. `value_range` holds
    the values of black and of full intensity; None is (0, 255) for integers and
    (0, 1) for floats and booleans. `first_row` is the row number used in messages.
    """

    def __init__(
        self,
        array: NDArray[Any],
        value_range: ValueRange | None,
        first_row: int = 0,
    ) -> None:
        kind = array.dtype.kind
        if kind not in "buif":
            raise ValueError(
                f"Images hold real numbers, but X has dtype {array.dtype}. Convert X "
                "to uint8, or to floats between 0 and 1."
            )
        default: ValueRange = (0, 255) if kind in "ui" else (0, 1)
        self._array = array
        self._low, self._high = value_range or default
        # 8-bit pixels with their usual meaning need neither a check nor a conversion.
        self._is_bytes = array.dtype == np.uint8 and (self._low, self._high) == (0, 255)
        if not self._is_bytes:
            self._check_values(first_row)

    def __len__(self) -> int:
        return len(self._array)

    def block(self, start: int, stop: int) -> list[Image]:
        """Give the images of rows ``start`` to ``stop`` (exclusive)."""
        from_array = require("PIL.Image").fromarray
        pixels = self._to_bytes(self._array[start:stop])
        if pixels.shape[-1] == 1:
            pixels = pixels[..., 0]  # Pillow knows no (h, w, 1); (h, w) is grey
        return [from_array(np.ascontiguousarray(p)).convert("RGB") for p in pixels]

    def _to_bytes(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale the value range to 0-255. (b, h, w, c) -> (b, h, w, c)."""
        if self._is_bytes:
            return pixels
        share = (pixels.astype(np.float64) - self._low) / (self._high - self._low)
        # Rounded, not cut off: arithmetic may end a hair below a whole number.
        return np.rint(share * 255).astype(np.uint8)

    def _check_values(self, first_row: int) -> None:
        """Refuse NaN and values outside the range, naming the first such row."""
        low, high = self._low, self._high
        # min and max pass NaN on, and every comparison with NaN is false.
        if low <= self._array.min() and self._array.max() <= high:
            return
        inside = (((image >= low) & (image <= high)) for image in self._array)
        row, mask = next((i, ok) for i, ok in enumerate(inside) if not ok.all())
        value = self._array[row][~mask][0]
        if np.isnan(value):
            raise ValueError(
                f"row {first_row + row} has a pixel that is NaN. Fill the missing "
                "pixels or drop the row."
            )
        sign = "Negative values in data: " if value < 0 <= low else ""
        raise ValueError(
            f"{sign}row {first_row + row} has a pixel of value {value}, outside "
            f"[{low}, {high}]. Rescale X, or pass value_range=(black, white) with "
            "the values that mean black and full intensity in X."
        )


class ListImages:
    """Single images: paths, PIL images, arrays or tensors.

    All that can be told without opening a file is checked at once. Files are opened
    in `block`, so that memory never holds more than one block of them.
    """

    def __init__(self, items: list[Any], value_range: ValueRange | None) -> None:
        self._range = value_range
        self._items = [self._check(item, row) for row, item in enumerate(items)]

    def __len__(self) -> int:
        return len(self._items)

    def block(self, start: int, stop: int) -> list[Image]:
        """Give the images of rows ``start`` to ``stop`` (exclusive)."""
        return [self._read(i, start + k) for k, i in enumerate(self._items[start:stop])]

    def _check(self, item: Any, row: int) -> Any:
        """Give the item back, arrays and tensors as `ArrayImages` of one image."""
        if isinstance(item, (str, os.PathLike)):
            if not Path(item).is_file():
                raise FileNotFoundError(
                    f"row {row}: there is no file {str(item)!r} (the current "
                    f"folder is {Path.cwd()}). Mend the path or drop the row."
                )
            return item
        if _is_pil(item):
            return item
        if not isinstance(item, (np.ndarray, torch.Tensor)):
            raise TypeError(
                f"row {row} is {item!r} of type {type(item).__name__}, not an image. "
                "Give a path, a PIL image, an array (h, w, 3) or a tensor (3, h, w), "
                "or drop the row."
            )
        array = _channels_last(item, ndim=3)
        if array is None:
            raise ValueError(
                f"row {row} has shape {tuple(item.shape)}. Give one image as an array "
                "(h, w, 3) or (h, w), or as a tensor (3, h, w) or (1, h, w)."
            )
        return ArrayImages(array[None], self._range, row)

    def _read(self, item: Any, row: int) -> Image:
        """Turn one checked item into an RGB image."""
        if isinstance(item, ArrayImages):
            return item.block(0, 1)[0]
        pil, upright = require("PIL.Image"), require("PIL.ImageOps").exif_transpose
        try:
            # Reads the pixels; cameras store the rotation as a tag beside them.
            with nullcontext(item) if _is_pil(item) else pil.open(item) as image:
                image = upright(image)
        # Pillow's readers raise SyntaxError and ValueError too, for broken files.
        except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as error:
            raise ValueError(
                f"row {row}: {str(item)!r} cannot be read as an image ({error}). "
                "Replace the file or drop the row."
            ) from error
        return self._to_rgb(image, row)

    def _to_rgb(self, image: Image, row: int) -> Image:
        """Convert any mode to RGB; alpha is dropped, as CLIP's own code does."""
        if image.mode == "P":  # a palette's transparency warns on the direct way
            image = image.convert("RGBA")
        is_16_bit = image.mode.startswith("I;16")
        if not is_16_bit and image.mode not in ("I", "F"):
            return image.convert("RGB")
        # convert("RGB") would clip these at 255 and turn the whole image white.
        value_range = self._range or ((0, 65535) if is_16_bit else None)
        if value_range is None:
            raise ValueError(
                f"row {row} is a PIL image of mode {image.mode!r}, which does not say "
                "what value is white. Pass value_range=(black, white)."
            )
        array = np.asarray(image)[None, :, :, None]
        return ArrayImages(array, value_range, row).block(0, 1)[0]


def sort_images(X: Any) -> tuple[str, Any]:
    """Tell the form of `X`, and bring it into that form.

    Gives ("items", list of single images), ("array", ndarray (n, h, w, channels)) or
    ("rows", X) for flattened images and for whatever is no image at all.
    """
    if isinstance(X, (str, os.PathLike)) or _is_pil(X):
        raise TypeError(f"X is one image ({X!r}). Pass a collection of images: [X].")
    if not hasattr(X, "shape") and not isinstance(X, (list, tuple)):
        X = np.asarray(X)
    items = _as_items(X)
    if items is not None:
        return "items", items
    if not hasattr(X, "shape"):
        X = np.asarray(X)  # nested lists of numbers
    if len(X.shape) < 3:
        return "rows", _to_numpy(X) if isinstance(X, torch.Tensor) else X
    array = _channels_last(X, ndim=4)
    if array is None:
        shapes = _TENSOR_SHAPES if isinstance(X, torch.Tensor) else _ARRAY_SHAPES
        raise ValueError(f"X has shape {tuple(X.shape)}. {shapes}")
    return "array", array


def unflatten(rows: NDArray[Any], image_shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Give flattened rows their shape. (n, h * w * c) -> (n, h, w, c)."""
    n_columns = rows.shape[1]
    if image_shape is None:
        side = {m * m * c: (m, m, c) for m in range(1, 1025) for c in (1, 3)}
        hint = side.get(n_columns)
        raise ValueError(
            f"X has rows of {n_columns} numbers. If they are flattened images, pass "
            "image_shape=(height, width) or (height, width, 3)"
            + (f", for example image_shape={hint}." if hint else ".")
        )
    try:
        return rows.reshape(len(rows), *image_shape, *(1,) * (3 - len(image_shape)))
    except ValueError:
        raise ValueError(
            f"X has rows of {n_columns} numbers, which do not fill image_shape="
            f"{image_shape}. Pass the height, width and channels that the images had "
            "before they were flattened."
        ) from None


def _as_items(X: Any) -> list[Any] | None:
    """List a 1-D collection (or one-column table) of images; None for numbers."""
    if isinstance(X, (list, tuple)):
        items = list(X)
    elif len(X.shape) == 1:
        items = list(X)
    elif len(X.shape) == 2 and X.shape[1] == 1 and hasattr(X, "columns"):
        items = list(np.asarray(X)[:, 0])  # df[["path"]]
    else:
        return None
    if not items:
        raise ValueError("X holds no image: its length is 0.")
    return None if all(_is_number_or_row(item) for item in items) else items


def _is_number_or_row(item: Any) -> bool:
    """Tell numbers and 1-D sequences of them from what could be an image."""
    if hasattr(item, "shape") and not isinstance(item, np.generic):
        return len(item.shape) < 2
    return isinstance(item, (Number, np.bool_, list, tuple))


def _is_pil(item: Any) -> bool:
    """Whether `item` is a PIL image; does not import Pillow to find out."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(item, pil.Image)


def _to_numpy(X: Any) -> NDArray[Any]:
    """Give a tensor or array-like as an ndarray of the same shape."""
    if not isinstance(X, torch.Tensor):
        return np.asarray(X)
    X = X.detach().cpu()
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()


def _channels_last(X: Any, ndim: int) -> NDArray[Any] | None:
    """Bring images to (..., h, w, c) of `ndim` axes; None if the shape is no image's.

    Arrays come channels last, or without channels (grey); tensors channels first.
    """
    array = _to_numpy(X)
    if isinstance(X, torch.Tensor):
        array = np.moveaxis(array, -3, -1) if array.ndim == ndim else array
    # (h, w, 3) alone is one colour image, more likely than h grey ones 3 wide.
    elif array.ndim == ndim - 1 and (ndim == 3 or array.shape[-1] not in CHANNELS):
        array = array[..., None]
    fits = array.ndim == ndim and array.shape[-1] in CHANNELS and array.size > 0
    return array if fits else None
