"""Contrast of versions of rows that were made for the same class.

    # q    (N, r)  features of the versions by the student; unit length
    # v    (M, r)  features they are compared with: q itself, keys of the teacher, queue
    # d    (N, C)  the teacher's logits of a version
    # g    (N,)    class that a version was made for
    # tau, tau_w   temperatures of the features and of the weights

Equation numbers are those of CAD's method page. The paper calls a version of row i for
class s x_i^(s).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

TAU_0 = 0.07  # of the factor tau / tau_0, which the paper leaves out and its code has


@dataclass(frozen=True)
class Keys:
    """What features are compared with.

    Parameters
    ----------
    v : Tensor of shape (m, r)
    d : Tensor of shape (m, C)
    g : Tensor of shape (m,), int64
    V : Tensor of shape (m, C)
        What was given for their rows.
    """

    v: Tensor
    d: Tensor
    g: Tensor
    V: Tensor


class KeyQueue:
    """The newest keys of the teacher: empty at first, never more than ``size``.

    A new key takes the place of the oldest.
    """

    def __init__(self, size: int, n_columns: int, n_classes: int, like: Tensor) -> None:
        self.size = size
        self.n_seen = 0
        self._keys = Keys(
            like.new_zeros((size, n_columns)),
            like.new_zeros((size, n_classes)),
            torch.zeros(size, dtype=torch.int64, device=like.device),
            like.new_zeros((size, n_classes)),
        )

    def __len__(self) -> int:
        """Return the number of keys."""
        return min(self.n_seen, self.size)

    def keys(self) -> Keys:
        """All keys, in no order of their age."""
        held = slice(len(self))
        return Keys(*(part[held] for part in self._parts()))

    def push(self, new: Keys) -> None:
        """Take in keys; of more than ``size`` the last ones."""
        n_new = len(new.g)
        first = max(0, n_new - self.size)
        ages = torch.arange(first, n_new, device=new.g.device) + self.n_seen
        places = ages % self.size
        for held, part in zip(self._parts(), _parts(new), strict=True):
            held[places] = part[first:].detach()
        self.n_seen += n_new

    def _parts(self) -> tuple[Tensor, ...]:
        return _parts(self._keys)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later."""
        return {"n_seen": self.n_seen, "parts": self._parts()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.n_seen = state["n_seen"]
        for held, part in zip(self._parts(), state["parts"], strict=True):
            held.copy_(part)


def _parts(keys: Keys) -> tuple[Tensor, ...]:
    return keys.v, keys.d, keys.g, keys.V


def alignment_weights(
    d: Tensor, contrast: Tensor, positive: Tensor, tau_w: float
) -> Tensor:
    """W: shares of an anchor's positives, by the cosine of their logits.

    (N, C), (M, C), (N, M) bool -> (N, M); rows sum to 1. Every anchor has a positive.
    """
    cosine = functional.normalize(d, dim=1) @ functional.normalize(contrast, dim=1).T
    return (cosine / tau_w).masked_fill(~positive, -torch.inf).softmax(1)


def alignment_loss(q: Tensor, v: Tensor, w: Tensor, tau: float) -> Tensor:
    """L_con of each anchor. (N, r), (M, r), (N, M) -> (N,). Eq. (3).

    The first N rows of v are q: an anchor is not compared with itself.
    """
    # Since rows of w sum to 1, -sum_b w_ab logP_ab is a log of a sum and one product:
    # no other (N, M) array takes part in the gradient.
    itself = torch.eye(len(q), len(v), dtype=torch.bool, device=q.device)
    log_sum = (q @ v.T / tau).masked_fill(itself, -torch.inf).logsumexp(1)
    attraction = (q * (w @ v)).sum(1) / tau
    return tau / TAU_0 * (log_sum - attraction)


def instance_loss(q: Tensor, own: Tensor, queue: Tensor, tau: float) -> Tensor:
    """Cross-entropy of the own key among those of the queue. -> (N,). Section 4.2.

    (N, r), (N, r), (Q, r). What the first epoch has in place of eq. (3).
    """
    of_own = (q * own).sum(1, keepdim=True)
    logits = torch.cat([of_own, q @ queue.T], dim=1) / tau
    return logits.logsumexp(1) - logits[:, 0]
