"""The network that denoises an input for every class at once."""

import math

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from sklabeldiff.core.class_denoisers import CLASS_SCALE, ClassDenoiser

D, C, B = 5, 4, 10


def build(seed=0, **sizes):
    sizes = {"n_features": D, "n_classes": C, "hidden": 32, "n_blocks": 2} | sizes
    return ClassDenoiser(**sizes, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def net():
    """A network whose zero layers have been given values, in float64."""
    net = build()
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(generator=gen)
    return net.double()


@pytest.fixture
def batch(generator):
    """u (B, D) and c_noise (B,), float64."""
    u = torch.randn((B, D), generator=generator, dtype=torch.float64)
    return u, torch.linspace(-1, 0.5, B, dtype=torch.float64)


def test_answers_are_those_of_the_formula(net, batch):
    """Scales are about 1, shifts about 0: of each block, then of the classes' layer."""
    u, c_noise = batch
    frequencies = net.embed.frequencies
    wanted = torch.logspace(math.log10(3), math.log10(150), 16)
    assert_close(frequencies, wanted.double(), rtol=1e-5, atol=0)
    angle = c_noise[:, None] * frequencies
    told = net.modulate(torch.cat([angle.sin(), angle.cos()], dim=1))
    scales, shifts = (
        told[:, :96].unflatten(1, (3, 32)),
        told[:, 96:].unflatten(1, (3, 32)),
    )
    h = net.enter(u)
    for i, block in enumerate(net.blocks):
        modulated = block.norm(h) * (1 + scales[:, i]) + shifts[:, i]
        h = h + block.outer(functional.silu(block.inner(modulated)))
    h = net.norm(h) * (1 + scales[:, 2]) + shifts[:, 2]
    expected = torch.stack(
        [
            net.leave(functional.silu(h * scale + shift))
            for scale, shift in zip(net.scales, net.shifts, strict=True)
        ],
        dim=1,
    )
    assert_close(net(u, c_noise), expected, rtol=1e-5, atol=1e-5)


def test_frequencies_are_no_weights(net):
    assert not any("frequencies" in name for name in net.state_dict())


def test_there_is_an_answer_for_each_row_and_class(net, batch):
    assert net(*batch).shape == (B, C, D)


def test_first_answer_is_zero(batch):
    u, c_noise = (a.float() for a in batch)
    assert not build()(u, c_noise).any()


def test_no_condition_stands_for_all_classes(net, batch):
    every = torch.arange(C).expand(B, C)
    assert_close(net(*batch, every), net(*batch), rtol=0, atol=0)


def test_rows_are_asked_about_their_own_classes(net, batch):
    classes = torch.randint(C, (B, 2), generator=torch.Generator().manual_seed(0))
    expected = net(*batch)[torch.arange(B)[:, None], classes]
    assert_close(net(*batch, classes), expected)


def test_pure_mixtures_are_classes(net, batch):
    classes = torch.arange(B)[:, None] % C
    pure = torch.nn.functional.one_hot(classes, C).double()
    assert_close(net(*batch, pure), net(*batch, classes))


def test_mixtures_differ_from_the_mean_of_answers(net, batch):
    even = torch.full((B, 1, C), 1 / C, dtype=torch.float64)
    mixed = net(*batch, even)[:, 0]
    assert mixed.shape == (B, D)
    assert not torch.allclose(mixed, net(*batch).mean(1), atol=1e-3)


def test_classes_have_different_answers(net, batch):
    F = net(*batch)
    for k in range(1, C):
        assert not torch.allclose(F[:, 0], F[:, k], atol=1e-2)


@pytest.mark.parametrize("position", [0, 1], ids=["u", "c_noise"])
def test_answers_react_to_every_input(net, batch, position):
    changed = list(batch)
    changed[position] = changed[position].flip(-1)
    assert not torch.allclose(net(*changed), net(*batch), atol=1e-3)


def test_every_parameter_learns(net, batch):
    net(*batch).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_near_noise_levels_have_near_answers(net, batch):
    u, c_noise = batch
    moved = net(u, c_noise + 1e-6) - net(u, c_noise)
    assert moved.abs().max() < 1e-2  # the fastest sine turns by 1.5e-4


def test_equal_seeds_give_equal_weights():
    def state(seed):
        return build(seed).state_dict()

    one, same, other = state(0), state(0), state(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["enter.weight"], other["enter.weight"])
    assert not torch.equal(one["scales"], one["shifts"])


def test_global_stream_is_untouched():
    before = torch.get_rng_state()
    build()
    assert torch.equal(torch.get_rng_state(), before)


def test_class_tokens_start_around_no_change():
    """Scales around 1, shifts around 0, all classes apart."""
    net = build(n_classes=500)
    for tokens, centre in ((net.scales, 1.0), (net.shifts, 0.0)):
        assert tokens.mean().item() == pytest.approx(centre, abs=0.02)
        assert tokens.std().item() == pytest.approx(CLASS_SCALE, rel=0.02)
