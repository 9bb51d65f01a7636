"""Where DMIS's class prior comes from. Section 6 of the method page."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sklabeldiff._parameters import as_numbers, check_option
from sklabeldiff.core.imprecise import MIN_PRIOR, prior_behind
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.noisy_training import (
    WatchedTraining,
    split_rows,
    train_volume_minimisation,
)

# Of VolMinNet, which estimates the transition matrix where it is not known.
VOLMIN_HIDDEN, VOLMIN_BATCH, VOLMIN_RATE = (256, 256), 256, 1e-3
HELD_OUT, VOLUME_PENALTY = 0.1, 1e-4


def check_prior(prior: Any) -> None:
    """Refuse a class prior that is neither a word nor numbers."""
    if isinstance(prior, str):
        check_option("class_prior", prior, ("uniform", "estimate"))
    elif prior is None:
        raise TypeError("class_prior must be 'uniform', 'estimate' or an array.")


def moves(prior: Any, supervision: str) -> bool:
    """Whether the prior follows the beliefs in training."""
    return isinstance(prior, str) and (prior, supervision) == ("estimate", "partial")


def first_prior(
    prior: Any,
    supervision: str,
    x: Tensor,
    V: Tensor,
    T: NDArray[np.float64] | None,
    seed: int,
) -> Tensor:
    """Class prior before training.

    Parameters
    ----------
    prior : "uniform", "estimate" or array-like of shape (C,)
        What the user asked for.
    supervision : {"partial", "semi", "noisy"}
    x : Tensor of shape (n, d)
    V : Tensor of shape (n, C)
        What was given.
    T : ndarray of shape (C, C) or None
        The transition matrix, where it is known.
    seed : int
        Of VolMinNet, which finds it otherwise.

    Returns
    -------
    Tensor of shape (C,)
    """
    C = V.shape[1]
    if not isinstance(prior, str):
        p = _given(prior, C)
    elif prior == "uniform" or moves(prior, supervision):
        p = np.full(C, 1 / C)
    elif supervision == "semi":
        p = _shares(V)
    else:
        p = prior_behind(
            _estimated_transition(x, V, seed) if T is None else T, _shares(V)
        )
    return torch.as_tensor(p).clamp(min=MIN_PRIOR).to(x)


def _given(prior: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Prior of the user, as probabilities. (C,)."""
    p = as_numbers("class_prior", prior)
    if p.shape != (n_classes,) or not np.isfinite(p).all() or (p <= 0).any():
        raise ValueError(
            f"class_prior must hold one positive number for each of {n_classes} "
            f"classes, in the order of classes_; got {np.array2string(p, threshold=9)}."
        )
    return p / p.sum()


def _shares(V: Tensor) -> NDArray[np.float64]:
    """Share of each class in what labelled rows were given. (n, C) -> (C,)."""
    labelled = V[~(V == 1).all(1)].double()
    shares: NDArray[np.float64] = (
        (labelled / labelled.sum(1, keepdim=True)).mean(0).cpu().numpy()
    )
    return shares


def _estimated_transition(x: Tensor, V: Tensor, seed: int) -> NDArray[np.float64]:
    """Transition matrix by VolMinNet. (C, C)."""
    generator = torch.Generator().manual_seed(seed)
    train, held = split_rows(V, HELD_OUT, generator)
    training = WatchedTraining(train, held, "auto", VOLMIN_BATCH, VOLMIN_RATE, seed)
    network = mlp(x.shape[1], VOLMIN_HIDDEN, V.shape[1], generator).to(x.device)
    T, _ = train_volume_minimisation(training, network, x, V, VOLUME_PENALTY)
    return T.double().cpu().numpy()
