"""Losses of candidate sets whose weights come from a teacher's answers.

    # a       (b, C)  logits of the student
    # z       (b, C)  logits of the teacher; carry no gradient
    # V       (b, C)  what was given: weights of the candidates, 0 for the others
    # omega   (b, C)  shares among the candidates, and among the others    eq. (2)
    # t       (b, C)  target of DIRK; rows sum to 1

Equation numbers are those of CAD's method page. A loss is one number a row.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# (a, z, V) -> (b,)
CandidateLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def confidence(z: Tensor, V: Tensor) -> Tensor:
    """Omega: softmax of the candidates, and softmax of the others. (b, C) each.

    Each sums to 1, or to 0 where there are no others. Weights that are not 0 or 1
    multiply the teacher's probabilities.
    """
    inside = torch.softmax(z + V.log(), dim=1)
    return torch.where(V > 0, inside, _shares_outside(z, V))


def _shares_outside(z: Tensor, V: Tensor) -> Tensor:
    """Softmax of what is no candidate; rows of 0 where all are. (b, C) each."""
    is_full = (V > 0).all(1, keepdim=True)
    # A row without any entry would be 0 / 0.
    outside = z.masked_fill((V > 0) & ~is_full, -torch.inf).softmax(1)
    return outside.masked_fill(is_full, 0.0)


def log_complement(a: Tensor) -> Tensor:
    """Log of 1 - p, for p the softmax of a. (b, C) -> (b, C).

    Exact, and with bounded gradients, for p up to 1: the largest p is left out of the
    sum in place of being subtracted from 1. So nothing needs a clamp, at which a row
    that is as wrong as can be would stop to learn.
    """
    top = torch.zeros_like(a, dtype=torch.bool).scatter_(1, a.argmax(1, True), True)
    p = a.softmax(1).masked_fill(top, 0.0)  # at most 1/2: no gradient of log(0)
    of_top = a.masked_fill(top, -torch.inf).logsumexp(1, True) - a.logsumexp(1, True)
    return torch.where(top, of_top, torch.log1p(-p))


def adjusted_loss(a: Tensor, z: Tensor, V: Tensor) -> Tensor:
    """L_dis: confident candidates are pulled up, confident others down. Eq. (2)."""
    omega = confidence(z, V)
    log_p = torch.where(V > 0, a.log_softmax(1), log_complement(a))
    return -(omega * log_p).sum(1)


def progressive_loss(a: Tensor, z: Tensor, V: Tensor) -> Tensor:
    """Eq. (2) without what is outside the set: PRODEN's loss."""
    target = torch.softmax(z + V.log(), dim=1)
    return -(target * a.log_softmax(1)).sum(1)


def uniform_loss(a: Tensor, z: Tensor, V: Tensor) -> Tensor:
    """Cross-entropy with the given weights; the teacher is not asked."""
    return -(V / V.sum(1, keepdim=True) * a.log_softmax(1)).sum(1)


def dirk_target(z: Tensor, V: Tensor) -> Tensor:
    """T: mass on both sides, such that no other exceeds a candidate. (b, C) each.

    Section 8 (a): with pbar, nbar the shares inside and outside, M = 1 / sum_S p,
    t = alpha pbar + (1 - alpha) nbar, alpha = M max(nbar) / (M max(nbar) + min(pbar)).
    """
    is_in = V > 0
    p = z.softmax(1)
    pbar = torch.softmax(z + V.log(), dim=1)
    nbar = _shares_outside(z, V)
    # M max(nbar) as 1 / (1 + x): M overflows where candidates have next to no mass.
    least = pbar.masked_fill(~is_in, torch.inf).amin(1, keepdim=True)
    most = nbar.amax(1, keepdim=True)
    x = (p * is_in).sum(1, keepdim=True) * least / most
    alpha = torch.where(most > 0, 1 / (1 + x), 1.0)  # of a full row: all of it
    return torch.where(is_in, alpha * pbar, (1 - alpha) * nbar)


def dirk_loss(a: Tensor, z: Tensor, V: Tensor) -> Tensor:
    """Cross-entropy with DIRK's target."""
    return -(dirk_target(z, V) * a.log_softmax(1)).sum(1)


CANDIDATE_LOSSES: dict[str, CandidateLoss] = {
    "adjusted": adjusted_loss,
    "progressive": progressive_loss,
    "uniform": uniform_loss,
    "dirk": dirk_loss,
}
