"""Parameters of any kind and size: refused by name, or an estimator that works."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.features import SimCLRFeatures, TorchFeatures
from sklabeldiff.features._base import MAX_BATCH_SIZE

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome
from .test_fits import CHOICES, WRAPPED, check_fitted

pytestmark = pytest.mark.filterwarnings("ignore")

X, TRUE = load_iris(return_X_y=True)
X, TRUE = X[::5].astype(np.float32), TRUE[::5]
SETS = np.eye(3, dtype=bool)[TRUE]
SETS[::3, 0] = True
IMAGES = np.random.default_rng(0).random((6, 8, 8))

VALUES = st.sampled_from(
    [
        *(None, True, False, np.True_, 0, 1, 2, 3, -1, 2**31, 2**64, -(2**63), 10**400),
        *(0.0, 0.5, 1.0, 1.5, -0.5, -0.0, 1e-300, 1e300, np.nan, np.inf, -np.inf),
        *(np.int64(2), np.float32(0.5), np.array(2), np.array([1, 2]), np.eye(3)),
        *(np.full((3, 3), np.nan), np.eye(2), np.array([[1, "a"]], dtype=object)),
        *("", "auto", "xyz", "\x00", "standard", "cpu", "cuda:99", "mps", "meta", b"a"),
        *((), (1,), (0,), ("a",), (8, 8), (8, 8, 3), (0.5, 1.0), [8], [1.5], [None]),
        *({}, {"a": 1}, set(), 1j, pd.NA, pd.NaT, Ellipsis, object(), len, int),
        *(LogisticRegression(), LogisticRegression, PLKNNClassifier()),
        *(pd.Series([1, 2]), pd.DataFrame({"a": [1]}), torch.ones(2), range(3)),
    ]
)
# An honest large number of these takes long, or much memory: that is no fault.
LONG = {
    *("hidden", "queue_size"),
    *("max_epochs", "n_draws", "n_timesteps", "n_sampling_steps", "n_propagations"),
    *("n_passes", "n_training_levels", "n_blocks", "image_size"),
}
# joblib refuses its own; modules and callables are of the user's making.
ELSEWHERE = {"n_jobs", "module", "preprocess", "model"}


def drawn(data, cls):
    """Draw one parameter and a value for it, small ones for what takes long."""
    names = sorted(inspect.signature(cls).parameters.keys() - ELSEWHERE)
    name = data.draw(st.sampled_from(names))
    numbers = st.integers(-3, 9) if name in LONG else st.integers()
    value = data.draw(st.one_of(VALUES, numbers, st.floats()))
    if name in LONG:
        is_number = isinstance(value, (int, float))
        assume(not (is_number and 9 < value < 10**400))
    return name, value


def check_refusal(name, function, *args):
    """Call; an error about a parameter must name it."""
    try:
        return outcome(function, *args, keep_error=True)
    except (ValueError, TypeError) as error:
        texts = (name, "diverged", "n_splits", "overflow", "no sample_weight")
        assert any(text in str(error) for text in texts), f"{name}: {error!r}"
        return REFUSED


@pytest.mark.parametrize("cls", [*CHOICES, *WRAPPED], ids=lambda cls: cls.__name__)
@n_cases(4, 250)
@given(st.data())
def test_parameters_of_classifiers(cls, data):
    CASES["function parameters"] += 1
    params = inspect.signature(cls).parameters
    fixed = {"max_epochs": 1, "hidden": 8, "estimator": PLKNNClassifier()}
    given_params = {name: fixed[name] for name in fixed if name in params}
    if cls not in WRAPPED:
        given_params.pop("estimator", None)
    name, value = drawn(data, cls)
    clf = cls(**given_params | {name: value})
    if check_refusal(name, clf.fit, X, SETS) is not REFUSED:
        CASES["complete fit"] += 1
        check_fitted(clf, X)


class Means(torch.nn.Module):
    """The smallest encoder there is."""

    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize("cls", [TorchFeatures, SimCLRFeatures])
@n_cases(8, 300)
@given(st.data())
def test_parameters_of_encoders(tmp_path_factory, cls, data):
    CASES["function parameters"] += 1
    given_params = {"module": Means()} if cls is TorchFeatures else {"max_epochs": 1}
    if cls is SimCLRFeatures:
        given_params |= {"image_size": 8}
    name, value = drawn(data, cls)
    # Every batch is filled up to its size.
    is_batch = name == "batch_size" and isinstance(value, int)
    assume(not (is_batch and 99 < value <= MAX_BATCH_SIZE))
    # A word is a fine folder, relative to where the tests run.
    assume(not (name.endswith("_dir") and isinstance(value, str)))
    encoder = cls(**given_params | {name: value})
    found = check_refusal(name, encoder.fit_transform, IMAGES)
    if found is not REFUSED:
        assert found.shape[0] == len(IMAGES)
        assert np.isfinite(found).all()
