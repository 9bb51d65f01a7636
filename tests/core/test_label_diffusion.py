"""The label diffusion: its loss, its chain, and when it refreshes beliefs."""

import io
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklabeldiff.core import label_diffusion, transitions
from sklabeldiff.core.blocks import BLOCK_ROWS
from sklabeldiff.core.denoisers import Denoiser, make_denoiser
from sklabeldiff.core.label_diffusion import (
    TEMPERATURE,
    LabelDiffusion,
    LabelDiffusionTraining,
    RefreshRule,
    training_plan,
)
from sklabeldiff.core.process import GaussianProcess
from sklabeldiff.core.schedules import cosine_schedule
from sklabeldiff.core.training import Trainer

BAYES = RefreshRule("bayes", gamma=0.3, eta=0.5, gate=0.9)
N_TIMESTEPS = 20


def make_model(problem, *, prediction="x0", network="gated", hidden=32, seed=0):
    denoiser = make_denoiser(
        network,
        problem.X.shape[1],
        problem.Y.shape[1],
        N_TIMESTEPS,
        hidden,
        torch.Generator().manual_seed(seed),
    )
    process = GaussianProcess(cosine_schedule(N_TIMESTEPS), prediction)
    return LabelDiffusion(denoiser, process, n_sampling_steps=5)


def make_training(problem, S=None, *, rule=BAYES, target="sharp", **options):
    model = make_model(problem, **options)

    def make_trainer(loss):
        generator = torch.Generator().manual_seed(0)
        return Trainer(
            model.denoiser,
            loss,
            len(problem.X),
            generator,
            batch_size=45,
            learning_rate=0.01,
            weight_decay=0.0,
            ema=0.9,
            planned_updates=100,
        )

    S = problem.Ybar if S is None else S
    f = torch.zeros_like(S)
    return LabelDiffusionTraining(
        model, make_trainer, S, problem.X, f, problem.Y, target, rule
    )


class Answer(Denoiser):
    """A denoiser that always returns the same."""

    def __init__(self, value):
        super().__init__()
        self.value = torch.as_tensor(value)

    def condition(self, c, f):
        return ()

    def denoise(self, s, t, condition):
        return self.value.expand_as(s)


def fixed_model(value, prediction="x0", trust=1.0):
    """A label diffusion whose denoiser returns a fixed value."""
    process = GaussianProcess(cosine_schedule(N_TIMESTEPS), prediction)
    return LabelDiffusion(Answer(value), process, 5, trust)


# -- the loss --------------------------------------------------------------------------


def test_network_that_returns_zero_has_loss_one(generator):  # check 9
    model = fixed_model([0.0] * 10, prediction="eps")
    S = torch.eye(10).repeat(200, 1)
    zero = torch.zeros_like(S)
    loss = model.loss(model.denoiser, S, zero, zero, generator)
    # 20 000 squared normals: standard error sqrt(2 / 20 000) = .01.
    assert loss.item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("network", "epochs"), [("gated", 60), ("attention", 40)])
def test_short_training_predicts_far_better_than_the_mean_label(  # check 9
    blobs, network, epochs
):
    training = make_training(blobs, blobs.truth, target="hard", network=network)
    training.run(epochs)
    variance = blobs.truth.var(0, correction=0).mean().item()
    assert training.progress.history[-1]["loss"] < 0.1 * variance


@pytest.mark.parametrize(
    ("network", "epochs", "ceiling"), [("gated", 1000, 0.15), ("attention", 150, 0.05)]
)
def test_noise_prediction_nears_the_floor_of_clean_labels(  # check 9
    blobs, full, network, epochs, ceiling
):
    # A network that has learnt nothing has loss 1.
    training = make_training(
        blobs, blobs.truth, prediction="eps", network=network, target="hard"
    )
    training.run(epochs if full else 40)
    assert training.progress.history[-1]["loss"] < (ceiling if full else 0.8)


class Watcher(nn.Module):
    """Notes the steps it is asked for."""

    def forward(self, s, t, c, f):
        self.t = t
        return torch.zeros_like(s)


