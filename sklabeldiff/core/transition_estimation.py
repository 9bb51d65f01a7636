"""The stages of DTM, from what was given to a matrix for every row.

    e         (n, p)     features
    V         (n, C)     what was given, see `group_transitions`
    g         (n,)       group of each row
    p         (n, C)     beliefs of the first network about the true class
    T0        (C, C)     global matrix, of the first network
    T_groups  (K, C, C), or only the rows that differ from T0, see `sparse_transitions`

Stages, section 2 of the method page: the first network; the group matrices, by a source
of responsibilities that held-out labels choose; the generator of T(x). The last stage,
the classifier, is the estimator's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .blocks import in_blocks, rows_of
from .group_transitions import dirichlet_groups, majority_beliefs
from .noisy_classifier import (
    MIN_PROBABILITY,
    PARAMETER_GROUPS,
    columns_of,
    forward_loss,
)
from .noisy_training import (
    CHUNK,
    WatchedTraining,
    network_proba,
    train_forward,
    train_volume_minimisation,
)
from .smoothed_labels import smoother_beliefs
from .sparse_transitions import SparseTransitions, one_matrix, sparse_groups
from .transition_diffusion import TransitionGenerator
from .transition_weights import transition_of, weights_of

SOURCES = ("majority", "smoother", "model")
SEARCH_SHARE = 1 / 3  # of the epochs: only the order of the sources is wanted
# A quarter of this explains .76 of the variance of the group weights, this much .93.
GENERATOR_SHARE = 2
STEPS_SEED = 5  # of steps and noise, counted from that of the training
GROUP_PULL = 10.0  # mu: ties free group weights to the global ones

MakeNetwork = Callable[[int], nn.Module]


class FirstNetwork(NamedTuple):
    """Outcome of the first stage."""

    p: Tensor
    T0: Tensor
    losses: list[float]


@dataclass(frozen=True)
class TransitionEstimation:
    """Estimates group matrices; see the module for the letters.

    Parameters
    ----------
    e, V, g : Tensor
    n_groups : int
    training : WatchedTraining
    make_network : callable
        ``make_network(seed)`` -> classifier with fresh weights, on the device.
    sparse : bool
        Whether only those rows of group matrices are kept that differ.
    """

    e: Tensor
    V: Tensor
    g: Tensor
    n_groups: int
    training: WatchedTraining
    make_network: MakeNetwork
    sparse: bool = False

    def first_network(self, volume_penalty: float) -> FirstNetwork:
        """VolMinNet on all rows."""
        network = self.make_network(self.training.seed)
        T0, losses = train_volume_minimisation(
            self.training, network, self.e, self.V, volume_penalty
        )
        return FirstNetwork(network_proba(network, self.e), T0, losses)

    def by_counts(
        self, source: str, first: FirstNetwork, kappa: float
    ) -> Tensor | SparseTransitions:
        """T_groups from expected counts, "dirichlet".

        Held-out rows do not count, or their labels would seem likely under any matrix
        that has seen them.
        """
        rows = self.training.train
        V, g = self.V[rows], self.g[rows]
        if source == "model":
            p = first.p[rows]
        elif source == "majority":
            p = majority_beliefs(V, g, self.n_groups)
        else:
            generator = torch.Generator().manual_seed(self.training.seed)
            p = smoother_beliefs(self.e[rows], V, generator)
        if self.sparse:
            return sparse_groups(p, V, g, self.n_groups, first.T0, kappa)
        T = dirichlet_groups(p, V, g, self.n_groups, first.T0, kappa)
        return transition_of(weights_of(T))  # the diagonal is the largest of its row

    def held_out_losses(self, T_groups: Tensor | SparseTransitions) -> Tensor:
        """Loss of each held-out row after a short training through these matrices."""
        c = group_columns(T_groups, self.g, self.V)
        network = self.make_network(self.training.seed)
        train_forward(self.training, network, self.e, c, share=SEARCH_SHARE)
        held = self.training.held
        with torch.no_grad():
            parts = [forward_loss(network(self.e[b]), c[b]) for b in held.split(CHUNK)]
        return torch.cat(parts)

    def by_gradient(self, first: FirstNetwork, volume_penalty: float) -> Tensor:
        """T_groups by gradient descent from T0 with a fixed classifier, "volmin"."""
        table = GroupWeights(weights_of(first.T0), self.n_groups, len(self.V))
        table = table.to(self.e.device)

        def row_loss(table: nn.Module, rows: Tensor) -> Tensor:
            return table(first.p[rows], self.V[rows], self.g[rows])

        def penalty(module: nn.Module) -> Tensor:
            return table.penalty(volume_penalty)

        self.training(
            table,
            row_loss,
            penalty=penalty,
            share=SEARCH_SHARE,
            parameter_groups=PARAMETER_GROUPS,
        )
        return transition_of(table.W.detach())

    def overall(self, f: Tensor, T0: Tensor, kappa: float) -> Tensor:
        """One matrix for all rows, from beliefs of the classifier. (n, C) -> (C, C)."""
        if self.sparse:
            return one_matrix(f, self.V, T0, kappa).cpu()
        one = torch.zeros_like(self.g)
        return dirichlet_groups(f, self.V, one, 1, T0, kappa)[0].cpu()


def best_source(losses: dict[str, Tensor]) -> str:
    """Source of the least held-out loss; the first one, unless another is surely less.

    By more than a standard error of the paired difference: a few held-out labels, some
    of them wrong, would otherwise decide by chance.
    """
    first, *others = losses
    gains = {name: losses[first] - losses[name] for name in others}
    sure = {
        name: gain.mean().item()
        for name, gain in gains.items()
        if len(gain) > 1 and gain.mean() > gain.std() / len(gain) ** 0.5
    }
    return max(sure, key=sure.__getitem__) if sure else first


class GroupWeights(nn.Module):
    """One free weight matrix a group, tied to the global one.

    Parameters
    ----------
    W0 : Tensor of shape (C, C)
    n_groups, n_rows : int
    """

    def __init__(self, W0: Tensor, n_groups: int, n_rows: int) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.W0 = W0
        self.W = nn.Parameter(W0.expand(n_groups, *W0.shape).clone())

    def forward(self, p: Tensor, V: Tensor, g: Tensor) -> Tensor:
        """Minus the log-likelihood of what was given. (b, C), (b, C), (b,) -> (b,)."""
        given = torch.einsum("bij,bi->bj", transition_of(self.W[g]), p)
        return -(given * V).sum(1).clamp(min=MIN_PROBABILITY).log()

    def penalty(self, volume_penalty: float) -> Tensor:
        """Mean volume of the matrices, and their distance from the global one."""
        volume = torch.linalg.slogdet(transition_of(self.W)).logabsdet.mean()
        distance = (self.W - self.W0).square().sum()
        return volume_penalty * volume + GROUP_PULL / self.n_rows * distance


def group_columns(T_groups: Tensor | SparseTransitions, g: Tensor, V: Tensor) -> Tensor:
    """Columns of each row's group matrix. (K, C, C), (n,), (n, C) -> (n, C)."""
    if isinstance(T_groups, SparseTransitions):
        return T_groups.columns(g[:, None], V)

    def block(g: Tensor, V: Tensor) -> Tensor:
        return columns_of(T_groups[g[:, 0]], V)

    return in_blocks(block, g[:, None], V, block_rows=rows_of(T_groups[0].numel()))


def train_generator(
    training: WatchedTraining, generator: TransitionGenerator, e: Tensor, g: Tensor
) -> list[float]:
    """Train the denoiser of ``generator`` in place; returns the loss of each epoch.

    All rows count: a matrix is learnt from the features and the group alone.
    """
    if not generator.is_trained:
        return []
    rows = torch.arange(len(e), device=e.device)
    everything = replace(training, train=rows, held=rows[:0])
    # Not the seed that orders the rows: steps would then follow their numbers.
    gen = torch.Generator(e.device).manual_seed(training.seed + STEPS_SEED)

    def row_loss(denoiser: nn.Module, rows: Tensor) -> Tensor:
        return generator.loss(denoiser, e[rows], g[rows], gen)

    _, losses = everything(generator.denoiser, row_loss, share=GENERATOR_SHARE)
    return losses
