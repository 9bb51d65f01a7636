"""Rows scaled for a diffusion over them, and samples scaled back."""

import numpy as np
import pytest

from sklabeldiff.core.input_scaling import InputScaler
from sklabeldiff.core.scaling import Standardizer


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.standard_normal((200, 4)) * [1, 10, 0.1, 5] + [0, 3, 1, -7]


def fitted(X, equal_norm):
    return InputScaler.fit(Standardizer.fit(X, equal_norm=equal_norm), X)


either = pytest.mark.parametrize("equal_norm", [False, True])


@either
def test_rows_come_back_in_their_unit(X, equal_norm):
    scaler = fitted(X, equal_norm)
    np.testing.assert_allclose(scaler.inverse(scaler(X)), X, rtol=1e-4, atol=1e-4)


def test_columns_have_deviation_one_half(X):
    x = fitted(X, equal_norm=False)(X)
    assert x.dtype == np.float32
    assert x.shape == X.shape
    np.testing.assert_allclose(x.std(0), 0.5, rtol=1e-5)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)


def test_rows_of_one_norm_have_their_norm_in_a_column_of_its_own(X):
    x = fitted(X, equal_norm=True)(X)
    assert x.dtype == np.float32
    assert x.shape == (200, 5)
    # Half of the norm of four columns of deviation 1.
    np.testing.assert_allclose(np.linalg.norm(x[:, :4], axis=1), 1, rtol=1e-5)
    assert x[:, 4].std() == pytest.approx(0.5, rel=1e-4)
    assert x[:, 4].mean() == pytest.approx(0, abs=1e-5)
    lengths = np.linalg.norm((X - X.mean(0)) / X.std(0), axis=1)
    assert np.array_equal(np.argsort(x[:, 4]), np.argsort(lengths))


def test_samples_off_the_sphere_get_the_norm_of_their_column(X):
    scaler = fitted(X, equal_norm=True)
    x = scaler(X)
    x[:, :4] *= 1.3
    np.testing.assert_allclose(scaler.inverse(x), X, rtol=1e-4, atol=1e-4)


@either
def test_constant_columns_stay_finite_and_come_back(X, equal_norm):
    X[:, 2] = 4.0
    scaler = fitted(X, equal_norm)
    x = scaler(X)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(scaler.inverse(x)[:, 2], 4, atol=1e-6)


@either
def test_what_is_drawn_of_constant_columns_does_not_matter(X, equal_norm):
    X[:, 2] = 4.0
    scaler = fitted(X, equal_norm)
    x = scaler(X)
    x[:, 2] = 0.7  # as a sampler leaves it; of rows of one norm, part of the norm
    np.testing.assert_allclose(scaler.inverse(x), X, rtol=1e-4, atol=1e-4)


@either
def test_row_at_the_centre_stays_finite_and_comes_back(X, equal_norm):
    standardizer = Standardizer.fit(X, equal_norm=equal_norm)
    X[0] = standardizer.mean
    scaler = InputScaler.fit(standardizer, X)
    x = scaler(X)
    assert np.isfinite(x).all()
    np.testing.assert_allclose(scaler.inverse(x)[0], X[0], atol=1e-4)


@either
def test_rows_of_zeros_alone_stay_finite(equal_norm):
    X = np.zeros((5, 3))
    scaler = fitted(X, equal_norm)
    x = scaler(X)
    assert not x.any()
    assert not scaler.inverse(x).any()


def test_images_go_to_minus_one_to_one():
    X = np.random.default_rng(0).integers(0, 256, (20, 12)).astype(np.float64)
    X[0, 0], X[3, 5] = 0, 255
    scaler = InputScaler.of_range(X)
    x = scaler(X)
    assert (x.min(), x.max()) == (-1, 1)
    # All columns alike: an image keeps its looks.
    np.testing.assert_allclose(x, X / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(scaler.inverse(x), X, atol=1e-4)


def test_images_of_one_value_stay_finite_and_come_back():
    X = np.full((3, 4), 7.0)
    scaler = InputScaler.of_range(X)
    assert not scaler(X).any()
    np.testing.assert_array_equal(scaler.inverse(scaler(X)), X)


@either
def test_new_rows_are_scaled_each_by_itself(X, equal_norm):
    scaler = fitted(X[:100], equal_norm)
    np.testing.assert_array_equal(scaler(X[150:])[3], scaler(X[153:154])[0])
