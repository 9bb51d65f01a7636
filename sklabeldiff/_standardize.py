"""The scaling that a fit begins with, by the name that the user gives it."""

from __future__ import annotations

import mmap

import numpy as np
import torch
from numpy.typing import NDArray

from sklabeldiff._fields import SCALER_ARRAYS, Choice, Parts
from sklabeldiff._parameters import check_option
from sklabeldiff._rows import refuse_huge
from sklabeldiff._training_data import SparseTrainingData, TrainingData
from sklabeldiff.core.rows import Rows, StreamedRows
from sklabeldiff.core.scaling import Standardizer, choose_row_scaling

# `Standardizer` as a fitted attribute.
SCALER_FIELD = Parts({**SCALER_ARRAYS, "equal_norm": Choice((True, False))})
SCALINGS = ("standard", "rows", "auto", None)
LARGEST_UNSCALED = 1e15  # squares of rows that stay as they are must fit float32
STREAMED_BYTES = 2**27  # of a file that is not read into memory as a whole: 128 MB
MAX_DEVICE_SHARE = 0.5  # of a GPU's free memory that rows may take
AGREEMENT_NEIGHBORS = 10  # of "auto", where the method has no neighbours of its own


def check_standardize(standardize: str | None) -> None:
    """Refuse an unknown scaling."""
    check_option("standardize", standardize, SCALINGS)


def fit_standardizer(
    data: TrainingData | SparseTrainingData,
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


def scaled_rows(
    X: NDArray[np.floating], scaler: Standardizer, device: torch.device
) -> Rows:
    """Rows as a fit takes them: on the device, or streamed to it."""
    if is_too_large(X, device):
        return StreamedRows(X, scaler, device)
    return torch.as_tensor(scaler(X), device=device)


def is_too_large(X: NDArray[np.floating], device: torch.device) -> bool:
    """Whether rows had better stay where they are: in a file, or off a GPU."""
    if X.nbytes >= STREAMED_BYTES and is_memory_mapped(X):
        return True
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return 4 * X.size > MAX_DEVICE_SHARE * free


def is_memory_mapped(X: NDArray[np.floating]) -> bool:
    """Whether an array, or the one that it is a view of, lies in a file."""
    base: object = X
    while base is not None:
        if isinstance(base, mmap.mmap):
            return True
        base = getattr(base, "base", None)
    return False
