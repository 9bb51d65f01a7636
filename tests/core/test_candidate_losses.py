"""Losses of candidate sets: weights from a teacher, both sides of the set."""

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.candidate_losses import (
    CANDIDATE_LOSSES,
    adjusted_loss,
    confidence,
    dirk_loss,
    dirk_target,
    log_complement,
    progressive_loss,
    uniform_loss,
)

C = 5


@pytest.fixture
def z(generator):
    """Logits of twenty rows."""
    return 3 * torch.randn((20, C), generator=generator, dtype=torch.float64)


@pytest.fixture
def V():
    """Masks of one to four candidates, of every size."""
    sizes = torch.arange(20) % (C - 1) + 1
    return (torch.arange(C) < sizes[:, None]).double()


class TestConfidence:
    def test_each_side_sums_to_one(self, z, V):  # check 1
        omega = confidence(z, V)
        assert (omega >= 0).all()
        assert_close((omega * V).sum(1), torch.ones(20, dtype=torch.float64))
        assert_close((omega * (1 - V)).sum(1), torch.ones(20, dtype=torch.float64))

    def test_shares_are_ratios_of_the_softmax(self, z, V):  # check 1
        p = z.softmax(1)
        inside, outside = p * V, p * (1 - V)
        by_hand = inside / inside.sum(1, True) + outside / outside.sum(1, True)
        assert_close(confidence(z, V), by_hand)

    def test_nothing_is_outside_a_full_set(self, z):  # check 1
        omega = confidence(z, torch.ones_like(z))
        assert_close(omega, z.softmax(1))

    def test_no_gradient_reaches_the_teacher_of_a_fit(self, z, V):  # check 1
        # The training asks the teacher without a graph; here omega is a plain number.
        a = z.clone().requires_grad_()
        adjusted_loss(a, z, V).sum().backward()
        held = confidence(z, V)
        b = z.clone().requires_grad_()
        log_p = torch.where(V > 0, b.log_softmax(1), log_complement(b))
        (-(held * log_p).sum()).backward()
        assert_close(a.grad, b.grad)

    def test_weights_of_candidates_multiply(self):
        z = torch.zeros(1, 3)
        omega = confidence(z, torch.tensor([[1.0, 0.5, 0.0]]))
        assert_close(omega, torch.tensor([[2 / 3, 1 / 3, 1.0]]))

    def test_hopeless_candidates_share_what_they_have(self):  # check 3
        z = torch.tensor([[100.0, -100.0, -100.0]])  # below 1e-80
        omega = confidence(z, torch.tensor([[0.0, 1.0, 1.0]]))
        assert_close(omega, torch.tensor([[1.0, 0.5, 0.5]]))


class TestAdjustedLoss:
    a = torch.tensor([[2.0, 1.0, 0.0]])
    V = torch.tensor([[1.0, 1.0, 0.0]])

    def test_case_by_hand(self):  # check 2
        omega = torch.tensor([[0.7311, 0.2689, 1.0]])
        assert_close(confidence(self.a, self.V), omega, rtol=0, atol=1e-4)
        loss = adjusted_loss(self.a, self.a, self.V)
        assert_close(loss, torch.tensor([0.7709]), rtol=0, atol=1e-4)

    def test_complement_is_that_of_the_softmax(self, z):
        assert_close(log_complement(z), torch.log(1 - z.softmax(1)))

    def test_complement_is_exact_where_one_class_has_all(self):
        a = torch.tensor([[100.0, -100.0, -100.0]])
        by_hand = torch.tensor([[-200 + 0.6931472, 0.0, 0.0]])
        assert_close(log_complement(a), by_hand)

    @pytest.mark.parametrize("wrong", [100.0, -100.0])
    def test_gradient_is_finite_and_does_not_vanish_on_the_wrong(self, wrong):  # 3
        a = torch.tensor([[wrong, -wrong, 0.0]], requires_grad=True)
        V = torch.tensor([[float(wrong < 0), float(wrong > 0), 0.0]])
        loss = adjusted_loss(a, torch.zeros(1, 3), V)
        loss.sum().backward()
        assert loss.isfinite().all() and a.grad.isfinite().all()
        assert a.grad.abs().max() > 0.4

    def test_gradient_agrees_with_finite_differences(self, z, V):
        a = z[:6].flip(0).clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda a: adjusted_loss(a, z[:6], V[:6]), a)

    def test_surest_of_the_others_is_pushed_down_harder_than_by_the_set(self, z, V):
        a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
        adjusted_loss(a, z, V).sum().backward()
        progressive_loss(b, z, V).sum().backward()
        surest = torch.arange(20), z.masked_fill(V > 0, -99).argmax(1)
        assert (a.grad[surest] > b.grad[surest]).all()


