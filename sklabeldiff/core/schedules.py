"""Noise schedules: how much signal a diffusion keeps at each step.

Defines `NoiseSchedule` and the schedules of the papers. Steps are counted from
1 to ``n_timesteps``; step 0 is clean data, so ``abar[0] == 1`` and no formula needs a
special case for the last reverse step.

    beta_t   variance added at step t              t = 1..L
    a_t      1 - beta_t
    abar_t   prod_{s<=t} a_s, share of signal kept  t = 0..L
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Nichol & Dhariwal's offset keeps beta_1 from vanishing; the clip keeps abar_L > 0.
COSINE_OFFSET = 0.008
MAX_BETA = 0.999
# The thousand-step linear schedule of DDPM; shorter chains keep the same total noise.
LINEAR_START, LINEAR_END, LINEAR_STEPS = 1e-4, 0.02, 1000


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving schedule, kept in float64.

    Parameters
    ----------
    beta : Tensor of shape (n_timesteps,)
        Variance added at steps 1..n_timesteps, each in (0, 1).
    """

    beta: Tensor

    @property
    def n_timesteps(self) -> int:
        """Number of diffusion steps, L."""
        return len(self.beta)

    @property
    def abar(self) -> Tensor:
        """Share of signal kept after 0..L steps, shape (n_timesteps + 1,)."""
        one = self.beta.new_ones(1)
        return torch.cat([one, torch.cumprod(1 - self.beta, 0)])


def cosine_schedule(n_timesteps: int) -> NoiseSchedule:
    """Cosine schedule: abar falls as cos^2, so mid levels get most of the steps."""
    u = torch.arange(n_timesteps + 1, dtype=torch.float64) / n_timesteps
    h = torch.cos((u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * torch.pi / 2) ** 2
    return NoiseSchedule((1 - h[1:] / h[:-1]).clamp(max=MAX_BETA))


def linear_schedule(n_timesteps: int) -> NoiseSchedule:
    """Linear betas, scaled so that any chain length ends at the same noise."""
    scale = LINEAR_STEPS / n_timesteps
    beta = torch.linspace(
        LINEAR_START * scale, LINEAR_END * scale, n_timesteps, dtype=torch.float64
    )
    return NoiseSchedule(beta.clamp(max=MAX_BETA))


def respaced_schedule(n_timesteps: int) -> NoiseSchedule:
    """DDPM's thousand linear steps, of which equally spaced ones are kept.

    Each kept step removes the signal of all it stands for, so that a chain of ten
    still ends in noise: abar_L < 1e-4.
    """
    abar = linear_schedule(LINEAR_STEPS).abar
    kept = torch.linspace(0, LINEAR_STEPS, n_timesteps + 1).round().long()
    beta = 1 - abar[kept][1:] / abar[kept][:-1]
    return NoiseSchedule(beta.clamp(max=MAX_BETA))


def unscaled_schedule(n_timesteps: int) -> NoiseSchedule:
    """DDPM's linear betas on a shorter chain as they are, as DTM's paper prints it.

    With ten steps abar_L = .904: the chain does not reach noise, and must not start
    there.
    """
    return NoiseSchedule(
        torch.linspace(LINEAR_START, LINEAR_END, n_timesteps, dtype=torch.float64)
    )


SCHEDULES = {
    "cosine": cosine_schedule,
    "linear": linear_schedule,
    "respaced": respaced_schedule,
    "paper": unscaled_schedule,
}


def make_schedule(name: str, n_timesteps: int) -> NoiseSchedule:
    """Return the schedule called ``name``, one of ``SCHEDULES``."""
    return SCHEDULES[name](n_timesteps)


def sampling_steps(n_timesteps: int, n_sampling_steps: int) -> list[int]:
    """Reverse grid of at most ``n_sampling_steps`` steps, from L down to 1.

    The chain starts at the noisiest step; its last step ends at step 0, where the
    share of signal is exactly 1.
    """
    grid = torch.linspace(n_timesteps, 1, min(n_sampling_steps, n_timesteps))
    return [int(t) for t in grid.round().unique().flip(0)]
