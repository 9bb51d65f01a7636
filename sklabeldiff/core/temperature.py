"""One temperature for class probabilities, by the likelihood of candidate sets.

Probabilities are sharpened or flattened, p_j^(1/T) / sum_k p_k^(1/T), so that held-out
candidate sets become most likely. No true label is needed.

    P       (n, C)  probabilities, rows sum to 1
    V       (n, C)  weight of each candidate, 1 for the heaviest of its row
    T       scalar  temperature: above 1 flattens, below 1 sharpens
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

# A model that says 0 is not taken at its word: no temperature would change it.
MIN_PROBABILITY = 1e-7
# T from 1/30 to 30. The likelihood of sets may have several maxima: the best of a grid
# is refined. Of those about as good, which differ by less than a label in 10,000 could
# tell, the one nearest to T = 1 is taken: where a model is right on all rows, any low
# temperature would do.
MAX_TEMPERATURE, GRID_STEPS = 30.0, 61
ABOUT_AS_GOOD = 1e-4


def tempered(P: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities at a temperature, in float64. (n, C) -> (n, C)."""
    logits = np.log(np.maximum(P, MIN_PROBABILITY, dtype=np.float64)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def set_log_likelihood(P: NDArray[np.float64], V: NDArray[np.floating]) -> float:
    """Mean log probability of the candidate sets. (n, C), (n, C) -> scalar."""
    mass = (P * V).sum(axis=1)
    return float(np.log(np.maximum(mass, MIN_PROBABILITY)).mean())


def fit_temperature(P: NDArray[np.floating], V: NDArray[np.floating]) -> float:
    """Temperature under which the sets are most likely. (n, C), (n, C) -> T."""

    def loss(log_T: float) -> float:
        return -set_log_likelihood(tempered(P, np.exp(log_T)), V)

    log_range = np.log(MAX_TEMPERATURE)
    grid = np.linspace(-log_range, log_range, GRID_STEPS)
    losses = np.array([loss(log_T) for log_T in grid])
    good = grid[losses <= losses.min() + ABOUT_AS_GOOD]
    best = good[np.abs(good).argmin()]
    step = grid[1] - grid[0]
    near = (max(best - step, grid[0]), min(best + step, grid[-1]))
    found = minimize_scalar(loss, bounds=near, method="bounded")
    return float(np.exp(found.x if found.fun < loss(best) else best))
