"""Checked images, handed out by row numbers as 8-bit RGB images.

`ArrayImages` holds one array, `ListImages` single images of any kind. The same picture
gives the same pixels in every form, so features do not depend on it. Resizing and
colour normalisation belong to each model's own preprocessing and are not done here.
"""

from __future__ import annotations

import copy
import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklabeldiff._optional import require

from ._image_forms import channels_last, is_pil
from ._store import content_key

if TYPE_CHECKING:
    from PIL.Image import Image

ValueRange = tuple[float, float]
BadRows = dict[int, str]  # what is wrong, by row
Rows = Sequence[int] | NDArray[np.intp]

# Pillow reads the pixels of an opened image when they are first asked for, and breaks
# if two threads ask at once: the same image may stand in several rows.
_PIL_LOADING = Lock()
_MAX_THREADS = 4  # more of them only share Python's lock
_CHECKED_ROWS = 512  # handed to threads at a time


def n_threads() -> int:
    """Count the threads that read and prepare images."""
    return min(_MAX_THREADS, torch.get_num_threads())


class ArrayImages:
    """Images in one numeric array (n, height, width, channels), read as needed.

    The array is never copied whole: a memory map stays on disk. `value_range` holds
    the values of black and of full intensity; None is (0, 255) for integers and
    (0, 1) for floats and booleans. `first_row` is the row number used in messages.
    With `bad_rows`, bad rows are noted there, and no error is raised.
    """

    def __init__(
        self,
        array: NDArray[Any],
        value_range: ValueRange | None,
        first_row: int = 0,
        bad_rows: BadRows | None = None,
    ) -> None:
        kind = array.dtype.kind
        if kind not in "buif":
            raise ValueError(
                f"Images hold real numbers, but X has dtype {array.dtype}. Convert X "
                "to uint8, or to floats between 0 and 1."
            )
        self.first_row, self.bad_rows = first_row, bad_rows
        default: ValueRange = (0, 255) if kind in "ui" else (0, 1)
        self._array = array
        self._low, self._high = value_range or default
        # 8-bit pixels with their usual meaning need neither a check nor a conversion.
        self._is_bytes = array.dtype == np.uint8 and (self._low, self._high) == (0, 255)
        if not self._is_bytes:
            self._check_values()

    def __len__(self) -> int:
        return len(self._array)

    def part(self, start: int, stop: int) -> ArrayImages:
        """Give these images alone."""
        part = copy.copy(self)
        part._array = self._array[start:stop]
        part.first_row = self.first_row + start
        part.bad_rows = _bad_of_part(self.bad_rows, start, stop)
        return part

    def __getstate__(self) -> dict[str, Any]:
        """Give the state, in which a memory map is a place in a file."""
        state = dict(vars(self))
        state["_array"] = _mapped(self._array)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(self._array, _Mapped):
            self._array = self._array.open()

    def keys(self) -> list[bytes | None]:
        """Name every image by its content."""
        return [_pixel_key(self.pixels([row])[0]) for row in range(len(self))]

    def check(self, rows: Rows) -> None:
        """Do nothing: the values were checked on construction."""

    def items(self, rows: Rows) -> list[Image]:
        """Give the images of these rows."""
        from_array = require("PIL.Image").fromarray
        return [from_array(pixels) for pixels in self.pixels(rows)]

    def pixels(self, rows: Rows) -> NDArray[np.uint8]:
        """Give the pixels of b rows. -> (b, h, w, 3)."""
        start, stop = int(rows[0]), int(rows[-1]) + 1
        # Rows in succession are one read from the disk where the array lies there.
        whole = stop - start == len(rows)
        pixels = self._to_bytes(self._array[start:stop] if whole else self._array[rows])
        if pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        return np.array(pixels[..., :3], order="C")  # alpha is dropped

    def _to_bytes(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Scale the value range to 0-255. (b, h, w, c) -> (b, h, w, c)."""
        if self._is_bytes:
            return pixels
        share = (pixels.astype(np.float64) - self._low) / (self._high - self._low)
        # Rounded, not cut off: arithmetic may end a hair below a whole number.
        return np.rint(share * 255).astype(np.uint8)

    def _check_values(self) -> None:
        """Refuse NaN and values outside the range, or note the rows with them."""
        low, high = self._low, self._high
        # min and max pass NaN on, and every comparison with NaN is false.
        if low <= self._array.min() and self._array.max() <= high:
            return
        for row, image in enumerate(self._array):
            inside = (image >= low) & (image <= high)
            if not inside.all():
                text = self._describe(self.first_row + row, image[~inside][0])
                if self.bad_rows is None:
                    raise ValueError(text)
                self.bad_rows[row] = text

    def _describe(self, row: int, value: Any) -> str:
        """Say what is wrong with a pixel, and the mend."""
        if np.isnan(value):
            return (
                f"row {row} has a pixel that is NaN. Fill the missing pixels or drop "
                "the row."
            )
        sign = "Negative values in data: " if value < 0 <= self._low else ""
        return (
            f"{sign}row {row} has a pixel of value {value}, outside "
            f"[{self._low}, {self._high}]. Rescale X, or pass value_range=(black, "
            "white) with the values that mean black and full intensity in X."
        )


class ListImages:
    """Single images: paths, PIL images, arrays or tensors.

    All that can be told without opening a file is checked at once. Files are opened
    when their rows are asked for, so that memory never holds more than those. With
    `bad_rows`, bad rows are noted there, and no error is raised.
    """

    def __init__(
        self,
        items: list[Any],
        value_range: ValueRange | None,
        first_row: int = 0,
        bad_rows: BadRows | None = None,
    ) -> None:
        self._range = value_range
        self.first_row, self.bad_rows = first_row, bad_rows
        self._items = [self._guarded(self._sort, i, row=k) for k, i in enumerate(items)]

    def __len__(self) -> int:
        return len(self._items)

    def part(self, start: int, stop: int) -> ListImages:
        """Give these images alone."""
        part = copy.copy(self)
        part._items = self._items[start:stop]
        part.first_row = self.first_row + start
        part.bad_rows = _bad_of_part(self.bad_rows, start, stop)
        return part

    def keys(self) -> list[bytes | None]:
        """Name every image by its content; a file by its bytes, without decoding it."""
        return [self._guarded(self._key, i, row=k) for k, i in enumerate(self._items)]

    def check(self, rows: Rows) -> None:
        """Refuse what cannot be read, before any work: only reading it can tell."""

        def read(row: int) -> None:
            if not isinstance(self._items[row], ArrayImages):
                self._guarded(self._read, self._items[row], row=row)

        with ThreadPoolExecutor(n_threads()) as pool:
            for start in range(0, len(rows), _CHECKED_ROWS):
                # In order, so that the first bad row is named; it ends the others.
                for _ in pool.map(read, rows[start : start + _CHECKED_ROWS]):
                    pass

    def items(self, rows: Rows) -> list[Image | None]:
        """Give the images of these rows; None for what `bad_rows` now names."""
        return [self._guarded(self._read, self._items[row], row=row) for row in rows]

    def _guarded(self, function: Any, item: Any, *, row: int) -> Any:
        """Call ``function(item, row)``; with `bad_rows`, note its error there."""
        if self.bad_rows is None:
            return function(item, self.first_row + row)
        if row in self.bad_rows:
            return None
        try:
            return function(item, self.first_row + row)
        except (OSError, ValueError, TypeError) as error:
            self.bad_rows[row] = str(error)
            return None

    def _sort(self, item: Any, row: int) -> Any:
        """Give the item back, arrays and tensors as `ArrayImages` of one image."""
        if isinstance(item, (str, os.PathLike)):
            if not Path(item).is_file():
                raise FileNotFoundError(
                    f"row {row}: there is no file {str(item)!r} (the current "
                    f"folder is {Path.cwd()}). Mend the path or drop the row."
                )
            return item
        if is_pil(item) and 0 in item.size:
            raise ValueError(f"row {row} is a PIL image without pixels. Drop the row.")
        if is_pil(item) or isinstance(item, ArrayImages):
            return item
        if not isinstance(item, (np.ndarray, torch.Tensor)):
            pair = isinstance(item, (tuple, list))
            raise TypeError(
                f"row {row} is {shortened(item)} of type {type(item).__name__}, not an "
                "image. Give a path, a PIL image, an array (h, w, 3) or a tensor "
                "(3, h, w), or drop the row."
                + (" Of pairs, give the images alone: (x for x, _ in X)." * pair)
            )
        array = channels_last(item, ndim=3)
        if array is None:
            raise ValueError(
                f"row {row} has shape {tuple(item.shape)}. Give one image as an array "
                "(h, w, 3) or (h, w), or as a tensor (3, h, w) or (1, h, w)."
            )
        return ArrayImages(array[None], self._range, row)

    def _key(self, item: Any, row: int) -> bytes:
        """Name one image by its content."""
        if isinstance(item, (str, os.PathLike)):
            # value_range decides what some files look like.
            return content_key(Path(item).read_bytes(), f"file {self._range}")
        return _pixel_key(np.asarray(self._read(item, row)))

    def _read(self, item: Any, row: int) -> Image:
        """Turn one checked item into an RGB image."""
        if isinstance(item, ArrayImages):
            return item.items([0])[0]
        pil, upright = require("PIL.Image"), require("PIL.ImageOps").exif_transpose
        with _errors_named(row, item):
            opened = _alone(item) if is_pil(item) else pil.open(item)
        with opened as image:
            self._range_of(image.mode, row)  # the header tells: refused undecoded
            with _errors_named(row, item):
                # Reads the pixels; cameras store the rotation as a tag beside them.
                image = upright(image)
        return self._to_rgb(image, row)

    def _to_rgb(self, image: Image, row: int) -> Image:
        """Convert any mode to RGB; alpha is dropped, as CLIP's own code does."""
        if image.mode == "P":  # a palette's transparency warns on the direct way
            image = image.convert("RGBA")
        value_range = self._range_of(image.mode, row)
        if value_range is None:
            return image.convert("RGB")
        # convert("RGB") would clip these at 255 and turn the whole image white.
        array = np.asarray(image)[None, :, :, None]
        return ArrayImages(array, value_range, row).items([0])[0]

    def _range_of(self, mode: str, row: int) -> ValueRange | None:
        """Black and white of a PIL mode of more than 8 bits; None for 8 bits."""
        is_16_bit = mode.startswith("I;16")
        if not is_16_bit and mode not in ("I", "F"):
            return None
        value_range = self._range or ((0, 65535) if is_16_bit else None)
        if value_range is None:
            raise ValueError(
                f"row {row} is a PIL image of mode {mode!r}, which does not say "
                "what value is white. Pass value_range=(black, white)."
            )
        return value_range


def _bad_of_part(bad_rows: BadRows | None, start: int, stop: int) -> BadRows | None:
    """Bad rows of a part of a source, counted from its start."""
    if bad_rows is None:
        return None
    return {k - start: text for k, text in bad_rows.items() if start <= k < stop}


@dataclass(frozen=True)
class _Mapped:
    """An array that lies in a file; workers see the file, and are not sent it."""

    filename: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    def open(self) -> NDArray[Any]:
        """Map it, as it was."""
        return np.memmap(self.filename, self.dtype, "r", self.offset, self.shape)


def _mapped(array: NDArray[Any]) -> NDArray[Any] | _Mapped:
    """Place of a memory map, or of a part of one in succession; else the array."""
    memory = getattr(array, "_mmap", None)
    name = getattr(array, "filename", None)
    if memory is None or name is None or not array.flags.c_contiguous:
        return array
    # A part has the offset of the whole. The map begins at a page of the file.
    whole: Any = array
    page = whole.offset - whole.offset % mmap.ALLOCATIONGRANULARITY
    start = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    offset = page + array.__array_interface__["data"][0] - start
    return _Mapped(str(name), array.dtype, offset, array.shape)


def stack_pixels(items: list[Image], rows: Rows, first_row: int) -> NDArray[np.uint8]:
    """Give the pixels of the images of b rows, all of one size. -> (b, h, w, 3)."""
    arrays = [np.asarray(image) for image in items]
    first = arrays[0].shape[:2]
    for row, array in zip(rows, arrays, strict=True):
        if array.shape[:2] != first:
            raise ValueError(
                f"row {first_row + row} is an image of {array.shape[:2]} pixels, row "
                f"{first_row + rows[0]} one of {first}. Bring all images to one size, "
                "for example by preprocess=."
            )
    return np.stack(arrays)


@contextmanager
def _alone(image: Image) -> Iterator[Image]:
    """Hand out a PIL image while no other thread has one."""
    with _PIL_LOADING:
        yield image


@contextmanager
def _errors_named(row: int, item: Any) -> Iterator[None]:
    """Turn what Pillow raises into an error with row, file and mend."""
    try:
        yield
    except (ImportError, MemoryError):
        raise  # not the file's fault
    # Broken files make Pillow's readers raise whatever they stumble over, apart from
    # OSError: SyntaxError, struct.error, RuntimeError, NotImplementedError.
    except Exception as error:
        raise ValueError(
            f"row {row}: {str(item)!r} cannot be read as an image ({error}). Replace "
            "the file or drop the row."
        ) from error


def _pixel_key(pixels: NDArray[np.uint8]) -> bytes:
    """Name pixels (h, w, 3) by their content."""
    return content_key(np.ascontiguousarray(pixels).data, f"pixels {pixels.shape}")
