"""The Gaussian process: closed forms against step-by-step and direct computation."""

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.process import LABEL_RANGE, GaussianProcess
from sklabeldiff.core.schedules import make_schedule

PRIOR_MEANS = [0.0, 0.3, -0.7]


def process(n_timesteps=100, name="cosine", prediction="x0", **settings):
    schedule = make_schedule(name, n_timesteps)
    return GaussianProcess(schedule, prediction, dtype=torch.float64, **settings)


def iterate(schedule, coefficient, s0, f):
    """Mean and variance of S_0..S_L by the one-step rule (1), scalars."""
    means, variances = [s0], [0.0]
    for beta in schedule.beta.tolist():
        a = 1 - beta
        means.append(a**0.5 * means[-1] + coefficient(a) * f)
        variances.append(a * variances[-1] + beta)
    return torch.tensor([means, variances], dtype=torch.float64)


def marginal_moments(process, s0, f):
    """Mean and standard deviation of S_0..S_L by the closed form (2), scalars."""
    t = torch.arange(process.n_timesteps + 1)
    s0, f = (torch.full((len(t), 1), v, dtype=torch.float64) for v in (s0, f))
    mean = process.marginal(s0, t, torch.zeros_like(s0), f)
    return mean[:, 0], (process.marginal(s0, t, torch.ones_like(s0), f) - mean)[:, 0]


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("f", PRIOR_MEANS)
def test_marginal_equals_iterated_steps(name, f):  # check 4
    p = process(1000, name)
    mean, std = marginal_moments(p, s0=1.0, f=f)
    means, variances = iterate(p.schedule, lambda a: 1 - a**0.5, s0=1.0, f=f)
    assert_close(mean, means, rtol=0, atol=1e-10)
    assert_close(std**2, variances, rtol=0, atol=1e-10)
    assert_close(variances, 1 - p.abar, rtol=0, atol=1e-10)


def test_printed_square_root_coefficient_contradicts_the_marginal():  # check 4
    p = process(1000, "linear")
    mean, _ = marginal_moments(p, s0=1.0, f=0.3)
    means, _ = iterate(p.schedule, lambda a: (1 - a**0.5) ** 0.5, s0=1.0, f=0.3)
    assert mean[-1].item() == pytest.approx(0.30, abs=0.01)
    assert means[-1].item() == pytest.approx(3.19, abs=0.01)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_posterior_is_the_gaussian_product(name, generator):  # check 5
    p = process(1000, name)
    t = torch.randint(2, 1001, (20,), generator=generator)
    s0, s_t, f = torch.randn((3, 20), generator=generator, dtype=torch.float64)
    beta, before = p.beta[t - 1], p.abar[t - 1]
    a = 1 - beta
    # S_{t-1} ~ N(m, 1 - before), and S_t = sqrt(a) S_{t-1} + shift + N(0, beta).
    m = before.sqrt() * s0 + (1 - before.sqrt()) * f
    shift = (1 - a.sqrt()) * f
    precision = 1 / (1 - before) + a / beta
    mean = (m / (1 - before) + a.sqrt() * (s_t - shift) / beta) / precision
    q = p.posterior(t)
    assert_close(q.g0 * s0 + q.g1 * s_t + q.g2 * f, mean, rtol=0, atol=1e-10)
    assert_close(q.variance, 1 / precision, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_posterior_weights_sum_to_one(name):  # check 5
    g0, g1, g2, _ = process(1000, name).posterior(torch.arange(1, 1001))
    assert_close(g0 + g1 + g2, torch.ones_like(g0), rtol=0, atol=1e-10)


def test_posterior_of_the_first_step_is_the_clean_state():  # check 5
    q = process().posterior(torch.tensor(1))
    assert [round(float(v), 12) for v in q] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "n_timesteps", "t"),
    [("cosine", 100, 1), ("cosine", 100, 40), ("cosine", 100, 100)]
    + [("respaced", 10, t) for t in (1, 5, 10)],  # DTM, check 9
)
def test_draws_have_the_moments_of_the_marginal(name, n_timesteps, t, generator):
    n = 100_000  # check 6
    p = process(n_timesteps, name)
    s0, f = torch.tensor([[1.0, 0.0], [0.3, 0.2]], dtype=torch.float64)
    eps = torch.randn((n, 2), generator=generator, dtype=torch.float64)
    draws = p.marginal(s0.expand(n, 2), torch.full((n,), t), eps, f.expand(n, 2))
    abar = p.abar[t]
    mean, variance = abar.sqrt() * s0 + (1 - abar.sqrt()) * f, 1 - abar
    # Standard errors of the mean and of the variance of normal draws; five of them.
    assert torch.all((draws.mean(0) - mean).abs() < 5 * (variance / n) ** 0.5)
    assert torch.all((draws.var(0) - variance).abs() < 5 * variance * (2 / n) ** 0.5)