@pytest.mark.parametrize("n", [1, 7, 200])
def test_steps_mirror_each_other_and_cover_the_chain(n, generator):
    model, watcher = fixed_model([0.0] * 3), Watcher()
    S = torch.zeros((n, 3))
    model.loss(watcher, S, S, S, generator)
    t, half = watcher.t, -(-n // 2)
    assert t.shape == (n,)
    assert torch.equal(t[half:], N_TIMESTEPS + 1 - t[: n - half])
    assert t.min() >= 1 and t.max() <= N_TIMESTEPS
    if n == 200:
        assert set(t.tolist()) == set(range(1, N_TIMESTEPS + 1))


# -- the chain -------------------------------------------------------------------------


def test_class_nearest_to_one_wins():
    zero = torch.zeros((2, 3))
    P = fixed_model([1.4, 0.9, 0.0]).label_distribution(zero, zero)
    assert P.argmax(1).tolist() == [1, 1]


def test_probabilities_of_a_perfect_answer():
    zero = torch.zeros((1, 3))
    P = fixed_model([0.0, 1.0, 0.0]).label_distribution(zero, zero)
    other = torch.exp(torch.tensor(-1 / TEMPERATURE))
    expected = torch.stack([other, torch.tensor(1.0), other]) / (1 + 2 * other)
    assert_close(P[0], expected)


def test_trust_shrinks_the_correction_of_the_prior_mean():
    f = torch.tensor([[0.2, 0.6]])
    corrected, shrunk = (
        fixed_model([0.8, -0.6], trust=trust).label_distribution(f, f)
        for trust in (1.0, 0.25)
    )
    assert corrected.argmax() == 0
    assert shrunk.argmax() == 1
    s0 = torch.tensor([[0.2 + 0.2, 0.6 - 0.15]])
    assert_close(shrunk, torch.softmax(-((s0 - 1) ** 2) / TEMPERATURE, dim=1))


@pytest.fixture(scope="module")
def trained():
    """A briefly trained model and 600 rows with prior means."""
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    truth = torch.eye(3)[y]
    X = 3 * truth[:, :2] + torch.randn((90, 2), generator=gen)
    problem = SimpleNamespace(X=X, Y=truth.bool(), Ybar=truth)
    training = make_training(problem)
    training.run(10)
    c = torch.randn((600, 2), generator=gen)
    return training.model, c, torch.rand((600, 3), generator=gen)


def test_two_calls_give_the_same_answer(trained):  # check 7
    model, c, f = trained
    P = model.label_distribution(c, f)
    assert torch.equal(model.label_distribution(c, f), P)
    assert_close(P.sum(1), torch.ones(len(c)))
    assert len(P.argmax(1).unique()) > 1


@pytest.mark.parametrize("size", [1, 7, 256, 599])
def test_any_batch_split_gives_the_same_answer(trained, size):  # check 7
    model, c, f = trained
    c, f = (c, f) if size > 1 else (c[:9], f[:9])
    parts = [
        model.label_distribution(*part)
        for part in zip(c.split(size), f.split(size), strict=True)
    ]
    assert torch.equal(torch.cat(parts), model.label_distribution(c, f))


@pytest.mark.parametrize("network", ["gated", "attention"])
def test_chain_answers_as_the_whole_network_at_every_step(network, generator):
    rows = SimpleNamespace(X=torch.zeros((1, 2)), Y=torch.zeros((1, 3)))
    model = make_model(rows, network=network)
    model.denoiser.out.weight.data.normal_(generator=generator)
    c = torch.randn((BLOCK_ROWS, 2), generator=generator)
    f = torch.rand((BLOCK_ROWS, 3), generator=generator)
    model.denoiser.eval()
    s0 = model.process.ddim(lambda s, t: model.denoiser(s, t, c, f), f, f, 5)
    expected = torch.softmax(-((s0 - 1) ** 2) / TEMPERATURE, dim=1)
    assert_close(model.label_distribution(c, f), expected)
    assert (
        expected - torch.softmax(-((f - 1) ** 2) / TEMPERATURE, 1)
    ).abs().max() > 0.1


@pytest.mark.parametrize(
    "network, branch", [("gated", "embed"), ("attention", "features")]
)
def test_branch_of_the_features_runs_once_a_row(network, branch, generator):
    rows = SimpleNamespace(X=torch.zeros((1, 2)), Y=torch.zeros((1, 3)))
    model = make_model(rows, network=network)
    seen = []
    part = getattr(model.denoiser, branch)
    part.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    n = 2 * BLOCK_ROWS
    model.label_distribution(torch.zeros((n, 2)), torch.zeros((n, 3)))
    assert sum(seen) == n


def test_prediction_leaves_the_global_generator_alone(trained):  # check 7
    before = torch.get_rng_state()
    trained[0].label_distribution(*trained[1:])
    assert torch.equal(torch.get_rng_state(), before)


# -- refreshes -------------------------------------------------------------------------


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 5, 9, 10, 37, 100, 1001])
def test_plan_refreshes_only_after_half_of_the_epochs(max_epochs):  # check 15
    plan = training_plan(max_epochs)
    assert sum(epochs for _, epochs in plan) == max_epochs
    assert all(epochs >= 0 for _, epochs in plan)
    names = [name for name, _ in plan]
    assert names == sorted(names, key=["learn", "refresh", "decay"].index)
    learnt = sum(epochs for name, epochs in plan if name == "learn")
    assert learnt >= max_epochs / 2


def first_refresh(training):
    """Epoch of the first look at the beliefs of all rows."""
    logs = training.progress.history
    return next(log["epoch"] for log in logs if log["stage"] == "refresh")


def test_refreshes_wait_for_half_of_the_epochs(blobs, monkeypatch):  # check 15
    monkeypatch.setattr(label_diffusion, "SETTLED_ROWS", -1.0)  # never settled
    training = make_training(blobs)
    training.run(20)
    assert first_refresh(training) == 10
    assert training.trainer.n_epochs == 20


def test_settled_training_refreshes_earlier(blobs, monkeypatch):  # check 15
    monkeypatch.setattr(label_diffusion, "SETTLED_LOSS", 10.0)
    monkeypatch.setattr(label_diffusion, "SETTLED_ROWS", 2.0)  # settled at once
    training = make_training(blobs)
    training.run(20)
    # Settling is believed after three of the five chunks of two epochs.
    assert first_refresh(training) == 6


def test_rows_are_watched_one_by_one(blobs, monkeypatch):
    training = make_training(blobs)
    P = blobs.truth.clone()
    monkeypatch.setattr(training, "beliefs", lambda rows: P[rows])
    for loss in (1.0, 1.0, 1.0, 1.0):
        training.progress.history.append({"stage": "learn", "loss": loss})
        training.watch(loss)
    assert torch.equal(training.progress.watched, blobs.truth.argmax(1))
    assert training.progress.settled
    # Now all rows believe something else: nothing has settled.
    P = blobs.truth.roll(1, dims=1)
    training.progress.history[-1:] = []
    training.watch(1.0)
    assert not training.progress.settled


def refreshed(problem, S, P, rule, monkeypatch):
    """Training after one refresh from a model that believes P."""
    training = make_training(problem, S, rule=rule)
    monkeypatch.setattr(training, "beliefs", lambda rows: P.clone())
    training.refresh()
    return training.progress


def test_refresh_follows_a_model_that_agrees(blobs, monkeypatch):  # check 12
    S = 0.5 * blobs.Ybar + 0.5 * blobs.truth
    progress = refreshed(blobs, S, blobs.truth, BAYES, monkeypatch)
    assert progress.history[0]["refreshed"]
    assert_close(progress.S.sum(1), torch.ones(len(S)), rtol=0, atol=1e-6)
    assert torch.all(progress.S[~blobs.Y] == 0)
    right = progress.S.gather(1, blobs.y[:, None])
    assert torch.all(right >= S.gather(1, blobs.y[:, None]) - 1e-6)
    assert right.mean() > S.gather(1, blobs.y[:, None]).mean() + 0.05


