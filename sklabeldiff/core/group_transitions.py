"""Transition matrices of groups of rows, shrunk to the global one.

A group is nearly pure in the true class, so only a row or two of its matrix receive any
signal; the rest stays global. Section 3.2 of DTM's method page.

    V     (n, C)     what was given: one-hot for a label, 0/1 for a candidate set, or
                     weights whose largest is 1; all 1 for an unlabelled row
    p     (n, C)     beliefs about the true class, as free of the own label as can be
    g     (n,)       group of each row
    T0    (C, C)     global matrix, T_ij = P(given j | true i)
    T_g   (K, C, C)  matrix of each group

Expected counts:  r_n(i, j) proportional to p_n(i) T_g[i, j] V_n(j)
                  T_g = rownorm( sum_n r_n + kappa T0 )
"""

from __future__ import annotations

import torch
from torch import Tensor

from .noisy_classifier import MIN_PROBABILITY
from .transitions import normalise_rows

N_ROUNDS = 2  # of expected counts; the first starts from T0
MAJORITY_BELIEF = 0.98  # in the class that a group's labels vote for


def is_labelled(V: Tensor) -> Tensor:
    """Rows that say something: not every class is possible alike. (n, C) -> (n,)."""
    return (V < 1).any(1)


def majority_beliefs(V: Tensor, g: Tensor, n_groups: int) -> Tensor:
    """Beliefs in the class most often given in the row's group. (n, C), (n,) -> (n, C).

    Rows that are given several classes split their vote.
    """
    votes = V / V.sum(1, keepdim=True) * is_labelled(V)[:, None]
    totals = V.new_zeros((n_groups, V.shape[1])).index_add_(0, g, votes)
    return near_one_hot(totals.argmax(1), V.shape[1]).to(V.dtype)[g]


def near_one_hot(classes: Tensor, n_classes: int) -> Tensor:
    """Most belief in one class, the rest spread evenly. (n,) -> (n, C)."""
    rest = (1 - MAJORITY_BELIEF) / (n_classes - 1)
    p = torch.full((len(classes), n_classes), rest, device=classes.device)
    return p.scatter_(1, classes[:, None], MAJORITY_BELIEF)


def dirichlet_groups(
    p: Tensor, V: Tensor, g: Tensor, n_groups: int, T0: Tensor, kappa: float
) -> Tensor:
    """T_g from expected counts, with ``kappa`` prior rows of T0 a class. (K, C, C)."""
    labelled = is_labelled(V)
    p, V, g = p[labelled], V[labelled], g[labelled]
    order = g.argsort(stable=True)
    sizes = torch.bincount(g, minlength=n_groups).tolist()
    members = list(zip(p[order].split(sizes), V[order].split(sizes), strict=True))
    T = T0.expand(n_groups, *T0.shape)
    for _ in range(N_ROUNDS):
        rows = zip(members, T, strict=True)
        counts = torch.stack([expected_counts(*own, T_g) for own, T_g in rows])
        T = normalise_rows(counts + kappa * T0, T0)
    return T


def expected_counts(p: Tensor, V: Tensor, T: Tensor) -> Tensor:
    """Sum of r_n over the rows of a group. (m, C), (m, C), (C, C) -> (C, C)."""
    total = ((p @ T) * V).sum(1, keepdim=True).clamp(min=MIN_PROBABILITY)
    return T * ((p / total).T @ V)
