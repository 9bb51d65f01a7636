"""The candidate sets of a fit of DDMP: a dense mask or lists, and beliefs of that form.

Both answer to the same steps of `DDMPClassifier.fit`; the estimator does not know which
it has. Lists are for very many classes: see `core.lists`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from sklabeldiff._training_data import SparseTrainingData, TrainingData
from sklabeldiff.core import (
    graph,
    kernels,
    listed_graph,
    listed_kernels,
    listed_transitions,
    transitions,
)
from sklabeldiff.core.kernels import KernelBeliefs
from sklabeldiff.core.label_diffusion import (
    LabelDiffusion,
    LabelDiffusionTraining,
    RefreshRule,
)
from sklabeldiff.core.listed_diffusion import ListedDiffusionTraining
from sklabeldiff.core.lists import CandidateLists
from sklabeldiff.core.rows import Rows
from sklabeldiff.core.training import Trainer

MakeTrainer = Callable[[Any], Trainer]


class Sets(Protocol):
    """What the steps of a fit ask. S and prior means have the form of the sets."""

    def similarity(self, neighbours: NDArray[np.intp]) -> NDArray[np.floating]:
        """Jaccard similarity of each row's set to its neighbours'. (n, k) -> (n, k)."""

    def equal_beliefs(self) -> Tensor:
        """Ybar: equal belief in every candidate, or what weights say."""

    def propagated(self, W: csr_array, n_passes: int) -> Tensor:
        """S after passes over the graph W. (n, n) sparse."""

    def smoothed(
        self, c: Rows, S: Tensor, gamma: float, generator: torch.Generator
    ) -> tuple[KernelBeliefs, Tensor, Any]:
        """Fit the kernel smoothers; S after their passes, and prior means."""

    def no_prior(self, S: Tensor) -> Any:
        """Prior means of 0."""

    def training(
        self,
        model: LabelDiffusion,
        make_trainer: MakeTrainer,
        S: Tensor,
        c: Rows,
        f: Any,
        target: str,
        rule: RefreshRule,
    ) -> LabelDiffusionTraining:
        """Return the training on these sets."""

    def array(self, S: Tensor) -> Any:
        """S as a fitted attribute. (n, C)."""

    def transition(self, S: Tensor) -> Any:
        """Set transition matrix as a fitted attribute. (C, C)."""


class DenseSets:
    """Sets as a mask (n, C)."""

    def __init__(self, data: TrainingData, device: torch.device) -> None:
        self.data, self.device = data, device
        self.Y = torch.as_tensor(data.Y, device=device)

    def similarity(self, neighbours: NDArray[np.intp]) -> NDArray[np.floating]:
        return graph.jaccard(self.data.Y, neighbours)

    def equal_beliefs(self) -> Tensor:
        return self._tensor(self.data.Ybar)

    def propagated(self, W: csr_array, n_passes: int) -> Tensor:
        Ybar = self.data.Ybar.astype(np.float32)
        S = graph.propagate(W.astype(np.float32), self.data.Y, Ybar, n_passes)
        return self._tensor(S)

    def smoothed(
        self, c: Rows, S: Tensor, gamma: float, generator: torch.Generator
    ) -> tuple[KernelBeliefs, Tensor, Tensor]:
        Y = V = self.Y
        if self.data.weights is not None:
            V = self._tensor(self.data.relative_weights())
        choices = kernels.choose_kernels(c, Y, V, S, gamma, generator)
        return kernels.fit_kernel_beliefs(c, Y, V, S, choices, gamma, generator)

    def no_prior(self, S: Tensor) -> Tensor:
        return torch.zeros_like(S)

    def training(
        self,
        model: LabelDiffusion,
        make_trainer: MakeTrainer,
        S: Tensor,
        c: Rows,
        f: Tensor,
        target: str,
        rule: RefreshRule,
    ) -> LabelDiffusionTraining:
        return LabelDiffusionTraining(
            model, make_trainer, S, c, f, self.Y, target, rule
        )

    def array(self, S: Tensor) -> NDArray[np.float32]:
        return S.cpu().numpy()

    def transition(self, S: Tensor) -> NDArray[np.float32]:
        return transitions.set_transition(S, self.Y).cpu().numpy()

    def _tensor(self, a: NDArray[Any]) -> Tensor:
        return torch.as_tensor(a, dtype=torch.float32, device=self.device)


class ListedSets:
    """Sets as lists of e candidates in all; S has a number for each of them."""

    def __init__(self, data: SparseTrainingData, device: torch.device) -> None:
        self.data, self.device = data, device
        self.lists = CandidateLists.of(data.Y, device)

    def similarity(self, neighbours: NDArray[np.intp]) -> NDArray[np.floating]:
        return listed_graph.jaccard(self.data.Y, neighbours)

    def equal_beliefs(self) -> Tensor:
        return self._tensor(self.data.Ybar)

    def propagated(self, W: csr_array, n_passes: int) -> Tensor:
        Ybar = self.data.Ybar.astype(np.float32)
        W = W.astype(np.float32)
        return self._tensor(listed_graph.propagate(W, self.data.Y, Ybar, n_passes))

    def smoothed(
        self, c: Rows, S: Tensor, gamma: float, generator: torch.Generator
    ) -> tuple[KernelBeliefs, Tensor, listed_kernels.LeaveOneOutPrior]:
        V = None if self.data.weights is None else self.equal_beliefs()
        choices = listed_kernels.choose_kernels(c, self.lists, V, S, gamma, generator)
        return listed_kernels.fit_kernel_beliefs(
            c, self.lists, V, S, choices, gamma, generator
        )

    def no_prior(self, S: Tensor) -> None:
        return None

    def training(
        self,
        model: LabelDiffusion,
        make_trainer: MakeTrainer,
        S: Tensor,
        c: Rows,
        f: listed_kernels.LeaveOneOutPrior | None,
        target: str,
        rule: RefreshRule,
    ) -> LabelDiffusionTraining:
        return ListedDiffusionTraining(
            model, make_trainer, S, c, f, self.lists, target, rule
        )

    def array(self, S: Tensor) -> csr_array:
        Y = self.data.Y  # whoever edits an attribute keeps the others
        parts = S.cpu().numpy(), Y.indices.copy(), Y.indptr.copy()
        return csr_array(parts, shape=Y.shape)

    def transition(self, S: Tensor) -> csr_array:
        return listed_transitions.set_transition(S, self.lists).array()

    def _tensor(self, a: NDArray[Any]) -> Tensor:
        return torch.as_tensor(a, dtype=torch.float32, device=self.device)


def sets_of(data: TrainingData | SparseTrainingData, device: torch.device) -> Sets:
    """Return the sets of a fit, in the form that its data have."""
    if isinstance(data, SparseTrainingData):
        return ListedSets(data, device)
    return DenseSets(data, device)
