"""Classes that a row is asked about: which, how many, and what that costs."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core import imprecise
from sklabeldiff.core.asked_classes import asked_classes, class_means
from sklabeldiff.core.class_denoisers import ClassDenoiser
from sklabeldiff.core.imprecise_training import Given, ImpreciseTraining, Objective
from sklabeldiff.core.noise_levels import NoiseLevels
from sklabeldiff.core.training import Trainer

C, D, N, K = 60, 4, 200, 9
SETS = Objective(
    wrong=False,
    vanilla=False,
    cls_weight=1.0,
    temperature=1.0,
    top_k=None,
    moving_prior=True,
    n_asked=K,
)


@pytest.fixture
def rows(generator):
    """Rows near the mean of their class, sets of three: x, V, S, y, means."""
    y = torch.arange(N) % C
    means = torch.randn((C, D), generator=generator)
    x = means[y] + 0.1 * torch.randn((N, D), generator=generator)
    V = one_hot(y, C) + one_hot((y + 7) % C, C) + one_hot((y + 20) % C, C)
    V = V.float()
    return x, V, V / 3, y, means


def made(x, V, S=None, objective=SETS, n_levels=2):
    net = ClassDenoiser(D, V.shape[1], 16, 1, torch.Generator().manual_seed(0))

    def make_trainer(loss, n_rows):
        return Trainer(
            net,
            loss,
            n_rows,
            torch.Generator().manual_seed(0),
            batch_size=32,
            learning_rate=0.01,
            weight_decay=0.0,
            ema=partial(imprecise.average_decay, fraction=0.05, max_horizon=100.0),
            planned_updates=100,
        )

    prior = torch.full((V.shape[1],), 1 / V.shape[1])
    given = Given(x, V, None, S)
    levels = NoiseLevels(6.4)
    return ImpreciseTraining(objective, levels, n_levels, given, prior, make_trainer)


def test_candidates_come_first_then_near_classes_then_others(rows, generator):
    x, V, S, _, means = rows
    asked, _ = asked_classes(x, V, S, means, K, generator)
    assert asked.shape == (N, K)
    assert all(len(set(own.tolist())) == K for own in asked)
    chosen = torch.zeros((N, C)).scatter_(1, asked, 1.0).bool()
    assert chosen[V > 0].all()
    distance = torch.cdist(x, means).masked_fill(V > 0, torch.inf)
    near = distance.topk(3, largest=False).indices
    assert chosen.gather(1, near).all()
    again, _ = asked_classes(x, V, S, means, K, generator)
    rest = chosen & (V == 0)
    rest.scatter_(1, near, False)
    assert (rest.sum(1) == 3).all()
    kept = torch.zeros((N, C)).scatter_(1, again, 1.0).bool() & rest
    assert kept.float().sum() < 0.2 * rest.sum()  # by chance: 3 of 54


def test_classes_by_chance_stand_for_those_that_are_not_asked(rows, generator):
    x, V, S, _, means = rows
    asked, log_weight = asked_classes(x, V, S, means, K, generator)
    sure = log_weight == 0
    assert sure.gather(1, V.gather(1, asked).argmax(1, keepdim=True)).all()
    assert (sure.sum(1) == 3 + 3).all()
    assert_close(log_weight.exp().sum(1), torch.full((N,), float(C)))


def test_a_set_that_is_too_large_keeps_the_most_believed(rows, generator):
    x, _, _, y, means = rows
    V = torch.ones((N, C))
    V[:, :30] = 0
    S = V / 30 + one_hot(30 + y % 30, C)
    asked, _ = asked_classes(x, V, S / S.sum(1, keepdim=True), means, 4, generator)
    assert (asked >= 30).all()
    assert (asked == 30 + y[:, None] % 30).any(1).all()


def test_of_an_unlabelled_row_beliefs_tell(rows, generator):
    x, _, _, y, means = rows
    S = torch.full((N, C), 0.5 / C) + 0.5 * one_hot((y + 1) % C, C)
    asked, _ = asked_classes(x + 100, torch.ones((N, C)), S, means, K, generator)
    assert (asked == (y[:, None] + 1) % C).any(1).all()
    # Without beliefs, what is near.
    V = torch.ones((N, C))
    asked, _ = asked_classes(x, V, V, means, K, generator)
    assert (asked == torch.cdist(x, means).argmin(1)[:, None]).any(1).all()


def test_means_are_weighted_and_leave_out_rows_that_say_nothing():
    x = torch.tensor([[0.0], [1.0], [4.0], [100.0]])
    S = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 2.0, 0], [1, 1, 1]])
    expected = torch.tensor([[0.5 / 1.5], [4.5 / 1.5], [105 / 4]])
    assert_close(class_means(x, S), expected)


@pytest.mark.parametrize("wrong", [False, True])
def test_loss_is_that_of_the_classes_asked(rows, wrong, monkeypatch):
    # The same as with all classes, if all are asked: in another order.
    x, V, S, _, _ = rows
    losses = []
    for n_asked in (None, C - 1):
        objective = replace(SETS, n_asked=n_asked, wrong=wrong, moving_prior=False)
        training = made(x, V, S, objective)
        if n_asked is not None:
            order = torch.randperm(C, generator=torch.Generator().manual_seed(3))
            asked = order.expand(32, -1), training.prior.log()[order].expand(32, -1)
            monkeypatch.setattr(training, "asked", lambda rows, asked=asked: asked)
        training.n_first = 0.0
        training.trainer.generator.manual_seed(1)
        losses.append(training.batch_loss(training.trainer.module, torch.arange(32)))
    assert_close(losses[0], losses[1])


def test_first_beliefs_are_followed_among_the_classes_asked(rows):
    x, V, S, _, _ = rows
    training = made(x, V, S)
    training.n_first = 10.0
    rows_, asked = torch.arange(5), torch.arange(30, 35).expand(5, -1)
    log_phi = torch.zeros((5, 5)).log_softmax(1)
    pi, target = training.weights(log_phi, rows_, asked)
    gathered = S[:5, 30:35]
    some = gathered.sum(1) > 0
    expected = gathered[some] / gathered[some].sum(1, keepdim=True)
    assert_close(pi[some], expected)
    assert torch.equal(pi, target)


def test_prior_follows_the_numbers_of_the_classes(rows):
    x, V, S, _, _ = rows
    training = made(x, V, S)
    pi = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.2, 0.2]])
    asked = torch.tensor([[5, 9, 2], [8, 1, 4]])
    training.follow(torch.tensor([3, 11]), pi, asked)
    assert training.best[[3, 11]].tolist() == [9, 8]


def test_networks_are_asked_about_no_more(rows, watch):
    x, V, S, _, _ = rows
    training = made(x, V, S)
    with watch() as seen:
        training.batch_loss(training.trainer.module, torch.arange(32)).backward()
    # 64 noisy rows, K classes, 16 units; one table of b x C numbers chooses them.
    assert max(shape.numel() for shape in seen.shapes) == 64 * K * 16
    assert training.estimated_work(1) < made(
        x, V, S, replace(SETS, n_asked=None)
    ).estimated_work(1)
