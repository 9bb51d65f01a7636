"""How rows are scaled for a diffusion over them, and how samples are scaled back.

A diffusion wants inputs of deviation 0.5, whatever their unit. Where rows are brought
to equal norm, the norm goes into a column of its own: nothing is lost, and samples come
back in the user's units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .noise_levels import SIGMA_DATA
from .scaling import MIN_SCALE, Standardizer

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class InputScaler:
    """Scale rows, and back.

    Parameters
    ----------
    standardizer : Standardizer
        Of columns, and of rows where ``equal_norm``.
    constant : ndarray of shape (p,)
        Value of the columns that hardly vary, which samples get; NaN for the others.
    log_norm : ndarray of shape (2,)
        Mean and deviation of the rows' log norm; not used without ``equal_norm``.
    """

    standardizer: Standardizer
    constant: NDArray[np.float64]
    log_norm: NDArray[np.float64]

    @classmethod
    def fit(cls, standardizer: Standardizer, X: Floats) -> Self:
        """Learn which columns vary, and how norms spread. (n, p)."""
        varies = X.std(0, dtype=np.float64) > MIN_SCALE
        constant = np.where(varies, np.nan, X.mean(0, dtype=np.float64))
        spread = Standardizer.fit(_log_norms(standardizer, X)[:, None])
        return cls(standardizer, constant, np.array([spread.mean[0], spread.scale[0]]))

    @classmethod
    def of_range(cls, X: Floats) -> Self:
        """Bring the values of all columns alike to [-1, 1], as images are. (n, p)."""
        low, high = float(X.min()), float(X.max())
        centre = np.full(X.shape[1], (low + high) / 2)
        half = (high - low) / 2 if high > low else 1.0
        scale = np.full(X.shape[1], SIGMA_DATA * half)
        standardizer = Standardizer(centre, scale, equal_norm=False)
        return cls(standardizer, np.full(X.shape[1], np.nan), np.array([0.0, 1.0]))

    def __call__(self, X: Floats) -> NDArray[np.float32]:
        """Scale rows. (n, p) -> (n, d), where d is p, or p + 1 for rows of one norm."""
        Z = self.standardizer(X)
        if self.standardizer.equal_norm:
            mean, scale = self.log_norm
            norms = (_log_norms(self.standardizer, X) - mean) / scale
            Z = np.column_stack([Z, norms.astype(np.float32)])
        return np.float32(SIGMA_DATA) * Z

    def inverse(self, x: Floats) -> NDArray[np.float64]:
        """Bring samples back to the unit of X. (n, d) -> (n, p)."""
        Z = x.astype(np.float64) / SIGMA_DATA
        varies = np.isnan(self.constant)
        if self.standardizer.equal_norm:
            mean, scale = self.log_norm
            Z, norms = Z[:, :-1] * varies, np.exp(mean + scale * Z[:, -1:])
            Z *= norms / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), MIN_SCALE)
        X = Z * self.standardizer.scale + self.standardizer.mean
        return np.where(varies, X, self.constant)


def _log_norms(standardizer: Standardizer, X: Floats) -> Floats:
    """Logarithm of the norms of rows whose columns are scaled. (n, p) -> (n,)."""
    Z = replace(standardizer, equal_norm=False)(X)
    norms: Floats = np.log(np.maximum(np.linalg.norm(Z, axis=1), MIN_SCALE))
    return norms
