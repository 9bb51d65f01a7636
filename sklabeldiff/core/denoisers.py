"""The networks that denoise label vectors.

s      (b, C)  noisy label vector S_t
c      (b, p)  condition: the features of the row
f      (b, C)  prior mean of the row
t      (b,)    diffusion step, 1..L
H      width of a hidden layer;  D width of a token
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import linear, zero_linear

N_FEATURE_TOKENS = 8  # with one, attention over the features is a constant
N_HEADS = 4
N_BLOCKS = 2
MAX_CLASSES_FOR_SELF_ATTENTION = 200  # its cost grows with the square of the classes
STEP_EMBEDDING_SCALE = 0.3


class StepGate(nn.Module):
    """Linear layer scaled by a learned gate per step: gamma_t o (A u + b)."""

    def __init__(
        self, n_in: int, n_out: int, n_timesteps: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.linear = linear(n_in, n_out, generator)
        gates = torch.rand((n_timesteps + 1, n_out), generator=generator)
        self.gates = nn.Parameter(gates)

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        """(b, n_in), (b,) -> (b, n_out)."""
        return self.gates[t] * self.linear(u)


class GatedDenoiser(nn.Module):
    """LRA's network: label and features, gated by step, times an embedding of the row.

    After the conditional model of LRA-diffusion (Chen et al., NeurIPS 2023); the
    second image network there is a trained two-layer perceptron here.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_timesteps: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            linear(n_features, hidden, generator),
            nn.ReLU(),
            linear(hidden, hidden, generator),
            nn.BatchNorm1d(hidden),
        )
        widths = [2 * n_classes + n_features, hidden, hidden]
        self.gates = nn.ModuleList(
            StepGate(n_in, hidden, n_timesteps, generator) for n_in in widths
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in widths)
        self.out = zero_linear(hidden, n_classes)

    def forward(self, s: Tensor, t: Tensor, c: Tensor, f: Tensor) -> Tensor:
        """(b, C), (b,), (b, p), (b, C) -> (b, C)."""
        z = self.embed(c)
        h = torch.cat([s, f, c], dim=1)
        for depth, (gate, norm) in enumerate(zip(self.gates, self.norms, strict=True)):
            h = functional.softplus(norm(gate(h, t)))
            h = z * h if depth == 0 else h
        return self.out(h)


class Attention(nn.Module):
    """Multi-head attention with weights from `generator`."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.query = linear(width, width, generator)
        self.key = linear(width, width, generator)
        self.value = linear(width, width, generator)
        self.out = linear(width, width, generator)

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Tokens u look at tokens v. (b, Q, D), (b, G, D) -> (b, Q, D)."""

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (N_HEADS, -1)).transpose(1, 2)  # (b, heads, Q, d)

        looked = functional.scaled_dot_product_attention(
            heads(self.query(u)), heads(self.key(v)), heads(self.value(v))
        )
        return self.out(looked.transpose(1, 2).flatten(2))


class AttentionBlock(nn.Module):
    """Class tokens look at each other, then at the features, then think."""

    def __init__(self, width: int, self_attention: bool, gen: torch.Generator) -> None:
        super().__init__()
        self.among = Attention(width, gen) if self_attention else None
        self.across = Attention(width, gen)
        self.think = nn.Sequential(
            linear(width, 2 * width, gen),
            nn.GELU(),
            linear(2 * width, width, gen),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(b, C, D), (b, G, D) -> (b, C, D)."""
        if self.among is not None:
            own = self.norms[0](u)
            u = u + self.among(own, own)
        u = u + self.across(self.norms[1](u), v)
        return u + self.think(self.norms[2](u))


class AttentionDenoiser(nn.Module):
    """Cross-attention between class tokens and feature tokens, as DDMP describes it.

    Sizes are not in the paper; this is a reconstruction.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        n_timesteps: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        width = max(N_HEADS, hidden // 4)  # hidden=256 gives the 64 of the method page

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator))

        # Class tokens start large: small ones drown in the step embedding.
        self.classes = normal(n_classes, width)
        self.label, self.prior = normal(width), normal(width)
        self.steps = normal(n_timesteps + 1, width)
        self.steps.data *= STEP_EMBEDDING_SCALE
        self.features = linear(n_features, N_FEATURE_TOKENS * width, generator)
        self.feature_norm = nn.LayerNorm(width)
        among = n_classes <= MAX_CLASSES_FOR_SELF_ATTENTION
        self.blocks = nn.ModuleList(
            AttentionBlock(width, among, generator) for _ in range(N_BLOCKS)
        )
        self.out_norm = nn.LayerNorm(width)
        self.out = zero_linear(width, 1)

    def forward(self, s: Tensor, t: Tensor, c: Tensor, f: Tensor) -> Tensor:
        """(b, C), (b,), (b, p), (b, C) -> (b, C)."""
        labels = s[..., None] * self.label + f[..., None] * self.prior  # (b, C, D)
        u = self.classes + labels + self.steps[t][:, None]
        v = self.features(c).unflatten(-1, (N_FEATURE_TOKENS, -1))
        v = self.feature_norm(v)  # (b, G, D)
        for block in self.blocks:
            u = block(u, v)
        return self.out(self.out_norm(u)).squeeze(-1)


DENOISERS = {"gated": GatedDenoiser, "attention": AttentionDenoiser}


def make_denoiser(
    network: str,
    n_features: int,
    n_classes: int,
    n_timesteps: int,
    hidden: int,
    generator: torch.Generator,
) -> nn.Module:
    """Build the denoiser called ``network``, on the CPU."""
    kind = DENOISERS[network]
    return kind(n_features, n_classes, n_timesteps, hidden, generator)
