"""The networks that denoise label vectors.

s      (b, C)  noisy label vector S_t
c      (b, p)  condition: the features of the row
f      (b, C)  prior mean of the row
t      (b,)    diffusion step, 1..L
H      width of a hidden layer;  D width of a token

A denoiser has two parts. ``condition(c, f)`` is what rows contribute: it does not
depend on the step, and a chain of steps computes it once. ``denoise(s, t, condition)``
is what a step adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import linear, zero_linear

N_FEATURE_TOKENS = 8  # with one, attention over the features is a constant
N_HEADS = 4
N_BLOCKS = 2
MAX_CLASSES_FOR_SELF_ATTENTION = 200  # its cost grows with the square of the classes
STEP_EMBEDDING_SCALE = 0.3

Condition = tuple[Tensor, ...]


class StepGate(nn.Module):
    """Linear layer, gated by step and normalised: norm(gamma_t o (A u + b))."""

    def __init__(
        self, n_in: int, n_out: int, n_timesteps: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.linear = linear(n_in, n_out, generator)
        gates = torch.rand((n_timesteps + 1, n_out), generator=generator)
        self.gates = nn.Parameter(gates)

    def rest(self, u: Tensor) -> Tensor:
        """Apply the last columns of the weights, and the bias. (b, m) -> (b, n_out)."""
        weight = self.linear.weight[:, -u.shape[1] :]
        return functional.linear(u, weight, self.linear.bias)

    def with_rest(self, u: Tensor, rest: Tensor) -> Tensor:
        """Apply the layer to the first columns of u, given `rest`. (b, n_in - m)."""
        weight = self.linear.weight[:, : u.shape[1]]
        return torch.addmm(rest, u, weight.t())

    def normalised(self, Au: Tensor, t: Tensor, norm: nn.BatchNorm1d) -> Tensor:
        """norm(gamma_t o Au). (b, n_out), (b,) or (1,) -> (b, n_out).

        Once the statistics are fixed, gate and norm are one scale and one shift.
        """
        # Half the time of gates[t] to learn, and on a GPU it repeats bit by bit.
        gates = functional.embedding(t, self.gates)
        if norm.training:
            return norm(gates * Au)
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        shift = norm.bias - mean * scale
        return torch.addcmul(shift, gates * scale, Au)


class Denoiser(nn.Module, ABC):
    """A network that denoises labels of rows."""

    @abstractmethod
    def condition(self, c: Tensor, f: Tensor) -> Condition:
        """Return what does not depend on the step. (b, p), (b, C)."""

    @abstractmethod
    def denoise(self, s: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(b, C), (b,), `condition` of the same rows -> (b, C)."""

    def forward(self, s: Tensor, t: Tensor, c: Tensor, f: Tensor) -> Tensor:
        """(b, C), (b,), (b, p), (b, C) -> (b, C)."""
        return self.denoise(s, t, self.condition(c, f))


class GatedDenoiser(Denoiser):
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

    def condition(self, c: Tensor, f: Tensor) -> Condition:
        """Embedding (b, H), and what prior mean and features add to layer 1 (b, H)."""
        first, _ = self._layers()[0]
        return self.embed(c), first.rest(torch.cat([f, c], dim=1))

    def denoise(self, s: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(b, C), (b,), `condition` of the same rows -> (b, C)."""
        z, rest = condition
        (gate, norm), *deeper = self._layers()
        h = z * functional.softplus(gate.normalised(gate.with_rest(s, rest), t, norm))
        for gate, norm in deeper:
            h = functional.softplus(gate.normalised(gate.linear(h), t, norm))
        return self.out(h)

    def _layers(self) -> list[tuple[StepGate, nn.BatchNorm1d]]:
        layers = zip(self.gates, self.norms, strict=True)
        return cast(list[tuple[StepGate, nn.BatchNorm1d]], list(layers))


class Attention(nn.Module):
    """Multi-head attention with weights from `generator`."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.query = linear(width, width, generator)
        self.key = linear(width, width, generator)
        self.value = linear(width, width, generator)
        self.out = linear(width, width, generator)

    def memory(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens v. (b, G, D) -> (b, heads, G, d) each."""
        return _heads(self.key(v)), _heads(self.value(v))

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """Tokens u look at tokens v. (b, Q, D), (b, G, D) -> (b, Q, D)."""
        return self.look(u, *self.memory(v))

    def look(self, u: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens u look at a `memory`. (b, Q, D) -> (b, Q, D)."""
        looked = functional.scaled_dot_product_attention(
            _heads(self.query(u)), keys, values
        )
        return self.out(looked.transpose(1, 2).flatten(2))


def _heads(x: Tensor) -> Tensor:
    """(b, Q, D) -> (b, heads, Q, d)."""
    return x.unflatten(-1, (N_HEADS, -1)).transpose(1, 2)


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

    def forward(self, u: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Class tokens (b, C, D), `Attention.memory` of the features -> (b, C, D)."""
        if self.among is not None:
            own = self.norms[0](u)
            u = u + self.among(own, own)
        u = u + self.across.look(self.norms[1](u), keys, values)
        return u + self.think(self.norms[2](u))


class AttentionDenoiser(Denoiser):
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

    def condition(self, c: Tensor, f: Tensor) -> Condition:
        """Class tokens (b, C, D); keys and values of the features, for each block."""
        tokens = self.classes + f[..., None] * self.prior
        v = self.features(c).unflatten(-1, (N_FEATURE_TOKENS, -1))
        v = self.feature_norm(v)  # (b, G, D)
        memories = (cast(AttentionBlock, b).across.memory(v) for b in self.blocks)
        return tokens, *chain.from_iterable(memories)

    def denoise(self, s: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(b, C), (b,), `condition` of the same rows -> (b, C)."""
        tokens, *memory = condition
        keys, values = memory[::2], memory[1::2]
        u = tokens + s[..., None] * self.label + self.steps[t][:, None]
        for block, *pair in zip(self.blocks, keys, values, strict=True):
            u = block(u, *pair)
        return self.out(self.out_norm(u)).squeeze(-1)


DENOISERS: dict[str, type[Denoiser]] = {
    "gated": GatedDenoiser,
    "attention": AttentionDenoiser,
}


def make_denoiser(
    network: str,
    n_features: int,
    n_classes: int,
    n_timesteps: int,
    hidden: int,
    generator: torch.Generator,
) -> Denoiser:
    """Build the denoiser called ``network``, on the CPU."""
    kind = DENOISERS[network]
    return kind(n_features, n_classes, n_timesteps, hidden, generator)
