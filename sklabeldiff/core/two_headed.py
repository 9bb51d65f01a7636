"""The network that CAD trains: a trunk with a head for classes and one for features.

    # h   (b, p)  what the trunk gives
    # a   (b, C)  logits
    # q   (b, r)  features of unit length, which only training needs

The trunk for rows is here; any other module that gives (b, p) will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import linear, mlp

N_PROJECTED = 128  # r, section 2 of the method page


class TwoHeaded(nn.Module):
    """Trunk, class head and projection head; what it gives are logits.

    Parameters
    ----------
    trunk : nn.Module
        (b, ...) -> (b, n_hidden).
    n_hidden, n_classes : int
    generator : torch.Generator
        Draws the first weights of the heads.
    """

    def __init__(
        self,
        trunk: nn.Module,
        n_hidden: int,
        n_classes: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.classes = linear(n_hidden, n_classes, generator)
        self.projection: nn.Module = mlp(n_hidden, [n_hidden], N_PROJECTED, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. (b, ...) -> (b, C)."""
        a: Tensor = self.classes(self.trunk(x))
        return a

    def features(self, x: Tensor) -> Tensor:
        """Features to compare. (b, ...) -> (b, r)."""
        return functional.normalize(self.projection(self.trunk(x)), dim=1)


def row_trunk(
    n_features: int, hidden: Sequence[int], generator: torch.Generator
) -> nn.Sequential:
    """Build a perceptron with batch norm. (b, d) -> (b, hidden[-1]). Section 11b."""
    layers: list[nn.Module] = []
    n_in = n_features
    for width in hidden:
        layers += [linear(n_in, width, generator), nn.BatchNorm1d(width), nn.ReLU()]
        n_in = width
    return nn.Sequential(*layers)
