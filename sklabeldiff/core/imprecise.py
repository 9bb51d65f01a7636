"""What a diffusion learns from imprecise labels: the mixture loss and class targets.

    # V       (b, C)  what was given: weights of the candidates, 0 for the others
    # f_theta (b, C)  posterior of the network in training
    # f_phi   (b, C)  posterior of its average, the teacher; carries no gradient
    # pi      (b, C)  weights of the class denoisers in the mixture
    # r       (b, C)  target of the classification part

Equation numbers are those of DMIS's method page.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

MIN_DISAGREEMENT = 1e-4  # 1 - delta is divided by
MIN_PRIOR = 1e-6  # a class of prior 0 could never be believed again


def confined(log_f: Tensor, V: Tensor) -> Tensor:
    """F confined to the candidates, weighted and normalised again. (b, C) each.

    The weights pi and the target of candidate sets, eq. (5). With sets of one class and
    of all they are those of labelled and unlabelled rows, eq. (6).
    """
    return torch.softmax(log_f + V.log(), dim=-1)


def explained(log_f: Tensor, likelihood: Tensor) -> Tensor:
    """Posterior given that labels go wrong in a known way. (b, C) each.

    ``likelihood`` holds the probability of what was given under each true class.
    """
    return torch.softmax(log_f + likelihood.log(), dim=-1)


def early_learning_target(given: Tensor, f_theta: Tensor, f_phi: Tensor) -> Tensor:
    """R for labels that may be wrong: drawn to them only as far as it is shared.

    (b, C) each. Rows sum to 1; entries may be negative. Eq. (7).
    """
    delta = (f_theta * f_phi).sum(-1, keepdim=True)
    pull = f_theta * (delta - f_phi) / (1 - delta).clamp(min=MIN_DISAGREEMENT)
    return given - pull


def mixture_loss(F: Tensor, wanted: Tensor, pi: Tensor) -> Tensor:
    """lambda(sigma) |sum_y pi_y D_y - x|^2. Eq. (3).

    (m, K, d), (m, d), (m, K) -> (m,).
    """
    mixture = torch.bmm(pi[:, None], F)[:, 0]
    return (mixture - wanted).square().sum(-1)


def classification_loss(target: Tensor, log_f: Tensor) -> Tensor:
    """Cross entropy. (b, C), (b, C) -> (b,). Eq. (5) to (7)."""
    return -(target * log_f).sum(-1)


def moved_prior(prior: Tensor, best: Tensor, keep: float) -> Tensor:
    """Class prior drawn to the share of rows that fall to each class. Section 6.

    (C,), (n,) int64 -> (C,).
    """
    counts = torch.bincount(best, minlength=len(prior)).to(prior)
    moved = keep * prior + (1 - keep) * counts / counts.sum()
    moved = moved.clamp(min=MIN_PRIOR)
    return moved / moved.sum()


def prior_behind(
    T: NDArray[np.float64], given: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Class prior whose labels, gone wrong by T, are given as often. Section 6.

    Solves T' prior = given among non-negative vectors. (C, C), (C,) -> (C,).
    """
    prior, _ = nnls(T.T, given)
    prior = np.maximum(prior, MIN_PRIOR)
    return prior / prior.sum()


def average_decay(n_updates: int, fraction: float, max_horizon: float) -> float:
    """Decay of the teacher in an update: half-life in updates, section 5, step 7.

    The half-life is a fraction of the updates so far, and at most ``max_horizon``.
    """
    half_life = min(max_horizon, fraction * (n_updates + 1))
    return math.exp(-math.log(2) / half_life) if half_life > 0 else 0.0
