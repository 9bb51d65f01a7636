"""The network that denoises an input for every class at once.

    # u        (b, d)     noisy input, scaled to variance 1
    # c_noise  (b,)       noise level, ln(sigma) / 4
    # F        (b, K, d)  answer under the condition that the row is of class k
    # H        width

What precedes the class is done once a row: classes enter before the last activation, by
a scale and a shift of the H units, so that a further class costs one product of H by d.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import linear, zero_linear

N_FREQUENCIES = 16
FREQUENCIES = (3.0, 150.0)  # of ln(sigma) / 4, whose range is 3
CLASS_SCALE = 0.5  # of first class tokens: smaller ones leave all classes alike


class NoiseEmbedding(nn.Module):
    """Sines and cosines of the noise level. (b,) -> (b, 2 N_FREQUENCIES)."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high = (math.log(f) for f in FREQUENCIES)
        # Not a weight: it has values on any default device.
        steps = torch.linspace(low, high, N_FREQUENCIES, device="cpu")
        self.register_buffer("frequencies", steps.exp(), persistent=False)

    def forward(self, c_noise: Tensor) -> Tensor:
        """(b,) -> (b, 2 N_FREQUENCIES)."""
        angle = c_noise[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class ResidualBlock(nn.Module):
    """Norm, scale and shift by the noise level, two layers. (b, H) -> (b, H)."""

    def __init__(self, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.inner = linear(hidden, hidden, generator)
        self.outer = zero_linear(hidden, hidden)

    def forward(self, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """(b, H) each -> (b, H)."""
        u = torch.addcmul(shift, self.norm(h), scale)
        return h + self.outer(functional.silu(self.inner(u)))


class ClassDenoiser(nn.Module):
    """Residual perceptron over vectors, with one answer a class.

    Parameters
    ----------
    n_features, n_classes, hidden, n_blocks : int
    generator : torch.Generator
        Draws the first weights.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        hidden: int,
        n_blocks: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embed = NoiseEmbedding()
        self.enter = linear(n_features, hidden, generator)
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden, generator) for _ in range(n_blocks)
        )
        self.norm = nn.LayerNorm(hidden)
        # Scales and shifts of all blocks and of the classes' layer, in one product.
        n_modulated = 2 * hidden * (n_blocks + 1)
        self.modulate = linear(2 * N_FREQUENCIES, n_modulated, generator)

        def tokens(centre: float) -> nn.Parameter:
            drawn = torch.randn((n_classes, hidden), generator=generator)
            return nn.Parameter(centre + CLASS_SCALE * drawn)

        self.scales, self.shifts = tokens(1.0), tokens(0.0)
        self.leave = zero_linear(hidden, n_features)

    def forward(
        self, u: Tensor, c_noise: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Denoise under each class, or under what `condition` says.

        Parameters
        ----------
        u : Tensor of shape (b, d)
        c_noise : Tensor of shape (b,)
        condition : Tensor of shape (b, K) int64 or (b, K, C) float, optional
            K classes for each row; or K mixtures of classes, whose tokens are averaged.
            None stands for all classes.

        Returns
        -------
        F : Tensor of shape (b, K, d)
        """
        scales, shifts = self.modulate(self.embed(c_noise)).chunk(2, dim=1)
        scales = (1 + scales).chunk(len(self.blocks) + 1, dim=1)
        shifts = shifts.chunk(len(self.blocks) + 1, dim=1)
        h = self.enter(u)
        for block, scale, shift in zip(self.blocks, scales, shifts, strict=False):
            h = block(h, scale, shift)
        h = torch.addcmul(shifts[-1], self.norm(h), scales[-1])[:, None]  # (b, 1, H)
        shift, scale = (select(t, condition) for t in (self.shifts, self.scales))
        F: Tensor = self.leave(functional.silu(torch.addcmul(shift, h, scale)))
        return F


def select(tokens: Tensor, condition: Tensor | None) -> Tensor:
    """Tokens of all classes, of some, or of mixtures. (C, H) -> ([b,] K, H)."""
    if condition is None:
        return tokens
    if condition.is_floating_point():
        return condition @ tokens
    return tokens[condition]
