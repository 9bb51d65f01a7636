"""Diffusion over inputs after EDM: the scales of the network, and the sampler."""

import math

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core import edm
from sklabeldiff.core.noise_levels import SIGMA_DATA, loss_weight

SIGMA = torch.logspace(-3, 2, 30, dtype=torch.float64)


@pytest.fixture
def noisy(generator):
    """x, x_t (30, 4) and sigma (30,), float64."""
    x, eps = torch.randn((2, 30, 4), generator=generator, dtype=torch.float64)
    return SIGMA_DATA * x, SIGMA_DATA * x + SIGMA[:, None] * eps, SIGMA


def test_all_errors_begin_at_the_size_of_those_of_the_network():  # lambda c_out^2 = 1
    product = loss_weight(SIGMA) * edm.c_out(SIGMA) ** 2
    assert_close(product, torch.ones_like(SIGMA))


def test_network_sees_and_shall_say_numbers_of_variance_one(generator):
    x, eps = torch.randn((2, 100_000), generator=generator, dtype=torch.float64)
    for level in (0.02, 0.3, 5.0):
        sigma = torch.full_like(x, level)
        x_t = SIGMA_DATA * x + sigma * eps
        seen = edm.c_in(sigma) * x_t
        said = edm.wanted(SIGMA_DATA * x[:, None], x_t[:, None], sigma)[:, 0]
        # Standard error of a variance of 100 000 normals: .0045.
        assert seen.var().item() == pytest.approx(1, abs=0.02)
        assert said.var().item() == pytest.approx(1, abs=0.02)
        # What is asked for is what the input does not show.
        assert (seen * said).mean().item() == pytest.approx(0, abs=0.015)


def test_denoised_undoes_wanted(noisy):
    x, x_t, sigma = noisy
    assert_close(edm.denoised(edm.wanted(x, x_t, sigma), x_t, sigma), x)


def test_error_of_the_network_is_the_weighted_error_of_the_denoiser(noisy, generator):
    x, x_t, sigma = noisy
    F = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    D = edm.denoised(F, x_t, sigma)
    weighted = loss_weight(sigma) * (D - x).square().sum(-1)
    assert_close((F - edm.wanted(x, x_t, sigma)).square().sum(-1), weighted)


def test_network_is_told_a_quarter_of_the_log_level():
    assert_close(edm.c_noise(SIGMA), SIGMA.log() / 4)


# -- the sampler -----------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [2, 18, 40])
def test_levels_fall_from_80_over_002_to_zero(n_steps):
    levels = edm.sampler_levels(n_steps)
    assert levels.shape == (n_steps + 1,)
    assert (levels.diff() < 0).all()
    assert levels[[0, -2, -1]].tolist() == pytest.approx([80, 0.002, 0])


def test_levels_are_even_in_their_seventh_root():
    roots = edm.sampler_levels(10)[:-1] ** (1 / 7)
    assert_close(roots.diff(), roots.diff()[:1].expand(9))


@pytest.mark.parametrize("n_steps", [1, 2, 18])
def test_sampler_asks_twice_a_step_but_once_in_the_last(n_steps):
    asked = []

    def denoise(x, sigma):
        asked.append(sigma.item())
        return x

    edm.heun(denoise, torch.zeros(1, 2), n_steps)
    levels = edm.sampler_levels(n_steps)[:-1].tolist()
    assert len(asked) == 2 * n_steps - 1
    # The second look of a step is at the level where the next begins.
    assert asked == pytest.approx([levels[0], *(s for s in levels[1:] for _ in "ab")])


MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.3, 0.12], [0.12, 0.1]], dtype=torch.float64)


def gaussian_denoiser(x, sigma):
    """Posterior mean of N(MEAN, COVARIANCE) under noise. (n, 2) -> (n, 2)."""
    noisy = COVARIANCE + sigma**2 * torch.eye(2, dtype=torch.float64)
    return MEAN + (x - MEAN) @ torch.linalg.solve(noisy, COVARIANCE)


# 18 steps spread a Gaussian a little too far, see below; so few rows do not show it.
@pytest.mark.parametrize(("n_steps", "n"), [(18, 250), (40, 1000)])
@pytest.mark.parametrize("seed", range(4))
def test_sampler_recovers_a_gaussian(seed, n_steps, n):  # check 10
    gen = torch.Generator().manual_seed(seed)
    noise = torch.randn((n, 2), generator=gen, dtype=torch.float64)
    drawn = edm.heun(gaussian_denoiser, noise, n_steps)
    variances = COVARIANCE.diag()
    of_mean = (variances / n).sqrt()
    assert ((drawn.mean(0) - MEAN).abs() < 3 * of_mean).all()
    of_covariance = ((variances.outer(variances) + COVARIANCE**2) / n).sqrt()
    assert ((drawn.T.cov() - COVARIANCE).abs() < 3 * of_covariance).all()


# Excess of the variance of the samples, in per cent.
@pytest.mark.parametrize(("n_steps", "excess"), [(18, 12), (40, 2), (80, 0.5)])
def test_sampler_without_chance(n_steps, excess):  # check 10
    # Its map is affine here: the mean and the covariance come out directly.
    starts = torch.cat([torch.zeros(1, 2), torch.eye(2)]).double()
    origin, *columns = edm.heun(gaussian_denoiser, starts, n_steps)
    A = torch.stack([column - origin for column in columns], dim=1)
    found = torch.trace(A @ A.T) / torch.trace(COVARIANCE)
    assert (found.item() - 1) * 100 == pytest.approx(excess, abs=1)
    assert_close(origin, MEAN, rtol=0, atol=0.01)  # 80 is not infinite


def test_step_of_the_sampler_by_hand():
    # One variable of variance v: D = x v / (v + s^2), slope x s / (v + s^2).
    v, (first, second, _) = 0.25, edm.sampler_levels(2).tolist()
    before, after = (s / (v + s**2) for s in (first, second))
    step = second - first
    euler = 1 + step * before
    x = 1 + step * (before + after * euler) / 2
    x = x - second * x * after  # the last step, to 0, is Euler's
    one = torch.full((1, 1), 1 / first, dtype=torch.float64)
    found = edm.heun(lambda x, s: x * v / (v + s**2), one, 2)
    assert found.item() == pytest.approx(x, rel=1e-9)


def test_error_of_the_sampler_falls_with_the_square_of_its_steps():  # check 10
    unit = torch.eye(2, dtype=torch.float64)
    fine, *coarse = (edm.heun(gaussian_denoiser, unit, n) for n in (1280, 40, 80))
    first, second = ((c - fine).abs().max().item() for c in coarse)
    assert math.log2(first / second) == pytest.approx(2, abs=0.4)


def test_sampler_is_deterministic():  # check 10
    noise = torch.randn((5, 2), generator=torch.Generator().manual_seed(0)).double()
    one, other = (edm.heun(gaussian_denoiser, noise, 18) for _ in range(2))
    assert torch.equal(one, other)
