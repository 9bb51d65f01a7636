"""Noise levels: the interval, what training draws from it, and the grids to read at."""

import math

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.noise_levels import (
    GRIDS,
    P_MEAN,
    P_STD,
    NoiseLevels,
    density,
    distribution,
    loss_weight,
    quantile,
)

MEDIAN = 0.301194
LENGTHS = [0.01, 0.5, 6.4, 50.0]
LEVELS = NoiseLevels(6.4)


def normal_cdf(z):
    return 0.5 * math.erfc(-z / math.sqrt(2))


@pytest.mark.parametrize("length", LENGTHS)
def test_tails_outside_of_the_interval_are_of_equal_mass(length):  # check 1
    low, high = (
        normal_cdf((math.log(end) - P_MEAN) / P_STD) for end in NoiseLevels(length).ends
    )
    assert low + high == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("length", LENGTHS)
def test_interval_has_the_length_asked_for(length):
    low, high = NoiseLevels(length).ends
    assert high - low == pytest.approx(length, rel=1e-12)
    assert low > 0


def test_interval_of_the_paper():  # check 1
    assert LEVELS.ends == pytest.approx((0.014143, 6.414143), abs=1e-6)


def test_interval_of_the_paper_has_nearly_all_of_the_mass():
    low, high = LEVELS.share
    assert high - low == pytest.approx(0.989, abs=5e-4)


def test_long_interval_keeps_the_digits_of_its_low_end():
    # The ends are reciprocal around the median, however far apart.
    low, high = NoiseLevels(1e8).ends
    assert low * high == pytest.approx(math.exp(2 * P_MEAN), rel=1e-12)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("length", [0.0, *LENGTHS])
def test_single_level_is_the_median(kind, length):  # check 1
    level = NoiseLevels(length).grid(1, kind)
    assert level.tolist() == pytest.approx([MEDIAN], abs=1e-6)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("n_levels", [2, 8, 60])
def test_grid_increases_inside_the_interval(kind, n_levels):
    grid = LEVELS.grid(n_levels, kind)
    low, high = LEVELS.ends
    assert grid.shape == (n_levels,)
    assert (grid.diff() > 0).all()
    # Its ends may be those of the interval, up to the rounding of a logarithm.
    assert grid[0] > low * (1 - 1e-12) and grid[-1] < high * (1 + 1e-12)


@pytest.mark.parametrize("n_levels", [2, 8])
def test_quantile_grid_halves_parts_of_equal_mass(n_levels):
    F = distribution(LEVELS.grid(n_levels, "quantile"))
    low, high = LEVELS.share
    expected = [
        low + (high - low) * (2 * j + 1) / (2 * n_levels) for j in range(n_levels)
    ]
    assert F.tolist() == pytest.approx(expected, abs=1e-12)


def test_uniform_grid_is_equally_spaced():
    steps = LEVELS.grid(9, "uniform").diff()
    assert_close(steps, steps[:1].expand(8))


def test_log_grid_has_equal_ratios():
    grid = LEVELS.grid(9, "log")
    ratios = grid[1:] / grid[:-1]
    assert_close(ratios, ratios[:1].expand(8))


# -- weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_levels", [1, 8])
def test_edm_weights_of_quantiles_are_a_mean_of_lambda(n_levels):
    sigma = LEVELS.grid(n_levels, "quantile")
    weights = LEVELS.weights(n_levels, "quantile", "edm")
    assert_close(weights, (sigma**2 + 0.25) / (sigma * 0.5) ** 2 / n_levels)


def test_edm_weights_of_the_uniform_grid_follow_the_density():
    sigma = LEVELS.grid(8, "uniform")
    share = density(sigma) / density(sigma).sum()
    weights = LEVELS.weights(8, "uniform", "edm")
    assert_close(weights, loss_weight(sigma) * share)


