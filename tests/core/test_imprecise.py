"""What is learnt from imprecise labels: weights, targets, priors, the two losses."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core import imprecise
from sklabeldiff.core.class_diffusion import class_errors

C = 4


@pytest.fixture
def log_f(generator):
    """Logarithms of twenty posteriors."""
    logits = torch.randn((20, C), generator=generator, dtype=torch.float64)
    return logits.log_softmax(1)


@pytest.fixture
def V(generator):
    """Weighted candidates: one to four a row, 0 for the others."""
    weights = torch.rand((20, C), generator=generator, dtype=torch.float64)
    weights[torch.arange(20), torch.arange(20) % C] = 0.5
    return torch.where(weights < 0.4, 0, weights)


# -- beliefs ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_mask", [True, False], ids=["mask", "weights"])
def test_beliefs_are_distributions_over_candidates(log_f, V, is_mask):  # check 5
    V = (V > 0).double() if is_mask else V
    pi = imprecise.confined(log_f, V)
    assert_close(pi.sum(1), torch.ones(20, dtype=torch.float64))
    assert not pi[V == 0].any()
    assert (pi[V > 0] > 0).all()


def test_beliefs_in_candidates_follow_posterior_and_weights():  # check 5
    f = torch.tensor([[0.5, 0.3, 0.2]])
    pi = imprecise.confined(f.log(), torch.tensor([[1.0, 0.0, 1.0]]))
    assert_close(pi, torch.tensor([[5 / 7, 0.0, 2 / 7]]))
    pi = imprecise.confined(f.log(), torch.tensor([[0.2, 0.0, 1.0]]))
    assert_close(pi, torch.tensor([[1 / 3, 0.0, 2 / 3]]))


def test_labelled_rows_are_one_hot_and_others_as_believed(log_f):  # check 5
    V = torch.ones((20, C), dtype=torch.float64)
    V[::2] = torch.eye(C, dtype=torch.float64)[1]
    pi = imprecise.confined(log_f, V)
    assert torch.equal(pi[::2], V[::2])
    assert_close(pi[1::2], log_f[1::2].exp())


def test_unlikely_candidates_are_still_distributions():
    log_f = torch.tensor([[0.0, -300.0, -310.0]])  # below float32's smallest number
    pi = imprecise.confined(log_f, torch.tensor([[0.0, 1.0, 1.0]]))
    assert_close(pi, torch.tensor([[0.0, 1.0, 0.0]]), rtol=0, atol=1e-4)


def test_labels_that_never_go_wrong_are_the_truth(log_f):
    given = torch.arange(20) % C
    likelihood = torch.eye(C, dtype=torch.float64)[:, given].T
    assert torch.equal(imprecise.explained(log_f, likelihood), likelihood)


def test_labels_that_go_wrong_are_explained_by_bayes():
    T = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
    f = torch.tensor([[0.25, 0.75]])
    pi = imprecise.explained(f.log(), T[:, [0]].T)  # label 0 was given
    assert_close(pi, torch.tensor([[0.225, 0.3]]) / 0.525)


def test_labels_that_say_nothing_leave_the_posterior(log_f):
    likelihood = torch.full((20, C), 1 / C, dtype=torch.float64)
    assert_close(imprecise.explained(log_f, likelihood), log_f.exp())


# -- the target of labels that may be wrong --------------------------------------------


def test_targets_sum_to_one(log_f):  # check 6
    given = torch.eye(C, dtype=torch.float64)[torch.arange(20) % C]
    r = imprecise.early_learning_target(given, log_f.exp(), log_f.flip(0).exp())
    assert_close(r.sum(1), torch.ones(20, dtype=torch.float64))


def test_teacher_without_a_view_leaves_the_label():  # check 6
    f_theta = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
    given = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    r = imprecise.early_learning_target(given, f_theta, torch.full((1, C), 0.25))
    assert torch.equal(r, given)


def test_target_where_teacher_and_label_agree():  # check 6
    f = torch.tensor([[0.7, 0.3]])
    r = imprecise.early_learning_target(torch.tensor([[1.0, 0.0]]), f, f)
    assert_close(r, torch.tensor([[1.2, -0.2]]))


def test_certain_teacher_leaves_no_nan():  # check 6
    sure = torch.tensor([[1.0, 0.0]])
    r = imprecise.early_learning_target(torch.tensor([[0.0, 1.0]]), sure, sure)
    assert torch.equal(r, torch.tensor([[0.0, 1.0]]))


def test_nearly_certain_teacher_keeps_the_target_bounded():  # check 6
    f = torch.tensor([[20.0, 0.0]]).softmax(1)
    r = imprecise.early_learning_target(torch.tensor([[0.0, 1.0]]), f, f)
    assert_close(r, torch.tensor([[0.0, 1.0]]), rtol=0, atol=1e-2)


# -- the losses ------------------------------------------------------------------------


@pytest.fixture
def said(generator):
    """F (20, C, 3) and wanted (20, 3), float32."""
    F = torch.randn((20, C, 3), generator=generator)
    return F, torch.randn((20, 3), generator=generator)


def test_sure_mixture_has_the_loss_of_its_class(said):  # check 7
    F, wanted = said
    y = torch.arange(20) % C
    loss = imprecise.mixture_loss(F, wanted, torch.eye(C)[y])
    assert torch.equal(loss, class_errors(F, wanted)[torch.arange(20), y])


def test_single_class_has_the_unconditional_loss(said):  # check 8
    F, wanted = said
    loss = imprecise.mixture_loss(F[:, :1], wanted, torch.ones(20, 1))
    assert torch.equal(loss, (F[:, 0] - wanted).square().sum(1))


def test_denoisers_are_mixed_before_they_are_compared():
    # Two answers that are wrong to either side are right together.
    F = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    loss = imprecise.mixture_loss(F, torch.zeros(1, 2), torch.full((1, 2), 0.5))
    assert loss.tolist() == [0.0]


def test_mixture_has_no_larger_loss_than_its_classes(said, log_f):
    F, wanted = said
    pi = log_f.exp().float()
    of_classes = (pi * class_errors(F, wanted)).sum(1)
    assert (imprecise.mixture_loss(F, wanted, pi) < of_classes).all()


def test_classification_loss_by_hand():
    log_f = torch.tensor([[0.5, 0.25, 0.25]]).log()
    target = torch.tensor([[1.5, 0.0, -0.5]])
    loss = imprecise.classification_loss(target, log_f)
    assert loss.tolist() == pytest.approx([1.5 * np.log(2) - 0.5 * np.log(4)])


# -- class priors ----------------------------------------------------------------------


def test_prior_moves_to_the_shares_of_the_rows():
    best = torch.tensor([0, 0, 0, 1])
    moved = imprecise.moved_prior(torch.tensor([0.5, 0.5]), best, 0.9)
    assert_close(moved, torch.tensor([0.525, 0.475]))


def test_class_that_no_row_falls_to_keeps_some_prior():
    prior = torch.full((3,), 1 / 3)
    for _ in range(500):
        prior = imprecise.moved_prior(prior, torch.tensor([0, 1]), 0.9)
    assert prior[2] > 0
    assert_close(prior, torch.tensor([0.5, 0.5, 0.0]), rtol=0, atol=1e-5)


def test_prior_behind_wrong_labels_is_recovered():
    T = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 0.2, 0.8]])
    prior = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(imprecise.prior_behind(T, T.T @ prior), prior)


def test_prior_behind_shares_that_cannot_be_is_the_nearest():
    # Label 0 is given less often than its flips alone would have it.
    T = np.array([[0.8, 0.2], [0.2, 0.8]])
    prior = imprecise.prior_behind(T, np.array([0.1, 0.9]))
    np.testing.assert_allclose(prior, [0, 1], atol=1e-5)


@pytest.mark.parametrize("row", [[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
def test_prior_behind_a_singular_matrix_is_a_distribution(row):
    # Labels that say nothing about the class, and labels that are never given.
    prior = imprecise.prior_behind(np.tile(row, (3, 1)), np.array(row))
    assert np.all(prior > 0)
    assert prior.sum() == pytest.approx(1)


def test_class_never_given_keeps_some_prior():
    prior = imprecise.prior_behind(np.eye(3), np.array([0.5, 0.5, 0.0]))
    assert prior[2] > 0
    assert prior.sum() == pytest.approx(1)


# -- the teacher's decay ---------------------------------------------------------------


@pytest.mark.parametrize("n_updates", [0, 19, 199])
def test_half_life_is_a_share_of_the_updates_so_far(n_updates):  # check 9
    decay = imprecise.average_decay(n_updates, 0.05, 1e9)
    assert decay ** (0.05 * (n_updates + 1)) == pytest.approx(0.5)


def test_half_life_is_capped():  # check 9
    # EDM's half a million rows, in batches of 64.
    decay = imprecise.average_decay(10**9, 0.05, 500_000 / 64)
    assert decay == pytest.approx(0.5 ** (64 / 500_000))
    assert decay == pytest.approx(0.99991, abs=5e-6)


def test_decay_grows_until_the_cap():  # check 9
    decays = [imprecise.average_decay(n, 0.05, 10.0) for n in range(0, 300, 10)]
    assert decays[:20] == sorted(set(decays[:20]))
    assert decays[20:] == [pytest.approx(0.5**0.1)] * 10


def test_no_half_life_copies_the_weights():
    assert imprecise.average_decay(5, 0.0, 10.0) == 0
