"""Training from imprecise labels: what an update fits, and what it must not see."""

import io
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core import edm, imprecise
from sklabeldiff.core.class_denoisers import N_FREQUENCIES, ClassDenoiser
from sklabeldiff.core.class_diffusion import (
    class_errors,
    log_posterior,
)
from sklabeldiff.core.imprecise_training import (
    FIRST_SHARE,
    LABELLED_SHARE,
    Given,
    ImpreciseTraining,
    Objective,
    repeated_rows,
)
from sklabeldiff.core.noise_levels import NoiseLevels, loss_weight
from sklabeldiff.core.training import Trainer

LEVELS = NoiseLevels(6.4)
SETS = Objective(
    wrong=False,
    vanilla=False,
    cls_weight=1.0,
    temperature=1.0,
    top_k=None,
    moving_prior=False,
)
GENERATIVE = replace(SETS, cls_weight=0.0)
WRONG = replace(SETS, wrong=True)
C, D, N = 3, 2, 24


def perturb(module, seed, scale=0.1):
    """Move all weights, those that start at 0 too."""
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(scale * torch.randn(p.shape, generator=gen))


def make_training(
    objective=SETS, given=None, *, n_levels=2, prior=None, rate=0.01, seed=0, batch=12
):
    """A small network, none of whose weights is 0."""
    given = problem() if given is None else given
    n_classes, d = given.V.shape[1], given.x.shape[1]
    net = ClassDenoiser(d, n_classes, 16, 1, torch.Generator().manual_seed(0))
    perturb(net, 0)

    def make_trainer(loss, n_rows):
        return Trainer(
            net,
            loss,
            n_rows,
            torch.Generator().manual_seed(seed),
            batch_size=batch,
            learning_rate=rate,
            weight_decay=0.0,
            ema=partial(imprecise.average_decay, fraction=0.05, max_horizon=100.0),
            planned_updates=100,
        )

    prior = torch.full((n_classes,), 1 / n_classes) if prior is None else prior
    return ImpreciseTraining(objective, LEVELS, n_levels, given, prior, make_trainer)


def problem(kind="sets", n_classes=C):
    """N rows in the plane: sets of two, single labels, or both kinds of rows."""
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(N) % n_classes
    x = 0.5 * torch.randn((N, D), generator=gen)
    V = one_hot(y, n_classes).float()
    if kind == "sets":
        V = torch.maximum(V, V.roll(1, 1))
    elif kind == "some":
        V[::2] = 1
    return Given(x, V)


def loss_of(training, seed=0, rows=slice(None)):
    """Loss of rows under a fixed noise."""
    training.trainer.generator.manual_seed(seed)
    return training.batch_loss(training.trainer.module, torch.arange(N)[rows])


def gradient(training, loss):
    return torch.autograd.grad(loss, list(training.trainer.module.parameters()))


def by_hand(training, seed=0):
    """What an update sees: answers of both networks, and posteriors. float32."""
    gen = torch.Generator().manual_seed(seed)
    sigma = LEVELS.draw(training.n_levels, N, gen).flatten()
    x = training.given.x.repeat(training.n_levels, 1)
    eps = torch.randn(x.shape, generator=gen)
    u, c_noise, wanted = edm.asked(x, eps, sigma)
    F, F_phi = (net(u, c_noise) for net in (training.trainer.module, training.teacher))

    def log_f(F):
        ell = -class_errors(F, wanted).view(training.n_levels, N, -1).mean(0)
        return log_posterior(ell, training.prior.log(), training.objective.temperature)

    return SimpleNamespace(
        F=F, wanted=wanted, log_theta=log_f(F), log_phi=log_f(F_phi).detach()
    )


