"""The stages of DTM: what counts, what is held out, and free group weights."""

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core import transition_estimation
from sklabeldiff.core.group_transitions import dirichlet_groups
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.noisy_training import WatchedTraining
from sklabeldiff.core.smoothed_labels import smoother_beliefs
from sklabeldiff.core.transition_estimation import (
    FirstNetwork,
    GroupWeights,
    TransitionEstimation,
    group_columns,
)
from sklabeldiff.core.transition_weights import transition_of, weights_of

C, K = 3, 4
T0 = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


@pytest.fixture
def noisy(generator):
    """Three classes in the plane, a quarter of the labels wrong: e, y, given."""
    y = torch.arange(240) % C
    centres = 3 * torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    e = centres[y] + torch.randn((240, 2), generator=generator)
    wrong = torch.rand(240, generator=generator) < 0.25
    return e, y, torch.where(wrong, (y + 1) % C, y)


def estimation_of(e, given, max_epochs=10):
    rows = torch.arange(len(e))
    training = WatchedTraining(rows[40:], rows[:40], max_epochs, 64, 1e-3, seed=0)

    def network(seed):
        return mlp(2, (16,), C, torch.Generator().manual_seed(seed))

    V = one_hot(given, C).float()
    return TransitionEstimation(e, V, rows % K, K, training, network)


@pytest.mark.parametrize("source", ["majority", "smoother", "model"])
def test_held_out_labels_do_not_count(noisy, source):
    e, y, given = noisy
    changed = given.clone()
    changed[:40] = (changed[:40] + 1) % C
    first = FirstNetwork(one_hot(y, C).float() * 0.9 + 0.1 / C, T0, [])
    before = estimation_of(e, given).by_counts(source, first, kappa=10)
    after = estimation_of(e, changed).by_counts(source, first, kappa=10)
    assert_close(after, before, rtol=0, atol=0)
    assert (before - T0).abs().max() > 0.05


def test_near_rows_know_the_class(noisy):
    e, y, given = noisy
    p = smoother_beliefs(e, one_hot(given, C).float(), torch.Generator().manual_seed(0))
    assert (p.argmax(1) == y).float().mean() > 0.93
    assert (given == y).float().mean() < 0.8
    assert_close(p.sum(1), torch.ones(len(p)))


def test_columns_of_groups(generator):
    T = torch.rand((K, C, C), generator=generator)
    g = torch.arange(600) % K
    V = one_hot(torch.arange(600) % C, C).float()
    assert_close(group_columns(T, g, V), T[g, :, torch.arange(600) % C])


def test_free_group_weights_are_penalised_by_hand(generator):
    W0 = weights_of(T0)
    table = GroupWeights(W0, K, n_rows=100)
    with torch.no_grad():
        table.W += torch.randn(table.W.shape, generator=generator)
    volume = transition_of(table.W).det().abs().log().mean()
    distance = (table.W - W0).square().sum()
    assert_close(table.penalty(0.5), 0.5 * volume + 10 / 100 * distance)


def test_free_group_weights_start_global_and_find_their_group(noisy, monkeypatch):
    monkeypatch.setattr(transition_estimation, "GROUP_PULL", 0.0)
    e, y, given = noisy
    estimation = estimation_of(e, given, max_epochs=600)
    first = FirstNetwork(one_hot(y, C).float(), T0, [])
    assert_close(transition_of(GroupWeights(weights_of(T0), K, 9).W)[2], T0)
    T = estimation.by_gradient(first, 1e-4)
    p, V, g = (x[40:] for x in (first.p, estimation.V, estimation.g))
    counted = dirichlet_groups(p, V, g, K, T0, kappa=0)
    assert (T - counted).abs().mean() < 0.7 * (T0 - counted).abs().mean()