def test_marginal_at_step_zero_is_the_clean_state(generator):  # check 6
    s0, eps, f = torch.randn((3, 4, 5), generator=generator, dtype=torch.float64)
    assert_close(process().marginal(s0, torch.zeros(4, dtype=int), eps, f), s0)


def test_steps_broadcast_over_members_and_rows(generator):
    p = process()
    s0, eps, f = torch.randn((3, 2, 4, 5), generator=generator, dtype=torch.float64)
    t = torch.randint(1, 101, (2, 4), generator=generator)
    whole = p.marginal(s0, t, eps, f)
    assert_close(whole[1, 3], p.marginal(s0[1, 3], t[1, 3], eps[1, 3], f[1, 3]))


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize("n_sampling_steps", [1, 5, 10, 50])
@pytest.mark.parametrize("f", PRIOR_MEANS)
def test_ddim_with_the_true_noise_returns_the_clean_state(  # check 8
    name, n_sampling_steps, f
):
    p = process(100, name, "eps")
    s0 = torch.eye(4, dtype=torch.float64)
    prior = torch.full_like(s0, f)

    def oracle(s_t, t):
        abar = p.abar[t][:, None]
        drift = abar.sqrt() * s0 + (1 - abar.sqrt()) * prior
        return (s_t - drift) / (1 - abar).sqrt()

    found = p.ddim(oracle, prior, prior, n_sampling_steps)
    assert_close(found, s0, rtol=0, atol=1e-4)