# -- the loss of an update -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sets", "some", "single"])
@pytest.mark.parametrize("cls_weight", [0.0, 1.0, 0.3])
def test_loss_of_sets_by_hand(kind, cls_weight):
    training = make_training(replace(SETS, cls_weight=cls_weight), problem(kind))
    perturb(training.teacher, 1)
    seen, V = by_hand(training), training.given.V
    f = V * seen.log_phi.double().exp()
    pi = (f / f.sum(1, keepdim=True)).float()
    mixed = (pi.repeat(2, 1)[:, :, None] * seen.F).sum(1)
    L_gen = (mixed - seen.wanted).square().sum(1).mean()
    L_cls = -(pi * seen.log_theta).sum(1).mean()
    expected = L_gen + cls_weight * L_cls
    assert_close(loss_of(training), expected)
    both = (gradient(training, loss) for loss in (loss_of(training), expected))
    for found, wanted in zip(*both, strict=True):
        # The weights pi are constants here: no gradient flows through them (check 5).
        assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_loss_of_wrong_labels_by_hand():
    training = make_training(WRONG, problem("single"))
    perturb(training.teacher, 1)
    seen = by_hand(training)
    f_theta, f_phi = seen.log_theta.detach().exp(), seen.log_phi.exp()
    r = imprecise.early_learning_target(training.given.V, f_theta, f_phi)
    mixed = (f_phi.repeat(2, 1)[:, :, None] * seen.F).sum(1)
    L_gen = (mixed - seen.wanted).square().sum(1).mean()
    expected = L_gen - (r * seen.log_theta).sum(1).mean()
    assert_close(loss_of(training), expected)
    both = (gradient(training, loss) for loss in (loss_of(training), expected))
    for found, wanted in zip(*both, strict=True):
        # The target is a constant too, though theta is in it.
        assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_known_transition_explains_the_weights():
    given = problem("single")
    likelihood = torch.full((N, C), 0.2) + 0.4 * given.V
    training = make_training(
        replace(WRONG, cls_weight=0.0), replace(given, likelihood=likelihood)
    )
    seen = by_hand(training)
    pi = seen.log_phi.exp() * likelihood
    pi /= pi.sum(1, keepdim=True)
    mixed = (pi.repeat(2, 1)[:, :, None] * seen.F).sum(1)
    assert_close(loss_of(training), (mixed - seen.wanted).square().sum(1).mean())


def test_temperature_and_prior_reach_both_posteriors():
    prior = torch.tensor([0.2, 0.3, 0.5])
    training = make_training(replace(SETS, temperature=3.0), prior=prior)
    seen = by_hand(training)
    pi = imprecise.confined(seen.log_phi, training.given.V)
    mixed = (pi.repeat(2, 1)[:, :, None] * seen.F).sum(1)
    L_gen = (mixed - seen.wanted).square().sum(1).mean()
    assert_close(loss_of(training), L_gen - (pi * seen.log_theta).sum(1).mean())


@pytest.mark.parametrize("objective", [SETS, WRONG], ids=["sets", "wrong"])
def test_teacher_changes_the_loss_but_gets_no_gradient(objective):  # check 5
    training = make_training(objective)
    before = loss_of(training)
    perturb(training.teacher, 1)
    after = loss_of(training)
    assert abs(after - before) > 1e-3 * before.abs()
    after.backward()
    assert all(p.grad is None for p in training.teacher.parameters())


def test_labelled_rows_have_the_loss_of_conditional_diffusion():  # check 7
    training = make_training(GENERATIVE, problem("single"))
    seen, y = by_hand(training), (torch.arange(N) % C).repeat(2)
    of_label = class_errors(seen.F, seen.wanted)[torch.arange(2 * N), y]
    assert torch.equal(loss_of(training), of_label.mean())


def test_posterior_does_not_matter_to_labelled_rows():  # check 7
    training = make_training(GENERATIVE, problem("single"))
    before = loss_of(training)
    perturb(training.teacher, 1)
    training.prior = torch.tensor([0.1, 0.1, 0.8])
    assert torch.equal(loss_of(training), before)


@pytest.mark.parametrize("objective", [SETS, WRONG], ids=["sets", "wrong"])
def test_single_class_has_the_unconditional_loss(objective):  # check 8
    training = make_training(objective, problem("single", n_classes=1))
    seen = by_hand(training)
    assert_close(loss_of(training), class_errors(seen.F, seen.wanted)[:, 0].mean())
    assert not seen.log_theta.any()


def test_vanilla_conditions_on_the_mean_of_what_was_given():
    training = make_training(replace(SETS, vanilla=True), problem("some"))
    gen = torch.Generator().manual_seed(0)
    sigma = LEVELS.draw(2, N, gen).flatten()
    x = training.given.x.repeat(2, 1)
    eps = torch.randn(x.shape, generator=gen)
    V = training.given.V
    condition = (V / V.sum(1, keepdim=True)).repeat(2, 1)[:, None]
    u, c_noise, wanted = edm.asked(x, eps, sigma)
    F = training.trainer.module(u, c_noise, condition)
    assert_close(loss_of(training), (F[:, 0] - wanted).square().sum(1).mean())


