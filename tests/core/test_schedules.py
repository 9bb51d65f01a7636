"""Noise schedules and the reverse grid."""

import numpy as np
import pytest
import torch

from sklabeldiff.core.schedules import (
    COSINE_OFFSET,
    MAX_BETA,
    cosine_schedule,
    linear_schedule,
    make_schedule,
    respaced_schedule,
    sampling_steps,
    unscaled_schedule,
)

SCHEDULES = ["cosine", "linear", "respaced", "paper"]
LENGTHS = [1, 2, 20, 100, 1000]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("n_timesteps", LENGTHS)
def test_signal_falls_from_one(name, n_timesteps):
    schedule = make_schedule(name, n_timesteps)
    assert schedule.n_timesteps == n_timesteps
    assert schedule.abar.shape == (n_timesteps + 1,)
    assert schedule.abar.dtype == torch.float64
    assert schedule.abar[0] == 1
    assert torch.all(schedule.abar.diff() < 0)
    assert torch.all((schedule.beta > 0) & (schedule.beta <= MAX_BETA))


def test_cosine_is_the_squared_cosine_until_the_clip():
    L = 50
    u = (np.arange(L + 1) / L + COSINE_OFFSET) / (1 + COSINE_OFFSET)
    h = np.cos(u * np.pi / 2) ** 2
    # Only the last beta is clipped; the other products telescope.
    np.testing.assert_allclose(cosine_schedule(L).abar[:-1], h[:-1] / h[0], rtol=1e-10)
    assert cosine_schedule(L).beta[-1] == MAX_BETA


def test_cosine_has_the_values_of_the_method_page():
    abar = cosine_schedule(1000).abar
    assert abar[1].item() == pytest.approx(0.99996, abs=5e-6)
    assert abar[-1].item() == pytest.approx(2e-9, rel=0.3)  # printed with one digit


def test_linear_is_the_ddpm_schedule_at_a_thousand_steps():
    expected = np.linspace(1e-4, 0.02, 1000)
    np.testing.assert_allclose(linear_schedule(1000).beta, expected, rtol=1e-12)


@pytest.mark.parametrize("n_timesteps", [20, 100, 1000])
def test_linear_chains_of_any_length_end_in_noise(n_timesteps):
    assert linear_schedule(n_timesteps).abar[-1] < 1e-4


def test_respaced_chain_keeps_the_signal_of_its_steps():  # DTM, check 9
    expected = [0.897, 0.659, 0.396, 0.195, 0.0786, 0.0259, 0.00697]
    expected += [0.00153, 0.000275, 0.0000404]
    abar = respaced_schedule(10).abar
    np.testing.assert_allclose(abar[1:], expected, rtol=5e-3)
    assert abar[-1] < 1e-4
    np.testing.assert_allclose(abar, linear_schedule(1000).abar[::100], rtol=1e-12)


def test_printed_chain_does_not_reach_noise():  # DTM, check 9
    schedule = unscaled_schedule(10)
    assert schedule.abar[-1].item() == pytest.approx(0.9037, abs=5e-5)
    assert schedule.beta[[0, -1]].tolist() == pytest.approx([1e-4, 0.02])


def test_unknown_schedule_is_refused():
    with pytest.raises(KeyError):
        make_schedule("square", 10)


@pytest.mark.parametrize("n_timesteps", LENGTHS)
@pytest.mark.parametrize("n_sampling_steps", [1, 2, 3, 7, 10, 50, 5000])
def test_reverse_grid_starts_at_the_noisiest_step(n_timesteps, n_sampling_steps):
    grid = sampling_steps(n_timesteps, n_sampling_steps)
    assert grid[0] == n_timesteps
    assert len(grid) == min(n_sampling_steps, n_timesteps)
    assert grid == sorted(set(grid), reverse=True)
    assert grid[-1] == (1 if len(grid) > 1 else n_timesteps)


def test_reverse_grid_can_be_every_step():
    assert sampling_steps(5, 9) == [5, 4, 3, 2, 1]
