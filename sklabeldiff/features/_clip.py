"""`CLIPFeatures`: CLIP's image half as a transformer, and its text half as a labeller.

Classes that are only named in words give scores, candidate sets and soft weights, for
`fit` of any classifier of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sklabeldiff._optional import require
from sklabeldiff._parameters import check_option

from ._class_names import (
    PROMPT,
    check_kind,
    check_mass,
    check_names,
    choose_candidates,
    encode_names,
)
from ._encoding import Encoder
from ._image_base import ImageExtractor
from ._transformers import content_of, load_processor, loading

if TYPE_CHECKING:
    from PIL.Image import Image


class CLIPFeatures(ImageExtractor):
    """L2-normalised CLIP features of images, and labels from the names of classes.

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
    class_names : sequence of str or None, default=None
        Names of the classes, as a caption would have them. With them CLIP labels images
        itself: see `zero_shot_candidates`, `zero_shot_proba` and `append_scores`.
    text : str or sequence of str, default="a photo of a {}."
        Prompts that the names are put into, at ``{}``. Of several the mean direction is
        taken.
    append_scores : bool, default=False
        Whether `transform` appends the zero-shot probabilities of the classes to the
        features, as further columns.
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
        Number of output columns; 512 for the default model without scores.
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
    sklabeldiff.features.VisionFeatures : Other image encoders, by their names.
    sklabeldiff.features.TorchFeatures : A network of your own.
    sklearn.pipeline.Pipeline : Joins the features and a classifier.

    Notes
    -----
    X may be any of these, and gives the same features in all of them:

    - a list, array or Series of paths (str or pathlib), or a one-column DataFrame;
      files are opened block by block;
    - a list of PIL images, of arrays or of tensors, of any sizes;
    - an array (n, h, w, 3) or (n, 3, h, w), or (n, h, w) for grey images; a memory map
      of any size stays on disk;
    - a tensor (n, 3, h, w);
    - an iterator over images or over batches of them, or a torch Dataset of images:
      512 of them are in memory at a time;
    - rows of numbers (n, h * w * 3) together with `image_shape`: the form that every
      tool of scikit-learn understands.

    Every image becomes 8-bit RGB first, as the files that CLIP was trained on: floats
    are rounded to 255 steps, grey is repeated, alpha is dropped, a camera's rotation
    tag is obeyed. Then the model's own image processor resizes and normalises it.

    The cache is written in shards of 512 images as the work goes on. After a crash or
    Ctrl-C the same call computes only what is missing. Processes and threads that
    share the folder divide the work among them. Features in it were computed at one
    batch size and on one device; computed on another they may differ in the last
    digits.

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

    Nobody has labelled these images, but their classes have names:

    >>> clip = CLIPFeatures(class_names=["cat", "dog", "horse"])
    >>> Y = clip.zero_shot_candidates(paths)  # doctest: +SKIP
    """

    # What the class names gave last, and for which parameters. Never pickled.
    _prompted: tuple[Any, tuple[NDArray[np.float32], float]] | None = None

    def __init__(
        self,
        model: str | PathLike[str] = "openai/clip-vit-base-patch32",
        *,
        class_names: Sequence[str] | None = None,
        text: str | Sequence[str] = PROMPT,
        append_scores: bool = False,
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
        self.class_names = class_names
        self.text = text
        self.append_scores = append_scores

    def zero_shot_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities of the classes by their names alone. Works without `fit`.

        The softmax over `class_names` of CLIP's similarity of image and prompt, at
        CLIP's own temperature; with several prompts, the mean of their directions.

        Parameters
        ----------
        X : array-like or iterable
            Images, in any of the forms of the class docstring.

        Returns
        -------
        proba : ndarray of shape (n_images, n_classes), dtype float32
            Rows sum to one; columns in the order of `class_names`. NaN for images that
            cannot be read, with ``on_error="nan"``.
        """
        self._check_params()
        self._class_directions()  # may be refused: before the images, which take long
        return self._scores(self._features(X))

    def zero_shot_candidates(
        self,
        X: Any,
        *,
        mass: float = 0.9,
        max_candidates: int | None = None,
        soft: bool = False,
    ) -> NDArray[Any]:
        """Candidate sets straight from CLIP: the `y` for images that nobody labelled.

        A row's candidates are its most probable classes, as many as it takes for their
        probabilities to reach `mass`: sure rows get one, doubtful ones several.

        Parameters
        ----------
        X : array-like or iterable
            Images, in any of the forms of the class docstring.
        mass : float, default=0.9
            Probability to reach, above 0 and at most 1.
        max_candidates : int or None, default=None
            Candidates a row at most.
        soft : bool, default=False
            Whether to return the candidates' probabilities in place of True.

        Returns
        -------
        candidates : ndarray of shape (n_images, n_classes)
            bool, or float32 weights if `soft`; columns in the order of `class_names`.
            An image that cannot be read may be anything (``on_error="nan"``). As a
            DataFrame with these names as columns, `fit` learns the names, too.

        Notes
        -----
        CLIP's probabilities are overconfident on images unlike those of the web. How
        often the sets hold the truth is seen on a few labelled rows:
        `sklabeldiff.metrics` and a larger `mass` are the mend.
        """
        check_mass(mass, max_candidates)
        proba = self.zero_shot_proba(X)
        return choose_candidates(proba, mass, max_candidates, soft=soft)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the output columns: clipfeatures0, ..., and clipfeatures_<class>.

        Parameters
        ----------
        input_features : object
            Ignored.

        Returns
        -------
        names : ndarray of str objects
            A name for each column.
        """
        names = super().get_feature_names_out(input_features)
        if self._n_extra:
            assert self.class_names is not None
            classes = [f"clipfeatures_{name}" for name in self.class_names]
            names = np.array([*names[: -self._n_extra], *classes], dtype=object)
        return names

    @property
    def _n_extra(self) -> int:
        if not self.append_scores or self.class_names is None:
            return 0
        return len(self.class_names)

    def _extended(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Append the scores to the features, if wanted. (n, d) -> (n, d + C)."""
        if not self.append_scores:
            return features
        return np.hstack([features, self._scores(features)])

    def _scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities by the names of the classes. (n, d) -> (n, C)."""
        directions, scale = self._class_directions()
        logits = torch.from_numpy(scale * (features @ directions.T))
        return torch.softmax(logits, dim=1).numpy()

    def _class_directions(self) -> tuple[NDArray[np.float32], float]:
        """Give text features (C, d) of length 1, and the inverse temperature."""
        names, prompts = check_names(self.class_names, self.text)
        key = (str(self.model), names, prompts)
        if self._prompted is None or self._prompted[0] != key:
            self._prompted = key, encode_names(str(self.model), names, prompts)
        return self._prompted[1]

    def _check_params(self) -> None:
        """Check the parameters, before any work; for scores, the text half as well."""
        super()._check_params()
        check_option("append_scores", self.append_scores, (True, False))
        if self.append_scores:
            self._class_directions()  # kept; a model without text half is refused here
        elif self.class_names is not None:
            check_names(self.class_names, self.text)

    def _loaded_from(self) -> tuple[Any, ...]:
        return (str(self.model),)

    def _identity(self) -> dict[str, Any]:
        return {"model": content_of(self.model, "CLIP model", self.verbose)}

    def _load(self) -> Encoder:
        """Load the vision half of the model and its image processor."""
        transformers, name = require("transformers"), str(self.model)
        require("PIL.Image")
        with loading(name, "CLIP model", verbose=self.verbose):
            module = _load_vision_model(transformers, name)
            processor = load_processor(transformers, name)

        def preprocess(images: list[Image]) -> Tensor:
            pixels: Tensor = processor(images=images, return_tensors="pt").pixel_values
            return pixels

        def encode(pixels: Tensor) -> Tensor:
            # float32 before the norm: in half precision the squares lose digits.
            return normalize(module(pixel_values=pixels).image_embeds.float(), dim=-1)

        return Encoder(module, preprocess, encode, module.config.projection_dim)

    def __getstate__(self) -> dict[str, Any]:
        """Give the parameters and fitted numbers, without the networks' output."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_prompted"}


def _load_vision_model(transformers: ModuleType, name: str) -> Any:
    """Load the vision tower with its projection from a whole or a vision-only CLIP."""
    config = transformers.AutoConfig.from_pretrained(name)
    check_kind(config, name, ("clip", "clip_vision_model"))
    if config.model_type == "clip":
        # Half the memory: the text tower is never read. A vision config may say
        # another projection_dim (its default); the whole model's is the true one.
        config, projection_dim = config.vision_config, config.projection_dim
        config.projection_dim = projection_dim
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
