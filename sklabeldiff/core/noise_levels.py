"""Noise levels of a diffusion over inputs: how training draws them, which ones decide.

    # sigma  standard deviation of the noise, relative to data of deviation 0.5
    # p      density of sigma in training, log-normal: ln sigma ~ N(P_mean, P_std^2)
    # F      its distribution function
    # l, r   end points of the interval in which levels are taken, F(l) + F(r) = 1

Equation numbers are those of DMIS's method page. The density and its two numbers are
EDM's [1]_, the interval is DMIS's [2]_.

.. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the Design Space of
       Diffusion-Based Generative Models", NeurIPS 2022.
.. [2] D.-D. Wu et al., "Learning Robust Diffusion Models from Imprecise Supervision",
       arXiv:2510.03016, 2025.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SIGMA_DATA = 0.5  # deviation that inputs are scaled to
P_MEAN, P_STD = -1.2, 1.2
GRIDS = ("quantile", "uniform", "log")
WEIGHTINGS = ("edm", "elbo")


@dataclass(frozen=True)
class NoiseLevels:
    """The interval of levels, how they are drawn, and grids of a few of them.

    Parameters
    ----------
    interval_length : float
        Delta, above 0. Near 0 only the median is left.
    """

    interval_length: float

    @property
    def ends(self) -> tuple[float, float]:
        """L and r: both tails outside are of equal mass. Eq. (8)."""
        length = self.interval_length
        root = math.sqrt(length**2 + 4 * math.exp(2 * P_MEAN))
        # (root - length) / 2 loses all digits where the interval is long.
        low = 2 * math.exp(2 * P_MEAN) / (root + length)
        return low, low + length

    @cached_property
    def share(self) -> tuple[float, float]:
        """F(l) and F(r)."""
        low, high = (torch.tensor(end, dtype=torch.float64) for end in self.ends)
        return distribution(low).item(), distribution(high).item()

    def draw(self, n_levels: int, n_rows: int, generator: torch.Generator) -> Tensor:
        """Draw levels for each row, one from each of equally likely parts. (T, b).

        Each follows p cut to [l, r] over the rows; together they cover it for each row.
        """
        shape, device = (n_levels, n_rows), generator.device
        part = torch.arange(n_levels, device=device)[:, None]
        u = torch.rand(shape, generator=generator, device=device)
        low, high = self.share
        return quantile(low + (part + u) / n_levels * (high - low))

    def grid(self, n_levels: int, kind: str) -> Tensor:
        """Return the levels of a posterior, float64, shape (T,). Section 3.

        "quantile" has as much of p between any two, "uniform" is equally spaced, "log"
        is so in logarithms. A single level is the median.
        """
        low, high = self.ends
        # Each level stands in the middle of its part, else the outer parts count twice.
        middle = (torch.arange(n_levels, dtype=torch.float64) + 0.5) / n_levels
        if kind == "quantile" or n_levels == 1:
            start, end = self.share
            return quantile(start + middle * (end - start))
        if kind == "uniform":
            return low + middle * (high - low)
        return low * (high / low) ** middle

    def weights(self, n_levels: int, kind: str, weighting: str) -> Tensor:
        """Weights of the squared errors of D on `grid`, float64, (T,). Eq. (4).

        "edm" is the objective that the network was trained with, the mean over p of
        lambda(sigma). "elbo" integrates sigma^-3, under which differences between
        classes are log-likelihood ratios.
        """
        sigma = self.grid(n_levels, kind)
        low, high = self.share
        p = density(sigma)
        if kind == "quantile" or n_levels == 1:
            width = (high - low) / n_levels / p
        elif kind == "uniform":
            width = torch.full_like(sigma, self.interval_length / n_levels)
        else:
            width = sigma * math.log(self.ends[1] / self.ends[0]) / n_levels
        if weighting == "elbo":
            return sigma**-3 * width
        mass = p * width
        return loss_weight(sigma) * mass / mass.sum()


def distribution(sigma: Tensor) -> Tensor:
    """F(sigma)."""
    return torch.special.ndtr((sigma.log() - P_MEAN) / P_STD)


def quantile(u: Tensor) -> Tensor:
    """Sigma with F(sigma) = u."""
    return (P_MEAN + P_STD * torch.special.ndtri(u)).exp()


def density(sigma: Tensor) -> Tensor:
    """p(sigma)."""
    z = (sigma.log() - P_MEAN) / P_STD
    return torch.exp(-(z**2) / 2) / (sigma * P_STD * math.sqrt(2 * math.pi))


def loss_weight(sigma: Tensor) -> Tensor:
    """lambda(sigma): with it the errors of all levels begin at the same size."""
    return (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
