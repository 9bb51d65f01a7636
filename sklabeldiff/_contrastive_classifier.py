"""What CAD and its closest competitor share: a student, its teacher, views and a queue.

`ContrastiveClassifier` fits and predicts; a subclass says what is learnt. The numerics
are in `sklabeldiff.core.class_specific_training`.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklabeldiff._arrays import load_arrays, part_of, state_arrays, without_values
from sklabeldiff._backbones import NETWORKS, random_encoder
from sklabeldiff._callbacks import FitTask
from sklabeldiff._checkpoint import Checkpoint
from sklabeldiff._fields import SCALER_ARRAYS, Choice, Parts
from sklabeldiff._fitting import CALLER_OF_FIT, fit_seed, kept_if_interrupted, no_bar
from sklabeldiff._image_rows import as_rows, check_columns, checked_shape
from sklabeldiff._image_views import ImageViews, normalize
from sklabeldiff._parameters import (
    check_number,
    check_option,
    check_widths,
    layer_widths,
)
from sklabeldiff._standardize import check_standardize, fit_standardizer
from sklabeldiff._training_data import TrainingData
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.blocks import in_blocks, rows_of
from sklabeldiff.core.candidate_losses import confidence
from sklabeldiff.core.class_specific_training import (
    ClassSpecificTraining,
    Objective,
    Versions,
    Views,
)
from sklabeldiff.core.row_views import RowViews
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.training import BatchLoss, EpochListener, Trainer, n_batches
from sklabeldiff.core.two_headed import TwoHeaded, row_trunk

# max_epochs="auto": so many updates a row, within these bounds of updates.
UPDATES_PER_ROW, MIN_UPDATES, MAX_UPDATES = 0.6, 150, 1000
IMAGE_EPOCHS = 30
# queue_size="auto"; for rows, whose network is cheap, comparing takes most of the time.
ROW_KEYS, IMAGE_KEYS = 512, 4096
MAX_QUEUE = 2**20
FIRST_CHANNELS = 64  # of the first maps, as large as the image, of a large network


class Inputs(NamedTuple):
    """What the network takes: rows, or images in [0, 1], on the device."""

    scaler: Standardizer
    shape: tuple[int, int, int] | None
    device: torch.device

    def __call__(self, X: NDArray[np.floating]) -> Tensor:
        """(n, p) -> (n, d), or (n, c, h, w)."""
        x = torch.as_tensor(self.scaler(X), device=self.device)
        return x if self.shape is None else x.view(-1, *self.shape).permute(0, 3, 1, 2)


@torch.inference_mode()
def logits(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of what `Inputs` gives. -> (n, C)."""
    if x.dim() == 2:
        return in_blocks(network, x)
    height, width = x.shape[2:]
    block_rows = rows_of(FIRST_CHANNELS * height * width)
    return in_blocks(lambda b: network(normalize(b)), x, block_rows=block_rows)


