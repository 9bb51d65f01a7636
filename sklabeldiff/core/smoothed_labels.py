"""What the labels of near rows say of a row, without its own label.

The majority of its group is one answer, blind to where in the group a row is. A kernel
smoother is a finer one: ridge regression of the given labels on kernel features,
leave-one-out, with kernel and ridge under which the given labels are most likely. It is
not in the paper of DTM.

    e   (n, p)  standardised rows
    V   (n, C)  what was given, of labelled rows only
"""

from __future__ import annotations

import torch
from torch import Tensor

from .group_transitions import near_one_hot
from .kernels import (
    KERNELS,
    MAX_ENTRIES,
    MIN_ANSWER,
    MIN_LANDMARKS,
    N_LANDMARKS,
    SEARCH_LANDMARKS,
    SEARCH_ROWS,
    RidgeSmoother,
    kernel_matrix,
    whitening,
)

RIDGES = (0.03, 0.3, 3.0, 30.0)  # wrong labels want more smoothing than candidate sets

Choice = tuple[str, float, float]


def smoother_beliefs(e: Tensor, V: Tensor, generator: torch.Generator) -> Tensor:
    """Most belief in the class that near rows are given. (n, p), (n, C) -> (n, C)."""
    order = torch.randperm(len(e), generator=generator).to(e.device)
    sample = order[:SEARCH_ROWS]
    kernel, width, ridge = _choose(e[sample], V[sample])
    n_landmarks = min(N_LANDMARKS, max(MIN_LANDMARKS, int(MAX_ENTRIES / len(e))))
    smoother = _smoother(e, e[order[:n_landmarks]], kernel, width)
    answers = smoother.leave_one_out(V / V.sum(1, keepdim=True), ridge)
    return near_one_hot(answers.argmax(1), V.shape[1]).to(V.dtype)


def _choose(e: Tensor, V: Tensor) -> Choice:
    """Kernel, width and ridge of the largest leave-one-out likelihood of V."""
    S = V / V.sum(1, keepdim=True)
    likelihood: dict[Choice, float] = {}
    for kernel, width in KERNELS:
        smoother = _smoother(e, e[:SEARCH_LANDMARKS], kernel, width)
        for ridge in RIDGES:
            p = smoother.leave_one_out(S, ridge).clamp(min=MIN_ANSWER)
            p = p / p.sum(1, keepdim=True)
            found = (p * V).sum(1).log().double().sum().item()
            likelihood[kernel, width, ridge] = found
    return max(likelihood, key=likelihood.__getitem__)


def _smoother(e: Tensor, Z: Tensor, kernel: str, width: float) -> RidgeSmoother:
    white = whitening(Z, kernel, width)
    return RidgeSmoother(kernel_matrix(e, Z, kernel, width) @ white)
