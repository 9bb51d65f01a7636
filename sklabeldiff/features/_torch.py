"""`TorchFeatures`: any network of the user's own, as a transformer."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklabeldiff._optional import require

from ._content import content_hash
from ._encoding import Encoder
from ._image_base import ImageExtractor

if TYPE_CHECKING:
    from PIL.Image import Image


class TorchFeatures(ImageExtractor):
    """Features of images from a frozen network of your own.

    Gives any ``torch.nn.Module`` what the other extractors have: every form of images,
    the cache, blocks of one size, and a place in a `Pipeline`. No label is used.

    Parameters
    ----------
    module : torch.nn.Module, or callable without arguments that makes one
        From a batch of images (b, 3, h, w) to features (b, d), or (b, d, 1, 1). A
        module is never changed: a copy of it runs in evaluation mode. It travels with
        copies and pickles of this transformer, weights and all, whereas of a function
        (at the top level of a file) only the name does.
    preprocess : callable or None, default=None
        From one PIL image in RGB to a tensor (3, h, w) of one size, as the transforms
        of torchvision, timm and open_clip do. None leaves images at their own size,
        which must be one for all, with values from 0 to 1: `module` then does the rest,
        on whole batches on the device.
    image_shape : sequence of ints or None, default=None
        (height, width) or (height, width, channels) of an image in a flattened row of
        X, channels last. Either height or width may be -1 and then follows from the
        number of columns. Needed for 2-D X and ignored for all other forms.
    value_range : tuple of two floats or None, default=None
        The pixel values that mean black and full intensity, in arrays, tensors and PIL
        images of mode I or F. None means (0, 1) for floats and booleans, (0, 255) for
        integers, (0, 65535) for 16-bit files and PIL images. Values outside are an
        error.
    device : str or torch.device, default="auto"
        Where the network runs. "auto" takes the accelerator that torch finds, or else
        the CPU.
    batch_size : int, default=64
        Images that pass through the network together. The last block is filled up with
        copies, so that one image costs as much as `batch_size` of them: lower it to
        serve single images, or to save memory.
    precision : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the network. "auto" is float16 on CUDA devices and float32
        elsewhere. The features are float32 in any case.
    cache_dir : path-like or None, default=None
        Folder where features are kept and found again by the content of the images and
        of the model, so that a search computes those of each image once, over all
        candidates, folds and processes. None computes them anew every time.
    cache_dtype : {"float32", "float16"}, default="float32"
        Number format in the cache; float16 takes half the space and rounds features to
        three digits, on the first pass, too.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a row that cannot be read: raise an error that names it, or give
        it features that are NaN, with a warning.
    verbose : int, default=0
        If positive, show progress bars on stderr, for the download too.
    n_jobs : int, default=None
        Processes that encode, each some rows. None is 1 unless joblib's context says
        otherwise, as ``joblib.parallel_config("dask")`` around ``transform`` does; -1
        is all there are. An iterator is encoded by one.

    Attributes
    ----------
    n_features_out_ : int
        Length of a feature vector. After a fit on an iterator only known once
        `transform` was called.
    n_features_in_ : int
        Number of columns seen in `fit`. Only after a fit on flattened rows.
    feature_names_in_ : ndarray of shape (`n_features_in_`,), dtype object
        Names of the columns seen in `fit`. Only after a fit on a DataFrame of
        flattened rows with string column names.

    Raises
    ------
    ImportError
        If pillow is not installed.
    FileNotFoundError
        If an image is missing.
    TypeError
        If `module` or `preprocess` is of another kind, if X is a single image, or a row
        is no image at all.
    ValueError
        If an image cannot be read, has a pixel that is NaN or outside `value_range`,
        or if X has no image's shape; if images differ in size, or the network gives
        anything but one vector an image. The message names the first such row.

    See Also
    --------
    VisionFeatures : Networks that the library transformers can load by name.
    SimCLRFeatures : Trains a small network on your images, without labels.

    Notes
    -----
    X may be what `CLIPFeatures` takes.

    With `cache_dir`, features are found again by the module's weights, buffers and
    attributes and the names of its classes, and by the code of functions. A change of
    the code of a class is not noticed: empty the folder then.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from sklabeldiff.features import TorchFeatures
    >>> images = np.zeros((5, 8, 8, 3), dtype=np.uint8)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    >>> TorchFeatures(network, device="cpu").fit_transform(images).shape
    (5, 4)
    """

    def __init__(
        self,
        module: nn.Module | Callable[[], nn.Module],
        preprocess: Callable[[Image], Tensor] | None = None,
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
        super().__init__(
            image_shape=image_shape,
            value_range=value_range,
            device=device,
            batch_size=batch_size,
            precision=precision,
            cache_dir=cache_dir,
            cache_dtype=cache_dtype,
            on_error=on_error,
            verbose=verbose,
            n_jobs=n_jobs,
        )
        self.module = module
        self.preprocess = preprocess

    def _check_params(self) -> None:
        """Check the parameters, before any work."""
        super()._check_params()
        if inspect.isclass(self.module) or not callable(self.module):
            raise TypeError(
                f"module={self.module!r}: give a torch.nn.Module, or a function "
                "without arguments that makes one."
            )
        if self.preprocess is not None and not callable(self.preprocess):
            raise TypeError(
                f"preprocess={self.preprocess!r}: give a function from a PIL image to "
                "a tensor (3, h, w), or None."
            )

    def _loaded_from(self) -> tuple[Any, ...]:
        if not isinstance(self.module, nn.Module):
            return self.module, self.preprocess
        tensors = (*self.module.parameters(), *self.module.buffers())
        versions = tuple((id(tensor), _version(tensor)) for tensor in tensors)
        return self.module, self.preprocess, versions

    def _identity(self) -> dict[str, Any]:
        return {
            "module": content_hash(self._make()),
            "preprocess": content_hash(self.preprocess),
        }

    def _make(self) -> nn.Module:
        """Give the module, or what its maker makes."""
        if isinstance(self.module, nn.Module):
            return self.module
        made = self.module()
        if not isinstance(made, nn.Module):
            raise TypeError(
                f"module={self.module!r} returned {made!r}: a torch.nn.Module is "
                "needed."
            )
        return made

    def _load(self) -> Encoder:
        """Copy the module; moving it must not change the user's."""
        require("PIL.Image")
        module = self._make()
        if module is self.module:
            module = copy.deepcopy(module)
        transform = self.preprocess

        def stack(images: list[Image]) -> Tensor:
            assert transform is not None
            return torch.stack([transform(image) for image in images])

        def pixels_first(pixels: NDArray[np.uint8]) -> Tensor:
            # Left in their order in memory: convolutions are faster on channels last.
            return torch.from_numpy(pixels).permute(0, 3, 1, 2)

        def encode(batch: Tensor) -> Tensor:
            return _vectors(module(batch))

        return Encoder(
            module,
            pixels_first if transform is None else stack,
            encode,
            None,
            takes_pixels=transform is None,
        )


def _version(tensor: Tensor) -> int:
    """Count of changes in place; tensors made in inference mode keep none."""
    return 0 if tensor.is_inference() else tensor._version


def _vectors(features: Any) -> Tensor:
    """Check that there is one vector an image. -> (b, d)."""
    if isinstance(features, Tensor):
        if features.ndim >= 2 and features.shape[2:].numel() == 1:
            return features.flatten(1)
        shape = f"features of shape {tuple(features.shape)}"
    else:
        shape = f"a {type(features).__name__}"
    raise ValueError(
        f"The module gives {shape}, where (images, features) is needed. End it by "
        "pooling and flattening, for example nn.AdaptiveAvgPool2d(1)."
    )
