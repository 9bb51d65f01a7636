"""A class-conditional diffusion over inputs, read as a classifier and as a sampler.

    # x       (b, d)     clean inputs
    # eps     (..., d)   standard normal noise, the same for all classes
    # F       (b, K, d)  answers of the network under K conditions, see `edm`
    # ell_y   (b, K)     log p(x | y) up to a constant of the row            eq. (4)
    # tau_j   (T,)       levels of the posterior;  w_j their weights
    # f       (b, C)     posterior, softmax of ell / temperature + log prior

Equation numbers are those of DMIS's method page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from . import edm
from .blocks import BLOCK_ROWS, MAX_BLOCK_ENTRIES, in_blocks, rows_of
from .noise_levels import NoiseLevels, loss_weight

# F(u, c_noise, condition): (b, d), (b,), (b, K) or (b, K, C) or None -> (b, K, d)
ClassNetwork = Callable[..., Tensor]


def class_errors(F: Tensor, wanted: Tensor) -> Tensor:
    """lambda(sigma) |D_y - x|^2, summed over columns. (b, K, d), (b, d) -> (b, K).

    The sum, not the mean: a posterior of means would know next to nothing.
    """
    return (F - wanted[:, None]).square().sum(-1)


@dataclass(frozen=True)
class Reader:
    """How a posterior is read off a network: at which levels, with which noise.

    Parameters
    ----------
    sigma : Tensor of shape (T,)
        tau_j.
    weights : Tensor of shape (T,)
        w_j over lambda(tau_j), which the errors already have.
    noise : Tensor of shape (T, n_draws, d)
        Drawn once: every row is asked under the same noise, so that its answer does not
        depend on the rows around it.
    """

    sigma: Tensor
    weights: Tensor
    noise: Tensor

    @classmethod
    def of(
        cls, levels: NoiseLevels, kind: str, weighting: str, noise: Tensor
    ) -> Reader:
        """Read at the levels of a grid. (T, n_draws, d)."""
        sigma = levels.grid(len(noise), kind)
        weights = levels.weights(len(noise), kind, weighting) / loss_weight(sigma)
        return cls(sigma.to(noise), weights.to(noise), noise)

    @torch.inference_mode()
    def log_likelihood(
        self, network: ClassNetwork, x: Tensor, n_classes: int | None = None
    ) -> Tensor:
        """ell_y for all classes, in blocks. (n, d) -> (n, C). Eq. (4).

        Blocks are of rows; of classes too, where one row of all would be too large. The
        network is asked how many there are if that is not said.
        """
        if n_classes is None:
            n_classes = network(x[:1], x.new_zeros(1)).shape[1]
        # A block is padded: where every answer is a pass of its own, it holds fewer.
        answers = getattr(network, "block_answers", None)
        at_once = answers or MAX_BLOCK_ENTRIES // x[0].numel()
        if at_once >= n_classes:
            block_rows = rows_of(n_classes * x[0].numel())
            if answers is not None:
                block_rows = max(1, answers // n_classes)
            return in_blocks(
                lambda x: self._ell(network, x, None), x, block_rows=block_rows
            )
        numbers = torch.arange(n_classes, device=x.device)[None]
        parts = [
            in_blocks(partial(self._ell, network, classes=part), x, block_rows=1)
            for part in numbers.split(max(1, at_once), dim=1)
        ]
        return torch.cat(parts, dim=1)

    @torch.inference_mode()
    def log_likelihood_of(
        self, network: ClassNetwork, x: Tensor, classes: Tensor
    ) -> Tensor:
        """ell_y for some classes of each row. (n, d), (n, K) -> (n, K)."""
        rows = rows_of(classes.shape[1] * x[0].numel())
        answers = getattr(network, "block_answers", None)
        if answers is not None:
            rows = max(1, answers // classes.shape[1])
        return in_blocks(partial(self._ell, network), x, classes, block_rows=rows)

    def _ell(self, network: ClassNetwork, x: Tensor, classes: Tensor | None) -> Tensor:
        """(b, d), (b, K) or None for all -> (b, K)."""
        total = x.new_zeros(())
        for sigma, weight, draws in zip(
            self.sigma, self.weights, self.noise, strict=True
        ):
            for eps in draws:
                u, c_noise, wanted = edm.asked(x, eps, sigma.expand(len(x)))
                errors = class_errors(network(u, c_noise, classes), wanted)
                total = total - weight / len(draws) * errors
        return total


def log_posterior(ell: Tensor, log_prior: Tensor, temperature: float = 1.0) -> Tensor:
    """Log of f. (b, C), (C,) -> (b, C). Eq. (4)."""
    return torch.log_softmax(ell / temperature + log_prior, dim=-1)


@torch.inference_mode()
def sample(network: nn.Module, y: Tensor, noise: Tensor, n_steps: int) -> Tensor:
    """Draw inputs of classes y. (n,), (n, d) -> (n, d). Section 4."""

    def of_block(y: Tensor, noise: Tensor) -> Tensor:
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            sigma = sigma.expand(len(x))
            u = edm.c_in(sigma)[:, None] * x
            F = network(u, edm.c_noise(sigma), y[:, None])[:, 0]
            return edm.denoised(F, x, sigma)

        return edm.heun(denoise, noise, n_steps)

    n = getattr(network, "block_answers", BLOCK_ROWS)  # bounds the memory
    return torch.cat(list(map(of_block, y.split(n), noise.split(n))))
