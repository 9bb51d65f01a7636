"""Classifiers of true labels that learn from wrong ones through transition matrices.

    f     (b, C)  P(true class | x), the softmax of a network
    V     (b, C)  what was given, see `group_transitions`
    T     (C, C)  T_ij = P(given j | true i)
    c     (b, C)  columns: c_i = sum_j T_ij V_j, how well true class i explains the row

Forward correction:  loss = -log sum_i f_i c_i                                       (7)

Only c enters, never T(x) itself: the same number, at n x C instead of n x C x C. With
one label a row c is a column of T; with a candidate set it is a sum of columns; an
unlabelled row has c = 1 and loss 0.

VolMinNet: T is learnt with the network, and of all T that explain the labels the one
of least volume is preferred:  loss = (7) + lambda log|det T|            (section 3.1)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .training import SPARED_BIASES
from .transition_weights import initial_weight, volmin_transition

MIN_PROBABILITY = 1e-12
TRANSITION_RATE = 10.0  # times the network's learning rate, as released: .01 and .001
PARAMETER_GROUPS = [
    *SPARED_BIASES,
    ("W", {"weight_decay": 0.0, "lr_scale": TRANSITION_RATE}),
]


def forward_loss(z: Tensor, c: Tensor) -> Tensor:
    """Loss (7) of each row from the network's logits. (b, C), (b, C) -> (b,)."""
    return -(z.log_softmax(1) + c.clamp(min=MIN_PROBABILITY).log()).logsumexp(1)


def columns_of(T: Tensor, V: Tensor) -> Tensor:
    """Columns of one matrix, or of a matrix a row. (C, C) or (b, C, C) -> (b, C)."""
    return V @ T.T if T.dim() == 2 else torch.einsum("bij,bj->bi", T, V)


def label_posterior(f: Tensor, c: Tensor) -> Tensor:
    """P(true class | x, what was given), rows of f o c normalised. (b, C) x2."""
    joint = f * c.clamp(min=MIN_PROBABILITY)
    return joint / joint.sum(1, keepdim=True)


class VolumeMinimisation(nn.Module):
    """VolMinNet: a network and one transition matrix, learnt together.

    Parameters
    ----------
    network : nn.Module
        (b, p) -> (b, C) logits.
    n_classes : int
    """

    def __init__(self, network: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.network = network
        first = initial_weight(n_classes)
        self.W = nn.Parameter(torch.full((n_classes, n_classes), first))

    def transition(self) -> Tensor:
        """T, rows sum to 1. (C, C)."""
        return volmin_transition(self.W)

    def forward(self, x: Tensor, V: Tensor) -> Tensor:
        """Forward-corrected loss of each row. (b, p), (b, C) -> (b,)."""
        return forward_loss(self.network(x), columns_of(self.transition(), V))

    def volume(self) -> Tensor:
        """log|det T|, at most 0."""
        return torch.linalg.slogdet(self.transition()).logabsdet
