"""What kind of imprecise labels was given, and what is known of how they go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._parameters import as_numbers, check_number

SUPERVISIONS = ("auto", "partial", "semi", "noisy")
SUM_TOLERANCE = 1e-6


def kind_of(V: NDArray[np.float64]) -> str:
    """Return "noisy", "semi" or "partial", by the sizes of the sets. (n, C).

    One label in every row may be wrong; next to rows that may be any class, or have
    several candidates, it is taken for right. Weights that differ tell of the class.
    """
    is_single, is_unlabelled = (V > 0).sum(axis=1) == 1, (V == 1).all(axis=1)
    if is_single.all():
        return "noisy"
    return "semi" if (is_single | is_unlabelled).all() else "partial"


def settled(supervision: str, V: NDArray[np.float64], transition_is_known: bool) -> str:
    """Kind of the labels, where "auto" may have been asked for. (n, C).

    ``V`` holds weights of the candidates, 1 for the heaviest of a row.

    Raises
    ------
    ValueError
        If they say nothing, or a transition matrix comes with labels that are right.
    """
    if (V == 1).all():
        raise ValueError(
            "every row may be any class, so that nothing is known of the labels. Give "
            "labels to some rows."
        )
    kind = kind_of(V) if supervision == "auto" else supervision
    if transition_is_known and kind != "noisy":
        raise ValueError(
            "transition_matrix and noise_rate are for labels that may be wrong, but "
            f"these are taken as {kind!r}. Give supervision='noisy', or leave both out."
        )
    return kind


def known_transition(
    transition_matrix: ArrayLike | None, noise_rate: float | None, n_classes: int
) -> NDArray[np.float64] | None:
    """Return the transition matrix that the user knows, or None. (C, C).

    Raises
    ------
    ValueError
        If both are given; if the matrix has another shape, or a row that is no
        distribution; if the rate is not in [0, 1].
    """
    if transition_matrix is None:
        if noise_rate is None:
            return None
        check_number("noise_rate", noise_rate, 0, 1)
        other = noise_rate / max(1, n_classes - 1)
        T = np.full((n_classes, n_classes), other)
        np.fill_diagonal(T, 1 - noise_rate)
        return T
    if noise_rate is not None:
        raise ValueError("give transition_matrix or noise_rate, not both.")
    T = as_numbers("transition_matrix", transition_matrix)
    if T.shape != (n_classes, n_classes):
        raise ValueError(
            f"transition_matrix has shape {T.shape}; {n_classes} classes need "
            f"{(n_classes, n_classes)}: a row for each true class, a column for each "
            "given one, in the order of classes_."
        )
    good = (T >= 0).all(axis=1) & (np.abs(T.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(
            f"row {row} of transition_matrix is {T[row]}: entries must be at least 0 "
            "and sum to 1. It holds the probabilities of the labels given to one class."
        )
    return T


def likelihood_of(
    V: NDArray[np.float64], T: NDArray[np.float64], classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Probability of what each row was given under each true class. (n, C).

    Parameters
    ----------
    V : ndarray of shape (n, C)
        Weights of what was given.
    T : ndarray of shape (C, C)
        Transition matrix.
    classes : ndarray of shape (C,)
        Labels, to name one that cannot be.

    Raises
    ------
    ValueError
        If a row was given what no class is ever given.
    """
    likelihood = V @ T.T
    impossible = ~(likelihood > 0).any(axis=1)
    if impossible.any():
        i = int(np.flatnonzero(impossible)[0])
        j = int(V[i].argmax())
        raise ValueError(
            f"row {i} has the label {classes.tolist()[j]!r}, which no class is ever "
            f"given: column {j} of transition_matrix is 0. Give it some probability, "
            "or take the row out."
        )
    return likelihood
