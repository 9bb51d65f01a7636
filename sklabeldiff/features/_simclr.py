"""`SimCLRFeatures`: a small network that learns from the user's images, without labels.

How it is trained is told here; its layers, its views and its loss are beside
(`sklabeldiff._backbones`, `sklabeldiff._image_views`, `sklabeldiff.core.contrastive`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn.functional import normalize as unit_length
from tqdm.auto import tqdm

from sklabeldiff._arrays import state_arrays
from sklabeldiff._backbones import (
    NETWORKS,
    load_encoder,
    random_encoder,
    weight_digest,
)
from sklabeldiff._callbacks import FitTask
from sklabeldiff._checkpoint import Checkpoint
from sklabeldiff._fields import Choice, Number, Parts, Records
from sklabeldiff._fitting import (
    CALLER_OF_FIT,
    fit_seed,
    kept_if_interrupted,
    no_bar,
    whole_fit,
)
from sklabeldiff._image_views import RandomViews, normalize
from sklabeldiff._parameters import check_number, check_option
from sklabeldiff.core.contrastive import ContrastiveNetwork, contrastive_trainer
from sklabeldiff.core.training import EpochListener, Trainer, diverged, n_batches

from ._base import _resolve
from ._encoding import Encoder
from ._gathering import named
from ._image_base import ImageExtractor
from ._pixels import read_pixels, resized

if TYPE_CHECKING:
    from PIL.Image import Image

# max_epochs="auto": so many updates, within these bounds of passes over the images.
MAX_IMAGE_SIZE = 4096
MAX_UPDATES, MIN_EPOCHS, MAX_EPOCHS = 1000, 5, 100
N_STAGES = 20  # a checkpoint is written after each of them


class SimCLRFeatures(ImageExtractor):
    r"""L2-normalised features of a network trained on the user's own images.

    A small residual network learns, without any label, to give two random views of one
    image (cropped, mirrored, in other colours) more similar vectors than views of two
    images (SimCLR [1]_). For images that no pretrained network suits, or where none
    may be downloaded. What the views have in common is what the features keep: choose
    `flip`, `crop_scale` and `color_jitter` so that they leave the classes as they are.

    Parameters
    ----------
    network : {"small", "resnet18", "resnet34"}, default="small"
        "small" has 3 residual blocks, 128 features and 0.3 million weights, and trains
        on a CPU. "resnet18" has 8, 512 and 11 million, "resnet34" 16, 512 and 21
        million; they want a GPU.
    image_size : int, default=32
        Height and width in pixels to which all images are brought first.
    max_epochs : int or "auto", default="auto"
        Passes over the images. "auto" is as many as make 1000 updates, but at least 5
        and at most 100. 0 leaves the weights random.
    batch_size : int, default=128
        Images in an update, each of them told from the two views of all others; and
        images that are encoded together in `transform`, where the last block is filled
        up, so that one image costs as much as `batch_size` of them.
    learning_rate : float, default=2e-3
        Peak rate of AdamW; after a short warm-up it falls to 0 along a cosine.
    temperature : float, default=0.1
        :math:`\tau` of the loss. The lower it is, the more the most similar images are
        pushed apart.
    crop_scale : tuple of two floats, default=(0.4, 1.0)
        Least and greatest share of an image's area that a view shows, in (0, 1].
    flip : bool, default=True
        Whether half of the views are mirrored, left for right. Switch it off where
        that changes the class: digits, letters, signs.
    color_jitter : float, default=0.5
        Strength of the random changes of brightness, contrast and colours, in [0, 1];
        with colours, a fifth of the views is grey. 0 for none: where the colour is
        what tells the classes apart.
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
        Where the network trains and runs. "auto" takes the accelerator that torch
        finds, or else the CPU.
    precision : {"auto", "float32", "float16", "bfloat16"}, default="auto"
        Number format of the network in `transform`; "auto" is float16 on CUDA devices
        and float32 elsewhere. It is trained in float32, and the features are float32,
        in any case.
    cache_dir : str, path-like or None, default=None
        Folder in which `transform` keeps features, by the content of the image and of
        the network, and finds them again.
    cache_dtype : {"float32", "float16"}, default="float32"
        Number format of the features in `cache_dir`.
    on_error : {"raise", "nan"}, default="raise"
        What to do about images that cannot be read: raise an error that names the
        first, or warn, train without them and give them features of NaN.
    checkpoint_dir : str, Path or None, default=None
        Folder in which a fit leaves its state after each twentieth of the epochs. A fit
        with the same images and parameters that finds it goes on from there, to the
        same result; when done it removes it.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. Equal seeds give equal features on a CPU.
    verbose : int, default=0
        If positive, show progress bars on stderr.
    n_jobs : int, default=None
        Processes that ``transform``, each some rows. None is 1 unless joblib's context
        says otherwise, as ``joblib.parallel_config("dask")`` around it does; -1
        is all there are. An iterator is encoded by one.

    Attributes
    ----------
    weights_ : dict of str to ndarray
        Weights and statistics of the network, by name; averages over the last updates.
    network_ : str
        The network that they belong to.
    image_size_ : int
        The height and width that it was trained at.
    history_ : list of dict
        Number and mean loss of each epoch. A network that tells nothing apart has loss
        log(2 b - 1), for b images in an update.
    n_iter_ : int
        Epochs trained.
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
        If transformers, pillow or (for `color_jitter`) kornia is missing.
    ValueError
        If a parameter is out of range, if an image cannot be read, has a pixel that is
        NaN or outside `value_range`, or if X has no image's shape. The message names
        the first such row. (FileNotFoundError: if an image is missing.)
    TypeError
        If a parameter is of the wrong type, X is a single image, or a row is no image.
    NotFittedError
        If `transform` is called before `fit`.

    See Also
    --------
    sklabeldiff.CLIPFeatures : A pretrained network: better for photographs of everyday
        things.
    sklabeldiff.DTMClassifier, sklabeldiff.DDMPClassifier : Learn from such features and
        imprecise labels.

    Notes
    -----
    X may have any form that `CLIPFeatures` lists; `fit` keeps 8-bit copies of it.

    For the projections z of the 2 b views of a batch, with s the cosine, the loss is
    the mean over all pairs (i, j) of views of one image of

    .. math:: -\log \frac{\exp(s_{i,j} / \tau)}{\sum_{k \ne i} \exp(s_{i,k} / \tau)}

    The features are what the network gives before a perceptron projects them to z.

    The paper trains a ResNet-50 by LARS with batches of thousands; here the networks
    and batches are small, AdamW trains them, weights are averaged, the temperature is
    lower and crops are larger. As in the paper for small images, views are not
    blurred. Crops that would be wider or higher than the image take another shape of
    the same area, and colours change in one fixed order.

    Features of two fits have nothing in common: keep the transformer and the classifier
    in one `Pipeline`.

    References
    ----------
    .. [1] T. Chen et al., "A Simple Framework for Contrastive Learning of Visual
           Representations", ICML 2020, arXiv:2002.05709.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklabeldiff.features import SimCLRFeatures
    >>> X, y = load_digits(return_X_y=True)
    >>> encoder = SimCLRFeatures(
    ...     image_shape=(8, 8), value_range=(0, 16), image_size=8, flip=False,
    ...     max_epochs=1, random_state=0,
    ... )
    >>> encoder.fit_transform(X[:300]).shape
    (300, 128)
    """

    _fields: ClassVar = ImageExtractor._fields | {
        "weights_": Parts({}, networks=("",)),
        "network_": Choice(tuple(NETWORKS)),
        "image_size_": Number(integer=True, low=1),
        "history_": Records(),
        "n_iter_": Number(integer=True, low=0),
    }

    def __init__(
        self,
        network: str = "small",
        *,
        image_size: int = 32,
        max_epochs: int | str = "auto",
        batch_size: int = 128,
        learning_rate: float = 2e-3,
        temperature: float = 0.1,
        crop_scale: tuple[float, float] = (0.4, 1.0),
        flip: bool = True,
        color_jitter: float = 0.5,
        image_shape: Sequence[int] | None = None,
        value_range: tuple[float, float] | None = None,
        device: str | torch.device = "auto",
        precision: str = "auto",
        cache_dir: str | PathLike[str] | None = None,
        cache_dtype: str = "float32",
        on_error: str = "raise",
        checkpoint_dir: str | Path | None = None,
        random_state: Any = None,
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
        self.network = network
        self.image_size = image_size
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.temperature = temperature
        self.crop_scale = crop_scale
        self.flip = flip
        self.color_jitter = color_jitter
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state

    @whole_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the network on images.

        Parameters
        ----------
        X : array-like or iterable
            Images, in any of the forms of `CLIPFeatures`. An iterator is used up.
        y : None
            Ignored.

        Returns
        -------
        self : SimCLRFeatures
            The fitted transformer.
        """
        views = self._check_training()
        pixels = self._training_pixels(X)
        epochs = self._n_epochs(len(pixels))
        task = FitTask(self, X, y, epochs)
        seed = fit_seed(self.random_state)

        listener = task.listener(self._learnt)
        trainer = self._make_trainer(pixels, views, epochs, seed, listener)
        checkpoint = self._checkpoint(pixels, seed)

        def finish() -> None:
            self.__dict__.update(self._learnt(trainer))
            encoder = self._encoder()  # transform must not change the transformer
            with torch.inference_mode():
                tried = encoder.encode(pixels[:1].to(encoder.device))
            if not tried.isfinite().all():
                raise diverged(self.learning_rate)

        with kept_if_interrupted(self, finish, trainer.has_learnt):
            self._train(trainer, epochs, checkpoint)
        finish()
        checkpoint.remove()
        task.end()
        return self

    def _check_training(self) -> RandomViews:
        """Check the parameters that `ImageExtractor` does not know."""
        check_option("network", self.network, tuple(NETWORKS))
        check_number("image_size", self.image_size, 1, MAX_IMAGE_SIZE, integer=True)
        check_number("max_epochs", self.max_epochs, 0, integer=True, or_word="auto")
        check_number("learning_rate", self.learning_rate, 0, open_low=True)
        check_number("temperature", self.temperature, 0, open_low=True)
        check_option("flip", self.flip, (True, False))
        check_number("color_jitter", self.color_jitter, 0, 1)
        return RandomViews(self.crop_scale, bool(self.flip), self.color_jitter)

    def _training_pixels(self, X: Any) -> Tensor:
        """All readable images. -> (n, c, s, s), uint8, on the CPU."""
        sources, _ = self._sources(X, reset=True)
        pixels, bad = read_pixels(sources, self.image_size)
        if bad:
            warnings.warn(
                f"{len(bad)} rows of X cannot be read, and the network is trained "
                f"without them: {named(bad)}",
                stacklevel=CALLER_OF_FIT,
            )
        return pixels

    def _n_epochs(self, n_images: int) -> int:
        """Return max_epochs, with a number for "auto"."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        epochs = MAX_UPDATES // n_batches(n_images, self.batch_size)
        return min(MAX_EPOCHS, max(MIN_EPOCHS, epochs))

    def _make_trainer(
        self,
        pixels: Tensor,
        views: RandomViews,
        epochs: int,
        seed: int,
        listener: EpochListener | None,
    ) -> Trainer:
        device, _ = _resolve(self.device, self.precision)
        first = torch.Generator().manual_seed(seed)  # equal weights on all devices
        encoder = random_encoder(self.network, first)
        network = ContrastiveNetwork(encoder, encoder.n_features, first)
        return contrastive_trainer(
            network.to(device),
            pixels.to(device),
            views,
            torch.Generator(device).manual_seed(seed),
            temperature=self.temperature,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            n_epochs=epochs,
            listener=listener,
        )

    def _checkpoint(self, pixels: Tensor, seed: int) -> Checkpoint:
        """Where a fit of these images with what decides its result leaves its state."""
        names = ["network", "max_epochs", "batch_size", "learning_rate"]
        names += ["temperature", "crop_scale", "flip", "color_jitter"]
        params = {name: getattr(self, name) for name in names} | {"seed": seed}
        device, _ = _resolve(self.device, self.precision)
        params["device"] = device.type  # of whose generator the state is
        return Checkpoint(self.checkpoint_dir, [pixels.numpy()], params)

    def _train(self, trainer: Trainer, epochs: int, checkpoint: Checkpoint) -> None:
        """Train for all epochs, from a checkpoint if there is one."""
        state = checkpoint.load(trainer.generator.device)
        if state is not None:
            trainer.restore(state)
        stage = max(1, epochs // N_STAGES)
        name, hidden = type(self).__name__, no_bar(self.verbose)
        with tqdm(total=epochs, desc=name, unit="epoch", disable=hidden) as bar:
            bar.update(trainer.n_epochs)
            while trainer.n_epochs < epochs and not trainer.stopped:
                before = trainer.n_epochs
                trainer.run(min(stage, epochs - before))
                bar.update(trainer.n_epochs - before)
                checkpoint.save(trainer.state())

    def _learnt(self, trainer: Trainer) -> dict[str, Any]:
        """Fitted attributes, as if training had ended here."""
        network: Any = trainer.averaged_module()
        losses = enumerate(trainer.losses)
        return {
            "weights_": state_arrays(network.encoder),
            "network_": self.network,
            "image_size_": self.image_size,
            "history_": [{"epoch": epoch, "loss": loss} for epoch, loss in losses],
            "n_iter_": trainer.n_epochs,
            "n_features_out_": network.encoder.n_features,
            "_width": network.encoder.n_features,
            "_loaded": None,
        }

    def _sources(self, X: Any, *, reset: bool) -> tuple[Iterator[Any], int | None]:
        """Check that X can be encoded, and cut it into parts."""
        if not reset:
            check_is_fitted(self, "weights_")
        return super()._sources(X, reset=reset)

    def _loaded_from(self) -> tuple[Any, ...]:
        """Nothing: no parameter changes what was fitted."""
        return ()

    def _load(self) -> Encoder:
        """Put the fitted weights back into a network."""
        module = load_encoder(self.network_, self.weights_)

        def preprocess(images: list[Image]) -> Tensor:
            return resized(images, self.image_size_)

        def encode(pixels: Tensor) -> Tensor:
            weight = next(module.parameters())
            return unit_length(module(normalize(pixels.to(weight.dtype) / 255)), dim=1)

        return Encoder(module, preprocess, encode, module.n_features)

    def _check_loaded(self) -> None:
        super()._check_loaded()
        width = load_encoder(self.network_, self.weights_).n_features
        if width != self.n_features_out_:
            raise ValueError(f"the network gives {width} features")

    def _identity(self) -> dict[str, Any]:
        """Say what features depend on besides the image and the precision."""
        check_is_fitted(self, "weights_")
        return {
            "network": self.network_,
            "image_size": self.image_size_,
            "weights": weight_digest(self.weights_),
        }

    def __sklearn_tags__(self) -> Tags:
        """Say that fit comes first."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags
