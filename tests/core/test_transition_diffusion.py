"""The diffusion over transition weights: loss, draws, columns, memory."""

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core import transition_diffusion
from sklabeldiff.core.group_transitions import dirichlet_groups
from sklabeldiff.core.matrix_denoisers import AXIAL_WIDTH, MATRIX_DENOISERS
from sklabeldiff.core.process import GaussianProcess
from sklabeldiff.core.schedules import make_schedule
from sklabeldiff.core.training import Trainer
from sklabeldiff.core.transition_diffusion import TransitionGenerator
from sklabeldiff.core.transition_table import full_table, principal_table
from sklabeldiff.core.transition_weights import weights_of

C, P, L = 3, 2, 10


@pytest.fixture
def groups(generator):
    """Six groups on a circle: features, group of each row, and weights."""
    n_groups, n = 6, 240
    g = torch.arange(n) % n_groups
    angle = g * (2 * torch.pi / n_groups)
    centres = torch.stack([angle.cos(), angle.sin()], dim=1)
    e = 2 * centres + 0.1 * torch.randn((n, P), generator=generator)
    T = torch.rand((n_groups, C, C), generator=generator) + 0.05
    T = T + 2 * torch.eye(C)
    W = weights_of(T / T.sum(-1, keepdim=True))
    return e, g, W


def generator_of(
    W, kind="diffusion", network="mlp", table=None, n_draws=8, seed=0, **settings
):
    """An untrained generator; "zero" layers are given weights."""
    share = torch.full((len(W),), 1 / len(W))
    if table is None:
        table = principal_table(W, share) if network == "mlp" else full_table(W, share)
    gen = torch.Generator().manual_seed(seed)
    r = table.n_coordinates
    denoiser = MATRIX_DENOISERS[network](P, r, L, 64, gen)
    with torch.no_grad():
        denoiser.out.weight.normal_(0, 0.1, generator=gen)
    process = GaussianProcess(
        make_schedule(settings.pop("schedule", "respaced"), L),
        settings.pop("prediction", "x0"),
        x0_range=table.z_range,
    )
    noise = torch.randn((L + 1, n_draws, 1, r), generator=gen)
    return TransitionGenerator(kind, table, denoiser, process, noise, **settings)


def train(made, e, g, n_epochs=150, seed=0):
    gen = torch.Generator().manual_seed(seed)
    trainer = Trainer(
        made.denoiser,
        lambda module, rows: made.loss(module, e[rows], g[rows], gen).mean(),
        len(e),
        gen,
        batch_size=256,
        learning_rate=3e-3,
        weight_decay=0.0,
        ema=0.99,
        planned_updates=n_epochs,
    )
    trainer.run(n_epochs)
    made.denoiser.load_state_dict(trainer.averaged)
    return made


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("diffusion", "mlp"),
        ("diffusion", "unet"),
        ("diffusion", "axial"),
        ("regression", "mlp"),
        ("group", "mlp"),
    ],
)
def test_mean_draws_are_stochastic_and_dominant(groups, network, kind):  # check 14
    e, g, W = groups
    T = generator_of(W, kind, network, n_draws=2).transition(e[:20], g[:20])
    assert T.shape == (20, C, C)
    assert_close(T.sum(-1), torch.ones((20, C)))
    off = T.masked_fill(torch.eye(C, dtype=bool), 0)
    assert torch.all(T.diagonal(dim1=-2, dim2=-1) > off.amax(-1))


def test_matrices_are_averaged_not_weights(groups):  # check 14
    e, g, W = groups
    made = generator_of(W)
    with torch.inference_mode():
        z = made.coordinates(e, g)
        T = made.mean_transition(e, g)
    assert_close(T, made.table.transition(z).mean(0))
    assert (T - made.table.transition(z.mean(0))).abs().max() > 1e-5


def test_one_draw_is_not_eight(groups):  # check 14
    e, g, W = groups
    one = generator_of(W, n_draws=1).transition(e, g)
    assert (one - generator_of(W).transition(e, g)).abs().max() > 1e-3


@pytest.mark.parametrize("network", list(MATRIX_DENOISERS))
def test_draws_do_not_depend_on_the_batch(groups, network):  # check 11
    e, g, W = groups
    made = generator_of(W, network=network, n_draws=1)
    T = made.transition(e, g)
    split = torch.cat([made.transition(e[:7], g[:7]), made.transition(e[7:], g[7:])])
    assert_close(split, T, rtol=0, atol=0)
    turned = made.transition(e.flip(0), g.flip(0)).flip(0)
    assert_close(turned, T, rtol=0, atol=0)


def test_seed_decides_the_draws(groups):  # check 11
    e, g, W = groups
    same = generator_of(W, seed=1).transition(e, g)
    assert_close(generator_of(W, seed=1).transition(e, g), same, rtol=0, atol=0)
    assert not torch.allclose(generator_of(W, seed=2).transition(e, g), same)


