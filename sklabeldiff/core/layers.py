"""Layers whose first weights come from an explicit generator.

Never from torch's global stream, so that two fits in two threads do not disturb each
other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def _empty(kind: type[Layer], *args: int, **kwargs: int) -> Layer:
    """Return a layer without a draw of weights, on the default device."""
    device = torch.get_default_device()
    return nn.utils.skip_init(kind, *args, device=device, **kwargs)


def linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Return torch's linear layer with torch's initial values, from `generator`."""
    layer = _empty(nn.Linear, n_in, n_out)
    bound = 1 / math.sqrt(n_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def zero_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a last layer that says 0 at first, and so repeats the prior mean."""
    layer = _empty(nn.Linear, n_in, n_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def convolution(
    n_in: int, n_out: int, generator: torch.Generator, size: int = 3
) -> nn.Conv2d:
    """Return torch's layer, padded to keep the size, with torch's initial values."""
    layer = _empty(nn.Conv2d, n_in, n_out, size, padding=size // 2)
    bound = 1 / math.sqrt(n_in * size**2)
    with torch.no_grad():
        for weights in layer.parameters():
            weights.uniform_(-bound, bound, generator=generator)
    return layer


def mlp(
    n_features: int, hidden: Iterable[int], n_classes: int, generator: torch.Generator
) -> nn.Sequential:
    """Build a perceptron with ReLU between its layers. (b, p) -> (b, C)."""
    layers: list[nn.Module] = []
    n_in = n_features
    for width in hidden:
        layers += [linear(n_in, width, generator), nn.ReLU()]
        n_in = width
    return nn.Sequential(*layers, linear(n_in, n_classes, generator))