def opposed(problem):
    """Sharp beliefs, and a model that contradicts 11 of 90 rows."""
    S = 0.9 * problem.truth + 0.1 * problem.Ybar
    P = problem.truth.clone()
    rows = torch.nonzero(problem.Y.sum(1) == 2)[:11, 0]
    P[rows] = problem.Y[rows].float() - problem.truth[rows]
    return S, P


def test_model_that_contradicts_a_tenth_refreshes_nothing(  # check 15
    blobs, monkeypatch
):
    S, P = opposed(blobs)
    progress = refreshed(blobs, S, P, BAYES, monkeypatch)
    assert progress.history[0]["agreement"] == pytest.approx(79 / 90)
    assert not progress.history[0]["refreshed"]
    assert torch.equal(progress.S, S)


def test_gate_of_zero_drops_the_guard(blobs, monkeypatch):  # check 15
    S, P = opposed(blobs)
    rule = RefreshRule("bayes", gamma=0.3, eta=0.5, gate=0.0)
    assert refreshed(blobs, S, P, rule, monkeypatch).history[0]["refreshed"]


def test_refresh_that_empties_a_class_is_dropped_and_ends_refreshes(  # check 15
    monkeypatch,
):
    y = torch.cat([torch.zeros(50), torch.ones(48), torch.full((2,), 2)]).long()
    truth = torch.eye(3)[y]
    Y = truth.bool()
    Y[-2:, 0] = True
    S = truth.clone()
    S[-2:] = torch.tensor([0.4, 0.0, 0.6])
    P = truth.clone()
    P[-2:] = torch.tensor([1.0, 0.0, 0.0])  # agrees on 98 %, and empties class 2
    problem = SimpleNamespace(X=torch.randn(100, 2), Y=Y, Ybar=S)
    rule = RefreshRule("bayes", gamma=0.0, eta=1.0, gate=0.9)
    progress = refreshed(problem, S, P, rule, monkeypatch)
    assert progress.history[0]["collapse"]
    assert not progress.history[0]["refreshed"]
    assert not progress.refreshing
    assert torch.equal(progress.S, S)


def test_rule_none_never_looks(blobs, monkeypatch):
    rule = RefreshRule(None, gamma=0.3, eta=0.5, gate=0.9)
    assert refreshed(blobs, blobs.Ybar, None, rule, monkeypatch).history == []


@pytest.mark.parametrize("kind", ["bayes", "inverse"])
def test_refresh_has_no_seam_between_blocks(blobs, kind, monkeypatch):
    rule = RefreshRule(kind, gamma=0.3, eta=0.5, gate=0.9)

    def refreshed():
        return rule(blobs.Ybar, blobs.Ybar, blobs.truth.clone(), blobs.Y)

    whole = refreshed()
    monkeypatch.setattr(label_diffusion, "REFRESHED_ROWS", 7)
    assert_close(refreshed(), whole, rtol=0, atol=1e-7)


def test_what_is_told_of_a_refresh_has_no_seam_between_blocks(blobs, monkeypatch):
    S, P = opposed(blobs)
    tables = S, P, BAYES, monkeypatch
    (whole,) = refreshed(blobs, *tables).history
    entropy = -torch.special.xlogy(S, S).sum(1).mean().item()
    assert whole["entropy"] == pytest.approx(entropy, rel=1e-5)
    monkeypatch.setattr(label_diffusion, "REFRESHED_ROWS", 7)
    monkeypatch.setattr(transitions, "BLOCK_ROWS", 7)
    (parts,) = refreshed(blobs, *tables).history
    assert parts.pop("entropy") == pytest.approx(whole.pop("entropy"))
    assert parts == whole


