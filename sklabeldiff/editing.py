"""`DiffusionEditor`: versions of images that emphasise a class, by InstructPix2Pix."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._editing_images import EditedImages
from sklabeldiff._editing_pairs import check_rows, make_prompts, pair_key, seed_of
from sklabeldiff._editing_pipeline import (
    LATENT_SIDE,
    Pipeline,
    Settings,
    load_pipeline,
    model_identity,
)
from sklabeldiff._editing_run import Forecast, MemoryStore, complete, gather, in_words
from sklabeldiff._parameters import check_number
from sklabeldiff._saving import SavingMixin
from sklabeldiff.features._base import _resolve
from sklabeldiff.features._image_base import _check_range
from sklabeldiff.features._store import (
    DamagedShardError,
    FeatureStore,
    unusable,
)

LONG_SECONDS = 3600.0  # on a CPU, and a warning comes before the first edit
# Part of the name of a cache; counts up when old ones must not be read.
_CACHE_FORMAT = 1

Pairs = dict[bytes, tuple[int, str]]  # row and prompt by the key of their edit


class DiffusionEditor(DocumentedMixin, SavingMixin, BaseEstimator):
    """Versions of images that emphasise one class each, made by InstructPix2Pix.

    Edits every image once for every class it is asked for, with a frozen diffusion
    model that follows written instructions [2]_; the instruction is the name of the
    class. This is how CAD makes its class-specific versions of images [1]_: hand an
    editor to ``CADClassifier(augmentation=...)``. Nothing is learned, and no label is
    believed.

    The weights are loaded when the first edit is made, never on construction, and are
    left out of copies and pickles, which load them again when needed.

    Parameters
    ----------
    model : str or path-like, default="timbrooks/instruct-pix2pix"
        Name of an InstructPix2Pix model on the Hugging Face hub (downloaded once, then
        cached), or a folder written by ``save_pretrained`` of
        ``StableDiffusionInstructPix2PixPipeline``.
    class_prompts : mapping from label to str or None, default=None
        What the model is told to make of an image for each class. None tells it the
        class label as text and no more, as the paper did. With texts that describe how
        each class looks, CAD's accuracy on Oxford Pets rose from 69 % to 76 % [1]_.
    guidance_scale : float, default=5.0
        How closely an edit follows the text, at least 1. 1 switches the guidance by
        text and by image off.
    image_guidance_scale : float, default=1.5
        How closely an edit follows its image, at least 1.
    n_steps : int, default=10
        Steps of the sampler, DPM-Solver++. Time grows linearly with it.
    image_size : int, default=256
        Side, in pixels, of the square that images are brought to for the model; a
        multiple of 8. Time grows with its square.
    batch_size : int, default=8
        Edits made together. The last block is filled up with copies, so that one edit
        takes as long as `batch_size` of them. At another batch size edits may differ in
        the last of 8 bits, in half precision by more.
    value_range : tuple of two floats or None, default=None
        The pixel values that mean black and full intensity. None means (0, 1) for
        floats and (0, 255) for integers. Values outside are an error.
    channel_mean, channel_std : float, sequence of float or None, default=None
        Mean and standard deviation that X was standardised by, one number for all
        channels or one for each. X times `channel_std` plus `channel_mean` must lie in
        `value_range`; edits are standardised alike. None means that X was not.
    cache_dir : path-like or None, default=None
        Folder where every block of edits is written as soon as it is made, and found
        again by the content of image, prompt and model. None makes edits anew every
        time, and loses all of them when it is interrupted.
    device : str or torch.device, default="auto"
        Where the model runs. "auto" takes the accelerator that torch finds, or else
        the CPU.
    precision : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the model. "auto" is float16 on CUDA devices and float32
        elsewhere.
    random_state : int, default=0
        Seed of the noise that edits begin with; at least 0. Neither None nor a
        generator: an edit must be found again.
    verbose : int, default=1
        If positive, show progress bars on stderr, for the download too.

    Raises
    ------
    ImportError
        If diffusers, transformers or pillow is not installed.
    OSError
        If the model cannot be loaded, or `cache_dir` cannot be used.
    ValueError
        If X has no images' shape, or a pixel that is NaN or outside `value_range`; if
        `class_prompts` lacks a class; if the model is no InstructPix2Pix model, lacks
        weights or gives NaN. The message names the first such row or class.
    TypeError
        If X is no array, or `rows` are no integers.

    See Also
    --------
    sklabeldiff.CADClassifier : Learns from these versions of images.
    sklabeldiff.CLIPFeatures : Vectors of images; candidates from class names.

    Notes
    -----
    Images become 8-bit RGB pictures and a square of `image_size`, whatever their shape;
    edits are 8-bit pictures of the size of X, grey if X is. Equal images in another
    dtype or scale have equal edits.

    The noise of an edit comes from a generator of its own, seeded by `random_state`,
    the content of the image and the prompt. An edit does not depend on the other
    images, on their order or on where the row stands, and is the same after an
    interruption. The same pair twice is edited once.

    With `cache_dir`, the same call goes on where it was interrupted or killed, and
    repeats one block at most. Processes and threads that share the folder divide the
    work among them. Edits made at one batch size and on one device are taken for all.

    The paper's model takes 6e12 floating-point operations an edit: by estimate two
    minutes on two CPU cores, and an hour for 40,000 edits on an H100 GPU. After the
    first block the time of all is logged (logger ``sklabeldiff``, level INFO) and shown
    in the progress bar; where a CPU would take hours, a warning comes before it.

    What differs from the reference code of CAD: there, one generator is drawn from in
    the order of the data, so that a subset has other edits. Flowers and pets reach the
    editor standardised and are turned into 8-bit images as they are, which wraps
    negative values around; here `channel_mean` and `channel_std` undo it. As there, the
    prompt is the bare name of the class, without negative prompt or safety checker.
    What the model makes of images is not looked at by anything.

    References
    ----------
    .. [1] R. Zhao, B. Shi, K. Sun, B. Dong, "Mitigating Instance Entanglement in
           Instance-Dependent Partial Label Learning", CVPR 2026, arXiv:2603.04825.
    .. [2] T. Brooks, A. Holynski, A. A. Efros, "InstructPix2Pix: Learning to Follow
           Image Editing Instructions", CVPR 2023, arXiv:2211.09800.

    Examples
    --------
    >>> from sklabeldiff.editing import DiffusionEditor
    >>> prompts = {0: "a photo of a tabby cat", 1: "a photo of a beagle"}
    >>> editor = DiffusionEditor(class_prompts=prompts, cache_dir="edits", verbose=0)
    >>> sorted(editor.class_prompts)
    [0, 1]

    From here on the weights are needed. Row 0 as a cat, and as a dog:

    >>> import numpy as np
    >>> X = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    >>> editor(X, rows=[0, 0], labels=[0, 1]).shape  # doctest: +SKIP
    (2, 32, 32, 3)
    """

    # What was loaded last, and for which parameters. Never copied, never pickled.
    _loaded: tuple[Any, Pipeline] | None = None

    def __init__(
        self,
        model: str | PathLike[str] = "timbrooks/instruct-pix2pix",
        *,
        class_prompts: Mapping[Any, str] | None = None,
        guidance_scale: float = 5.0,
        image_guidance_scale: float = 1.5,
        n_steps: int = 10,
        image_size: int = 256,
        batch_size: int = 8,
        value_range: tuple[float, float] | None = None,
        channel_mean: float | Sequence[float] | None = None,
        channel_std: float | Sequence[float] | None = None,
        cache_dir: str | PathLike[str] | None = None,
        device: str | torch.device = "auto",
        precision: str = "auto",
        random_state: int = 0,
        verbose: int = 1,
    ) -> None:
        self.model = model
        self.class_prompts = class_prompts
        self.guidance_scale = guidance_scale
        self.image_guidance_scale = image_guidance_scale
        self.n_steps = n_steps
        self.image_size = image_size
        self.batch_size = batch_size
        self.value_range = value_range
        self.channel_mean = channel_mean
        self.channel_std = channel_std
        self.cache_dir = cache_dir
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def __call__(self, X: NDArray[Any], rows: Any, labels: Any) -> NDArray[Any]:
        """Make one version of an image for each pair of a row and a label.

        Parameters
        ----------
        X : ndarray of shape (n, height, width) or (n, height, width, channels)
            Images of integers or floats, with 1 or 3 channels.
        rows : array-like of int, shape (n_pairs,)
            The row of X that each pair edits, from 0 to n - 1.
        labels : array-like of shape (n_pairs,)
            The class that the edit shall show.

        Returns
        -------
        edits : ndarray of shape (n_pairs, height, width[, channels])
            In the order of the pairs, with the scale and the dtype of X.
        """
        self._check_params()
        images = EditedImages(X, self.value_range, self.channel_mean, self.channel_std)
        row_idx = check_rows(rows, len(images))
        prompts = make_prompts(labels, self.class_prompts)
        if len(prompts) != len(row_idx):
            raise ValueError(
                f"There are {len(row_idx)} rows and {len(prompts)} labels: give a "
                "label for each row."
            )
        of_row = images.keys(row_idx)
        keys = [
            pair_key(of_row[row], prompt)
            for row, prompt in zip(row_idx.tolist(), prompts, strict=True)
        ]
        # The same pair twice has one key, and is edited once.
        pairs = {
            key: (row, prompt)
            for key, row, prompt in zip(keys, row_idx.tolist(), prompts, strict=True)
        }
        try:
            edits = self._edits(images, pairs, keys)
        except DamagedShardError:  # only what it held is made again
            edits = self._edits(images, pairs, keys)
        return images.restored(edits)

    def release(self) -> None:
        """Let the model go, and its memory; the next edit loads it again."""
        self._loaded = None

    def _edits(
        self, images: EditedImages, pairs: Pairs, keys: list[bytes]
    ) -> NDArray[np.uint8]:
        """Make the edits that are not in the cache, and collect all. -> (n, d)."""
        folder = None
        store: FeatureStore | MemoryStore = MemoryStore()
        if self.cache_dir is not None:
            folder = self._cache_folder(images.shape)
            # Pictures have 8 bits: a quarter of the space that float32 takes.
            store = FeatureStore(folder, np.uint8)
        with store:
            lacking = [key for key in pairs if key not in store]
            if lacking:
                pipeline = self._pipeline(folder)
                self._warn(pipeline, {pairs[key][1] for key in lacking}, len(lacking))
                self._complete(store, pipeline, images, pairs, lacking)
            return gather(store, keys, int(np.prod(images.shape)))

    def _complete(
        self,
        store: FeatureStore | MemoryStore,
        pipeline: Pipeline,
        images: EditedImages,
        pairs: Pairs,
        lacking: list[bytes],
    ) -> None:
        """Make and store the edits that are lacking."""

        def edit(keys: list[bytes]) -> NDArray[np.float32]:
            rows, prompts = zip(*(pairs[key] for key in keys), strict=True)
            seeds = [seed_of(key, self.random_state) for key in keys]
            pixels = images.pixels(list(rows))
            edited = pipeline.edit(
                pixels, prompts, seeds, self._settings(), self.batch_size
            )
            return images.from_rgb(edited)

        with self._progress_bar(len(lacking)) as bar:
            forecast = Forecast(bar, len(lacking))
            complete(store, lacking, edit, self.batch_size, forecast)

    def _warn(self, pipeline: Pipeline, prompts: set[str], n_edits: int) -> None:
        """Say, before the first edit, what the user would wish to have known."""
        for prompt in sorted(prompts):
            length, longest = pipeline.n_tokens(prompt)
            if length > longest:
                warnings.warn(
                    f"The prompt {prompt!r} has {length} tokens, and the model reads "
                    f"the first {longest}. Shorten it in class_prompts.",
                    stacklevel=4,
                )
        if pipeline.pipe.device.type != "cpu":
            return
        seconds = pipeline.cpu_seconds(n_edits, self._settings())
        if seconds > LONG_SECONDS:
            kept = "what is done stays in cache_dir"
            lost = "pass cache_dir, or an interruption loses all"
            warnings.warn(
                f"{n_edits} edits will take about {in_words(seconds)} on the CPU. Use "
                "a GPU, or a smaller image_size or n_steps; "
                f"{lost if self.cache_dir is None else kept}.",
                stacklevel=4,
            )

    def _pipeline(self, folder: Path | None) -> Pipeline:
        """Give the model, loaded on first use and after `set_params`.

        `folder` is that of its cache: another name may mean other weights.
        """
        device, dtype = _resolve(self.device, self.precision)
        key = (str(self.model), device, dtype, folder)
        loaded = self._loaded
        if loaded is None or loaded[0] != key:
            self._loaded = loaded = None  # memory for one model, not for two
            pipeline = load_pipeline(str(self.model), device, dtype, self.verbose)
            self._loaded = loaded = (key, pipeline)
        return loaded[1]

    def _settings(self) -> Settings:
        return Settings(
            float(self.guidance_scale),
            float(self.image_guidance_scale),
            int(self.n_steps),
            int(self.image_size),
        )

    def _cache_folder(self, shape: tuple[int, int, int]) -> Path:
        """Folder of edits of one size, named by what they all depend on."""
        _, dtype = _resolve(self.device, self.precision)
        what = {
            "class": type(self).__name__,
            "format": _CACHE_FORMAT,
            "model": model_identity(self.model, self.verbose),
            "precision": str(dtype).removeprefix("torch."),
            "random_state": int(self.random_state),
            "shape": list(shape),
            **asdict(self._settings()),
        }
        text = json.dumps(what, indent=1, sort_keys=True)
        name = blake2b(text.encode(), digest_size=8).hexdigest()
        assert self.cache_dir is not None
        folder = Path(self.cache_dir).expanduser() / f"{type(self).__name__}-{name}"
        try:
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "identity.json").write_text(text + "\n")  # for people
        except OSError as error:
            raise unusable(folder, error) from error
        return folder

    def _check_params(self) -> None:
        """Check the parameters, before any work."""
        check_number("guidance_scale", self.guidance_scale, 1)
        # Below 1 diffusers drops the guidance by text as well, and does not say so.
        check_number("image_guidance_scale", self.image_guidance_scale, 1)
        check_number("n_steps", self.n_steps, 1, integer=True)
        check_number("image_size", self.image_size, LATENT_SIDE, integer=True)
        if self.image_size % LATENT_SIDE:
            raise ValueError(
                f"image_size must be a multiple of {LATENT_SIDE}, got "
                f"{self.image_size!r}."
            )
        check_number("batch_size", self.batch_size, 1, integer=True)
        check_number("random_state", self.random_state, 0, integer=True)
        _check_range(self.value_range)
        if not isinstance(self.class_prompts, Mapping | None):
            raise TypeError(
                "class_prompts must be a dict from label to text, got "
                f"{self.class_prompts!r}."
            )
        _resolve(self.device, self.precision)

    def _progress_bar(self, n_edits: int) -> Any:
        """Give a bar on stderr, which stays hidden unless `verbose`."""
        if self.verbose:
            from tqdm.auto import tqdm  # may warn in a notebook: not without need
        else:
            from tqdm import tqdm
        name = type(self).__name__
        return tqdm(total=n_edits, desc=name, unit="edit", disable=not self.verbose)

    def __getstate__(self) -> dict[str, Any]:
        """Give the parameters, without the weights."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def __sklearn_tags__(self) -> Tags:
        """Say that there is nothing to fit."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
