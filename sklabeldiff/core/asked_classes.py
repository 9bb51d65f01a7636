"""Which classes a row is asked about in an update, where classes are many.

The weights pi of a row are 0 off its candidates, and the posterior of a row is decided
among a few classes: with a thousand of them nearly all answers of a network are thrown
away. So both networks are asked about K classes of a row alone,

    1. those that were given, and those believed in by more than 1 / K to begin with;
       if they are more than K, the most believed ones;
    2. those whose mean is nearest to the row, half of what is left;
    3. others by chance, new ones in every update. Each stands for as many that are not
       asked about: its weight in a soft-max is their number, so that the sum is on
       average that over all classes.

The paper keeps the likeliest classes by the teacher, which has to be asked about all of
them for that (`top_k`). This is ours.

    x      (b, d)  clean inputs
    V      (b, C)  what was given: weights of the candidates, 0 for the others
    S      (b, C)  beliefs to begin with, or V where there are none
    means  (C, d)  mean input of each class, under these beliefs
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 8192  # rows whose part of the means is taken at a time
# Scores of a class, of which the largest are taken: chance has the numbers below 1.
NEAR, GIVEN = 1.0, 3.0


def class_means(x: Tensor, S: Tensor) -> Tensor:
    """Mean input of each class; that of all for one without rows. (n, d), (n, C)."""
    parts = zip(x.split(CHUNK), S.split(CHUNK), strict=True)
    # A row that may be anything is of no class more than of another.
    sums, counts = x.new_zeros((S.shape[1], x.shape[1])), x.new_zeros(S.shape[1])
    for rows, beliefs in parts:
        told = (beliefs != beliefs[:, :1]).any(1)
        p = beliefs[told] / beliefs[told].sum(1, keepdim=True)
        sums += p.T @ rows[told]
        counts += p.sum(0)
    seen = (counts > 0)[:, None]
    return torch.where(seen, sums / counts.clamp(min=1e-12)[:, None], x.mean(0))


def asked_classes(
    x: Tensor, V: Tensor, S: Tensor, means: Tensor, k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Classes of each row, all different, and logarithms of weights. (b, k) each."""
    score = torch.rand(V.shape, generator=generator, device=V.device)
    is_given = (V > 0) & (V < 1).any(1, keepdim=True)  # an unlabelled row has none
    is_given |= S > S.sum(1, keepdim=True) / k  # less than k of them
    n_near = (k - is_given.sum(1, keepdim=True)).clamp(min=0) // 2
    distance = torch.cdist(x, means).masked_fill(is_given, torch.inf)
    nearest = distance.topk(min(k, V.shape[1]), largest=False).indices
    place = torch.arange(nearest.shape[1], device=V.device)
    score.scatter_add_(1, nearest, NEAR * (place < n_near).to(score))
    score = torch.where(is_given, GIVEN + S, score)
    top = score.topk(k)
    by_chance = top.values < NEAR
    n_chance = by_chance.sum(1, keepdim=True)
    stands_for = (V.shape[1] - k + n_chance) / n_chance.clamp(min=1)
    return top.indices, by_chance * stands_for.log()
