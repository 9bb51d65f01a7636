"""Unconstrained weights behind a transition matrix, and the way back.

Section and equation numbers are those of DTM's method page.

    W   (..., C, C)  unconstrained weights
    A   (..., C, C)  positive entries, the largest of each row on the diagonal
    T   (..., C, C)  T_ij = P(noisy label j | true class i); rows sum to 1
    own (..., C)     where single rows (..., C) of such matrices have their diagonal;
                     left out for whole matrices

    A_ii = 1 + sigmoid(W_ii);  A_ij = sigmoid(W_ij);  T_ij = A_ij / sum_k A_ik      (8)

The paper prints column sums in (8), yet says that rows sum to 1 and that the diagonal
is the largest entry of its row. With column sums neither holds.

VolMinNet's own form has A_ii = 1: the extra freedom of (8) moves along the scale of a
row, which the division takes out again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Where `weights_of` aims, and the range that it clips to: logit(1e-3) = -6.9 bounds the
# tails that a diffusion over W has to model. With many classes the least entries are
# smaller, or together they would make up for much of a clean row.
DIAGONAL, LARGEST, SMALLEST, SMALLEST_ROW = 1.5, 0.98, 1e-3, 1e-2


def transition_of(W: Tensor, own: Tensor | None = None) -> Tensor:
    """T of weights, (8). (..., C, C) -> (..., C, C)."""
    A = torch.sigmoid(W) + (_eye(W) if own is None else own.to(W))
    return A / A.sum(-1, keepdim=True)


def volmin_transition(W: Tensor) -> Tensor:
    """T in VolMinNet's form, A_ii = 1. (..., C, C) -> (..., C, C)."""
    eye = _eye(W)
    A = torch.sigmoid(W) * (1 - eye) + eye
    return A / A.sum(-1, keepdim=True)


def initial_weight(n_classes: int) -> float:
    """Weight in every entry at which VolMinNet's form has T_ii = 1/2.

    T_ii = 1/2 needs (C - 1) sigmoid(w) = 1. With two classes that is w = infinity, and
    VolMinNet's value for ten is taken.
    """
    return -math.log(n_classes - 2) if n_classes > 2 else -2.0


def weights_of(T: Tensor, own: Tensor | None = None) -> Tensor:
    """W whose (8) is T, or is near it. (..., C, C) -> (..., C, C).

    Exact where T_ii is 5 % above the rest of its row and no entry is below T_ii / 1000
    (or, with more than ten classes, T_ii / (100 C));
    elsewhere the nearest values in range, whose T still has its largest entries on the
    diagonal.
    """
    eye = _eye(T) if own is None else own.to(T)
    diagonal = (T * eye).amax(-1, keepdim=True)
    rest = (T * (1 - eye)).amax(-1, keepdim=True)
    scale = DIAGONAL / diagonal
    scale = torch.where(scale * rest > LARGEST, LARGEST / rest, scale)
    smallest = min(SMALLEST, SMALLEST_ROW / T.shape[-1])
    off = (scale * T).clamp(smallest, LARGEST)
    on = (scale * T).clamp(2 - LARGEST, 1 + LARGEST) - 1
    return torch.where(eye.bool(), on, off).logit()


def _eye(W: Tensor) -> Tensor:
    return torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
