"""The scaling that a fit begins with, by the name that the user gives it."""

from __future__ import annotations

from sklabeldiff._fields import SCALER_ARRAYS, Choice, Parts
from sklabeldiff._parameters import check_option
from sklabeldiff._rows import refuse_huge
from sklabeldiff.base import TrainingData
from sklabeldiff.core.scaling import Standardizer, choose_row_scaling

# `Standardizer` as a fitted attribute.
SCALER_FIELD = Parts({**SCALER_ARRAYS, "equal_norm": Choice((True, False))})
SCALINGS = ("standard", "rows", "auto", None)
LARGEST_UNSCALED = 1e15  # squares of rows that stay as they are must fit float32
AGREEMENT_NEIGHBORS = 10  # of "auto", where the method has no neighbours of its own


def check_standardize(standardize: str | None) -> None:
    """Refuse an unknown scaling."""
    check_option("standardize", standardize, SCALINGS)


def fit_standardizer(
    data: TrainingData,
    standardize: str | None,
    n_neighbors: int = AGREEMENT_NEIGHBORS,
) -> Standardizer:
    """Learn the scaling that was asked for."""
    if standardize is None:
        refuse_huge(data.X, largest=LARGEST_UNSCALED)
        return Standardizer.identity(data.X.shape[1])
    if standardize == "auto":
        return choose_row_scaling(data.X, data.Y, n_neighbors)
    return Standardizer.fit(data.X, equal_norm=standardize == "rows")
