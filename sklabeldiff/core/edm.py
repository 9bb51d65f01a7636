"""Diffusion over inputs after EDM: what the network sees and says, and the sampler.

    # x      (..., d)  clean inputs, of deviation sigma_d = 0.5
    # x_t    (..., d)  noisy ones, x + sigma eps
    # F      (..., d)  what the network says
    # D      (..., d)  the denoised input, c_skip x_t + c_out F
    # sigma  (...)     noise level

The network is asked for the part of x that its input does not show, in units in which
it has variance 1. In these units the weighted error of D is the plain error of F,

    lambda(sigma) |D - x|^2 = |F - (x - c_skip x_t) / c_out|^2

since lambda c_out^2 = 1: `wanted` is that target, and no loss needs lambda or D. Under
weights that sum to 1 over classes, the mixture of denoisers is the mixture of their F.

.. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the Design Space of
       Diffusion-Based Generative Models", NeurIPS 2022: Table 1, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from .noise_levels import SIGMA_DATA

# Table 1: noise levels of the sampler.
SIGMA_MAX, SIGMA_MIN, RHO = 80.0, 0.002, 7.0

# D(x_t, sigma): (..., d), scalar -> (..., d)
Denoise = Callable[[Tensor, Tensor], Tensor]


def c_skip(sigma: Tensor) -> Tensor:
    """Share of x_t in D."""
    return SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2)


def c_out(sigma: Tensor) -> Tensor:
    """Scale of F in D."""
    return sigma * SIGMA_DATA / (sigma**2 + SIGMA_DATA**2).sqrt()


def c_in(sigma: Tensor) -> Tensor:
    """Scale that gives x_t variance 1."""
    return 1 / (sigma**2 + SIGMA_DATA**2).sqrt()


def c_noise(sigma: Tensor) -> Tensor:
    """Noise level as the network is told it."""
    return sigma.log() / 4


def asked(x: Tensor, eps: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the network sees of noisy inputs, and what F should be.

    (..., d), (..., d), (...) -> u (..., d), c_noise (...), wanted (..., d).
    """
    x_t = x + sigma[..., None] * eps
    return c_in(sigma)[..., None] * x_t, c_noise(sigma), wanted(x, x_t, sigma)


def wanted(x: Tensor, x_t: Tensor, sigma: Tensor) -> Tensor:
    """Return what F should be. (..., d), (..., d), (...) -> (..., d)."""
    sigma = sigma[..., None]
    return (x - c_skip(sigma) * x_t) / c_out(sigma)


def denoised(F: Tensor, x_t: Tensor, sigma: Tensor) -> Tensor:
    """D from F. (..., d), (..., d), (...) -> (..., d)."""
    sigma = sigma[..., None]
    return c_skip(sigma) * x_t + c_out(sigma) * F


def sampler_levels(n_steps: int) -> Tensor:
    """Levels from noise to data, float64, (n_steps + 1,); the last is 0. Eq. 5."""
    share = torch.linspace(0, 1, n_steps, dtype=torch.float64)
    start, end = SIGMA_MAX ** (1 / RHO), SIGMA_MIN ** (1 / RHO)
    levels = (start + share * (end - start)) ** RHO
    return torch.cat([levels, levels.new_zeros(1)])


def heun(denoise: Denoise, noise: Tensor, n_steps: int) -> Tensor:
    """Follow the noise back to data, deterministically. Algorithm 1.

    Parameters
    ----------
    denoise : callable
        ``denoise(x, sigma)`` with x (..., d) and sigma a scalar; D for each row.
    noise : Tensor of shape (..., d)
        Standard normal: where the paths start.
    n_steps : int
        The network is called 2 n_steps - 1 times.

    Returns
    -------
    Tensor of shape (..., d)
    """
    levels = sampler_levels(n_steps).to(noise.device, noise.dtype)
    x = levels[0] * noise
    for sigma, after in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (after - sigma) * slope
        if after > 0:
            slope = (slope + (euler - denoise(euler, after)) / after) / 2
        x = x + (after - sigma) * slope
    return x
