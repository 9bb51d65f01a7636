"""Small fits of every estimator on any data: an answer that is one, or an error."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import issparse

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    CCClassifier,
    DIRKClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
    VolMinNetClassifier,
)
from sklabeldiff.calibration import (
    CandidateCalibratedClassifier,
    RejectOptionClassifier,
)

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome
from .strategies import tables

pytestmark = pytest.mark.filterwarnings("ignore")

N_ROWS = 30
SHARED = {
    "standardize": ["auto", "standard", "rows", None],
    "batch_size": [3, 8, 1000],
    "learning_rate": [1e-3, 1e-8, 1.0],
    "max_epochs": [1, 1, 1, 2],
    "random_state": [0, 1, 2**32 - 1],
}
SIZES = {"hidden": [1, 8, 33]}
CHOICES = {
    DDMPClassifier: SHARED
    | SIZES
    | {
        "n_neighbors": [1, 10, 1000],
        "label_similarity": ["jaccard", None],
        "n_propagations": [0, 1, 10],
        "prior_mean": ["kernel", "zero"],
        "target": ["sharp", "soft", "hard", "sample"],
        "network": ["gated", "attention"],
        "prediction": ["x0", "eps"],
        "n_timesteps": [1, 2, 100],
        "schedule": ["cosine", "linear"],
        "n_sampling_steps": [1, 10, 1000],
        "refresh": ["bayes", "inverse", None],
        "gamma": [0.0, 0.3, 1.0],
        "eta": [0.0, 0.5, 1.0],
        "gate": [0.0, 0.9, 1.0],
        "preset": ["paper", None, None],
    },
    DTMClassifier: SHARED
    | {
        "hidden": [(), (8,), (4, 4)],
        "n_groups": ["auto", 1, 3],
        "group_estimator": ["dirichlet", "volmin"],
        "responsibility_source": ["auto", "model", "majority", "smoother"],
        "kappa": [0.0, 1.0, 1e6],
        "volume_penalty": [0.0, 1e-4, 10.0],
        "generator": ["diffusion", "regression", "group"],
        "network": ["mlp", "mlp", "unet", "axial"],
        "representation": ["auto", "pca", "full"],
        "prediction": ["x0", "eps"],
        "n_timesteps": [1, 2, 10],
        "schedule": ["respaced", "paper"],
        "n_draws": [1, 3],
        "resample": [False, True],
        "validation_fraction": [0, 0.1, 0.5, "per_class"],
    },
    CADClassifier: SHARED
    | {
        "hidden": [1, (8,), (4, 4)],
        "augmentation": ["cam", "none"],
        "candidate_loss": ["adjusted", "progressive", "uniform"],
        "beta": [0.0, 0.3, 10.0],
        "tau": [1e-3, 0.12, 100.0],
        "tau_w": [1e-3, 0.1, 100.0],
        "pair_average": ["pairs", "instances"],
        "cam_eps": [0.0, 1.0],
        "max_versions": [None, 1, 3],
        "momentum": [0.0, 0.9, 1.0],
        "queue_size": ["auto", 1, 7],
        "warmup_epochs": [0, 1],
    },
    DMISClassifier: SHARED
    | SIZES
    | {
        "supervision": ["auto", "partial", "noisy", "semi"],
        "n_blocks": [1, 2],
        "conditioning": ["mixture", "vanilla"],
        "cls_weight": ["auto", 0.0, 10.0],
        "posterior_temperature": [0.01, 1.0, 100.0],
        "class_prior": ["uniform", "estimate"],
        "noise_rate": [None, 0.3],
        "n_neighbors": [None, 1, 10, 1000],
        "top_k": [None, 1, 2],
        "n_training_levels": ["auto", 1, 5],
        "n_sampling_steps": [1, 8],
        "n_draws": [1, 2],
        "grid": ["quantile", "uniform", "log"],
        "weighting": ["edm", "elbo"],
        "ema_fraction": [0.0, 0.05, 1.0],
    },
    PRODENClassifier: SHARED | {"hidden": [(), 1, (8,)]},
    CCClassifier: SHARED | {"hidden": [(), 1, (8,)]},
    VolMinNetClassifier: SHARED
    | {"hidden": [(), 1, (8,)], "validation_fraction": [0, 0.1, "per_class"]},
    DIRKClassifier: SHARED | {"hidden": [1, (8,)], "beta": [0.0, 1.0]},
    PLKNNClassifier: {
        "n_neighbors": [1, 10, 1000],
        "weights": ["distance", "uniform"],
        "standardize": SHARED["standardize"],
    },
    KernelPropagationClassifier: {
        "gamma": [1e-6, 0.1, 1e6],
        "ridge": [1e-12, 0.1, 1e6],
        "n_passes": [0, 10],
        "n_components": [1, 10, 1000],
        "standardize": SHARED["standardize"],
        "random_state": [0],
    },
    CandidateWeightedClassifier: {
        "labels": ["weighted", "propagated"],
        "standardize": SHARED["standardize"],
    },
}
WRAPPED = {
    CandidateCalibratedClassifier: {"cv": [2, 3]},
    RejectOptionClassifier: {"cv": [2], "coverage": [0.01, 0.5, 1.0]},
}


@st.composite
def label_sets(draw, n):
    """Sets of n rows over some classes, sound in form, whatever they say."""
    kind = draw(
        st.sampled_from(
            [
                *("sets", "sets", "labels", "weights", "semi", "all full", "one class"),
                *("one row a class", "contradictory", "many classes", "absent class"),
            ]
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    C = draw(st.integers(2, 6))
    true = rng.integers(0, C, n)
    sets = rng.random((n, C)) < draw(st.sampled_from([0.0, 0.3, 0.9]))
    sets[np.arange(n), true] = True
    if kind == "labels":
        return true
    if kind == "weights":
        return sets * 10.0 ** rng.integers(-30, 30, sets.shape)
    if kind == "semi":
        sets[rng.random(n) < 0.7] = True
        return sets
    if kind == "all full":
        return np.ones((n, C), dtype=bool)
    if kind == "one class":
        return np.zeros(n, dtype=int)
    if kind == "one row a class":
        return np.eye(n, dtype=bool)
    if kind == "contradictory":
        return np.arange(n) % C
    if kind == "many classes":
        many = rng.random((n, 1000)) < 0.002
        many[np.arange(n), rng.integers(0, 1000, n)] = True
        return many
    if kind == "absent class":
        return np.column_stack([sets, np.zeros(n, dtype=bool)])
    return sets


def as_dense(table):
    """A table; of very many classes it is sparse."""
    return table.toarray() if issparse(table) else table


def check_fitted(clf, X):
    """What a fitted classifier owes."""
    P = outcome(clf.predict_proba, X)
    if P is REFUSED:
        return
    assert P.shape == (len(P), len(clf.classes_))
    assert np.isfinite(P).all()
    assert (P >= 0).all()
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-3)
    labels = clf.predict(X)
    assert np.isin(labels, clf.classes_).all()
    S = getattr(clf, "label_distribution_", None)
    if S is not None:
        S = as_dense(S)
        assert np.isfinite(S).all()
        np.testing.assert_allclose(S.sum(axis=1), 1, atol=1e-3)
    for name in ("transition_matrix_", "group_transition_matrices_", "class_prior_"):
        T = getattr(clf, name, None)
        if T is not None:
            T = as_dense(T)
            assert np.isfinite(T).all()
            # DDMP's says how often classes are in a set together.
            if not isinstance(clf, DDMPClassifier):
                np.testing.assert_allclose(T.sum(axis=-1), 1, atol=1e-3)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(X), P)


def case(data, cls, choices):
    """Fit one estimator to something, with some parameters."""
    CASES[f"fit {cls.__name__}"] += 1
    n = data.draw(st.sampled_from([N_ROWS, N_ROWS, N_ROWS, 7, 3, 2, 1]))
    X, y = data.draw(tables(n)), data.draw(label_sets(n))
    names = data.draw(st.lists(st.sampled_from(sorted(choices)), max_size=5))
    given_params = {name: data.draw(st.sampled_from(choices[name])) for name in names}
    if "max_epochs" in choices:
        given_params.setdefault("max_epochs", 1)
    if "hidden" in choices:
        given_params.setdefault("hidden", 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = cls(**given_params)
    if outcome(clf.fit, X, y) is not REFUSED:
        CASES["complete fit"] += 1
        check_fitted(clf, X)


@pytest.mark.parametrize("cls", CHOICES, ids=lambda cls: cls.__name__)
@n_cases(8, 500)
@given(st.data())
def test_fits(cls, data):
    case(data, cls, CHOICES[cls])


@pytest.mark.parametrize("cls", WRAPPED, ids=lambda cls: cls.__name__)
@n_cases(4, 200)
@given(st.data())
def test_wrapped_fits(cls, data):
    def make(**params):
        return cls(PLKNNClassifier(), **params)

    make.__name__ = cls.__name__
    case(data, make, WRAPPED[cls])
