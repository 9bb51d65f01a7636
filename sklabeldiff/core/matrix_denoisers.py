"""The networks that denoise transition weights, given a row's features.

    z   (..., b, r)  noisy coordinates of the weights; r = C^2 for "unet" and "axial"
    t   (..., b)     diffusion step, 1..L
    e   (b, p)       features of the row
    H   width of a hidden layer;  D width of a token or a channel

Leading axes of z are draws, which share their row's features: what a network computes
from e alone is computed once for all of them.

The paper names a U-Net and nothing else. The order of the classes is arbitrary, so
that convolutions over a matrix see neighbours that are none; "mlp" and "axial" do not
(section 5.4 of DTM's method page; all sizes are ours).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .denoisers import Attention
from .layers import convolution, linear, zero_linear

N_BLOCKS = 2
STEP_SCALE = 0.3
CHANNELS = (32, 64, 128)  # of the U-Net, halving the matrix from one to the next
N_NORM_GROUPS = 8
AXIAL_WIDTH = 32


def _steps(n_timesteps: int, width: int, generator: torch.Generator) -> nn.Parameter:
    """Embedding of each step. (L + 1, H)."""
    drawn = torch.randn((n_timesteps + 1, width), generator=generator)
    return nn.Parameter(STEP_SCALE * drawn)


class MLPBlock(nn.Module):
    """u + SiLU( A u o (1 + B e) + C m ) for the embedding m of the step."""

    def __init__(self, n_features: int, hidden: int, gen: torch.Generator) -> None:
        super().__init__()
        self.inner = linear(hidden, hidden, gen)
        self.scale = linear(n_features, hidden, gen)
        self.shift = linear(hidden, hidden, gen)

    def forward(self, u: Tensor, m: Tensor, e: Tensor) -> Tensor:
        """(..., b, H), (..., b, H), (b, p) -> (..., b, H)."""
        gated = self.inner(u) * (1 + self.scale(e)) + self.shift(m)
        return u + functional.silu(gated)


class MLPDenoiser(nn.Module):
    """Residual perceptron on coordinates; makes no use of rows and columns."""

    def __init__(
        self,
        n_features: int,
        n_coordinates: int,
        n_timesteps: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.state = linear(n_coordinates, hidden, generator)
        self.features = linear(n_features, hidden, generator)
        self.steps = _steps(n_timesteps, hidden, generator)
        self.blocks = nn.ModuleList(
            MLPBlock(n_features, hidden, generator) for _ in range(N_BLOCKS)
        )
        self.out = zero_linear(hidden, n_coordinates)

    def forward(self, z: Tensor, t: Tensor, e: Tensor) -> Tensor:
        """(..., b, r), (..., b), (b, p) -> (..., b, r)."""
        m = self.steps[t]
        u = functional.silu(self.state(z) + self.features(e) + m)
        for block in self.blocks:
            u = block(u, m, e)
        return self.out(u)


class ConvolutionBlock(nn.Module):
    """Two convolutions around a scale and a shift by the condition."""

    def __init__(
        self, n_in: int, n_out: int, n_condition: int, gen: torch.Generator
    ) -> None:
        super().__init__()
        self.first = convolution(n_in, n_out, gen)
        self.second = convolution(n_out, n_out, gen)
        self.norms = nn.ModuleList(nn.GroupNorm(N_NORM_GROUPS, n_out) for _ in "12")
        self.film = linear(n_condition, 2 * n_out, gen)
        self.skip = convolution(n_in, n_out, gen, size=1)

    def forward(self, u: Tensor, m: Tensor) -> Tensor:
        """(b, D_in, C, C), (b, H) -> (b, D_out, C, C)."""
        scale, shift = self.film(m)[..., None, None].chunk(2, dim=1)
        h = functional.silu(self.norms[0](self.first(u)) * (1 + scale) + shift)
        return self.skip(u) + functional.silu(self.norms[1](self.second(h)))


class UNetDenoiser(nn.Module):
    """Small U-Net over the matrix, padded so that it halves twice."""

    def __init__(
        self,
        n_features: int,
        n_coordinates: int,
        n_timesteps: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        gen = generator
        self.width = CHANNELS[0]
        self.n_classes = math.isqrt(n_coordinates)
        self.steps = _steps(n_timesteps, hidden, gen)
        self.features = linear(n_features, hidden, gen)
        low, mid, top = CHANNELS
        self.down = nn.ModuleList(
            ConvolutionBlock(n_in, n_out, hidden, gen)
            for n_in, n_out in ((1, low), (low, mid), (mid, top))
        )
        self.up = nn.ModuleList(
            ConvolutionBlock(n_in, n_out, hidden, gen)
            for n_in, n_out in ((top + mid, mid), (mid + low, low))
        )
        self.out = convolution(low, 1, gen, size=1)
        for weights in self.out.parameters():
            nn.init.zeros_(weights)

    def forward(self, z: Tensor, t: Tensor, e: Tensor) -> Tensor:
        """(..., b, C^2), (..., b), (b, p) -> (..., b, C^2)."""
        C = self.n_classes
        m = functional.silu(self.steps[t] + self.features(e)).flatten(0, -2)
        u = z.reshape(-1, 1, C, C)
        missing = -C % 4
        u = functional.pad(u, (0, missing, 0, missing))
        first = self.down[0](u, m)
        second = self.down[1](functional.avg_pool2d(first, 2), m)
        u = self.down[2](functional.avg_pool2d(second, 2), m)
        for block, skip in zip(self.up, (second, first), strict=True):
            u = functional.interpolate(u, scale_factor=2, mode="nearest")
            u = block(torch.cat([u, skip], dim=1), m)
        return self.out(u)[..., :C, :C].reshape(z.shape)


class AxialBlock(nn.Module):
    """Entries look along their row, then along their column, then think."""

    def __init__(self, width: int, n_condition: int, gen: torch.Generator) -> None:
        super().__init__()
        self.film = linear(n_condition, 2 * width, gen)
        self.along = Attention(width, gen)
        self.across = Attention(width, gen)
        self.think = nn.Sequential(
            linear(width, 2 * width, gen), nn.SiLU(), linear(2 * width, width, gen)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, u: Tensor, m: Tensor) -> Tensor:
        """(b, C, C, D), (b, H) -> (b, C, C, D)."""
        scale, shift = self.film(m)[:, None, None].chunk(2, dim=-1)
        own = self.norms[0](u) * (1 + scale) + shift
        u = u + self._look(self.along, own)
        turned = self.norms[1](u).transpose(1, 2)
        u = u + self._look(self.across, turned).transpose(1, 2)
        return u + self.think(self.norms[2](u))

    @staticmethod
    def _look(attention: nn.Module, u: Tensor) -> Tensor:
        """Entries of a row look at each other. (b, C, C, D) -> (b, C, C, D)."""
        rows = u.flatten(0, 1)
        return attention(rows, rows).unflatten(0, u.shape[:2])


class AxialDenoiser(nn.Module):
    """Attention along the rows and along the columns of the matrix.

    Classes are told apart by learnt embeddings of row and column; renaming the classes
    permutes those, so that no order is implied.
    """

    def __init__(
        self,
        n_features: int,
        n_coordinates: int,
        n_timesteps: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        gen, width = generator, AXIAL_WIDTH
        self.width = width
        n_classes = math.isqrt(n_coordinates)
        self.classes = nn.Parameter(torch.randn((2, n_classes, width), generator=gen))
        self.entry = linear(1, width, gen)
        self.steps = _steps(n_timesteps, hidden, gen)
        self.features = linear(n_features, hidden, gen)
        self.blocks = nn.ModuleList(
            AxialBlock(width, hidden, gen) for _ in range(N_BLOCKS)
        )
        self.out = zero_linear(width, 1)

    def forward(self, z: Tensor, t: Tensor, e: Tensor) -> Tensor:
        """(..., b, C^2), (..., b), (b, p) -> (..., b, C^2)."""
        C = self.classes.shape[1]
        m = functional.silu(self.steps[t] + self.features(e)).flatten(0, -2)
        u = self.entry(z.reshape(-1, C, C, 1))  # (b, C, C, D)
        u = u + self.classes[0][:, None] + self.classes[1]
        for block in self.blocks:
            u = block(u, m)
        return self.out(u).reshape(z.shape)


MATRIX_DENOISERS = {"mlp": MLPDenoiser, "unet": UNetDenoiser, "axial": AxialDenoiser}
