"""`ImageExtractor`: what the transformers from images share: the forms of X."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import torch
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from sklabeldiff._rows import naming_entries

from ._base import FeatureExtractor
from ._encoding import Source
from ._image_forms import CHANNELS, sort_images, unflatten
from ._images import ArrayImages, ListImages

PART_ROWS = 512  # of a stream that are in memory together


class ImageExtractor(FeatureExtractor):
    """Transformer from images to the feature vectors of a frozen network.

    A subclass repeats ``__init__`` with its own parameters, documents all of them (see
    `CLIPFeatures`), and gives what `FeatureExtractor` asks for besides `_sources`.
    """

    _unit = "image"

    def __init__(
        self,
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        precision: str = "auto",
        cache_dir: str | PathLike[str] | None = None,
        cache_dtype: str = "float32",
        on_error: str = "raise",
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.image_shape = image_shape
        self.value_range = value_range
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        self.cache_dir = cache_dir
        self.cache_dtype = cache_dtype
        self.on_error = on_error
        self.verbose = verbose
        self.n_jobs = n_jobs

    def _sources(self, X: Any, *, reset: bool) -> tuple[Iterator[Source], int | None]:
        """Check parameters and images; a stream's images when they come."""
        self._check_params()
        image_shape = _check_image_shape(self.image_shape)
        value_range = _check_range(self.value_range)
        form, X = sort_images(X)
        if form == "rows":
            # NaN is left to ArrayImages, which names the row.
            with naming_entries(X):
                X = validate_data(self, X, reset=reset, ensure_all_finite=False)
            X = unflatten(X, image_shape)
        elif reset:
            # Columns exist for rows only; forget those of an earlier fit.
            for name in {"n_features_in_", "feature_names_in_"} & set(vars(self)):
                delattr(self, name)
        if form == "stream":
            return self._parts(X, value_range), None
        kind = ListImages if form == "items" else ArrayImages
        images = kind(X, value_range, bad_rows=self._bad_rows())
        return iter([images]), len(images)

    def _parts(
        self, stream: Iterator[Any], value_range: tuple[float, float] | None
    ) -> Iterator[ListImages]:
        """Collect the images of a stream, so many at a time."""
        first_row = 0
        # Whole blocks: what is missing to one would be computed for nothing.
        size = -(-PART_ROWS // self.batch_size) * self.batch_size
        while items := list(islice(stream, size)):
            yield ListImages(items, value_range, first_row, self._bad_rows())
            first_row += len(items)

    def _bad_rows(self) -> dict[int, str] | None:
        """Where to note bad rows; None to raise for them."""
        return {} if self.on_error == "nan" else None

    def __sklearn_tags__(self) -> Tags:
        """Say what X may be: numeric rows only once `image_shape` tells their shape."""
        tags = super().__sklearn_tags__()
        rows = self.image_shape is not None
        tags.input_tags.two_d_array = rows
        # 1-D means paths; of numbers it is refused, and the checks try numbers.
        tags.input_tags.one_d_array = not rows
        tags.input_tags.string = not rows
        tags.input_tags.three_d_array = True
        black = 0 if self.value_range is None else np.ravel(self.value_range)[0]
        tags.input_tags.positive_only = bool(black >= 0)
        return tags


def _check_image_shape(shape: Any) -> tuple[int, ...] | None:
    """Check (h, w) or (h, w, channels), where one of h and w may be -1."""
    if shape is None:
        return None
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    whole = all(
        isinstance(size, Integral) and (int(size) > 0 or size == -1) for size in sizes
    )
    if (
        not whole
        or len(sizes) not in (2, 3)
        or sizes.count(-1) > 1
        or (len(sizes) == 3 and sizes[2] not in CHANNELS)
    ):
        raise ValueError(
            f"image_shape={shape!r}: give (height, width) or (height, width, channels) "
            f"with channels in {CHANNELS}; height or width may be -1. Rows that were "
            "flattened channels first need X.reshape(-1, 3, height, width)"
            ".transpose(0, 2, 3, 1) instead."
        )
    return sizes


def _check_range(value_range: Any) -> tuple[float, float] | None:
    """Check (black, white)."""
    if value_range is None:
        return None
    try:
        low, high = value_range
        fits = -np.inf < low < high < np.inf
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"value_range={value_range!r}: give (black, white), two numbers with black "
            "below white."
        )
    return value_range[0], value_range[1]
