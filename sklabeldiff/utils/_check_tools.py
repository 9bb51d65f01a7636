"""Data and helpers of the estimator checks. Knows no check and no estimator."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

N_CLASSES = 3
# A class has 13: enough for ten neighbours or to hold some rows out, and quick to fit.
N_ROWS = 39
NAMES = ["owl", "ant", "cow"]  # neither sorted nor in reverse
WRONG_RATE = 0.4
SEED = 0
# Of the true classes, on data whose classes lie eight standard deviations apart.
GOOD_ACCURACY = 0.9


class CheckData(NamedTuple):
    """Rows of three classes that are told apart with ease.

    ``X`` (n, 4) float64, ``Y`` (n, 3) bool: the candidate sets, ``truth`` (n,) int.
    """

    X: NDArray[np.float64]
    Y: NDArray[np.bool_]
    truth: NDArray[np.intp]


def make_data() -> CheckData:
    """Candidate sets that hold the truth; a sixth of the rows holds all classes.

    The classes take turns, so that folds without shuffling hold all of them.
    """
    rng = np.random.default_rng(SEED)
    truth = np.arange(N_ROWS) % N_CLASSES
    X = rng.normal(size=(N_ROWS, 4)) + 6 * np.eye(N_CLASSES, 4)[truth]
    Y = rng.random((N_ROWS, N_CLASSES)) < WRONG_RATE
    Y[np.arange(N_ROWS), truth] = True
    return CheckData(X, Y, truth)


def one_hot(labels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mask with a single candidate a row. (n,) -> (n, 3)."""
    return np.eye(N_CLASSES, dtype=bool)[labels]


def named_sets(Y: NDArray[np.bool_], names: Sequence[Any]) -> list[frozenset[Any]]:
    """Candidate sets of the names of the columns. (n, C) -> n sets."""
    return [frozenset(names[j] for j in np.flatnonzero(row).tolist()) for row in Y]


def require(condition: Any, message: str) -> None:
    """Raise an AssertionError, also where Python runs without assert statements."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def must_work(name: str, what: str) -> Iterator[None]:
    """Say on whose behalf an error was met, and what should have worked."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(
            f"{name} fails on {what}. A right estimator accepts this. It raised "
            f"{type(error).__name__}: {error}"
        ) from error


def seeded(estimator: Any) -> Any:
    """Clone with each `random_state` set, that of nested estimators too."""
    estimator = clone(estimator)
    params = estimator.get_params()
    names = [p for p in params if p.rpartition("__")[2] == "random_state"]
    return estimator.set_params(**dict.fromkeys(names, SEED))


def fit(name: str, estimator: Any, X: Any, y: Any, what: str = "a bool mask") -> Any:
    """Return a seeded clone, fitted to copies: one check asks who writes into them."""
    model = seeded(estimator)
    with must_work(name, what):
        model.fit(X.copy(), deepcopy(y))
    return model


def largest_difference(first: Any, second: Any) -> float:
    """Return the largest entry of |first - second|; infinite for unequal shapes."""
    A, B = np.asarray(first), np.asarray(second)
    return float(np.abs(A - B).max()) if A.shape == B.shape else np.inf


def require_equal(first: Any, second: Any, message: str) -> None:
    """Demand that probabilities are equal bit by bit."""
    difference = largest_difference(first, second)
    # NaN is no answer: the difference of two of them is not 0.
    require(difference == 0, f"{message} The probabilities differ by {difference:.2g}.")


def accuracy(predicted: Any, truth: Any) -> float:
    """Share of predictions that are right."""
    return float(np.mean(np.asarray(predicted) == np.asarray(truth)))


def hashed(value: Any) -> str:
    """Hash of what would be pickled."""
    return joblib.hash(value)


def global_states() -> dict[str, str]:
    """Hash of the state of each global random generator that is there."""
    states = {"numpy": hashed(np.random.get_state())}  # noqa: NPY002
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = hashed(torch.get_rng_state().numpy())
    return states


@contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """Seed the global generators for a while, then put their states back."""
    legacy = np.random.get_state()  # noqa: NPY002
    torch: Any = sys.modules.get("torch")
    torch_state = None if torch is None else torch.get_rng_state()
    try:
        np.random.seed(seed)  # noqa: NPY002
        if torch is not None:
            torch.default_generator.manual_seed(seed)
        yield
    finally:
        np.random.set_state(legacy)  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(torch_state)


@contextmanager
def read_only_maps(*arrays: NDArray[Any]) -> Iterator[list[NDArray[Any]]]:
    """Memory-map the arrays, as joblib does for its workers."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "arrays.joblib"
        joblib.dump(list(arrays), path)
        yield joblib.load(path, mmap_mode="r")