def test_rows_of_a_batch_are_those_asked_for():
    # Rows of one kind only: the others must not matter.
    training = make_training(GENERATIVE)
    before = loss_of(training, rows=slice(0, 6))
    training.given.x[6:] += 1
    training.given.V[6:] = 1
    assert torch.equal(loss_of(training, rows=slice(0, 6)), before)


# -- the likeliest classes only --------------------------------------------------------


@pytest.mark.parametrize("k", [C, C + 2])
@pytest.mark.parametrize("objective", [SETS, WRONG], ids=["sets", "wrong"])
def test_keeping_all_classes_changes_nothing(objective, k):
    whole, kept = (make_training(replace(objective, top_k=n)) for n in (None, k))
    assert torch.equal(loss_of(whole), loss_of(kept))


def test_kept_classes_hold_the_label_and_the_likeliest():
    training = make_training(replace(WRONG, top_k=2), problem("single"))
    label = training.given.V
    f = torch.rand((N, C), generator=torch.Generator().manual_seed(0)).softmax(1)
    kept = training.kept(f, label, f)
    assert kept.shape == (N, 2)
    for found, given, believed in zip(kept, label, f, strict=True):
        other = believed.masked_fill(given > 0, 0).argmax().item()
        assert set(found.tolist()) == {given.argmax().item(), other}


def test_loss_of_kept_classes_by_hand():
    training = make_training(replace(SETS, top_k=2), n_levels=1)
    seen = by_hand(training)
    pi = imprecise.confined(seen.log_phi, training.given.V)
    keep = torch.maximum(pi, seen.log_phi.exp()).topk(2).indices
    pi = pi.gather(1, keep)
    pi = pi / pi.sum(1, keepdim=True)
    rows = torch.arange(N)[:, None]
    mixed = (pi[:, :, None] * seen.F[rows, keep]).sum(1)
    L_gen = (mixed - seen.wanted).square().sum(1).mean()
    log_theta = seen.log_theta.gather(1, keep).log_softmax(1)
    assert_close(loss_of(training), L_gen - (pi * log_theta).sum(1).mean())


@pytest.mark.parametrize("k", [1, 2])
def test_a_candidate_is_kept_whatever_the_teacher_says(k):
    f = torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.5]])
    pi = torch.tensor([[0.4, 0.3, 0.3, 0.0, 0.0]])
    given = Given(torch.zeros(1, D), (pi > 0).float())
    training = make_training(replace(SETS, top_k=k), given)
    assert 0 in training.kept(pi, pi, f)[0]


@pytest.mark.parametrize("objective", [SETS, WRONG], ids=["sets", "wrong"])
def test_kept_class_that_the_teacher_excludes_leaves_no_nan(objective):
    # So cold a teacher gives most classes less than float32 can hold.
    training = make_training(replace(objective, top_k=1, temperature=1e-4))
    if objective.wrong:
        training.given.V[:] = one_hot(torch.arange(N) % C, C)
    assert torch.isfinite(loss_of(training))


# -- beliefs at first, prior, rows -----------------------------------------------------


def test_beliefs_of_the_neighbours_hold_for_the_first_fifth():
    given = problem()
    S = given.V / given.V.sum(1, keepdim=True)
    training = make_training(given=replace(given, S=S))
    used, weights = [], training.weights

    def watched(log_phi, rows, asked):
        pi, target = weights(log_phi, rows, asked)
        assert torch.equal(pi, target)
        used.append(torch.equal(pi, S[rows]))
        return pi, target

    training.weights = watched
    training.run(10, lambda n_epochs: None)
    n_updates = 10 * training.trainer.updates_per_epoch
    n_first = round(FIRST_SHARE * n_updates)
    assert n_first == 4
    assert used == [True] * n_first + [False] * (n_updates - n_first)


def test_prior_follows_the_beliefs_once_an_epoch():
    given = problem("single")
    given.V[:] = one_hot(torch.zeros(N).long(), C)
    training = make_training(replace(SETS, moving_prior=True), given)
    seen = []
    training.run(3, lambda n_epochs: seen.append(training.prior[0].item()))
    # Moved at the begin of the second and of the third epoch.
    once, twice = 1 - 0.9 * 2 / 3, 1 - 0.9**2 * 2 / 3
    assert seen == pytest.approx([1 / 3, once, twice], abs=1e-5)


