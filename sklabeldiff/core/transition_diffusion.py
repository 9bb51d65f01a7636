"""A conditional diffusion over transition weights: T(x) from the features of a row.

    z      (d, b, r)  coordinates of the weights, d draws for each row
    e      (b, p)     features of the row
    g      (b,)       group of the row
    T      (b, C, C)  mean over the draws of the matrices, not of the weights: P(given |
                      true, x) is an expectation over T
    V, c   (b, C)     what was given and its columns, see `noisy_classifier`

All rows share the noise of a draw. What is drawn for a row then depends on that row
alone, whatever the batch, and no n x C x C array ever exists: rows pass in blocks.

With many classes (`sparse_table`) a draw is a group, and T the mean of the matrices of
the groups drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .blocks import in_blocks, rows_of
from .matrix_denoisers import MATRIX_DENOISERS
from .noisy_classifier import columns_of
from .process import GaussianProcess
from .schedules import make_schedule
from .sparse_table import SparseTable, sparse_table
from .sparse_transitions import SparseTransitions
from .transition_table import TransitionTable, full_table, principal_table
from .transition_weights import weights_of

GENERATORS = ("diffusion", "regression", "group")
DENOISER_WIDTH = 128
# Seeds, counted from the one of the fit.
DRAWS_SEED, DENOISER_SEED, COMPONENTS_SEED = 1, 2, 6


@dataclass
class TransitionGenerator:
    """Draws transition matrices for rows.

    Parameters
    ----------
    kind : {"diffusion", "regression", "group"}
        Reverse chain; the denoiser's single answer at the noise end, trained there
        alone; or the matrix of the row's group.
    table : TransitionTable or SparseTable
    denoiser : nn.Module
    process : GaussianProcess
        Over the coordinates, without prior mean.
    noise : Tensor of shape (L + 1, d, 1, r)
        Of the reverse chain. Entry 0 is where it starts.
    from_group : bool
        Whether the chain starts at the noised matrix of the row's group, for schedules
        that do not reach noise.
    """

    kind: str
    table: TransitionTable | SparseTable
    denoiser: nn.Module
    process: GaussianProcess
    noise: Tensor
    from_group: bool = False

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train."""
        return self.kind != "group" and self.table.n_coordinates > 0

    def loss(
        self, module: nn.Module, e: Tensor, g: Tensor, gen: torch.Generator
    ) -> Tensor:
        """Denoising loss (Algorithm 1), or squared error. (b, p), (b,) -> (b,)."""
        z0 = self.table.z[g]
        zero = torch.zeros_like(z0)
        L = self.process.n_timesteps
        if self.kind == "regression":
            t = torch.full((len(z0),), L, device=z0.device)
            return (module(zero, t, e) - z0).square().mean(1)
        t = torch.randint(L, (len(z0),), generator=gen, device=z0.device) + 1
        eps = torch.randn(z0.shape, generator=gen, device=z0.device)
        z_t = self.process.marginal(z0, t, eps, zero)
        error = module(z_t, t, e) - self.process.target(z0, eps, zero)
        return error.square().mean(1)

    def coordinates(self, e: Tensor, g: Tensor) -> Tensor:
        """Draws of z for one block of rows. (b, p), (b,) -> (d, b, r)."""
        z_group = self.table.z[g]
        if not self.is_trained:
            return z_group[None]
        if self.kind == "regression":
            t = torch.full((len(e),), self.process.n_timesteps, device=e.device)
            return self.denoiser(torch.zeros_like(z_group), t, e)[None]
        start = self.noise[0].expand(-1, len(e), -1)
        if self.from_group:
            t = torch.tensor(self.process.n_timesteps, device=e.device)
            start = self.process.marginal(z_group, t, start, torch.zeros_like(z_group))

        def denoise(z: Tensor, t: Tensor) -> Tensor:
            return self.denoiser(z, t, e)

        return self.process.ddpm(denoise, start, torch.zeros_like(start), self.noise)

    def mean_transition(self, e: Tensor, g: Tensor) -> Tensor:
        """T of one block of rows. (b, p), (b,) -> (b, C, C)."""
        assert isinstance(self.table, TransitionTable)
        return self.table.transition(self.coordinates(e, g)).mean(0)

    @torch.inference_mode()
    def drawn_groups(self, e: Tensor, g: Tensor) -> Tensor:
        """Take draws from a sparse table for groups. (n, p), (n,) -> (n, d)."""
        table = self.table
        assert isinstance(table, SparseTable)
        if not self.is_trained:
            return g[:, None]
        self.denoiser.eval()

        def block(e: Tensor, g: Tensor) -> Tensor:
            return table.nearest(self.coordinates(e, g[:, 0]))

        rows = rows_of(self.noise.shape[1] * sum(table.z.shape))
        return in_blocks(block, e, g[:, None], block_rows=rows)

    @torch.inference_mode()
    def transition(self, e: Tensor, g: Tensor) -> Tensor:
        """T of rows. (n, p), (n,) -> (n, C, C)."""
        if isinstance(self.table, SparseTable):
            return self.table.groups.matrices(self.drawn_groups(e, g))
        return self._in_blocks(lambda e, g: self.mean_transition(e, g[:, 0]), e, g)

    @torch.inference_mode()
    def columns(self, e: Tensor, g: Tensor, V: Tensor) -> Tensor:
        """Columns of T that explain what was given. (n, p), (n,), (n, C) -> (n, C)."""
        if isinstance(self.table, SparseTable):
            return self.table.groups.columns(self.drawn_groups(e, g), V)

        def block(e: Tensor, g: Tensor, V: Tensor) -> Tensor:
            return columns_of(self.mean_transition(e, g[:, 0]), V)

        return self._in_blocks(block, e, g, V)

    @torch.inference_mode()
    def given_distribution(self, e: Tensor, g: Tensor, f: Tensor) -> Tensor:
        """T(x)^T f, probability of each given label. (n, p), (n,), (n, C) -> (n, C)."""
        if isinstance(self.table, SparseTable):
            return self.table.groups.given(self.drawn_groups(e, g), f)

        def block(e: Tensor, g: Tensor, f: Tensor) -> Tensor:
            return torch.einsum("bij,bi->bj", self.mean_transition(e, g[:, 0]), f)

        return self._in_blocks(block, e, g, f)

    def _in_blocks(
        self, function: Callable[..., Tensor], e: Tensor, g: Tensor, *more: Tensor
    ) -> Tensor:
        self.denoiser.eval()
        width = getattr(self.denoiser, "width", 1)  # numbers to an entry
        rows = rows_of(self.noise.shape[1] * self.table.n_classes**2 * width)
        return in_blocks(function, e, g[:, None], *more, block_rows=rows)


