"""What near rows say of the classes: the beliefs that DMIS's training begins with."""

from __future__ import annotations

import torch
from torch import Tensor

from sklabeldiff._training_data import TrainingData
from sklabeldiff.core.graph import graph_beliefs
from sklabeldiff.core.smoothed_labels import smoother_beliefs
from sklabeldiff.core.transitions import sharpen

N_PROPAGATIONS = 10  # passes over the graph, as DDMP makes


def first_beliefs(
    supervision: str,
    x: Tensor,
    V: Tensor,
    data: TrainingData,
    n_neighbors: int,
    seed: int,
) -> Tensor:
    """Beliefs about the class of each row, (n, C), without any training.

    Parameters
    ----------
    supervision : {"partial", "semi", "noisy"}
    x : Tensor of shape (n, d)
    V : Tensor of shape (n, C)
        What was given.
    data : TrainingData
    n_neighbors : int
        Of the graph; labels that may be wrong are smoothed by a kernel instead.
    seed : int
    """
    if supervision == "noisy":
        return _smoothed(x, V, torch.Generator().manual_seed(seed))
    # A set of one and the set of all hardly overlap: with similar sets as weights, few
    # labels would not travel; and what arrives of them is a small share.
    few = supervision == "semi"
    S = graph_beliefs(
        x.cpu().numpy(),
        data.Y,
        data.Ybar,
        n_neighbors,
        N_PROPAGATIONS,
        use_similarity=not few,
    )
    beliefs = torch.as_tensor(S).to(x)
    return sharpen(beliefs) if few else beliefs


def _smoothed(x: Tensor, V: Tensor, generator: torch.Generator) -> Tensor:
    """Class of near rows' labels; unlabelled rows stay even. (n, d), (n, C)."""
    labelled = (V < 1).any(1)
    S = V / V.sum(1, keepdim=True)
    S[labelled] = smoother_beliefs(x[labelled], V[labelled], generator)
    return S
