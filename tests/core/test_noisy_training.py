"""Training on wrong labels: which rows are held out, and what is kept."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core import noisy_training
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.noisy_classifier import VolumeMinimisation, columns_of
from sklabeldiff.core.noisy_training import (
    WatchedTraining,
    split_rows,
    train_forward,
    train_volume_minimisation,
)
from sklabeldiff.core.training import Trainer

C = 5
SEEDS = range(3)


def classes_in_space(seed, n=2000):
    """Five well separated Gaussian classes in ten dimensions, clean labels."""
    gen = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn((C, 10), generator=gen)
    y = torch.randint(C, (n,), generator=gen)
    return centres[y] + torch.randn((n, 10), generator=gen), y


def flipped(y, T, seed):
    """Labels drawn from the rows of T."""
    gen = torch.Generator().manual_seed(seed + 100)
    return torch.multinomial(T[y], 1, generator=gen)[:, 0]


def training_on(n_train, n, seed=0, **settings):
    rows = torch.arange(n)
    settings = {"max_epochs": 60, "batch_size": 256, "learning_rate": 1e-3} | settings
    return WatchedTraining(rows[:n_train], rows[n_train:], seed=seed, **settings)


def network(seed=0):
    return mlp(10, (64,), C, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def symmetric():
    return torch.full((C, C), 0.2 / (C - 1)).fill_diagonal_(0.8)


def test_volume_minimisation_finds_the_matrix(symmetric):  # check 4
    errors = []
    for seed in SEEDS:
        X, y = classes_in_space(seed)
        V = one_hot(flipped(y, symmetric, seed), C).float()
        T0, losses = train_volume_minimisation(
            training_on(1800, 2000, seed), network(seed), X, V, 1e-4
        )
        assert np.isfinite(losses).all()
        errors.append((T0 - symmetric).abs().mean().item())
    assert np.mean(errors) < 0.02


def test_volume_falls_where_the_labels_do_not_care(symmetric):  # check 4
    model = VolumeMinimisation(nn.Linear(2, C), C)
    before = model.transition().det().item()
    optimiser = torch.optim.SGD([model.W], lr=1.0)
    for _ in range(20):
        optimiser.zero_grad()
        model.volume().backward()
        optimiser.step()
    assert 0 < model.transition().det().item() < 0.9 * before


def test_true_matrix_recovers_clean_accuracy():  # check 5
    T = torch.full((C, C), 0.05).fill_diagonal_(0.6)
    T += 0.2 * torch.eye(C).roll(1, dims=1)  # each class has a favourite mistake
    T /= T.sum(1, keepdim=True)
    gaps = []
    for seed in SEEDS:
        X, y = classes_in_space(seed, 4000)
        test, rows = slice(2000, None), slice(2000)
        given = flipped(y, T, seed)
        accuracy = {}
        for name, labels, matrix in (
            ("clean", y, torch.eye(C)),
            ("corrected", given, T),
        ):
            clf = network(seed)
            c = columns_of(matrix, one_hot(labels, C).float())
            train_forward(training_on(1800, 2000, seed), clf, X[rows], c[rows])
            accuracy[name] = (clf(X[test]).argmax(1) == y[test]).float().mean().item()
        gaps.append(accuracy["clean"] - accuracy["corrected"])
    assert np.mean(gaps) < 0.01


def test_best_state_on_held_out_rows_is_kept():
    # The loss of training rows falls with w, that of held-out rows is least at 1.
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)

    def row_loss(module, rows):
        w = module.weight.sum()
        return torch.where(rows < 100, -w, (w - 0.5).square())

    loss, losses = training_on(100, 110, max_epochs=200, learning_rate=0.02)(
        module, row_loss
    )
    assert loss < 0.01
    assert module.weight.item() == pytest.approx(0.5, abs=0.1)
    assert losses[-1] < -1  # training went on far beyond


def test_fresh_columns_are_for_updates_only():
    X, y = classes_in_space(0, n=110)
    asked = []

    def fresh(rows):
        asked.extend(rows.tolist())
        return one_hot(y[rows], C).float()

    train_forward(
        training_on(100, 110, max_epochs=3),
        network(),
        X,
        one_hot(y, C).float(),
        fresh_columns=fresh,
    )
    assert set(asked) == set(range(100))


def test_larger_penalty_leaves_less_volume(symmetric):  # check 4
    X, y = classes_in_space(0)
    V = one_hot(flipped(y, symmetric, 0), C).float()
    volumes = []
    for penalty in (0.0, 0.3):
        T0, _ = train_volume_minimisation(
            training_on(1800, 2000), network(), X, V, penalty
        )
        volumes.append(torch.linalg.slogdet(T0).logabsdet.item())
    assert volumes[1] < volumes[0] - 0.1


@pytest.mark.parametrize("n_train", [100, 110])  # ten held-out rows, or none
def test_diverging_training_is_an_error(n_train):
    module = nn.Linear(1, 1, bias=False)

    def row_loss(module, rows):
        return (module.weight.sum() * torch.nan).expand(len(rows))

    with pytest.raises(ValueError, match=r"diverged.*Lower learning_rate"):
        training_on(n_train, 110, max_epochs=3)(module, row_loss)


def test_state_before_a_divergence_is_kept():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)

    def row_loss(module, rows):
        w = module.weight.sum()
        return (torch.where(w > 0.5, torch.nan, -w)).expand(len(rows))

    loss, _ = training_on(100, 110, max_epochs=200, learning_rate=0.02)(
        module, row_loss
    )
    assert -0.5 <= loss < 0
    assert 0 < module.weight.item() <= 0.5


def test_last_state_is_kept_without_held_out_rows():
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    loss, _ = training_on(100, 100, max_epochs=200, learning_rate=0.02)(
        module, lambda module, rows: -module.weight.sum().expand(len(rows))
    )
    assert np.isnan(loss)
    assert module.weight.item() > 1


@pytest.fixture
def given():
    """400 rows of four unequal classes; the first 50 unlabelled."""
    y = torch.arange(400) % 8
    y = y.clamp(max=3)
    V = one_hot(y, 4).float()
    V[:50] = 1
    return V


def test_rows_are_labelled_and_held_out_rows_of_all_classes(given):
    train, held = split_rows(given, 0.1, torch.Generator().manual_seed(0))
    assert sorted(torch.cat([train, held]).tolist()) == list(range(50, 400))
    share = given[held].sum(0) / given[50:].sum(0)
    assert_close(share, torch.full((4,), 0.1), rtol=0, atol=0.02)


def test_paper_holds_out_ten_of_each_class_and_at_most_half():
    V = one_hot(torch.tensor([0] * 50 + [1] * 12 + [2]), 3).float()
    _, held = split_rows(V, "per_class", torch.Generator().manual_seed(0))
    assert V[held].sum(0).tolist() == [10, 6, 0]


def test_the_rate_is_warmed_up_over_a_share_of_all_updates(monkeypatch):
    planned = []

    class Recorded(Trainer):
        def __init__(self, *args, planned_updates, **settings):
            planned.append(planned_updates)
            super().__init__(*args, planned_updates=planned_updates, **settings)

    monkeypatch.setattr(noisy_training, "Trainer", Recorded)
    X, y = classes_in_space(0, n=120)
    c = one_hot(y, C).float()
    train_forward(training_on(100, 120, max_epochs=4, batch_size=20), network(), X, c)
    assert planned == [4 * 5]


@pytest.mark.parametrize(("share", "epochs"), [(1.0, 20), (0.25, 5), (0.001, 1)])
def test_a_training_takes_its_share_of_the_epochs(share, epochs):
    training = training_on(100, 100, max_epochs=20)
    module = nn.Linear(1, 1)
    zero = torch.zeros(100)

    def row_loss(module, rows):
        return module.weight.sum() * 0 + zero[rows]

    options = {} if share == 1.0 else {"share": share}
    assert training.n_epochs(**options) == epochs
    _, losses = training(module, row_loss, **options)
    assert len(losses) == epochs