@pytest.mark.parametrize("n_sampling_steps", [1, 5, 10, 50])
def test_ddim_returns_a_known_clean_state_from_any_start(  # check 8
    n_sampling_steps, generator
):
    p = process(100)
    start, prior = torch.randn((2, 4, 4), generator=generator, dtype=torch.float64)
    s0 = torch.eye(4, dtype=torch.float64)
    answer = p.target(s0, torch.zeros_like(s0), prior)
    found = p.ddim(lambda s, t: answer, start, prior, n_sampling_steps)
    assert_close(found, s0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prediction", ["x0", "eps"])
def test_ddim_repeats_and_follows_its_start(prediction):  # check 7
    p = process(100, prediction=prediction)
    f = torch.zeros((4, 3), dtype=torch.float64)

    def denoise(s, t):
        return 0.5 * torch.tanh(s) + 0.1

    def random_start(seed):
        gen = torch.Generator().manual_seed(seed)
        return torch.randn(f.shape, generator=gen, dtype=f.dtype)

    def run(start):
        return p.ddim(denoise, start, f, 10)

    assert torch.equal(run(f), run(f))
    assert torch.equal(run(random_start(0)), run(random_start(0)))
    assert not torch.allclose(run(random_start(0)), run(random_start(1)))
    assert not torch.allclose(run(f), run(random_start(0)))


def test_ddim_step_to_the_same_noise_as_the_posterior_limit(generator):
    p = process()
    s0, eps, f = torch.randn((3, 4, 5), generator=generator, dtype=torch.float64)
    # On the path of one noise vector, a step goes from one marginal to the other.
    at = [p.marginal(s0, torch.full((4,), t), eps, f) for t in (70, 30)]
    assert_close(p.ddim_step(s0, at[0], 70, 30, f), at[1])


@pytest.mark.parametrize("prediction", ["x0", "eps"])
def test_wild_guesses_of_the_clean_state_are_clamped(prediction):
    p = process(prediction=prediction)
    s = torch.zeros((2, 3), dtype=torch.float64)
    for value, bound in ((1e6, LABEL_RANGE[1]), (-1e6, LABEL_RANGE[0])):
        wild = torch.full_like(s, value if prediction == "x0" else -value)
        guess = p.clean_state(wild, s, 100, s)
        assert torch.equal(guess, torch.full_like(s, bound))


def test_target_is_what_the_denoiser_should_return(generator):
    s0, eps, f = torch.randn((3, 4, 5), generator=generator, dtype=torch.float64)
    for prediction in ("x0", "eps"):
        p = process(prediction=prediction)
        s_t = p.marginal(s0.clamp(0, 1), torch.full((4,), 60), eps, f)
        answer = p.target(s0.clamp(0, 1), eps, f)
        assert_close(p.clean_state(answer, s_t, 60, f), s0.clamp(0, 1))
    assert p.target(s0, eps, f) is eps


def test_network_that_returns_zero_repeats_the_prior_mean(generator):
    f = torch.rand((4, 5), generator=generator, dtype=torch.float64)
    assert_close(process().ddim(lambda s, t: torch.zeros_like(s), f, f, 10), f)


# Mean kept and standard deviation of a ten-step chain for data N(1, v), with the best
# linear predictor: the table of section 5.2 of DTM's method page.
CHAINS = [
    ("paper", 1.0, 0.096, 0.985),
    ("paper", 0.25, 0.299, 0.772),
    ("paper", 0.01, 0.914, 0.116),
    ("respaced", 1.0, 1.000, 0.740),
    ("respaced", 0.25, 1.000, 0.333),
    ("respaced", 0.01, 1.000, 0.028),
    ("cosine", 1.0, 1.000, 0.825),
    ("cosine", 0.25, 1.000, 0.389),
    ("cosine", 0.01, 1.000, 0.047),
]


@pytest.mark.parametrize(("name", "v", "mean", "std"), CHAINS)
@pytest.mark.parametrize("prediction", ["x0", "eps"])
def test_random_chain_with_an_oracle(name, v, mean, std, prediction):  # DTM, check 10
    p = process(10, name, prediction, x0_range=(-torch.inf, torch.inf))
    abar = p.abar

    def oracle(s, t):
        share = abar[t].sqrt() * v / (abar[t] * v + 1 - abar[t])
        s0 = 1 + share[:, None] * (s - abar[t].sqrt()[:, None])
        noise = s - abar[t].sqrt()[:, None] * s0
        return s0 if prediction == "x0" else noise / (1 - abar[t]).sqrt()[:, None]

    gen = torch.Generator().manual_seed(0)
    n = 200_000
    start = torch.randn((n, 1), generator=gen, dtype=torch.float64)
    noise = torch.randn((11, n, 1), generator=gen, dtype=torch.float64)
    drawn = p.ddpm(oracle, start, torch.zeros_like(start), noise)
    # The table counts the mean kept from the noise end, where it starts at 0.
    assert drawn.mean().item() == pytest.approx(mean, abs=0.01)
    assert drawn.std().item() == pytest.approx(std, abs=0.01)


def test_last_step_of_the_random_chain_adds_no_noise(generator):  # DTM, check 11
    p = process(10, "respaced")
    start = torch.randn((5, 2), generator=generator, dtype=torch.float64)
    noise = torch.randn((11, 5, 2), generator=generator, dtype=torch.float64)

    def run(changed):
        other = noise.clone()
        other[changed] += 1
        return p.ddpm(lambda s, t: 0.5 * s, start, torch.zeros_like(start), other)

    same = p.ddpm(lambda s, t: 0.5 * s, start, torch.zeros_like(start), noise)
    assert_close(run(0), same, rtol=0, atol=0)
    assert_close(run(1), same, rtol=0, atol=0)
    assert not torch.allclose(run(2), same)


def test_random_chain_keeps_guesses_in_the_range_asked_for(generator):
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([0.5, 2.0])
    p = process(10, "respaced", x0_range=(low.double(), high.double()))
    start = torch.zeros((4, 2), dtype=torch.float64)
    noise = torch.zeros((11, 4, 2), dtype=torch.float64)
    found = p.ddpm(lambda s, t: torch.full_like(s, 9.0), start, start, noise)
    assert_close(found, high.double().expand(4, 2))
