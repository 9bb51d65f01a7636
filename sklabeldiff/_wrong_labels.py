"""What the estimators for wrong labels ask of the labels, and say of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from sklabeldiff._fitting import CALLER_OF_FIT
from sklabeldiff._training_data import TrainingData

HALF = 0.5  # with more wrong labels than right ones, which are the right ones?


def check_given(data: TrainingData, classes: NDArray[Any]) -> None:
    """Refuse labels of which no transition matrix can be learnt.

    Raises
    ------
    ValueError
        If no row is labelled, or a class is given to none.
    """
    V = data.relative_weights()
    labelled = (V < 1).any(1)
    if not labelled.any():
        raise ValueError(
            "every row may be any class, so that nothing is known of the labels. Give "
            "labels to some rows."
        )
    never = np.flatnonzero(~(V[labelled] > 0).any(0))
    if len(never):
        name = classes.tolist()[never[0]]
        raise ValueError(
            f"no row is given the class {name!r} ({len(never)} of {len(classes)} "
            "classes are never given), so that nothing can be learnt of it. Leave such "
            "classes out of `classes` or of the columns of y, or label some rows with "
            "them."
        )


def warn_of_noise(noise_rate: float) -> None:
    """Warn where the labels seem to be mostly wrong; called by fit."""
    if noise_rate > HALF:
        warnings.warn(
            f"{noise_rate:.0%} of the labels seem wrong. With more wrong labels than "
            "right ones the classes may be taken for one another: check predictions "
            "against some clean labels, or give candidate sets or more annotations.",
            ConvergenceWarning,
            stacklevel=CALLER_OF_FIT,
        )
