"""Temperatures that make candidate sets most likely."""

import numpy as np
import pytest

from sklabeldiff.core.temperature import (
    MIN_PROBABILITY,
    fit_temperature,
    set_log_likelihood,
    tempered,
)


def sample(seed, n_rows=4000, n_classes=6, rate=0.3):
    """Calibrated probabilities, and uniform candidate sets around drawn labels."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.full(n_classes, 0.5), n_rows)
    y = (P.cumsum(axis=1) > rng.random((n_rows, 1))).argmax(axis=1)
    V = rng.random(P.shape) < rate
    V[np.arange(n_rows), y] = True
    return P, y, V.astype(float)


class TestTempered:
    def test_by_hand(self):
        # Square roots .9 and .3 of .81 and .09; the row need not sum to 1.
        got = tempered(np.array([[0.81, 0.09]]), 2.0)
        np.testing.assert_allclose(got, [[0.75, 0.25]], rtol=1e-12)

    def test_temperature_one_changes_nothing(self):
        P, _, _ = sample(0, 50)
        np.testing.assert_allclose(tempered(P, 1.0), P, atol=1e-6)

    def test_limits_are_certainty_and_ignorance(self):
        P = np.array([[0.5, 0.3, 0.2]])
        np.testing.assert_allclose(tempered(P, 1e-3), [[1, 0, 0]], atol=1e-12)
        np.testing.assert_allclose(tempered(P, 1e6), np.full((1, 3), 1 / 3), atol=1e-5)

    def test_zero_is_not_taken_at_its_word(self):
        got = tempered(np.array([[1.0, 0.0]], dtype=np.float32), 1.0)
        assert got[0, 1] == pytest.approx(MIN_PROBABILITY)
        assert got.dtype == np.float64


def test_likelihood_by_hand():
    # Weight 1/4 on the second class: .6 + .1; the second set has .2.
    P = np.array([[0.6, 0.4, 0.0], [0.5, 0.3, 0.2]])
    V = np.array([[1.0, 0.25, 0.0], [0.0, 0.0, 1.0]])
    expected = (np.log(0.7) + np.log(0.2)) / 2
    assert set_log_likelihood(P, V) == pytest.approx(expected)


class TestFitTemperature:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("T", [0.4, 1.0, 2.5])
    def test_distortion_is_undone(self, T, seed):
        P, _, V = sample(seed)
        assert fit_temperature(tempered(P, 1 / T), V) == pytest.approx(T, rel=0.12)

    def test_one_candidate_each_gives_the_temperature_of_cross_entropy(self):
        P, y, _ = sample(0, 500)
        P = tempered(P, 0.5)
        one_hot = np.eye(6)[y]
        T = fit_temperature(P, one_hot)

        def loss(T):
            return -np.log(tempered(P, T)[np.arange(len(y)), y]).mean()

        assert loss(T) <= min(loss(T * 1.01), loss(T / 1.01))

    def test_of_temperatures_as_good_the_one_nearest_to_one_is_taken(self):
        # Right on every row: the lower, the better, by less and less.
        P = np.array([[0.9, 0.1], [0.2, 0.8]])
        assert 0.1 < fit_temperature(P, np.eye(2)) < 0.4
        assert 0.8 < fit_temperature(np.eye(2), np.eye(2)) < 1.2

    def test_sets_of_all_classes_say_nothing(self):
        P, _, V = sample(0, 500)
        more = np.vstack([P, P[:300]]), np.vstack([V, np.ones((300, 6))])
        assert fit_temperature(*more) == pytest.approx(fit_temperature(P, V), rel=1e-3)

    def test_labels_of_calibrated_sets_like_no_other_temperature_better(self):
        P, _, V = sample(0)
        best = set_log_likelihood(tempered(P, fit_temperature(P, V)), V)
        for T in np.geomspace(0.05, 20, 40):
            assert set_log_likelihood(tempered(P, T), V) <= best + 1e-9

    def test_set_that_a_model_excludes_does_not_break_the_fit(self):
        P = np.array([[1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
        V = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        assert np.isfinite(fit_temperature(P, V))
