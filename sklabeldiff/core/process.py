"""The Gaussian process over any vector state: marginal, posterior, DDIM and DDPM.

A state S of shape (..., K) drifts from its clean value S_0 to a prior mean f while
noise is added [1]_ [2]_. Equation numbers are those of the method page.

    S_0      (..., K)  clean state
    f        (..., K)  prior mean, the centre of the noise end
    S_t      (..., K)  state after t steps
    eps      (..., K)  standard normal noise
    abar_t   scalar    share of signal kept after t steps

One step:  S_t ~ N( sqrt(a_t) S_{t-1} + (1 - sqrt(a_t)) f, beta_t I )             (1)
Marginal:  S_t = sqrt(abar_t) S_0 + (1 - sqrt(abar_t)) f + sqrt(1 - abar_t) eps   (2)

Leading axes are free (rows, or members and rows); steps ``t`` broadcast against them.

.. [1] X. Han, H. Zheng, M. Zhou, "CARD: Classification and Regression Diffusion
       Models", NeurIPS 2022.
.. [2] J. Fan et al., "Diffusion Disambiguation Models for Partial Label Learning",
       arXiv:2507.00411, 2025. Its printed coefficient of f in (1) contradicts (2);
       the one above reproduces (2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .schedules import NoiseSchedule, sampling_steps

# Labels live in [0, 1]; a guess of S_0 outside this range is a numerical accident of
# dividing by sqrt(abar_L), which is 1e-4 and less at the noise end.
LABEL_RANGE = (-1.0, 2.0)

Denoiser = Callable[[Tensor, Tensor], Tensor]
Range = tuple[float, float] | tuple[Tensor, Tensor]


class PosteriorCoefficients(NamedTuple):
    """Mean ``g0 S_0 + g1 S_t + g2 f`` and variance of S_{t-1} given S_t and S_0."""

    g0: Tensor
    g1: Tensor
    g2: Tensor
    variance: Tensor


class GaussianProcess:
    """The forward process and its reversal, for one noise schedule.

    Parameters
    ----------
    schedule : NoiseSchedule
    prediction : {"x0", "eps"}
        What the denoiser returns: the clean state, counted from the prior mean (so that
        a network that returns 0 repeats the prior mean), or the noise.
    x0_range : pair of float or of Tensor of shape (K,)
        Least and largest clean value; guesses of S_0 are cut to it.
    device : torch.device or str
    dtype : torch.dtype
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        prediction: str = "x0",
        *,
        x0_range: Range = LABEL_RANGE,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.schedule = schedule
        self.prediction = prediction
        low, high = x0_range
        self.lowest = torch.as_tensor(low, device=device, dtype=dtype)
        self.highest = torch.as_tensor(high, device=device, dtype=dtype)
        self.beta = schedule.beta.to(device=device, dtype=dtype)
        self.abar = schedule.abar.to(device=device, dtype=dtype)
        self.signal = self.abar.sqrt()
        self.noise_scale = (1 - self.abar).sqrt()
        abar = schedule.abar.double()
        self._signal, self._noise = abar.sqrt().tolist(), (1 - abar).sqrt().tolist()

    @property
    def n_timesteps(self) -> int:
        """Number of diffusion steps, L."""
        return self.schedule.n_timesteps

    def marginal(self, s0: Tensor, t: Tensor, eps: Tensor, f: Tensor) -> Tensor:
        """Noise S_0 to step t. (..., K), (...) -> (..., K). Eq. (2)."""
        signal, noise = self.signal[t][..., None], self.noise_scale[t][..., None]
        return f + signal * (s0 - f) + noise * eps

    def posterior(self, t: Tensor) -> PosteriorCoefficients:
        """Coefficients of the Gaussian posterior of S_{t-1}. (...) -> (...) each."""
        beta, abar, before = self.beta[t - 1], self.abar[t], self.abar[t - 1]
        a = 1 - beta
        g0 = beta * before.sqrt() / (1 - abar)
        g1 = (1 - before) * a.sqrt() / (1 - abar)
        g2 = 1 + (abar.sqrt() - 1) * (a.sqrt() + before.sqrt()) / (1 - abar)
        return PosteriorCoefficients(g0, g1, g2, beta * (1 - before) / (1 - abar))

    def target(self, s0: Tensor, eps: Tensor, f: Tensor) -> Tensor:
        """Return what the denoiser should have said."""
        return s0 - f if self.prediction == "x0" else eps

    def clean_state(self, prediction: Tensor, s_t: Tensor, t: int, f: Tensor) -> Tensor:
        """Turn the denoiser's answer into S_0, inside ``x0_range``. (..., K)."""
        if self.prediction == "x0":
            s0 = f + prediction
        else:
            drift = (1 - self.signal[t]) * f + self.noise_scale[t] * prediction
            s0 = (s_t - drift) / self.signal[t]
        return s0.clamp_(self.lowest, self.highest)

    def ddim_step(
        self, s0: Tensor, s_t: Tensor, t: int, t_next: int, f: Tensor
    ) -> Tensor:
        """Deterministic step from t to t_next < t, given a guess of S_0."""
        # f + signal' (s0 - f) + noise' eps, with the noise recomputed from the clamped
        # guess, so that both agree: eps = (s_t - f - signal (s0 - f)) / noise. Written
        # as one sum: of very many classes a state is large.
        b = self._noise[t_next] / self._noise[t]
        a = self._signal[t_next] - b * self._signal[t]
        return (b * s_t).add_(s0, alpha=a).add_(f, alpha=1 - a - b)

    def ddim(
        self, denoise: Denoiser, start: Tensor, f: Tensor, n_sampling_steps: int
    ) -> Tensor:
        """Run the deterministic reverse chain from ``start`` at step L.

        Parameters
        ----------
        denoise : callable
            ``denoise(s_t, t)`` with s_t (..., K) and t (...) int64; returns (..., K).
        start : Tensor of shape (..., K)
            S_L; the prior mean itself gives the maximum-likelihood chain.
        f : Tensor of shape (..., K)
        n_sampling_steps : int

        Returns
        -------
        Tensor of shape (..., K)
            The final guess of S_0.
        """
        for s_t in self.ddim_states(denoise, start, f, n_sampling_steps):
            state = s_t
        return state

    def ddim_states(
        self, denoise: Denoiser, start: Tensor, f: Tensor, n_sampling_steps: int
    ) -> Iterator[Tensor]:
        """Yield S_t along the chain of `ddim`, at each step of `ddim_grid`."""
        s_t = start
        yield s_t
        for t, t_next in pairwise(self.ddim_grid(n_sampling_steps)):
            steps = torch.full(s_t.shape[:-1], t, device=s_t.device)
            s0 = self.clean_state(denoise(s_t, steps), s_t, t, f)
            s_t = self.ddim_step(s0, s_t, t, t_next, f)
            yield s_t

    def ddim_grid(self, n_sampling_steps: int) -> list[int]:
        """Return the steps that the chain visits, from L down to 0."""
        return [*sampling_steps(self.n_timesteps, n_sampling_steps), 0]

    def ddpm(
        self, denoise: Denoiser, start: Tensor, f: Tensor, noise: Tensor
    ) -> Tensor:
        """Run the random reverse chain through all steps.

        Parameters
        ----------
        denoise : callable
            As for `ddim`.
        start : Tensor of shape (..., K)
            S_L.
        f : Tensor of shape (..., K)
        noise : Tensor of shape (L + 1, ..., K)
            Standard normal; entry t is added on the way from step t to t - 1, entries 0
            and 1 are not used: the last step adds none. Broadcast against the state, so
            that rows may share it.

        Returns
        -------
        Tensor of shape (..., K)
            A draw of S_0.
        """
        s_t = start
        for t in range(self.n_timesteps, 0, -1):
            steps = torch.full(s_t.shape[:-1], t, device=s_t.device)
            s0 = self.clean_state(denoise(s_t, steps), s_t, t, f)
            g0, g1, g2, variance = self.posterior(steps[..., None])
            s_t = g0 * s0 + g1 * s_t + g2 * f
            if t > 1:
                s_t = s_t + variance.sqrt() * noise[t]
        return s_t
