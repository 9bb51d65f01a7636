"""`CLIPFeatures`: the image half of CLIP as a scikit-learn transformer.

Text prompts and zero-shot labels are not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._base import Encoder, FeatureExtractor
from ._images import require

if TYPE_CHECKING:
    from PIL.Image import Image

# from_pretrained changes process-wide settings (torch's default dtype, transformers'
# logging) while it runs, so that threads must load one after the other.
_LOADING = Lock()


class CLIPFeatures(FeatureExtractor):
    """L2-normalised CLIP features of images.

    Turns every image into the vector that a frozen CLIP network [1]_ gives it, of
    length 1. A classifier on top of it then needs few labels, and bears imprecise
    ones: images of one class lie close together before any label is seen. No label is
    used here.

    The weights are loaded on first use (`fit` or `transform`), never on construction,
    and are left out of copies and pickles, which load them again when needed.

    Parameters
    ----------
    model : str or path-like, default="openai/clip-vit-base-patch32"
        Name of a CLIP model on the Hugging Face hub (downloaded once, then cached), or
        a folder written by ``save_pretrained`` that holds the model and its image
        processor.
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
        zeros, so that one image costs as much as `batch_size` of them: lower it to
        serve single images, or to save memory.
    precision : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the network. "auto" is float16 on CUDA devices and float32
        elsewhere. The features are float32 in any case.
    verbose : int, default=0
        If positive, show progress bars on stderr, for the download too.

    Attributes
    ----------
    n_features_out_ : int
        Length of a feature vector; 512 for the default model.
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
        if X has no image's shape, or if `model` is not a CLIP model. The message names
        the first such row.
    TypeError
        If X is a single image, or a row is no image at all.

    See Also
    --------
    sklearn.pipeline.Pipeline : Joins the features and a classifier. Its `memory`
        computes them once for all candidates of a grid search.

    Notes
    -----
    X may be any of these, and gives the same features in all of them:

    - a list, array or Series of paths (str or pathlib), or a one-column DataFrame;
      files are opened block by block;
    - a list of PIL images, of arrays or of tensors, of any sizes;
    - an array (n, h, w, 3), or (n, h, w) for grey images;
    - a tensor (n, 3, h, w);
    - rows of numbers (n, h * w * 3) together with `image_shape`: the form that every
      tool of scikit-learn understands.

    Every image becomes 8-bit RGB first, as the files that CLIP was trained on: floats
    are rounded to 255 steps, grey is repeated, alpha is dropped, a camera's rotation
    tag is obeyed. Then the model's own image processor resizes and normalises it.

    `fit` learns nothing from X, so that cross-validation may as well be done on
    features computed beforehand, which is far cheaper.

    References
    ----------
    .. [1] A. Radford et al., "Learning Transferable Visual Models From Natural Language
           Supervision", ICML 2021, arXiv:2103.00020.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklabeldiff.features import CLIPFeatures
    >>> model = make_pipeline(CLIPFeatures(batch_size=16), LogisticRegression())

    From here on the weights are needed:

    >>> paths = ["cat.jpg", "dog.jpg"]
    >>> CLIPFeatures().fit_transform(paths).shape  # doctest: +SKIP
    (2, 512)
    >>> model.fit(paths, ["cat", "dog"]).predict(["cat.jpg"])  # doctest: +SKIP
    array(['cat'], dtype='<U3')
    """

    def __init__(
        self,
        model: str | PathLike[str] = "openai/clip-vit-base-patch32",
        *,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        device: str | torch.device = "auto",
        batch_size: int = 64,
        precision: str = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            model,
            image_shape=image_shape,
            value_range=value_range,
            device=device,
            batch_size=batch_size,
            precision=precision,
            verbose=verbose,
        )

    def _load(self) -> Encoder:
        """Load the vision half of the model and its image processor."""
        transformers = require("transformers")
        require("PIL.Image")
        name = str(self.model)
        with _LOADING, _undisturbed(transformers, verbose=self.verbose):
            try:
                module = _load_vision_model(transformers, name)
                processor = _load_processor(transformers, name)
            except OSError as error:
                raise OSError(
                    f"The CLIP model {name!r} cannot be loaded: "
                    f"{str(error).splitlines()[0]} Give the name of a model on "
                    "huggingface.co, or the folder that save_pretrained wrote for a "
                    "model and its image processor. A name needs a connection the "
                    "first time; without one, download the model elsewhere and pass "
                    "its folder."
                ) from error

        def preprocess(images: list[Image]) -> Tensor:
            pixels: Tensor = processor(images=images, return_tensors="pt").pixel_values
            return pixels

        def encode(pixels: Tensor) -> Tensor:
            # float32 before the norm: in half precision the squares lose digits.
            return normalize(module(pixel_values=pixels).image_embeds.float(), dim=-1)

        return Encoder(module, preprocess, encode, module.config.projection_dim)


def _load_vision_model(transformers: ModuleType, name: str) -> Any:
    """Load the vision tower with its projection from a whole or a vision-only CLIP."""
    config = transformers.AutoConfig.from_pretrained(name)
    if config.model_type == "clip":
        # Half the memory: the text tower is never read. A vision config may say
        # another projection_dim (its default); the whole model's is the true one.
        config, projection_dim = config.vision_config, config.projection_dim
        config.projection_dim = projection_dim
    elif config.model_type != "clip_vision_model":
        raise ValueError(
            f"model={name!r} is a model of type {config.model_type!r}, not a CLIP "
            "model. Give a model of type 'clip' or 'clip_vision_model'."
        )
    module, report = transformers.CLIPVisionModelWithProjection.from_pretrained(
        name, config=config, output_loading_info=True
    )
    # transformers fills gaps with random numbers and merely logs it.
    if report["missing_keys"]:
        raise ValueError(
            f"model={name!r} lacks weights of CLIP's vision half: "
            f"{sorted(report['missing_keys'])[0]!r} and perhaps more. Save it again "
            "from CLIPModel or CLIPVisionModelWithProjection."
        )
    return module


def _load_processor(transformers: ModuleType, name: str) -> Any:
    """Load the image processor on Pillow: the other one wants torchvision."""
    try:
        processor = transformers.CLIPImageProcessorPil  # transformers >= 5
    except AttributeError:
        processor = transformers.CLIPImageProcessor
        # It takes an image of one pixel's height for one of one channel otherwise.
        form = {"input_data_format": "channels_last"}
        return partial(processor.from_pretrained(name), **form)
    return processor.from_pretrained(name)


@contextmanager
def _undisturbed(transformers: ModuleType, *, verbose: int) -> Iterator[None]:
    """Keep what transformers says and draws while it loads from the user's process."""
    log = transformers.utils.logging
    level, has_bar = log.get_verbosity(), log.is_progress_bar_enabled()
    # Version 4 fills the network with random numbers before it reads the weights.
    # Version 5 does not; setting the state back would only disturb other threads.
    draws = int(transformers.__version__.partition(".")[0]) < 5
    state = torch.get_rng_state() if draws else None
    log.set_verbosity_error()  # the text weights are left unread: no news
    if not verbose:
        log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if has_bar:
            log.enable_progress_bar()
        if state is not None:
            torch.set_rng_state(state)