def test_refresh_makes_one_table_of_all_rows(blobs, monkeypatch, watch):
    monkeypatch.setattr(label_diffusion, "REFRESHED_ROWS", 128)
    monkeypatch.setattr(transitions, "BLOCK_ROWS", 128)
    many = SimpleNamespace(
        **{k: a.repeat_interleave(4, 0) for k, a in vars(blobs).items()}
    )
    training = make_training(many, 0.5 * many.Ybar + 0.5 * many.truth)
    monkeypatch.setattr(label_diffusion, "MIN_AGREEMENT", 0.0)
    with watch() as made:
        training.refresh()
    assert training.progress.history[-1]["refreshed"]
    assert made.shapes.count(many.Y.shape) == 1


def test_unsure_rows_keep_their_beliefs(blobs):
    P = torch.full_like(blobs.Ybar, 1 / 3)
    P[:10] = blobs.truth[:10]
    S = BAYES(blobs.Ybar, blobs.Ybar, P, blobs.Y)
    ambiguous = blobs.Y.sum(1) > 1
    assert torch.equal(S[10:][ambiguous[10:]], blobs.Ybar[10:][ambiguous[10:]])
    assert torch.all(S[:10].gather(1, blobs.y[:10, None]) >= 0.75 - 1e-6)


@pytest.mark.parametrize("kind", ["bayes", "inverse"])
def test_eta_is_the_share_of_the_new_beliefs(blobs, kind):
    old = blobs.Ybar
    none, half, all_ = (
        RefreshRule(kind, 0.3, eta, 0.0)(old, old, blobs.truth.clone(), blobs.Y)
        for eta in (0.0, 0.5, 1.0)
    )
    assert_close(none, old)
    assert_close(half, (old + all_) / 2)
    assert_close(all_, blobs.truth)


# -- the story -------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["sharp", "soft", "hard", "sample"])
def test_training_resolves_the_candidates(blobs, target):
    S = 0.5 * blobs.Ybar + 0.5 * blobs.truth
    training = make_training(blobs, S, target=target)
    S = training.run(20)
    assert_close(S.sum(1), torch.ones(90), rtol=0, atol=1e-6)
    assert torch.all(S[~blobs.Y] == 0)
    P = training.model.label_distribution(blobs.X, torch.zeros_like(S))
    assert (P.argmax(1) == blobs.y).double().mean() > 0.95


def test_an_epoch_reads_only_its_loss_back_and_makes_no_table(blobs, watch):
    training = make_training(blobs)  # two batches an epoch
    with watch() as seen:
        training.trainer.run(3)
    # Each number that is read makes a GPU wait: here the mean loss, once an epoch, and
    # at the end of the run whether the weights are numbers. The other one is the seed
    # of the loader, which is drawn on the CPU.
    assert seen.operations[torch.ops.aten._local_scalar_dense.default] == 3 * 2 + 1
    assert not {blobs.X.shape, blobs.Y.shape} & set(seen.shapes)


def test_averaged_weights_predict(blobs):
    training = make_training(blobs)
    training.run(10)
    state = training.model.denoiser.state_dict()
    for name, value in training.trainer.averaged.items():
        assert torch.equal(state[name], value)


def test_looking_at_beliefs_does_not_disturb_training(blobs):
    looked, straight = make_training(blobs), make_training(blobs)
    for training in (looked, straight):
        training.train("refresh", 2)
    looked.beliefs(slice(None))
    for training in (looked, straight):
        training.train("refresh", 2)
    a, b = (t.model.denoiser.state_dict() for t in (looked, straight))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_resumed_story_ends_in_the_same_bits(blobs, stop):
    S = 0.5 * blobs.Ybar + 0.5 * blobs.truth
    straight, states = make_training(blobs, S), []

    def keep(epochs):
        file = io.BytesIO()
        torch.save(straight.state(), file)
        states.append(file)

    end = straight.run(20, keep)
    states[stop].seek(0)
    resumed = make_training(blobs, S, seed=3)
    resumed.restore(torch.load(states[stop], weights_only=True))
    assert torch.equal(resumed.run(20), end)
    a, b = (t.model.denoiser.state_dict() for t in (straight, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.progress.history == straight.progress.history
