"""`VisionFeatures`: any image encoder that transformers knows, as a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sklabeldiff._optional import require
from sklabeldiff._parameters import check_option

from ._encoding import Encoder
from ._image_base import ImageExtractor
from ._transformers import content_of, load_processor, loading

if TYPE_CHECKING:
    from PIL.Image import Image

_POOLINGS = ("auto", "pooler", "cls", "mean")


class VisionFeatures(ImageExtractor):
    """Features of images from any frozen image encoder: DINOv2, SigLIP, ViT, ResNet.

    Loads what ``AutoModel`` and ``AutoImageProcessor`` of transformers load, and makes
    one vector of each image. No label is used.

    The weights are loaded on first use (`fit` or `transform`), never on construction,
    and are left out of copies and pickles, which load them again when needed.

    Parameters
    ----------
    model : str or path-like, default="facebook/dinov2-small"
        Name of a model on the Hugging Face hub (downloaded once, then cached), or a
        folder written by ``save_pretrained`` that holds the model and its image
        processor. Of a model for images and texts the image half is loaded.
    pooling : {"auto", "pooler", "cls", "mean"}, default="auto"
        How the network's output becomes one vector. "pooler" is the network's own
        pooled output; "cls" the last layer at the first token; "mean" the mean of the
        last layer over all tokens or places. "auto" is "pooler" if the network has one
        whose weights were stored with it, or else "cls" for tokens and "mean" for maps.
    normalize : bool, default=False
        Whether to bring all features to length 1.
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
        Length of a feature vector.
    n_features_in_ : int
        Number of columns seen in `fit`. Only after a fit on flattened rows.
    feature_names_in_ : ndarray of shape (`n_features_in_`,), dtype object
        Names of the columns seen in `fit`. Only after a fit on a DataFrame of
        flattened rows with string column names.

    Raises
    ------
    ImportError
        If transformers or pillow is not installed.
    OSError
        If the model cannot be loaded (FileNotFoundError: if an image is missing).
    ValueError
        If an image cannot be read, has a pixel that is NaN or outside `value_range`,
        or if X has no image's shape; if the model has no such pooling, or lacks
        weights. The message names the first such row.
    TypeError
        If X is a single image, or a row is no image at all.

    See Also
    --------
    sklabeldiff.CLIPFeatures : Projected features, and labels from the names of the
        classes.
    TorchFeatures : A network of your own.

    Notes
    -----
    X may be what `CLIPFeatures` takes. Models for images and texts give the features
    before their projection into the space of the texts; for those of CLIP after it see
    `CLIPFeatures`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklabeldiff.features import VisionFeatures
    >>> model = make_pipeline(VisionFeatures(pooling="cls"), LogisticRegression())

    From here on the weights are needed:

    >>> VisionFeatures().fit_transform(["cat.jpg", "dog.jpg"]).shape  # doctest: +SKIP
    (2, 384)
    """

    def __init__(
        self,
        model: str | PathLike[str] = "facebook/dinov2-small",
        *,
        pooling: str = "auto",
        normalize: bool = False,
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
        self.model = model
        self.pooling = pooling
        self.normalize = normalize

    def _check_params(self) -> None:
        """Check the parameters, before any work."""
        super()._check_params()
        check_option("pooling", self.pooling, _POOLINGS)
        check_option("normalize", self.normalize, (True, False))

    def _loaded_from(self) -> tuple[Any, ...]:
        return str(self.model), self.pooling, self.normalize

    def _identity(self) -> dict[str, Any]:
        return {
            "model": content_of(self.model, "image model", self.verbose),
            "pooling": self.pooling,
            "normalize": bool(self.normalize),
        }

    def _load(self) -> Encoder:
        """Load the image encoder and its image processor."""
        transformers, name = require("transformers"), str(self.model)
        require("PIL.Image")
        with loading(name, "image model", verbose=self.verbose):
            module, missing = _load_image_model(transformers, name)
            processor = load_processor(transformers, name)
        has_pooler = not any("pool" in key for key in missing)
        absent = [key for key in missing if "pool" not in key]
        if absent:
            raise ValueError(
                f"model={name!r} lacks weights of its image encoder: {absent[0]!r} and "
                "perhaps more. Save the whole model again."
            )
        pooling, unit_length = self.pooling, self.normalize

        def preprocess(images: list[Image]) -> Tensor:
            pixels: Tensor = processor(images=images, return_tensors="pt").pixel_values
            return pixels

        def encode(pixels: Tensor) -> Tensor:
            features = _pooled(module(pixel_values=pixels), pooling, has_pooler)
            # float32 before the norm: in half precision the squares lose digits.
            return normalize(features.float(), dim=-1) if unit_length else features

        return Encoder(module, preprocess, encode, None)


def _load_image_model(transformers: ModuleType, name: str) -> tuple[Any, list[str]]:
    """Load an image encoder; of two halves the one for images. -> model, missing."""
    config = transformers.AutoConfig.from_pretrained(name)
    config = getattr(config, "vision_config", config)
    try:
        model, report = transformers.AutoModel.from_pretrained(
            name, config=config, output_loading_info=True
        )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise ValueError(
            f"model={name!r} is of type {config.model_type!r}, for which transformers "
            "has no plain encoder (AutoModel). Give another model, or wrap it in "
            "TorchFeatures."
        ) from error
    if model.main_input_name != "pixel_values":
        raise ValueError(
            f"model={name!r} is of type {config.model_type!r}, which does not take "
            "images. For texts use TextFeatures."
        )
    return model, sorted(report["missing_keys"])


def _pooled(output: Any, pooling: str, has_pooler: bool) -> Tensor:
    """One vector an image. (b, tokens, d) or (b, d, h, w) -> (b, d)."""
    pooler = getattr(output, "pooler_output", None)
    last: Tensor = output.last_hidden_state
    if pooling == "auto":
        usable = has_pooler and pooler is not None
        pooling = "pooler" if usable else "mean" if last.ndim == 4 else "cls"
    if pooling == "pooler":
        if pooler is None or not has_pooler:
            raise ValueError(
                "pooling='pooler', but the network has no pooled output, or its "
                "weights were not stored. Use pooling='cls' or 'mean'."
            )
        return pooler.flatten(1)  # (b, d, 1, 1) for convolutional networks
    if pooling == "mean":
        return last.mean((2, 3)) if last.ndim == 4 else last.mean(1)
    if last.ndim == 4:
        raise ValueError(
            "pooling='cls', but the network gives maps, not tokens. Use "
            "pooling='pooler' or 'mean'."
        )
    return last[:, 0]
