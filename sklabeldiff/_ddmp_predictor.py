"""The fitted DDMP as plain arrays, and the object that predicts made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklabeldiff._arrays import Arrays, load_arrays, part_of, state_arrays
from sklabeldiff._fields import (
    SCALER_ARRAYS,
    Array,
    Choice,
    Field,
    MaybeSparse,
    Number,
    Parts,
    Records,
    beliefs,
)
from sklabeldiff.core.blocks import in_blocks
from sklabeldiff.core.kernels import KernelBeliefs, KernelChoice
from sklabeldiff.core.label_diffusion import LabelDiffusion
from sklabeldiff.core.scaling import Standardizer

KERNEL_ARRAYS = ("landmarks", "weights", "offset")

# What a fit of DDMP leaves; m landmarks, k smoothers.
FIELDS: dict[str, Field] = {
    "candidate_sets_": MaybeSparse(Array("b", ("n", "C"))),
    "label_distribution_": MaybeSparse(beliefs("n", "C")),
    "initial_label_distribution_": MaybeSparse(beliefs("n", "C")),
    "transition_matrix_": MaybeSparse(beliefs("C", "C")),
    "row_scaling_": Choice((True, False)),
    "kernels_": Records(
        {
            "kernel": Choice(("gaussian", "laplacian")),
            "width": Number(low=0),
            "ridge": Number(low=0),
            "balanced": Choice((True, False)),
        },
        size="k",
    ),
    "model_state_": Parts(
        {
            **{f"scaler.{k}": field for k, field in SCALER_ARRAYS.items()},
            "kernel.landmarks": Array("f", ("m", "p"), optional=True),
            "kernel.weights": Array("f", ("k", "m", "C"), optional=True),
            "kernel.offset": Array("f", ("k", "C"), optional=True),
        },
        networks=("denoiser",),
    ),
}


@dataclass
class Predictor:
    """Rows in, probabilities out."""

    scaler: Standardizer
    kernel: KernelBeliefs | None
    model: LabelDiffusion
    n_classes: int
    device: torch.device

    @classmethod
    def from_arrays(
        cls,
        arrays: Arrays,
        model: LabelDiffusion,
        n_classes: int,
        equal_norm: bool,
        kernels: list[dict[str, Any]],
        device: torch.device,
    ) -> Self:
        """Undo `predictor_arrays`; ``model`` brings a network of any weights."""
        scaler = Standardizer(**part_of(arrays, "scaler"), equal_norm=equal_norm)
        kernel = None
        if kernels:
            parts = part_of(arrays, "kernel").items()
            tensors = {k: torch.tensor(v, device=device) for k, v in parts}
            choices = [KernelChoice(**settings) for settings in kernels]
            kernel = KernelBeliefs(choices, **tensors)
        load_arrays(model.denoiser, part_of(arrays, "denoiser"), device)
        return cls(scaler, kernel, model, n_classes, device)

    def __call__(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n, p) -> (n, C)."""
        return self.model.label_distribution(*self._condition(X)).cpu().numpy()

    def path(
        self, X: NDArray[np.floating]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return steps of the chain, and labels at each. (n, p) -> (m,), (n, m, C)."""
        steps, states = self.model.path(*self._condition(X))
        return np.array(steps), states.cpu().numpy()

    def _condition(self, X: NDArray[np.floating]) -> tuple[Tensor, Tensor]:
        """Scaled rows and their prior means. (n, p) -> (n, p), (n, C)."""
        c = torch.as_tensor(self.scaler(X), device=self.device)
        if self.kernel is None:
            return c, c.new_zeros((len(c), self.n_classes))
        return c, in_blocks(self.kernel.prior_mean, c)


def predictor_arrays(
    scaler: Standardizer, kernel: KernelBeliefs | None, denoiser: nn.Module
) -> Arrays:
    """Return all arrays that prediction needs, by name."""
    arrays = {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}
    if kernel is not None:
        for name in KERNEL_ARRAYS:
            arrays[f"kernel.{name}"] = getattr(kernel, name).cpu().numpy()
    return arrays | {f"denoiser.{k}": v for k, v in state_arrays(denoiser).items()}