def test_prior_that_was_given_stays():
    prior = torch.tensor([0.2, 0.3, 0.5])
    training = make_training(prior=prior)
    training.run(3, lambda n_epochs: None)
    assert torch.equal(training.prior, torch.tensor([0.2, 0.3, 0.5]))


def sets_of(n_full, n_labelled):
    V = torch.ones(n_full + n_labelled, C)
    V[:n_labelled] = one_hot(torch.arange(n_labelled) % C, C).float()
    return V


def test_all_rows_are_there_once_before_copies():
    V = sets_of(90, 5)
    rows = repeated_rows(V)
    assert torch.equal(rows[:95], torch.arange(95))
    assert (rows[95:] < 5).all()
    assert rows[95:].bincount().unique().numel() == 1


def share_labelled(n_full, n_labelled):
    rows = repeated_rows(sets_of(n_full, n_labelled))
    return (rows < n_labelled).double().mean().item()


@pytest.mark.parametrize("n_labelled", [1, 2, 10, 30])
def test_labelled_rows_are_a_quarter_at_least(n_labelled):
    assert share_labelled(90, n_labelled) >= LABELLED_SHARE


@pytest.mark.parametrize("n_labelled", [7, 16, 29])
def test_odd_numbers_of_labelled_rows_are_a_quarter_at_least(n_labelled):
    assert share_labelled(90, n_labelled) >= LABELLED_SHARE


@pytest.mark.parametrize(("n_full", "n_labelled"), [(90, 40), (0, 5), (5, 0)])
def test_many_labelled_rows_are_not_repeated(n_full, n_labelled):
    rows = repeated_rows(sets_of(n_full, n_labelled))
    assert torch.equal(rows, torch.arange(n_full + n_labelled))


def test_epochs_visit_the_copies():
    given = Given(torch.zeros(20, D), sets_of(18, 2))
    training = make_training(given=given)
    assert training.trainer.updates_per_epoch == round(24 / 12)
    assert torch.isfinite(
        training.batch_loss(training.trainer.module, torch.tensor([23]))
    )


# -- training --------------------------------------------------------------------------


def test_teacher_stays_where_nothing_is_learnt():  # check 9
    training = make_training(rate=0.0)
    first = {k: v.clone() for k, v in training.teacher.state_dict().items()}
    training.run(3, lambda n_epochs: None)
    for name, value in training.teacher.state_dict().items():
        assert torch.equal(value, first[name])


def test_teacher_is_the_average_of_the_updates():  # check 9
    training = make_training()
    theta = training.trainer.module.leave.bias
    expected, average = theta.detach().clone(), training.trainer.update_average
    n_seen = 0

    def watched():
        nonlocal n_seen
        keep = 0.5 ** (1 / (0.05 * (n_seen + 1)))
        n_seen += 1
        expected.mul_(keep).add_((1 - keep) * theta.detach())
        average()

    training.trainer.update_average = watched
    training.run(5, lambda n_epochs: None)
    assert n_seen == 10
    assert_close(training.teacher.leave.bias.detach(), expected)


def test_resumed_training_goes_on_bit_equal():
    objective = replace(SETS, moving_prior=True)

    class Enough(Exception):
        pass

    file = io.BytesIO()
    cut, again, whole = (make_training(objective, seed=s) for s in (0, 5, 0))

    def stop(n_epochs):
        if cut.trainer.n_epochs == 4:
            torch.save(cut.state(), file)
            raise Enough

    whole.run(6, lambda n_epochs: None)
    with pytest.raises(Enough):
        cut.run(6, stop)
    file.seek(0)
    again.restore(torch.load(file, weights_only=True))
    again.run(6, lambda n_epochs: None)
    assert again.trainer.losses == whole.trainer.losses
    assert torch.equal(again.prior, whole.prior)
    states = (t.teacher.state_dict() for t in (again, whole))
    for one, other in zip(*(s.values() for s in states), strict=True):
        assert torch.equal(one, other)


# -- labels that say nothing -----------------------------------------------------------

CENTRES = torch.tensor([[-0.4, 0.0], [0.4, 0.0]])
VARIANCE = 0.09


