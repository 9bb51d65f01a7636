"""The fitted DTM as plain arrays, and the object that predicts made from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklabeldiff._arrays import (
    Arrays,
    load_arrays,
    part_of,
    state_arrays,
    without_values,
)
from sklabeldiff._fields import (
    ROUNDING,
    SCALER_ARRAYS,
    Array,
    Choice,
    Field,
    Fitted,
    Number,
    OneOf,
    Parts,
    beliefs,
)
from sklabeldiff._groups import nearest_group
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.sparse_table import SparseTable
from sklabeldiff.core.sparse_transitions import SparseTransitions
from sklabeldiff.core.transition_diffusion import (
    GeneratorSettings,
    TransitionGenerator,
)
from sklabeldiff.core.transition_estimation import SOURCES
from sklabeldiff.core.transition_table import TransitionTable

# The rows that differ, of many classes' group matrices.
SPARSE: dict[str, Field] = {
    "T0": replace(beliefs("C", "C"), optional=True),
    "R": replace(beliefs("M", "C"), optional=True),
    "row_class": Array("i", ("M",), low=0, optional=True),
    "row_group": Array("i", ("M",), low=0, optional=True),
}
# What a fit of DTM leaves; K groups, r coordinates of a matrix.
FIELDS: dict[str, Field] = {
    "groups_": Array("i", ("n",), low=0),
    "group_transition_matrices_": replace(beliefs("K", "C", "C"), optional=True),
    "group_transition_rows_": Parts(
        {
            "overall": beliefs("C", "C"),
            "rows": beliefs("M", "C"),
            "classes": Array("i", ("M",), low=0),
            "groups": Array("i", ("M",), low=0),
        },
        optional=True,
    ),
    "transition_matrix_": beliefs("C", "C"),
    "noise_rate_": Number(low=-ROUNDING, high=1),
    "responsibility_source_": Choice(SOURCES),
    "estimator_": Fitted("C", optional=True),  # which save cannot write
    "row_scaling_": Choice((True, False)),
    "model_state_": Parts(
        {
            **{f"scaler.{k}": field for k, field in SCALER_ARRAYS.items()},
            # Matrices whole, with one direction a coordinate, or a scale for each
            # entry; or the rows that differ.
            "transitions.mean": Array("f", ("C", "C"), optional=True),
            "transitions.basis": OneOf(
                Array("f", ("r", "C", "C")), Array("f", ("C", "C")), optional=True
            ),
            **{f"transitions.{k}": field for k, field in SPARSE.items()},
            "transitions.z": Array("f", ("K", "r")),
            "transitions.noise": Array("f", ("steps", "draws", 1, "r")),
            "transitions.centroids": Array("f", ("K", "p")),
        },
        networks=("denoiser", "classifier"),
    ),
}


@dataclass
class Predictor:
    """Rows in; probabilities and transition matrices out.

    Parameters
    ----------
    scaler : Standardizer
    network : nn.Module or None
        The classifier; None where a scikit-learn classifier takes its place.
    generator : TransitionGenerator
    centroids : Tensor of shape (K, p)
    device : torch.device
    """

    scaler: Standardizer
    network: nn.Module | None
    generator: TransitionGenerator
    centroids: Tensor
    device: torch.device

    @classmethod
    def from_arrays(
        cls,
        arrays: Arrays,
        network: nn.Module | None,
        settings: GeneratorSettings,
        equal_norm: bool,
        device: torch.device,
    ) -> Predictor:
        """Undo `predictor_arrays`; ``network`` comes with any weights, or none."""
        scaler = Standardizer(**part_of(arrays, "scaler"), equal_norm=equal_norm)
        tensors = {
            name: torch.tensor(value, device=device)
            for name, value in part_of(arrays, "transitions").items()
        }
        table = _table(tensors)
        n_features = tensors["centroids"].shape[1]
        with without_values():
            denoiser = settings.make_denoiser(table, n_features)
        load_arrays(denoiser, part_of(arrays, "denoiser"), device)
        generator = settings.from_table(table, tensors["noise"], denoiser)
        if network is not None:
            load_arrays(network, part_of(arrays, "classifier"), device)
        return cls(scaler, network, generator, tensors["centroids"], device)

    def scaled(self, X: NDArray[np.floating]) -> Tensor:
        """Rows as the networks see them. (n, p) -> (n, p)."""
        return torch.as_tensor(self.scaler(X), device=self.device)

    def transition(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """T(x). (n, p) -> (n, C, C)."""
        e = self.scaled(X)
        g = nearest_group(e, self.centroids)
        return self.generator.transition(e, g).cpu().numpy()

    def columns(
        self, X: NDArray[np.floating], V: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """How well each true class explains what was given. -> (n, C)."""
        e = self.scaled(X)
        weights = torch.as_tensor(V, dtype=e.dtype, device=self.device)
        g = nearest_group(e, self.centroids)
        return self.generator.columns(e, g, weights).cpu().numpy()

    def given_distribution(
        self, X: NDArray[np.floating], f: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """T(x)^T f(x). (n, p), (n, C) -> (n, C)."""
        e = self.scaled(X)
        proba = torch.as_tensor(f, dtype=e.dtype, device=self.device)
        g = nearest_group(e, self.centroids)
        return self.generator.given_distribution(e, g, proba).cpu().numpy()


def _table(tensors: dict[str, Tensor]) -> TransitionTable | SparseTable:
    """Undo `_table_tensors`."""
    z = tensors["z"]
    if "R" not in tensors:
        return TransitionTable(tensors["mean"], tensors["basis"], z)
    rows = {name: tensors[name] for name in SPARSE}
    return SparseTable(SparseTransitions.of_arrays(**rows, n_groups=len(z)), z)


def _table_tensors(table: TransitionTable | SparseTable) -> dict[str, Tensor]:
    if isinstance(table, SparseTable):
        return table.groups.arrays() | {"z": table.z}
    return {"mean": table.mean, "basis": table.basis, "z": table.z}


def group_attributes(groups: Tensor | SparseTransitions) -> dict[str, object]:
    """Fitted attributes that hold the matrices of the groups: of one form, not both."""
    if not isinstance(groups, SparseTransitions):
        return {"group_transition_matrices_": groups.cpu().numpy()}
    names = ("overall", "rows", "classes", "groups")
    arrays = groups.arrays().values()
    rows = {name: a.cpu().numpy() for name, a in zip(names, arrays, strict=True)}
    return {"group_transition_rows_": rows}


def predictor_arrays(
    scaler: Standardizer,
    network: nn.Module | None,
    generator: TransitionGenerator,
    centroids: Tensor,
) -> Arrays:
    """Return all arrays that prediction needs, by name."""
    tensors = _table_tensors(generator.table) | {
        "noise": generator.noise,
        "centroids": centroids,
    }
    arrays = {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}
    arrays |= {f"transitions.{k}": v.cpu().numpy() for k, v in tensors.items()}
    states = {"denoiser": generator.denoiser, "classifier": network}
    for name, module in states.items():
        if module is not None:
            arrays |= {f"{name}.{k}": v for k, v in state_arrays(module).items()}
    return arrays
