"""What an image collection may look like, told and brought into three forms.

`sort_images` gives an array (n, height, width, channels), a list of single images, a
stream of them, or flattened rows. Shapes only: values and files are looked at by
`ArrayImages` and `ListImages`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA

_SHAPES = (
    "Images are (n, h, w, 3) or (n, 3, h, w), grey ones (n, h, w) as an array or "
    "(n, 1, h, w). Mend a single image by X[None], grey tensors by X[:, None], grey "
    "images 1, 3 or 4 pixels wide by X[..., None]."
)


def sort_images(X: Any) -> tuple[str, Any]:
    """Tell the form of `X`, and bring it into that form.

    Gives ("array", ndarray (n, h, w, channels)), ("items", list of single images),
    ("stream", iterator of single images), or ("rows", X) for flattened images and for
    whatever is no image at all.
    """
    if isinstance(X, (str, os.PathLike)) or is_pil(X):
        raise TypeError(f"X is one image ({X!r}). Pass a collection of images: [X].")
    if is_stream(X):
        return "stream", _single_images(X)
    if not hasattr(X, "shape") and not isinstance(X, (list, tuple)):
        X = np.asarray(X)
    if getattr(X, "shape", (1,)) == ():
        raise TypeError(f"X is {X!r:.60}, no collection of images.")
    items = _as_items(X)
    if items is not None:
        return "items", items
    if not hasattr(X, "shape"):
        try:
            X = np.asarray(X)  # nested lists of numbers
        except ValueError as error:
            raise ValueError(f"X is a ragged list of numbers. {_SHAPES}") from error
    if len(X.shape) < 3:
        return "rows", _to_numpy(X) if isinstance(X, torch.Tensor) else X
    array = channels_last(X, ndim=4)
    if array is None:
        raise ValueError(f"X has shape {tuple(X.shape)}. {_SHAPES}")
    return "array", array


def is_stream(X: Any) -> bool:
    """Whether X hands out its items one after the other, and need not be in memory.

    Iterators and what has ``__iter__`` alone; and what has a length and an index, but
    is no list, array or table: a torch Dataset.
    """
    if isinstance(X, (list, tuple)) or hasattr(X, "shape") or hasattr(X, "__array__"):
        return False
    is_dataset = hasattr(X, "__getitem__") and hasattr(X, "__len__")
    return is_dataset or hasattr(X, "__iter__")


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


def channels_last(X: Any, ndim: int) -> NDArray[Any] | None:
    """Bring images to (..., h, w, c) of `ndim` axes; None if the shape is no image's.

    Arrays come channels last, or without channels (grey); tensors channels first. The
    other order is taken where it is the only one that can be meant.
    """
    array: NDArray[Any] | None = _to_numpy(X)
    assert array is not None  # for mypy: it may become None below
    if array.ndim == ndim:
        first, last = (array.shape[axis] in CHANNELS for axis in (-3, -1))
        if first and (isinstance(X, torch.Tensor) or not last):
            array = np.moveaxis(array, -3, -1)
    # (h, w, 3) alone is one colour image, more likely than h grey ones 3 wide.
    elif array.ndim == ndim - 1 and (ndim == 3 or array.shape[-1] not in CHANNELS):
        array = None if isinstance(X, torch.Tensor) else array[..., None]
    if array is None or array.ndim != ndim or array.size == 0:
        return None
    return array if array.shape[-1] in CHANNELS else None


def is_pil(item: Any) -> bool:
    """Whether `item` is a PIL image; does not import Pillow to find out."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(item, pil.Image)


def _single_images(X: Any) -> Iterator[Any]:
    """Hand out the images of a stream; batches of them (b, h, w, c) are taken apart."""
    by_index = not hasattr(X, "__iter__")  # a torch Dataset
    for item in (X[row] for row in range(len(X))) if by_index else X:
        if isinstance(item, (np.ndarray, torch.Tensor)) and item.ndim == 4:
            yield from item
        else:
            yield item


def _as_items(X: Any) -> list[Any] | None:
    """List a 1-D collection (or one column) of images; None for numbers."""
    if isinstance(X, (list, tuple)):
        items = list(X)
    elif len(X.shape) == 1:
        items = list(X)
    elif len(X.shape) == 2 and X.shape[1] == 1 and _may_hold_items(X):
        items = list(np.asarray(X)[:, 0])  # df[["path"]]
    else:
        return None
    if not items:
        raise ValueError("X holds no image: its length is 0.")
    return None if all(_is_number_or_row(item) for item in items) else items


def _may_hold_items(X: Any) -> bool:
    """Whether X is a table, or an array of objects or strings."""
    return hasattr(X, "columns") or (
        isinstance(X, np.ndarray) and X.dtype.kind in "OSUT"
    )


def _is_number_or_row(item: Any) -> bool:
    """Tell numbers and 1-D sequences of them from what could be an image."""
    if hasattr(item, "shape") and not isinstance(item, np.generic):
        return len(item.shape) < 2
    return isinstance(item, (Number, np.bool_, list, tuple))


def _to_numpy(X: Any) -> NDArray[Any]:
    """Give a tensor or array-like as an ndarray of the same shape."""
    if not isinstance(X, torch.Tensor):
        return np.asarray(X)
    X = X.detach().cpu()
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
