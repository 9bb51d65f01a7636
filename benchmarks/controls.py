"""Parts of DDMP on their own: what is left when the diffusion is taken out.

Each control repeats the steps of ``DDMPClassifier.fit`` up to the point where it
differs, so that scaling, graph, kernel and seeds are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from sklabeldiff import DDMPClassifier
from sklabeldiff._ddmp_sets import DenseSets
from sklabeldiff._standardize import fit_standardizer
from sklabeldiff.core.blocks import in_blocks
from sklabeldiff.core.label_diffusion import DECAY_SHARE
from sklabeldiff.core.training import EpochBatches
from sklabeldiff.core.transitions import sharpen
from sklabeldiff.ddmp import FULL_BATCH_ROWS, MIN_EPOCHS

STEP = 1  # the diffusion step that a network without diffusion is told


def default_epochs(clf: DDMPClassifier, n_rows: int) -> int:
    """Epochs that ``max_epochs="auto"`` stands for."""
    batch = clf.batch_size if n_rows >= FULL_BATCH_ROWS else n_rows
    per_epoch = len(EpochBatches(n_rows, batch, torch.Generator()))
    return max(MIN_EPOCHS, -(-clf._n_updates(n_rows) // per_epoch))


@dataclass
class ScaledBudget:
    """DDMP with a multiple of its default number of epochs."""

    factor: float
    random_state: int

    def fit(self, X: NDArray[Any], Y: NDArray[np.bool_]) -> Self:
        clf = DDMPClassifier(random_state=self.random_state)
        epochs = max(1, round(self.factor * default_epochs(clf, len(X))))
        self.clf_ = clf.set_params(max_epochs=epochs).fit(X, Y)
        self.label_distribution_ = self.clf_.label_distribution_
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.clf_.predict(X)


@dataclass
class NeighbourVote:
    """Argmax of the mean belief of the nearest training rows.

    ``initial`` takes the beliefs before training (then hardly any training is done).
    """

    initial: bool
    random_state: int

    def fit(self, X: NDArray[Any], Y: NDArray[np.bool_]) -> Self:
        epochs = 1 if self.initial else "auto"
        clf = DDMPClassifier(max_epochs=epochs, random_state=self.random_state)
        clf.fit(X, Y)
        self.scaler_ = clf._model.scaler
        self.label_distribution_ = (
            clf.initial_label_distribution_ if self.initial else clf.label_distribution_
        )
        neighbours = NearestNeighbors(n_neighbors=min(clf.n_neighbors, len(X)))
        self.neighbours_ = neighbours.fit(self.scaler_(X))
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        near = self.neighbours_.kneighbors(self.scaler_(X), return_distance=False)
        return self.label_distribution_[near].mean(1).argmax(1)


@dataclass
class KernelAlone:
    """Argmax of DDMP's prior mean: the kernel smoothers without network."""

    random_state: int

    def fit(self, X: NDArray[Any], Y: NDArray[np.bool_]) -> Self:
        clf = DDMPClassifier(max_epochs=1, random_state=self.random_state)
        self.clf_ = clf.fit(X, Y)
        self.label_distribution_ = clf.initial_label_distribution_
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        model = self.clf_._model
        c = torch.as_tensor(model.scaler(X), device=model.device)
        return in_blocks(model.kernel.prior_mean, c).argmax(1).cpu().numpy()


@dataclass
class WithoutDiffusion:
    """DDMP's network, inputs and epochs, trained by cross-entropy on its beliefs.

    The network is fed s = 0, one fixed step, and the prior mean; the target is the
    sharpened belief before training. No epoch is saved by settling: the budget is the
    whole of ``max_epochs="auto"``.
    """

    random_state: int

    def fit(self, X: NDArray[Any], Y: NDArray[np.bool_]) -> Self:
        clf = DDMPClassifier(random_state=self.random_state)
        clf._check_params()
        data = clf._check_fit(X, Y)
        seed = int(np.random.RandomState(self.random_state).randint(2**31 - 1))
        generator = torch.Generator().manual_seed(seed)
        self.scaler_ = fit_standardizer(data, clf.standardize, clf.n_neighbors)
        c = torch.as_tensor(self.scaler_(data.X))
        sets = DenseSets(data, c.device)
        S = clf._graph_beliefs(c, sets, 0)
        self.kernel_, S, f = clf._kernel_beliefs(c, sets, S, generator)
        self.label_distribution_ = S.numpy()
        self.n_classes_ = data.Y.shape[1]
        model = clf._make_model(
            clf._make_denoiser(c.shape[1], self.n_classes_, generator).to(c.device),
            self.n_classes_,
            c.device,
        )
        target = sharpen(S)

        def loss(module: nn.Module, rows: Tensor) -> Tensor:
            logits = _logits(module, c[rows], f[rows])
            return -(target[rows] * logits.log_softmax(-1)).sum(-1).mean()

        trainer = clf._make_trainer(model, loss, len(c), seed)
        epochs = default_epochs(clf, len(c))
        last = max(1, round(DECAY_SHARE * epochs))
        if epochs > last:
            trainer.run(epochs - last)
        trainer.decay(last)
        trainer.run(last)
        trainer.module.load_state_dict(trainer.averaged, strict=False)
        self.network_ = trainer.module.eval()
        return self

    @torch.inference_mode()
    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        c = torch.as_tensor(self.scaler_(X))
        f = in_blocks(self.kernel_.prior_mean, c)

        def proba(c: Tensor, f: Tensor) -> Tensor:
            return _logits(self.network_, c, f).softmax(-1)

        return in_blocks(proba, c, f).argmax(1).numpy()


def _logits(module: nn.Module, c: Tensor, f: Tensor) -> Tensor:
    """Output of the network for s = 0 at one step. (b, p), (b, C) -> (b, C)."""
    steps = torch.full((len(f),), STEP, device=f.device)
    return module(torch.zeros_like(f), steps, c, f)