@dataclass(frozen=True)
class GeneratorSettings:
    """What a generator is made from, besides the matrices of the groups.

    Parameters
    ----------
    kind : {"diffusion", "regression", "group"}
    network : {"mlp", "unet", "axial"}
    representation : {"pca", "full", "sparse"}
        What stands for a matrix: principal components, all entries, or the group that
        is nearest by components.
    prediction : {"x0", "eps"}
    schedule : {"respaced", "paper"}
    n_timesteps : int
    n_draws : int
    """

    kind: str
    network: str
    representation: str
    prediction: str
    schedule: str
    n_timesteps: int
    n_draws: int

    def from_groups(
        self,
        T_groups: Tensor | SparseTransitions,
        g: Tensor,
        n_features: int,
        seed: int,
    ) -> TransitionGenerator:
        """Return an untrained generator. (K, C, C) or sparse, (n,)."""
        table = self._table(T_groups, g, seed)
        draws = torch.Generator().manual_seed(seed + DRAWS_SEED)
        shape = (self.n_timesteps + 1, self.n_draws, 1, table.n_coordinates)
        noise = torch.randn(shape, generator=draws).to(table.z)
        denoiser = self.make_denoiser(table, n_features, seed)
        return self.from_table(table, noise, denoiser.to(table.z.device))

    def _table(
        self, T_groups: Tensor | SparseTransitions, g: Tensor, seed: int
    ) -> TransitionTable | SparseTable:
        if isinstance(T_groups, SparseTransitions):
            if self.kind == "group":  # nothing is drawn
                return SparseTable(T_groups, T_groups.R.new_zeros((len(T_groups), 0)))
            share = torch.bincount(g, minlength=len(T_groups)).to(T_groups.R) / len(g)
            return sparse_table(T_groups, share, seed + COMPONENTS_SEED)
        share = torch.bincount(g, minlength=len(T_groups)).to(T_groups) / len(g)
        # A group's own matrix is given as it is, not up to the energy of a few
        # components.
        whole = self.representation == "full" or self.kind == "group"
        return (full_table if whole else principal_table)(weights_of(T_groups), share)

    def make_denoiser(
        self, table: TransitionTable | SparseTable, n_features: int, seed: int = 0
    ) -> nn.Module:
        """Return a denoiser with fresh weights."""
        if self.kind == "group" or not table.n_coordinates:
            return nn.Identity()  # where all groups are alike
        generator = torch.Generator().manual_seed(seed + DENOISER_SEED)
        denoiser: nn.Module = MATRIX_DENOISERS[self.network](
            n_features, table.n_coordinates, self.n_timesteps, DENOISER_WIDTH, generator
        )
        return denoiser

    def from_table(
        self, table: TransitionTable | SparseTable, noise: Tensor, denoiser: nn.Module
    ) -> TransitionGenerator:
        """Return a generator for a table, noise and a denoiser, all on one device."""
        process = GaussianProcess(
            make_schedule(self.schedule, self.n_timesteps),
            self.prediction,
            x0_range=table.z_range,
            device=table.z.device,
        )
        return TransitionGenerator(
            self.kind,
            table,
            denoiser,
            process,
            noise,
            from_group=self.schedule == "paper",
        )