def two_classes(n, generator):
    noise = torch.randn((n, 2), generator=generator)
    return CENTRES[torch.arange(n) % 2] + VARIANCE**0.5 * noise


@pytest.fixture(scope="module", params=[0, 1])
def said_nothing(request):
    """A short training in which every row may be of either class, and its errors."""
    x = two_classes(128, torch.Generator().manual_seed(request.param))
    training = make_training(
        given=Given(x, torch.ones(128, 2)), n_levels=1, seed=request.param, batch=64
    )
    training.run(60, lambda n_epochs: None)

    gen = torch.Generator().manual_seed(100)
    x = two_classes(20_000, gen)
    sigma = LEVELS.draw(1, len(x), gen)[0]
    eps = torch.randn(x.shape, generator=gen)
    with torch.inference_mode():
        u, c_noise, wanted = edm.asked(x, eps, sigma)
        F = training.teacher(u, c_noise)
        f = (-class_errors(F, wanted)).softmax(1)
    # The unconditional denoiser of the mixture of both classes.
    level, x_t = sigma[:, None], x + sigma[:, None] * eps
    noisy = VARIANCE + level**2
    share = (-(x_t[:, None] - CENTRES).square().sum(-1) / (2 * noisy)).softmax(1)
    D = share @ CENTRES + VARIANCE / noisy * (x_t - share @ CENTRES)
    best = (loss_weight(sigma) * (D - x).square().sum(1)).mean().item()

    def loss(pi):
        return imprecise.mixture_loss(F, wanted, pi).mean().item()

    return SimpleNamespace(f=f, best=best, loss=loss)


def test_mean_of_classes_nears_the_unconditional_optimum(said_nothing):  # check 11
    even = torch.full_like(said_nothing.f, 0.5)
    assert said_nothing.best < said_nothing.loss(even) < 1.1 * said_nothing.best


def test_labels_that_say_nothing_end_in_confident_clusters(said_nothing):  # check 11
    # The method page hopes for a posterior near the prior. But beliefs have seen the
    # clean row: each class takes the rows that it already denoises best, and the loss
    # falls below what any denoiser can reach.
    assert (said_nothing.f - 0.5).abs().mean() > 0.15
    assert said_nothing.loss(said_nothing.f) < 0.9 * said_nothing.best


# -- the work --------------------------------------------------------------------------


def training_of(n_classes, **options):
    """A training on ten unlabelled rows of five columns, and work of a row by hand."""
    d, H, blocks = 5, 16, 2
    net = ClassDenoiser(d, n_classes, H, blocks, torch.Generator())
    modulate = 2 * N_FREQUENCIES * 2 * H
    trunk = d * H + blocks * (modulate + 2 * H**2) + modulate
    given = Given(torch.zeros(10, d), torch.ones(10, n_classes))
    prior = torch.ones(n_classes) / n_classes
    training = ImpreciseTraining(
        replace(SETS, **options),
        *(LEVELS, 3, given, prior),
        lambda loss, n: Trainer(
            *(net, loss, n, torch.Generator()),
            batch_size=5,
            learning_rate=1e-3,
            weight_decay=0.0,
            ema=0.9,
            planned_updates=1,
        ),
    )
    return training, lambda n_conditions: 2 * (trunk + n_conditions * H * d)


@pytest.mark.parametrize("n_classes", [2, 50])
def test_estimated_work_is_a_count_by_hand(n_classes):  # check 18
    training, of_a_row = training_of(n_classes)
    # Ten rows at three levels; three passes of theta, one of the teacher.
    assert training.estimated_work(7) == 7 * 10 * 3 * 4 * of_a_row(n_classes)


def test_work_is_less_with_fewer_classes_a_row():  # check 18
    training, of_a_row = training_of(50, top_k=4)
    assert training.estimated_work(1) == 30 * (3 * of_a_row(4) + of_a_row(50))


def test_work_of_ordinary_conditioning_has_no_teacher():
    training, of_a_row = training_of(50, vanilla=True)
    # A mixture of all classes has one answer; its tokens are two products of C by H.
    assert training.estimated_work(1) == 30 * 3 * (of_a_row(1) + 2 * 2 * 50 * 16)


def test_estimating_the_work_leaves_the_network_alone():
    training, _ = training_of(3)
    net = training.trainer.module
    before = {k: v.clone() for k, v in net.state_dict().items()}
    training.estimated_work(1)
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