def test_network_that_returns_zero_has_loss_one(groups, generator):  # check 13
    e, g, W = groups
    rows = torch.randint(len(e), (40_000,), generator=generator)
    for prediction in ("eps", "x0"):
        made = generator_of(W, prediction=prediction)
        loss = made.loss(
            lambda z, t, e: torch.zeros_like(z), e[rows], g[rows], generator
        )
        assert loss.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("kind", "prediction"),
    [("diffusion", "x0"), ("diffusion", "eps"), ("regression", "x0")],
)
def test_trained_draws_explain_the_group_weights(groups, kind, prediction):
    e, g, W = groups
    made = train(generator_of(W, kind, prediction=prediction), e, g)
    z = made.table.z[g]
    made.denoiser.eval()
    with torch.inference_mode():
        mean = made.coordinates(e, g).mean(0)
    explained = 1 - (mean - z).square().sum() / (z - z.mean(0)).square().sum()
    assert explained > (0.5 if prediction == "eps" else 0.9)


@pytest.mark.parametrize("network", ["unet", "axial"])
def test_matrix_networks_learn_too(groups, network):
    e, g, W = groups
    made = train(generator_of(W, "regression", network), e, g, n_epochs=40)
    exact = generator_of(W, "group", network=network).transition(e, g)
    blind = exact.mean(0, keepdim=True)
    error = (made.transition(e, g) - exact).square().mean()
    assert error < 0.5 * (blind - exact).square().mean()


def test_group_generator_returns_the_group_matrices(groups):  # check 18
    e, g, W = groups
    made = generator_of(
        W, "group", table=principal_table(W, torch.full((6,), 1 / 6), 1)
    )
    exact = made.table.transition(made.table.z)
    assert_close(made.transition(e, g), exact[g])
    V = one_hot(g % C, C).float()
    assert_close(made.columns(e, g, V), exact[g, :, g % C])


def test_columns_and_given_labels_come_from_the_same_matrices(groups):
    e, g, W = groups
    made = generator_of(W)
    T, V = made.transition(e, g), one_hot(g % C, C).float()
    assert_close(made.columns(e, g, V), T[torch.arange(len(e)), :, g % C])
    f = torch.softmax(e @ torch.ones((P, C)), dim=1)
    assert_close(made.given_distribution(e, g, f), torch.einsum("bij,bi->bj", T, f))


def test_printed_schedule_starts_at_the_group(groups):  # check 9
    e, g, W = groups
    settings = {"schedule": "paper", "from_group": True}
    made = train(generator_of(W, prediction="eps", **settings), e, g)
    z = made.table.z[g]
    with torch.inference_mode():
        mean = made.coordinates(e, g).mean(0)
    explained = 1 - (mean - z).square().sum() / (z - z.mean(0)).square().sum()
    assert explained > 0.8


def test_equal_groups_need_no_training(groups):
    e, g, W = groups
    made = TransitionGenerator(
        "diffusion",
        principal_table(W[:1].expand(6, C, C), torch.full((6,), 1 / 6)),
        torch.nn.Identity(),
        GaussianProcess(make_schedule("respaced", L)),
        torch.zeros((L + 1, 8, 1, 0)),
    )
    assert not made.is_trained
    T = made.transition(e, g)
    assert_close(T, T[:1].expand_as(T))


def test_columns_of_many_classes_need_no_table_of_matrices(full):  # check 19
    n, n_classes = 20_000 if full else 3000, 100
    gen = torch.Generator().manual_seed(0)
    p = torch.full((n, n_classes), 1 / n_classes)
    V = one_hot(torch.randint(n_classes, (n,), generator=gen), n_classes).float()
    g = torch.arange(n) % 20
    T0 = torch.full((n_classes, n_classes), 0.3 / 99).fill_diagonal_(0.7)
    W = weights_of(dirichlet_groups(p, V, g, 20, T0, 10))
    table = principal_table(W, torch.full((20,), 0.05))
    made = generator_of(W, table=table, n_draws=2)
    e = torch.randn((n, P), generator=gen)
    with torch.profiler.profile(profile_memory=True) as profile:
        made.columns(e, g, V)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 4 * n * n_classes**2 / 5


def test_blocks_hold_the_numbers_of_all_draws(groups, monkeypatch):
    """Draws x C x C x the numbers that the network has to an entry."""
    e, g, W = groups
    asked = []

    def rows_of(numbers):
        asked.append(numbers)
        return 100

    monkeypatch.setattr(transition_diffusion, "rows_of", rows_of)
    for network, width in (("mlp", 1), ("axial", AXIAL_WIDTH)):
        made = generator_of(W, network=network, n_draws=5)
        made.given_distribution(e, g, one_hot(g % C, C).float())
        assert asked.pop() == 5 * C**2 * width
