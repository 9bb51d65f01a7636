"""A class-conditional diffusion as a classifier and as a sampler, on known classes."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklabeldiff.core import edm
from sklabeldiff.core.class_denoisers import ClassDenoiser
from sklabeldiff.core.class_diffusion import (
    Reader,
    class_errors,
    log_posterior,
    sample,
)
from sklabeldiff.core.noise_levels import NoiseLevels, loss_weight

LEVELS = NoiseLevels(6.4)
UNIFORM = torch.full((3,), -math.log(3), dtype=torch.float64)


class Gaussians(nn.Module):
    """The exact denoiser of classes that are Gaussian, as a network.

    means, variances : Tensor of shape (C, d), float64
    """

    def __init__(self, means, variances):
        super().__init__()
        self.means, self.variances = means, variances

    def forward(self, u, c_noise, condition=None):
        sigma = (4 * c_noise).exp()[:, None, None]
        x_t = u[:, None] / edm.c_in(sigma)
        m, v = self.means, self.variances
        if condition is not None:
            m, v = m[condition], v[condition]
        D = m + v / (v + sigma**2) * (x_t - m)
        return (D - edm.c_skip(sigma) * x_t) / edm.c_out(sigma)

    def draw(self, n, generator):
        """n rows, the classes in turn."""
        y = torch.arange(n) % len(self.means)
        noise = torch.randn((n, 2), generator=generator, dtype=torch.float64)
        return self.means[y] + self.variances[y].sqrt() * noise

    def bayes(self, x):
        """The posterior under even classes. (n, d) -> (n, C)."""
        normal = torch.distributions.Normal(self.means, self.variances.sqrt())
        return normal.log_prob(x[:, None]).sum(-1).softmax(1)


@pytest.fixture
def classes():
    """Three classes in the plane, of which Bayes' rule finds 95 of a hundred."""
    means = torch.tensor([[0.0, 0.54], [0.48, -0.3], [-0.48, -0.3]])
    variances = torch.tensor([[0.048, 0.048], [0.072, 0.032], [0.04, 0.08]])
    return Gaussians(means.double(), variances.double())


def drawn_noise(n_levels, n_draws, seed, d=2):
    gen = torch.Generator().manual_seed(seed)
    shape = (n_levels, n_draws, d)
    return torch.randn(shape, generator=gen, dtype=torch.float64)


def posterior(classes, x, kind, weighting, noise):
    reader = Reader.of(LEVELS, kind, weighting, noise)
    return log_posterior(reader.log_likelihood(classes, x), UNIFORM).exp()


# -- the posterior ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_elbo_weighting_recovers_bayes(classes, seed):  # check 2
    x = classes.draw(240, torch.Generator().manual_seed(seed))
    f = posterior(classes, x, "log", "elbo", drawn_noise(60, 64, seed))
    distance = (f - classes.bayes(x)).abs().sum(1).mean() / 2
    assert distance.item() <= 0.01


def test_edm_weighting_ranks_nearly_as_bayes(classes):  # check 2
    # All rows share eight noises, so that a seed may have bad luck: .92 to 1.
    agreement = []
    for seed in range(8):
        x = classes.draw(250, torch.Generator().manual_seed(seed))
        f = posterior(classes, x, "quantile", "edm", drawn_noise(8, 1, seed))
        same = f.argmax(1) == classes.bayes(x).argmax(1)
        agreement.append(same.double().mean().item())
    assert sum(agreement) / 8 >= 0.95
    assert min(agreement) >= 0.9


def test_shared_noise_lowers_the_variance_of_differences(classes):  # check 3
    x = classes.draw(30, torch.Generator().manual_seed(0))

    def read(seed):
        reader = Reader.of(LEVELS, "quantile", "edm", drawn_noise(1, 1, seed))
        return reader.log_likelihood(classes, x)

    ell = torch.stack([read(seed) for seed in range(200)])
    shared = (ell[:, :, 0] - ell[:, :, 1]).var(0)
    own = (ell[:, :, 0] - ell[:, :, 1].roll(1, 0)).var(0)
    assert (shared.mean() / own.mean()).item() < 0.8


def test_likelihood_is_the_weighted_sum_of_errors(classes):
    x = classes.draw(6, torch.Generator().manual_seed(0))
    noise = drawn_noise(4, 3, 0)
    sigma, weights = LEVELS.grid(4, "log"), LEVELS.weights(4, "log", "edm")
    expected = torch.zeros((6, 3), dtype=torch.float64)
    for j in range(4):
        for eps in noise[j]:
            x_t, level = x + sigma[j] * eps, sigma[j].expand(6)
            F = classes(edm.c_in(level)[:, None] * x_t, edm.c_noise(level))
            for k in range(3):
                D = edm.denoised(F[:, k], x_t, level)
                expected[:, k] -= weights[j] * (D - x).square().sum(1) / 3
    found = Reader.of(LEVELS, "log", "edm", noise).log_likelihood(classes, x)
    assert_close(found, expected)


def test_posterior_adds_the_prior_and_divides_by_the_temperature():
    ell = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    log_prior = torch.tensor([0.25, 0.75], dtype=torch.float64).log()
    found = log_posterior(ell, log_prior, 2.0).exp()
    odds = math.e / 3
    assert_close(found, found.new_tensor([[odds / (1 + odds), 1 / (1 + odds)]]))


