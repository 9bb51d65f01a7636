"""Parameters that fit refuses: by name, with what was given, before any training."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff._parameters import (
    as_numbers,
    check_folder,
    check_number,
    check_option,
)
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    CCClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
)
from sklabeldiff.calibration import (
    CandidateCalibratedClassifier,
    RejectOptionClassifier,
)
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import CLIPFeatures, TextFeatures, VisionFeatures
from sklabeldiff.model_selection import cross_val_proba

X, TRUE = load_iris(return_X_y=True)
X, TRUE = X[::5].astype(np.float32), TRUE[::5]
SETS = make_candidate_sets(TRUE, rate=0.5, random_state=0)
METHODS = [DDMPClassifier, DTMClassifier, CADClassifier, DMISClassifier]


@pytest.mark.parametrize("value", [np.ones(2), pd.NA, len, b"standard", ["standard"]])
def test_options_are_compared_with_words_only(value):
    with pytest.raises(ValueError, match="standardize must be one of"):
        PLKNNClassifier(standardize=value).fit(X, TRUE)


def test_booleans_of_numpy_are_booleans():
    check_option("flip", np.True_, (True, False))
    with pytest.raises(ValueError, match="flip must be one of"):
        check_option("flip", 1, (True, False))


@pytest.mark.parametrize("value", [np.inf, np.nan, -np.inf, 1e300, 2**64, 10**400])
def test_numbers_beyond_arithmetic_are_refused(value):
    with pytest.raises(ValueError, match=r"a must be at least 0, got|at most 1e\+18"):
        check_number("a", value, 0)


def test_an_integer_stays_below_what_torch_holds():
    check_number("a", 2**62, 1, integer=True)
    with pytest.raises(ValueError, match=f"at most {2**62}, got {2**63}"):
        check_number("a", 2**63, 1, integer=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "must be at least 1, got 0.5"),
        (11, "must be at least 1 and at most 10, got 11"),
        (0, "must be at least 1 and at most 10, got 0"),
    ],
)
def test_the_limits_that_matter_are_named(value, text):
    high = 10 if isinstance(value, int) else np.inf
    with pytest.raises(ValueError, match=f"a {text}"):
        check_number("a", value, 1, high)


@pytest.mark.parametrize("cls", [*METHODS, CCClassifier, KernelPropagationClassifier])
@pytest.mark.parametrize("value", [-1, 0.5, "a", 2**32, np.ones(2)])
def test_random_state_is_named(cls, value):
    with pytest.raises(ValueError, match="random_state must be None, an integer from"):
        cls(random_state=value).fit(X, TRUE)


@pytest.mark.parametrize("cls", [*METHODS, CCClassifier])
@pytest.mark.parametrize("value", [None, "a", 1.5, np.ones(2)])
def test_verbose_is_a_number(cls, value):
    with pytest.raises(TypeError, match="verbose must be an integer or a bool"):
        cls(verbose=value).fit(X, TRUE)


@pytest.mark.parametrize("value", [np.ones(2), 0, None, pd.NA, 2**64])
def test_a_device_has_a_name(value):
    with pytest.raises(TypeError, match="device must be a name"):
        CCClassifier(device=value).fit(X, TRUE)


@pytest.mark.parametrize("value", [0, False, b"a", ("a",), len])
def test_a_folder_is_a_path(value):
    with pytest.raises(TypeError, match="checkpoint_dir must be a path"):
        DDMPClassifier(checkpoint_dir=value).fit(X, TRUE)
    with pytest.raises(ValueError, match="holds no zero"):
        check_folder("checkpoint_dir", "a\0b")


@pytest.mark.parametrize("cls", [DDMPClassifier, DMISClassifier])
def test_a_layer_has_a_size_that_can_be(cls):
    with pytest.raises(ValueError, match="hidden must be at least 1 and at most 65536"):
        cls(hidden=2**20).fit(X, TRUE)


@pytest.mark.parametrize("value", [1e-9, 1e9])
def test_the_interval_of_noise_levels_has_limits(value):
    with pytest.raises(ValueError, match=r"interval_length must be at least 1e-06 and"):
        DMISClassifier(interval_length=value).fit(X, TRUE)


@pytest.mark.parametrize("value", ["auto", {"a": 1}, 1j, len])
def test_a_transition_matrix_is_a_table(value):
    with pytest.raises((TypeError, ValueError), match="transition_matrix must hold"):
        DMISClassifier(supervision="noisy", transition_matrix=value).fit(X, TRUE)


@pytest.mark.parametrize("value", [(), {}, LogisticRegression, "a", [None]])
def test_a_wrapped_estimator_is_one(value):
    with pytest.raises(TypeError, match="estimator must be a classifier"):
        CandidateWeightedClassifier(value).fit(X, TRUE)


HALF = np.ones(7, dtype=bool)


@pytest.mark.parametrize(
    "cv",
    [
        *("a", b"a", torch.ones(2), [1], [None], np.eye(2), np.array(2), 1.5, object()),
        *([([0.5], [1.0])], [([0], [99])], [([0], [-1])], [(HALF, HALF)]),
    ],
)
def test_cv_is_named(cv):
    with pytest.raises(ValueError, match=r"cv must be a number of folds, a splitter"):
        cross_val_proba(PLKNNClassifier(), X, TRUE, cv=cv)


@pytest.mark.parametrize("cv", [[], ()])
def test_cv_without_folds_holds_nothing_out(cv):
    with pytest.raises(ValueError, match="cv holds row 0 out 0 times"):
        CandidateCalibratedClassifier(PLKNNClassifier(), cv=cv).fit(X, TRUE)


def test_cv_of_masks_and_of_numbers_are_the_same():
    first = np.arange(len(X)) % 2 == 0
    masks = [(first, ~first), (~first, first)]
    numbers = [(np.flatnonzero(a).tolist(), np.flatnonzero(b)) for a, b in masks]
    found = [
        cross_val_proba(PLKNNClassifier(), X, TRUE, cv=c) for c in (masks, numbers)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("form", [np.array, pd.DataFrame, list, set, frozenset])
@pytest.mark.parametrize(
    "wrap", [CandidateCalibratedClassifier, RejectOptionClassifier]
)
def test_a_wrapped_classifier_takes_sets(wrap, form):
    sets = SETS
    if form in (list, set, frozenset):
        sets = [form(np.flatnonzero(row).tolist()) for row in SETS]
    elif form is pd.DataFrame:
        sets = form(SETS)
    text = "LogisticRegression takes one label a row.*CandidateWeightedClassifier"
    with pytest.raises(ValueError, match=text):
        wrap(LogisticRegression(), cv=3).fit(X, sets)
    with pytest.raises(ValueError, match=text):
        cross_val_proba(make_pipeline(StandardScaler(), LogisticRegression()), X, sets)


def test_other_errors_of_a_wrapped_classifier_are_its_own():
    with pytest.raises(ValueError, match=r"^The 'C' parameter of LogisticRegression"):
        cross_val_proba(LogisticRegression(C=-1), X, TRUE)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        *[(10**400, ValueError), (["a"], ValueError), ([[1], [2, 3]], ValueError)],
        *[(len, TypeError), (1j, TypeError), ({"a": 1}, TypeError)],
    ],
)
def test_an_array_of_numbers_is_one(values, error):
    with pytest.raises(error, match=r"^what must hold numbers, got "):
        as_numbers("what", values)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (DTMClassifier, "resample"),
        (CADClassifier, "flip"),
        (VisionFeatures, "normalize"),
        (TextFeatures, "normalize"),
        (CLIPFeatures, "append_scores"),
    ],
)
@pytest.mark.parametrize("value", ["yes", pd.Series([1, 2]), 2])
def test_what_is_true_or_false_is_nothing_else(cls, name, value):
    estimator = cls(**{name: value})
    with pytest.raises(ValueError, match=f"{name} must be one of"):
        estimator._check_params()


def test_entries_of_tables_with_too_many_axes_are_named():
    rows = np.zeros((30, 1, 1), dtype=object)
    rows[4] = frozenset()
    with pytest.raises(TypeError, match=r"row 4, column 0, column 0, which is no num"):
        PLKNNClassifier().fit(rows, TRUE)
