"""Column and row scaling, and the choice between them."""

import numpy as np
import pytest

from sklabeldiff.core import scaling
from sklabeldiff.core.scaling import (
    Standardizer,
    choose_row_scaling,
    neighbour_agreement,
)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.standard_normal((200, 4)) * [1, 10, 0.1, 5] + [0, 3, 1, -7]


def test_columns_get_mean_zero_and_variance_one(X):
    Z = Standardizer.fit(X)(X)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(Z.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("equal_norm", [False, True])
def test_there_is_no_seam_between_blocks(X, equal_norm, monkeypatch):
    whole = Standardizer.fit(X, equal_norm)
    Z = whole(X)
    monkeypatch.setattr(scaling, "BLOCK_ENTRIES", 7 * 4)
    parts = Standardizer.fit(X, equal_norm)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-12)
    np.testing.assert_array_equal(whole(X), Z)


def test_constant_column_is_centred_only(X):
    X[:, 2] = 4.0
    Z = Standardizer.fit(X)(X)
    assert np.all(Z[:, 2] == 0)
    assert np.isfinite(Z).all()


def test_new_rows_use_the_scales_of_the_training_rows(X):
    scaler = Standardizer.fit(X[:100])
    np.testing.assert_array_equal(scaler(X)[150], scaler(X[150:151])[0])


def test_rows_get_equal_norm(X):
    Z = Standardizer.fit(X, equal_norm=True)(X)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 2, rtol=1e-5)  # sqrt(4)


def test_zero_row_stays_finite_under_equal_norm(X):
    scaler = Standardizer.fit(X, equal_norm=True)
    assert np.isfinite(scaler(scaler.mean[None])).all()


def test_identity_leaves_rows_alone(X):
    np.testing.assert_array_equal(Standardizer.identity(4)(X), X.astype(np.float32))


def two_classes(informative):
    """Rows whose class is told by their direction, or by their length."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    direction = rng.standard_normal((400, 5))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = rng.uniform(0.1, 10, size=400)
    if informative == "direction":
        side = np.where(y == 0, 1, -1)
        direction[:, 0] = side * np.abs(direction[:, 0]) + 0.2 * side
    else:
        length = np.where(y == 0, 1.0, 3.0)
    return direction * length[:, None], np.eye(2, dtype=bool)[y]


@pytest.mark.parametrize(
    ("informative", "equal_norm"), [("direction", True), ("length", False)]
)
def test_candidate_sets_choose_the_row_scaling(informative, equal_norm):
    X, Y = two_classes(informative)
    assert choose_row_scaling(X, Y, 5).equal_norm is equal_norm


def test_neighbour_agreement_is_one_for_separate_clusters():
    X = np.repeat([[0.0], [100.0]], 20, axis=0) + np.linspace(0, 1, 40)[:, None]
    Y = np.repeat(np.eye(2, dtype=bool), 20, axis=0)
    assert neighbour_agreement(X, Y, 5) == 1
    assert neighbour_agreement(X, np.ones_like(Y), 5) == 1
    assert neighbour_agreement(X, Y[np.arange(40) % 2 * 20], 5) < 0.7
