"""The networks: shapes, where their randomness comes from, what they react to."""

import copy

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.denoisers import (
    DENOISERS,
    MAX_CLASSES_FOR_SELF_ATTENTION,
    N_FEATURE_TOKENS,
    AttentionBlock,
    AttentionDenoiser,
    StepGate,
    linear,
    make_denoiser,
)

P, C, L, B = 6, 4, 20, 10
NETWORKS = sorted(DENOISERS)


def build(network, *, seed=0, n_classes=C):
    gen = torch.Generator().manual_seed(seed)
    return make_denoiser(network, P, n_classes, L, 32, gen)


def awaken(net, seed=0):
    """Give values to parameters that start at 0, such as a last layer."""
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(generator=gen)
    return net


@pytest.fixture
def batch(generator):
    """s (B, C), t (B,), c (B, P), f (B, C)."""
    s = torch.randn((B, C), generator=generator)
    t = torch.randint(1, L + 1, (B,), generator=generator)
    c = torch.randn((B, P), generator=generator)
    return [s, t, c, torch.rand((B, C), generator=generator)]


def test_attention_block_has_a_norm_for_each_part(generator):
    block = AttentionBlock(16, True, generator)
    with torch.no_grad():
        for i, norm in enumerate(block.norms):
            norm.weight.fill_(1 + i)
            norm.bias.fill_(0.1 * i)
    u = torch.randn((3, C, 16), generator=generator)
    keys, values = block.across.memory(torch.randn((3, 5, 16), generator=generator))

    def normed(x, i):
        return torch.nn.functional.layer_norm(x, (16,)) * (1 + i) + 0.1 * i

    h = u + block.among(normed(u, 0), normed(u, 0))
    h = h + block.across.look(normed(h, 1), keys, values)
    assert_close(block(u, keys, values), h + block.think(normed(h, 2)))


@pytest.mark.parametrize("network", NETWORKS)
def test_output_has_a_value_per_row_and_class(network, batch):
    assert build(network)(*batch).shape == (B, C)


@pytest.mark.parametrize("network", NETWORKS)
def test_untrained_network_returns_zero(network, batch):
    # With prediction of the clean state, counted from the prior mean, this repeats it.
    assert not build(network)(*batch).any()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("position", range(4), ids=["s", "t", "c", "f"])
def test_output_reacts_to_every_input(network, batch, position):
    net = awaken(build(network)).eval()
    before = net(*batch)
    batch[position] = batch[position].flip(-1)
    assert not torch.allclose(net(*batch), before, atol=1e-4)


def test_attention_has_several_feature_tokens_and_reacts_to_features(batch):
    assert N_FEATURE_TOKENS > 1
    net = awaken(build("attention")).eval()
    s, t, c, f = batch
    seen = []
    for block in net.blocks:
        block.across.key.register_forward_hook(lambda m, i, out: seen.append(out))
    net(s, t, c, f)
    tokens = seen[0]
    assert tokens.shape[1] == N_FEATURE_TOKENS
    # Keys differ, so that the softmax over them is no constant.
    assert (tokens.std(1) > 1e-3).all()
    assert not torch.allclose(net(s, t, -c, f), net(s, t, c, f), atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_rows_do_not_see_each_other_when_predicting(network, batch):
    net = awaken(build(network)).eval()
    s, t, c, f = batch
    alone = net(s[3:4], t[3:4], c[3:4], f[3:4])
    # Matrix products of another size round differently.
    torch.testing.assert_close(net(*batch)[3:4], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_come_from_the_generator_alone(network):
    before = torch.get_rng_state()
    first, again, other = (build(network, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_class_tokens_start_large():
    net = build("attention")
    # Small ones drown in the step embedding: section 5.2 of the method page.
    assert 0.7 < net.classes.std() < 1.3
    assert 0.2 < net.steps.std() < 0.4


def test_self_attention_is_left_out_for_many_classes():
    few = build("attention")
    many = build("attention", n_classes=MAX_CLASSES_FOR_SELF_ATTENTION + 1)
    assert isinstance(many, AttentionDenoiser)
    assert all(block.among is not None for block in few.blocks)
    assert all(block.among is None for block in many.blocks)


def test_linear_has_the_initial_values_of_torch(generator):
    layer = linear(400, 300, generator)
    for values in (layer.weight, layer.bias):
        assert values.abs().max() <= 1 / 20
        assert values.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.15)


def test_step_gate_may_get_its_input_in_two_parts(generator):
    gate = StepGate(5, 3, L, generator)
    u = torch.randn((B, 5), generator=generator)
    found = gate.with_rest(u[:, :2], gate.rest(u[:, 2:]))
    torch.testing.assert_close(found, gate.linear(u))


@pytest.mark.parametrize("training", [True, False])
def test_step_gate_scales_by_the_row_of_the_step_and_normalises(training, generator):
    gate = StepGate(3, 5, L, generator)
    assert gate.gates.shape == (L + 1, 5)
    assert (gate.gates >= 0).all() and (gate.gates < 1).all()
    norm = torch.nn.BatchNorm1d(5).train(training)
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(values, 0.5, 2, generator=generator)
    Au = torch.randn((B, 5), generator=generator)
    t = torch.randint(1, L + 1, (B,), generator=generator)
    same = copy.deepcopy(norm)
    found = gate.normalised(Au, t, norm)
    torch.testing.assert_close(found, same(gate.gates[t] * Au))
    torch.testing.assert_close(norm.running_mean, same.running_mean)
    # All rows at one step: the step may be given once.
    one = gate.normalised(Au, t[:1], norm)
    torch.testing.assert_close(one, gate.normalised(Au, t[:1].expand(B), norm))