class ContrastiveClassifier(NetworkClassifier):
    """Base of classifiers that learn from sets and from contrast with a queue."""

    _shaping = ("backbone", "hidden", "image_shape")
    _fields: ClassVar = NetworkClassifier._fields | {
        "row_scaling_": Choice((True, False)),
        "model_state_": Parts(
            {
                **{f"scaler.{k}": field for k, field in SCALER_ARRAYS.items()},
            },
            networks=("network",),
        ),
    }

    @abstractmethod
    def _objective(self) -> Objective:
        """Return what is learnt."""

    def _versions(
        self, X: Any, X_aug: Any, data: TrainingData, inputs: Inputs
    ) -> Versions:
        """Return where class-specific versions come from."""
        return Versions()

    def _fit(self, X: Any, y: Any, X_aug: Any = None) -> None:
        """Learn; the steps of fit."""
        self._check_params()
        data = self._check_fit(as_rows(X, self.image_shape), y)
        check_columns(self.n_features_in_, self.image_shape)
        self._warn_of_warm_up(len(data.X))
        seed = fit_seed(self.random_state)
        scaler = self._fit_scaler(data)
        network = self._make_network(seed)  # before versions, which may take hours
        inputs = Inputs(scaler, self._pixels(), self._device())
        versions = self._versions(X, X_aug, data, inputs)
        x = inputs(data.X)
        V = torch.as_tensor(data.relative_weights()).to(x)
        n_keys = self._n_keys(len(x))

        task = FitTask(self, X, y, self._n_epochs(len(x)))
        listener = task.listener(lambda _: self._learnt(scaler, training))
        network.to(x.device)
        training = ClassSpecificTraining(
            *(x, V, self._views(x), self._objective(), versions, n_keys),
            lambda loss: self._make_trainer(network, loss, len(x), seed, listener),
        )

        def finish() -> None:
            self._finish_fit(self._learnt(scaler, training))

        with kept_if_interrupted(self, finish, training.trainer.has_learnt):
            checkpoint = self._train(training, data, seed)
        finish()
        checkpoint.remove()
        task.end()

    # -- the steps of fit, in order ------------------------------------------------

    def _check_params(self) -> None:
        super()._check_params()
        check_option("backbone", self.backbone, ("auto", "mlp", *NETWORKS))
        check_option("flip", self.flip, (True, False))
        check_standardize(self.standardize)
        check_number("color_jitter", self.color_jitter, 0, 1)
        check_number("momentum", self.momentum, 0, 1)
        # Batches are nearly equal: of 3, none has a single row, which has no variance.
        check_number("batch_size", self.batch_size, 3, integer=True)
        check_number("warmup_epochs", self.warmup_epochs, 0, integer=True)
        check_number(
            "queue_size", self.queue_size, 1, MAX_QUEUE, integer=True, or_word="auto"
        )
        for name in ("beta", "weight_decay"):
            check_number(name, getattr(self, name), 0)
        for name in ("tau", "tau_w"):
            check_number(name, getattr(self, name), 0, open_low=True)
        if not layer_widths(self.hidden):
            raise ValueError("hidden must have the width of one layer at least.")
        check_widths("hidden", self.hidden)
        if self.image_shape is not None:
            checked_shape(self.image_shape)
        if self.image_shape is None:
            if self.backbone in NETWORKS:
                raise ValueError(
                    f"backbone={self.backbone!r} needs image_shape, (height, width) or "
                    "(height, width, channels) of the images in X."
                )
        elif self._backbone() != "mlp":
            *_, n_channels = checked_shape(self.image_shape)
            if n_channels not in (1, 3):
                raise ValueError(
                    f"image_shape={self.image_shape!r}: images must have 1 or 3 "
                    "channels. Use backbone='mlp' for others."
                )
            ImageViews(self.crop_scale, bool(self.flip), self.color_jitter)

    def _warn_of_warm_up(self, n_rows: int) -> None:
        n_epochs = self._n_epochs(n_rows)
        if self.beta and n_epochs <= self.warmup_epochs:
            warnings.warn(
                f"All of {n_epochs} epochs are warm-up (warmup_epochs is "
                f"{self.warmup_epochs}): classes take no part in the contrast. Raise "
                "max_epochs, or lower warmup_epochs.",
                UserWarning,
                stacklevel=CALLER_OF_FIT + 1,
            )

    def _backbone(self) -> str:
        if self.backbone != "auto":
            return str(self.backbone)
        return "mlp" if self.image_shape is None else "small"

    @property
    def _sees_images(self) -> bool:
        return self._backbone() != "mlp"

    def _views(self, x: Tensor) -> Views:
        if self._sees_images:
            return ImageViews(self.crop_scale, bool(self.flip), self.color_jitter)
        return RowViews(x)

    def _fit_scaler(self, data: TrainingData) -> Standardizer:
        if not self._sees_images:
            return fit_standardizer(data, self.standardize)
        # All pixels alike, to [0, 1].
        low, high = float(data.X.min()), float(data.X.max())
        d = data.X.shape[1]
        scale = high - low if high > low else 1.0
        return Standardizer(np.full(d, low), np.full(d, scale), equal_norm=False)

    def _pixels(self) -> tuple[int, int, int] | None:
        """Height, width and channels of what the network sees; None for rows."""
        return checked_shape(self.image_shape) if self._sees_images else None

    def _n_keys(self, n_rows: int) -> int:
        if self.queue_size != "auto":
            return int(self.queue_size)
        return min(IMAGE_KEYS if self._sees_images else ROW_KEYS, 2 * n_rows)

    def _n_epochs(self, n_rows: int) -> int:
        """Return max_epochs, with a number for "auto"."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        if self._sees_images:
            return IMAGE_EPOCHS
        updates = np.clip(UPDATES_PER_ROW * n_rows, MIN_UPDATES, MAX_UPDATES)
        return -(-int(updates) // n_batches(n_rows, self.batch_size))

    def _make_network(self, seed: int) -> TwoHeaded:
        generator = torch.Generator().manual_seed(seed)  # equal weights on all devices
        trunk: nn.Module
        if self._sees_images:
            trunk = random_encoder(self._backbone(), generator)
            n_hidden = trunk.n_features
        else:
            widths = layer_widths(self.hidden)
            trunk = row_trunk(self.n_features_in_, widths, generator)
            n_hidden = widths[-1]
        network = TwoHeaded(trunk, n_hidden, len(self.classes_), generator)
        return network

    def _make_trainer(
        self,
        network: TwoHeaded,
        loss: BatchLoss,
        n_rows: int,
        seed: int,
        listener: EpochListener | None,
    ) -> Trainer:
        momentum = float(self.momentum)
        return Trainer(
            network,
            loss,
            n_rows,
            torch.Generator(self._device()).manual_seed(seed),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            ema=lambda _: momentum,
            planned_updates=self._n_epochs(n_rows) * n_batches(n_rows, self.batch_size),
            listener=listener,
        )

    def _train(
        self, training: ClassSpecificTraining, data: TrainingData, seed: int
    ) -> Checkpoint:
        """Train, from a checkpoint if there is one; it is kept: more is to come."""
        name, device = type(self).__name__, self._device()
        params = self.get_params(deep=False) | {"random_state": seed, "method": name}
        params["device"] = device.type  # of whose generator the state is
        for left_out in ("checkpoint_dir", "verbose"):
            del params[left_out]
        arrays: list[NDArray[Any]] = data.arrays()
        ready = training.versions.ready
        if ready is not None:
            params["augmentation"] = "ready"  # of a function, repr is an address
            if self.checkpoint_dir is not None:
                arrays.append(ready.cpu().numpy())
        checkpoint = Checkpoint(self.checkpoint_dir, arrays, params)
        state = checkpoint.load(device)
        if state is not None:
            training.restore(state)
        n_epochs = self._n_epochs(len(training.x))

        def after_stage(n_epochs: int) -> None:
            bar.update(n_epochs)
            checkpoint.save(training.state())

        hidden = no_bar(self.verbose)
        with tqdm(total=n_epochs, desc=name, unit="epoch", disable=hidden) as bar:
            bar.update(training.trainer.n_epochs)
            training.run(n_epochs, after_stage)
        return checkpoint

    def _learnt(
        self, scaler: Standardizer, training: ClassSpecificTraining
    ) -> dict[str, Any]:
        """Fitted attributes: what training has come to."""
        network = training.predictor()
        arrays = {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}
        weights = {f"network.{k}": v for k, v in state_arrays(network).items()}
        a = logits(network, training.x)
        S = confidence(a, training.V) * (training.V > 0)
        losses = training.trainer.losses
        return {
            "label_distribution_": S.cpu().numpy(),
            "history_": [{"epoch": e, "loss": v} for e, v in enumerate(losses)],
            "n_iter_": training.trainer.n_epochs,
            "row_scaling_": scaler.equal_norm,
            "model_state_": arrays | weights,
        }

    # -- prediction ----------------------------------------------------------------

    def _build(self, device: torch.device) -> tuple[Inputs, nn.Module]:
        """Put the fitted arrays back into the objects that predict."""
        arrays = self.model_state_
        scaler = Standardizer(**part_of(arrays, "scaler"), equal_norm=self.row_scaling_)
        with without_values():
            network = self._make_network(0)
            network.projection = nn.Identity()
        load_arrays(network, part_of(arrays, "network"), device)
        return Inputs(scaler, self._pixels(), device), network

    def _raw_scores(self, X: NDArray[np.floating]) -> Tensor:
        inputs, network = self._model
        return logits(network, inputs(X))

    def _check_loaded(self) -> None:
        check_columns(self.n_features_in_, self.image_shape)
        super()._check_loaded()

    def _checked(self, X: ArrayLike) -> NDArray[np.floating]:
        return super()._checked(as_rows(X, self.image_shape))

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        return self._raw_scores(X).softmax(1).cpu().numpy()

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,), float32
            The largest is that of the predicted class, and -inf that of a class that
            was never a candidate. Of two classes, the difference between the second
            and the first.
        """
        scores = self._raw_scores(self._checked(X)).cpu().numpy()
        scores[:, ~self.candidate_sets_.any(axis=0)] = -np.inf
        scores -= logsumexp(scores, axis=1, keepdims=True)
        if scores.shape[1] == 2:
            return scores[:, 1] - scores[:, 0]
        return scores