def test_single_class_is_certain(classes):  # check 8
    one = Gaussians(classes.means[:1], classes.variances[:1])
    x = one.draw(10, torch.Generator().manual_seed(0))
    ell = Reader.of(LEVELS, "quantile", "edm", drawn_noise(4, 1, 0)).log_likelihood(
        one, x
    )
    assert torch.equal(log_posterior(ell, UNIFORM[:1]).exp(), torch.ones_like(ell))


@pytest.fixture
def trained():
    """A float32 network with drawn weights in its zero layers, and rows for it."""
    gen = torch.Generator().manual_seed(0)
    net = ClassDenoiser(7, 3, 32, 1, gen)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3, generator=gen)
    x = 0.5 * torch.randn((300, 7), generator=gen)
    reader = Reader.of(LEVELS, "quantile", "edm", drawn_noise(2, 2, 0, d=7).float())
    return SimpleNamespace(net=net, x=x, reader=reader)


@pytest.mark.parametrize("size", [1, 37, 256])
def test_likelihood_of_a_row_does_not_depend_on_the_split(trained, size):  # check 16
    x = trained.x[: 5 * size]
    whole = trained.reader.log_likelihood(trained.net, x)
    parts = [trained.reader.log_likelihood(trained.net, p) for p in x.split(size)]
    assert torch.equal(torch.cat(parts), whole)


def test_likelihood_of_a_row_does_not_depend_on_the_order(trained):  # check 16
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    straight = trained.reader.log_likelihood(trained.net, trained.x)
    turned = trained.reader.log_likelihood(trained.net, trained.x[order])
    assert torch.equal(turned, straight[order])


def test_reading_builds_no_graph(trained):
    ell = trained.reader.log_likelihood(trained.net, trained.x[:2])
    assert not ell.requires_grad


# -- the mixture of scores -------------------------------------------------------------


def test_loss_of_the_mixture_is_that_of_its_score(classes, generator):  # check 4
    n = 50
    x = classes.draw(n, generator)
    eps = torch.randn((n, 2), generator=generator, dtype=torch.float64)
    sigma = LEVELS.draw(1, n, generator)[0].double()
    pi = torch.rand((n, 3), generator=generator, dtype=torch.float64).softmax(1)
    u, c_noise, wanted = edm.asked(x, eps, sigma)
    F = classes(u, c_noise)
    loss = class_errors((pi[:, None] @ F), wanted)[:, 0]

    x_t, level = x + sigma[:, None] * eps, sigma[:, None]
    scores = [(edm.denoised(F[:, k], x_t, sigma) - x_t) / level**2 for k in range(3)]
    mixed = sum(pi[:, k, None] * score for k, score in enumerate(scores))
    squared = (mixed + eps / level).square().sum(1)  # the target is -eps / sigma
    assert_close(loss, sigma**4 * loss_weight(sigma) * squared)


def test_scores_of_known_classes_come_out(classes, generator):  # eq. (2)
    x_t = classes.draw(20, generator).requires_grad_()
    sigma = torch.full((20,), 0.4, dtype=torch.float64)
    F = classes(edm.c_in(sigma)[:, None] * x_t, edm.c_noise(sigma))
    spread = (classes.variances + 0.4**2).sqrt()
    log_p = torch.distributions.Normal(classes.means, spread).log_prob(x_t[:, None])
    for k in range(3):
        (score,) = torch.autograd.grad(log_p[:, k].sum(), x_t, retain_graph=True)
        D = edm.denoised(F[:, k], x_t, sigma)
        assert_close((D - x_t) / 0.4**2, score)


def test_errors_are_summed_over_columns():
    F = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    assert class_errors(F, torch.tensor([[0.0, 4.0]])).tolist() == [[5.0, 16.0]]


# -- sampling --------------------------------------------------------------------------


def draw_samples(network, y, seed=0):
    gen = torch.Generator().manual_seed(seed)
    noise = torch.randn((len(y), 2), generator=gen, dtype=torch.float64)
    return sample(network, y, noise, 18)


def test_samples_are_of_the_classes_asked_for(classes):  # check 10
    y = torch.tensor([2, 0, 1]).repeat(200)
    drawn = draw_samples(classes, y)
    for k in range(3):
        of_class = drawn[y == k]
        error = (classes.variances[k] / 200).sqrt()
        assert ((of_class.mean(0) - classes.means[k]).abs() < 3 * error).all()
        ratio = of_class.var(0) / classes.variances[k]
        # Three standard errors of 200 rows, around the excess of 18 steps.
        assert ((ratio - 1.13).abs() < 0.3).all()


def test_sample_does_not_depend_on_its_neighbours(trained):
    y = torch.arange(300) % 3
    noise = trained.x
    whole = sample(trained.net, y, noise, 3)
    for i in range(2):
        assert torch.equal(sample(trained.net, y[i::2], noise[i::2], 3), whole[i::2])


def test_two_calls_draw_the_same_samples(classes):  # check 10
    y = torch.arange(3)
    assert torch.equal(draw_samples(classes, y), draw_samples(classes, y))
    assert not torch.equal(draw_samples(classes, y), draw_samples(classes, y, seed=1))
