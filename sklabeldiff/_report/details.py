"""Pictures, texts and values of the rows that a reader will look at.

Every row has a short text, if there is one: its beginning, or the name of its file.
Pictures, whole texts and values of features are there for the most suspicious rows.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff._optional import require
from sklabeldiff.features._image_forms import channels_last, is_pil, sort_images

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_SIDE = 64
JPEG_QUALITY = 82
START_CHARACTERS = 120  # of a text, for the table
MAX_CHARACTERS = 20_000  # of a text, for its details
MAX_FEATURES = 30  # more columns than these no reader compares

Scale = Callable[[NDArray[Any]], NDArray[np.uint8]]


def read_images(images: Any) -> Any:
    """Images as an array (n, h, w, c) or a list of single ones."""
    try:
        kind, found = sort_images(images)
    except (TypeError, ValueError) as error:  # it calls the images of fit X
        raise type(error)(re.sub(r"\bX\b", "images", str(error))) from error
    if kind in ("array", "items"):
        return found
    raise ValueError(
        f"images has the type {type(images).__name__} and holds no images by their "
        "rows. Give an array of shape (n, height, width) or (n, height, width, "
        "channels), or a list of files, PIL images or arrays."
    )


def read_texts(texts: Any) -> list[str]:
    """Texts as a list; what is missing becomes an empty one."""
    if isinstance(texts, str):
        raise TypeError("texts is one text. Give one per row.")
    found = ["" if _is_missing(text) else text for text in texts]
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"texts has {text!r} in row {row}, which is no text. Give a str, or "
                "None where there is no text."
            )
    return found


def image_details(images: Any, rows: NDArray[np.intp]) -> list[str | dict[str, str]]:
    """Thumbnails of these rows: a data URL, or why there is none."""
    require("PIL.Image")  # missing Pillow is no matter of a single picture
    chosen = [images[row] for row in rows.tolist()]
    scale = _to_bytes(chosen)
    return [_thumbnail(item, scale) for item in chosen]


def file_names(images: Any) -> list[str] | None:
    """Names of the files, as given; None where there is none."""
    if not isinstance(images, list):
        return None
    paths = [isinstance(item, str | os.PathLike) for item in images]
    if not any(paths):
        return None
    pairs = zip(images, paths, strict=True)
    return [os.fspath(item) if is_path else "" for item, is_path in pairs]


def text_starts(texts: list[str]) -> list[str]:
    """Beginning of each text."""
    return [text[:START_CHARACTERS] for text in texts]


def text_details(texts: list[str], rows: NDArray[np.intp]) -> list[str]:
    """Return the texts of these rows; very long ones end in an ellipsis."""
    chosen = [texts[row] for row in rows.tolist()]
    return [
        text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
        for text in chosen
    ]


def feature_details(X: Any, rows: NDArray[np.intp]) -> dict[str, Any] | None:
    """Names and values of the features of these rows; None if they are too many."""
    shape: tuple[Any, ...] = getattr(X, "shape", ())
    if len(shape) != 2 or shape[1] > MAX_FEATURES or not hasattr(X, "__array__"):
        return None
    some = X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows]
    names = [str(name) for name in getattr(X, "columns", range(shape[1]))]
    values = np.asarray(some, dtype=object).tolist()
    return {"names": names, "values": [[_as_text(v) for v in row] for row in values]}


def _as_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_missing(text: Any) -> bool:
    return text is None or bool(text != text)  # NaN alone differs from itself


def _thumbnail(item: Any, scale: Scale) -> str | dict[str, str]:
    """Return a data URL of a small picture, or the reason why there is none."""
    try:
        image = _open(item, scale)
        return _data_url(image)
    # Decoders raise whatever they meet in a broken file, and one picture is no reason
    # to lose the report.
    except Exception as error:
        return {"missing": f"{type(error).__name__}: {error}"}


def _open(item: Any, scale: Scale) -> Image:
    """Open one image, at most a few times too large, upright and in RGB or grey."""
    Image, upright = require("PIL.Image"), require("PIL.ImageOps").exif_transpose
    if isinstance(item, str | os.PathLike):
        with Image.open(item) as image:
            # A JPEG can be decoded at an eighth of its size, which is a lot faster.
            image.draft(None, (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
            return _flat(upright(image))
    if is_pil(item):
        return _flat(upright(item))
    pixels = channels_last(item, ndim=3)
    if pixels is None:
        raise ValueError(f"an array of shape {np.shape(item)} is no image")
    pixels = scale(pixels)
    return _flat(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _flat(image: Image) -> Image:
    """Return an image without transparency, which would depend on the page below."""
    if image.mode == "L":
        return image
    whole = image.convert("RGBA")
    below = require("PIL.Image").new("RGBA", whole.size, "white")
    below.alpha_composite(whole)
    return below.convert("RGB")


def _data_url(image: Image) -> str:
    """Small images keep every pixel; others are scaled down and compressed."""
    buffer = io.BytesIO()
    if max(image.size) <= THUMBNAIL_SIDE:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _to_bytes(images: list[Any]) -> Scale:
    """How the values of arrays become 0 to 255, in the same way for all images.

    8-bit values stay. Of others the largest, or 1 where all are smaller, is white, and
    the smallest, or 0 where none is negative, is black.
    """
    low, high = 0.0, 1.0
    for image in images:
        values = np.asarray(image) if hasattr(image, "__array__") else np.empty(0)
        if values.dtype == np.uint8 or values.dtype.kind not in "iuf":
            continue
        values = values[np.isfinite(values)]
        low = min(low, values.min(initial=0.0))
        high = max(high, values.max(initial=1.0))

    def scale(pixels: NDArray[Any]) -> NDArray[np.uint8]:
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels)
        finite = np.nan_to_num(pixels.astype(np.float64), posinf=high, neginf=low)
        return np.rint((finite - low) / (high - low) * 255).astype(np.uint8)

    return scale
