"""The fitted DMIS as plain arrays, and the object that predicts and samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklabeldiff._arrays import Arrays, part_of, state_arrays
from sklabeldiff._fields import (
    SCALER_ARRAYS,
    Array,
    Choice,
    Field,
    Number,
    Parts,
    beliefs,
)
from sklabeldiff.core.class_diffusion import Reader, log_posterior, sample
from sklabeldiff.core.imprecise import confined
from sklabeldiff.core.input_scaling import InputScaler
from sklabeldiff.core.noise_levels import NoiseLevels
from sklabeldiff.core.scaling import Standardizer

SMALL_SET = 4  # up to a quarter of the classes: worth asking about them alone
# What a fit of DMIS leaves; d is p, or p + 1 where the norm of rows is kept apart.
FIELDS: dict[str, Field] = {
    "supervision_": Choice(("partial", "noisy", "semi")),
    "class_prior_": beliefs("C"),
    "row_scaling_": Choice((True, False)),
    "seed_": Number(integer=True, low=0, high=2**31),
    "model_state_": Parts(
        {
            **{f"scaler.{k}": field for k, field in SCALER_ARRAYS.items()},
            "scaler.constant": Array("f", ("p",), nan=True),
            "scaler.log_norm": Array("f", (2,)),
            "noise": Array("f", ("levels", "draws", "d")),
            "prior": beliefs("C"),
        },
        networks=("network",),
    ),
}


@dataclass
class Predictor:
    """Rows in; likelihoods out. Classes in; rows out.

    Parameters
    ----------
    scaler : InputScaler
    network : nn.Module
        The teacher, on its device.
    levels : NoiseLevels
    noise : Tensor of shape (T, n_draws, d)
        Shared by all rows and classes.
    log_prior : Tensor of shape (C,)
    grid, weighting : str
    temperature : float
    """

    scaler: InputScaler
    network: nn.Module
    levels: NoiseLevels
    noise: Tensor
    log_prior: Tensor
    grid: str
    weighting: str
    temperature: float

    def scaled(self, X: NDArray[np.floating]) -> Tensor:
        """Rows as the network sees them. (n, p) -> (n, d)."""
        return torch.as_tensor(self.scaler(X), device=self.noise.device)

    def log_likelihood(self, x: Tensor, weighting: str | None = None) -> Tensor:
        """Ell. (n, d) -> (n, C)."""
        reader = self._reader(self.weighting if weighting is None else weighting)
        return reader.log_likelihood(self.network, x, len(self.log_prior))

    def _reader(self, weighting: str) -> Reader:
        return Reader.of(self.levels, self.grid, weighting, self.noise)

    def log_posterior(self, x: Tensor) -> Tensor:
        """Log of f. (n, d) -> (n, C)."""
        return log_posterior(self.log_likelihood(x), self.log_prior, self.temperature)

    def beliefs_in_sets(self, x: Tensor, V: Tensor) -> Tensor:
        """F confined to the candidates V, asked about little else. (n, d), (n, C)."""
        sizes = (V > 0).sum(1)
        is_small = sizes <= V.shape[1] // SMALL_SET
        pi = torch.zeros_like(V)
        if not is_small.all():
            rows = ~is_small
            pi[rows] = confined(self.log_posterior(x[rows]), V[rows])
        if is_small.any():
            rows = is_small.nonzero()[:, 0]
            # Of a smaller set some of these are no candidates; they get 0.
            classes = V[rows].topk(int(sizes[rows].max()), dim=1).indices
            reader = self._reader(self.weighting)
            ell = reader.log_likelihood_of(self.network, x[rows], classes)
            log_f = log_posterior(ell, self.log_prior[classes], self.temperature)
            part = confined(log_f, V[rows].gather(1, classes))
            pi[rows[:, None], classes] = part
        return pi

    def sample(self, y: NDArray[np.int64], n_steps: int, seed: int) -> Tensor:
        """Draw a row of each class of y. (n,) -> (n, d)."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((len(y), self.noise.shape[-1]), generator=generator)
        device = self.noise.device
        return sample(
            self.network, torch.as_tensor(y, device=device), noise.to(device), n_steps
        )


def predictor_arrays(
    scaler: InputScaler, network: nn.Module, noise: Tensor, prior: Tensor
) -> Arrays:
    """Return all arrays that prediction needs, by name."""
    arrays: Arrays = {
        "scaler.mean": scaler.standardizer.mean,
        "scaler.scale": scaler.standardizer.scale,
        "scaler.constant": scaler.constant,
        "scaler.log_norm": scaler.log_norm,
        "noise": noise.cpu().numpy(),
        "prior": prior.cpu().numpy(),
    }
    return arrays | {f"network.{k}": v for k, v in state_arrays(network).items()}


def fitted_scaler(arrays: Arrays, equal_norm: bool) -> tuple[InputScaler, Arrays]:
    """Undo `predictor_arrays` for the scaler; the arrays are passed on."""
    parts = part_of(arrays, "scaler")
    standardizer = Standardizer(parts["mean"], parts["scale"], equal_norm)
    return InputScaler(standardizer, parts["constant"], parts["log_norm"]), arrays
