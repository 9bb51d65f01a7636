"""`FeatureExtractor`: what every transformer from images to vectors shares.

Checking X, loading the network on first use, running it over blocks of one fixed
size, and keeping it out of pickles. Which network, and how it sees an image, is the
subclass's `_load`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from sklabeldiff._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from sklabeldiff._documented import DocumentedMixin

from ._images import CHANNELS, ArrayImages, ListImages, sort_images, unflatten

if TYPE_CHECKING:
    from PIL.Image import Image

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded network and the two functions around it."""

    module: nn.Module  # FeatureExtractor moves it to its device and precision
    preprocess: Callable[[list[Image]], Tensor]  # b RGB images -> (b, 3, h, w)
    encode: Callable[[Tensor], Tensor]  # (b, 3, h, w) -> (b, n_features_out)
    n_features_out: int


class FeatureExtractor(
    DocumentedMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
    ABC,
):
    """Transformer from images to the feature vectors of a frozen network.

    A subclass repeats ``__init__`` with its own default model, documents the
    parameters (see `CLIPFeatures`) and gives `_load`.
    """

    # What was loaded last, and for which parameters. Never copied, never pickled.
    _loaded: tuple[tuple[str, torch.device, torch.dtype], Encoder] | None = None

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        precision: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.value_range = value_range
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Check the images and load the network; nothing is learned from `X`.

        Parameters
        ----------
        X : array-like
            Images, in any of the forms of the class docstring.
        y : None
            Ignored.

        Returns
        -------
        self : object
            This transformer.
        """
        self._check_images(X, reset=True)
        task = FitTask(self, X, y)
        self.n_features_out_ = self._encoder().n_features_out
        task.end()
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Compute one feature vector per image. Works without `fit`, too.

        Parameters
        ----------
        X : array-like
            Images, in any of the forms of the class docstring.

        Returns
        -------
        features : ndarray of shape (n_images, `n_features_out_`), dtype float32
            One row per image. A row depends on its own image alone, to the last bit
            (on the CPU): not on the other rows, their order or their number.
        """
        images = self._check_images(X, reset=False)
        encoder = self._encoder()
        features = np.empty((len(images), encoder.n_features_out), dtype=np.float32)
        for start in self._progress(len(images)):
            block = images.block(start, start + self.batch_size)
            features[start : start + len(block)] = self._encode(encoder, block)
        return features

    @abstractmethod
    def _load(self) -> Encoder:
        """Load the network `self.model` onto the CPU, in evaluation mode."""

    def _encode(self, encoder: Encoder, block: list[Image]) -> NDArray[np.float32]:
        """Features of at most `batch_size` images. list of b -> (b, d)."""
        weight = next(encoder.module.parameters())
        pixels = encoder.preprocess(block)  # (b, 3, h, w)
        # The result of a matrix product depends on its size in the last bits. Blocks
        # of one size, filled up with zeros, make features independent of the split.
        padded = pixels.new_zeros((self.batch_size, *pixels.shape[1:]))
        padded[: len(block)] = pixels
        with torch.inference_mode():
            features = encoder.encode(padded.to(weight.device, weight.dtype))
        return features[: len(block)].float().cpu().numpy()

    def _encoder(self) -> Encoder:
        """Give the network, loaded on first use and after `set_params`."""
        device, dtype = _resolve(self.device, self.precision)
        key = (str(self.model), device, dtype)
        if self._loaded is None or self._loaded[0] != key:
            encoder = self._load()
            encoder.module.to(device, dtype).eval().requires_grad_(False)
            self._loaded = (key, encoder)
        return self._loaded[1]

    def _check_images(self, X: Any, *, reset: bool) -> ArrayImages | ListImages:
        """Check parameters and images, before any work is done on them."""
        image_shape, value_range = self._check_params()
        form, X = sort_images(X)
        if form == "items":
            images: ArrayImages | ListImages = ListImages(X, value_range)
        else:
            if form == "rows":
                # NaN is left to ArrayImages, which names the row.
                X = validate_data(self, X, reset=reset, ensure_all_finite=False)
                X = unflatten(X, image_shape)
            images = ArrayImages(X, value_range)
        if reset and form != "rows":
            # Columns exist for rows only; forget those of an earlier fit.
            for name in {"n_features_in_", "feature_names_in_"} & set(vars(self)):
                delattr(self, name)
        return images

    def _check_params(
        self,
    ) -> tuple[tuple[int, ...] | None, tuple[float, float] | None]:
        """Check the parameters that no library checks for us, and normalise two."""
        if not isinstance(self.batch_size, Integral) or int(self.batch_size) < 1:
            raise ValueError(
                f"batch_size={self.batch_size!r}: give a whole number of at least 1."
            )
        return _check_image_shape(self.image_shape), _check_range(self.value_range)

    def _progress(self, n_images: int) -> Iterator[int]:
        """Give the first row of every block, with a progress bar if `verbose`."""
        starts = range(0, n_images, self.batch_size)
        if not self.verbose:
            yield from starts
            return
        from tqdm.auto import tqdm

        with tqdm(total=n_images, desc=type(self).__name__, unit="image") as bar:
            for start in starts:
                yield start
                bar.update(min(self.batch_size, n_images - start))

    @property
    def _n_features_out(self) -> int:
        """Number of output columns, for `get_feature_names_out`.

        Never loads: scikit-learn asks for all attributes to show an estimator.
        """
        if "n_features_out_" in vars(self):
            return self.n_features_out_
        if self._loaded is None:
            raise AttributeError("The network is not loaded yet: call fit.")
        return self._loaded[1].n_features_out

    def __getstate__(self) -> dict[str, Any]:
        """Give the parameters and fitted numbers, without the network."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

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
        tags.transformer_tags.preserves_dtype = []  # float32 comes out, always
        tags.requires_fit = False
        return tags


def _resolve(
    device: str | torch.device, precision: str
) -> tuple[torch.device, torch.dtype]:
    """Turn the parameters of these names into a usable device and a dtype."""
    if isinstance(device, str) and device == "auto":
        found = torch.accelerator.current_accelerator()
        device = found if found and torch.accelerator.is_available() else "cpu"
    try:
        chosen = torch.zeros(0, device=device).device
    # torch raises AssertionError for a build without CUDA.
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here ({error}). Use device='auto' "
            "or device='cpu'."
        ) from error
    if precision == "auto":
        # CUDA's float16 units are several times faster; elsewhere it gains little.
        precision = "float16" if chosen.type == "cuda" else "float32"
    if precision not in _DTYPES:
        raise ValueError(
            f"precision={precision!r}: choose one of {['auto', *_DTYPES]}."
        )
    return chosen, _DTYPES[precision]


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