class TestOtherLosses:
    def test_one_label_is_cross_entropy_of_all_but_the_adjusted(self, z):
        V = torch.eye(C, dtype=torch.float64).repeat(4, 1)
        by_hand = -(V * z.log_softmax(1)).sum(1)
        assert_close(progressive_loss(z, z, V), by_hand)
        assert_close(uniform_loss(z, z, V), by_hand)
        rest = -((confidence(z, V) * (1 - V)) * log_complement(z)).sum(1)
        assert_close(adjusted_loss(z, z, V) - rest, by_hand)

    def test_uniform_loss_does_not_ask_the_teacher(self, z, V):
        assert_close(uniform_loss(z, z, V), uniform_loss(z, -z, V))

    def test_progressive_loss_is_the_inner_part(self, z, V):
        omega = confidence(z, V)
        by_hand = -(omega * V * z.log_softmax(1)).sum(1)
        assert_close(progressive_loss(z, z, V), by_hand)

    @pytest.mark.parametrize("name", CANDIDATE_LOSSES)
    def test_loss_of_a_full_set_is_finite(self, z, name):
        loss = CANDIDATE_LOSSES[name](z, z, torch.ones_like(z))
        assert loss.isfinite().all()


class TestWeights:
    """Weights of candidates that differ."""

    V = torch.tensor([[1.0, 0.25, 0.0]])
    z = torch.zeros(1, 3)
    a = torch.tensor([[0.0, 1.0, 0.0]])

    def test_target_of_the_set_is_weighted(self):
        log_p = self.a.log_softmax(1)
        by_hand = -(0.8 * log_p[:, 0] + 0.2 * log_p[:, 1])
        assert_close(progressive_loss(self.a, self.z, self.V), by_hand)
        assert_close(uniform_loss(self.a, self.z, self.V), by_hand)

    def test_target_of_dirk_is_weighted(self):
        t = dirk_target(self.z, self.V)
        assert_close(t[:, 0] / t[:, 1], torch.tensor([4.0]))


class TestDIRK:
    def test_target_by_hand(self):
        p = torch.tensor([[0.2, 0.3, 0.4, 0.1]])
        V = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        # M = 2, cmax = .8, pmin = .4, alpha = 1.6 / 2
        by_hand = torch.tensor([[0.32, 0.48, 0.16, 0.04]])
        assert_close(dirk_target(p.log(), V), by_hand)

    def test_no_other_exceeds_a_candidate(self, z, V):
        t = dirk_target(z, V)
        assert_close(t.sum(1), torch.ones(20, dtype=torch.float64))
        least = t.masked_fill(V == 0, 9).amin(1)
        most = t.masked_fill(V > 0, 0).amax(1)
        assert (most <= least + 1e-12).all()

    def test_all_mass_stays_in_a_full_set(self, z):
        assert_close(dirk_target(z, torch.ones_like(z)), z.softmax(1))

    def test_hopeless_candidates_get_their_part(self):
        z = torch.tensor([[200.0, -200.0, -200.0]])
        t = dirk_target(z, torch.tensor([[0.0, 1.0, 1.0]]))
        assert_close(t, torch.tensor([[0.0, 0.5, 0.5]]))

    def test_loss_is_cross_entropy_with_the_target(self, z, V):
        by_hand = -(dirk_target(z, V) * z.flip(1).log_softmax(1)).sum(1)
        assert_close(dirk_loss(z.flip(1), z, V), by_hand)