@pytest.mark.parametrize("kind", GRIDS)
def test_edm_weights_converge_to_the_mean_of_lambda(kind):
    # E lambda = 4 + E sigma^-2 over the interval, by the moments of a cut log-normal.
    low, high = ((math.log(end) - P_MEAN) / P_STD for end in LEVELS.ends)
    moved = [normal_cdf(z + 2 * P_STD) for z in (low, high)]
    inverse_square = math.exp(-2 * P_MEAN + 2 * P_STD**2) * (moved[1] - moved[0])
    share = normal_cdf(high) - normal_cdf(low)
    found = LEVELS.weights(200_000, kind, "edm").sum().item()
    assert found == pytest.approx(4 + inverse_square / share, rel=5e-3)


@pytest.mark.parametrize("kind", GRIDS)
def test_elbo_weights_integrate_the_inverse_cube(kind):
    low, high = LEVELS.ends
    found = LEVELS.weights(200_000, kind, "elbo").sum().item()
    # The uniform grid has 440 levels below twice the low end, where the mass is.
    assert found == pytest.approx((low**-2 - high**-2) / 2, rel=5e-3)


def test_few_log_levels_integrate_what_is_inside():
    # As the differences between classes, a bump in ln(sigma), away from both ends.
    sigma, weights = LEVELS.grid(8, "log"), LEVELS.weights(8, "log", "elbo")
    bump = torch.exp(-((sigma.log() - P_MEAN) ** 2) / 2)
    found = (weights * sigma**2 * bump).sum().item()
    assert found == pytest.approx(math.sqrt(2 * math.pi), rel=0.02)


# -- the density -----------------------------------------------------------------------


def test_density_is_the_derivative_of_the_distribution():
    sigma = torch.tensor([0.02, 0.3, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(distribution(sigma).sum(), sigma)
    assert_close(density(sigma.detach()), slope)


def test_quantile_undoes_the_distribution():
    u = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    assert_close(distribution(quantile(u)), u)


# -- drawing ---------------------------------------------------------------------------


def test_draws_follow_the_density_cut_to_the_interval(generator):
    n = 40_000
    drawn = LEVELS.draw(4, n // 4, generator).flatten().sort().values.double()
    low, high = LEVELS.share
    F = (distribution(drawn) - low) / (high - low)
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    # Kolmogorov's bound at one in a thousand, for independent draws; these spread more
    # evenly.
    assert (F - steps).abs().max().item() < 1.95 / math.sqrt(n)


def test_levels_of_a_row_are_one_of_each_part(generator):
    n_levels = 5
    low, high = LEVELS.share
    F = distribution(LEVELS.draw(n_levels, 1000, generator).double())
    part = (F - low) / (high - low) * n_levels
    expected = torch.arange(n_levels).expand(1000, n_levels).T
    # A draw at a border may round to the other side in float32.
    assert_close(part.clamp(0, n_levels - 1e-6).sub(1e-5).floor().long(), expected)


def test_draws_fill_their_parts(generator):
    low, high = LEVELS.share
    F = distribution(LEVELS.draw(2, 5000, generator).double())
    within = ((F - low) / (high - low) * 2) % 1
    assert within.mean(1).tolist() == pytest.approx([0.5, 0.5], abs=0.015)
    assert within.std(1).tolist() == pytest.approx([12**-0.5] * 2, abs=0.01)


def test_draws_stay_in_the_interval(generator):
    drawn = LEVELS.draw(1, 50_000, generator)
    low, high = LEVELS.ends
    assert drawn.min() > low * (1 - 1e-4) and drawn.max() < high * (1 + 1e-4)


def test_equal_generators_draw_equal_levels():
    def draw(seed):
        return LEVELS.draw(3, 10, torch.Generator().manual_seed(seed))

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_interval_without_length_draws_the_median(generator):
    drawn = NoiseLevels(0.0).draw(2, 3, generator)
    assert_close(drawn, torch.full((2, 3), MEDIAN), rtol=0, atol=1e-5)
