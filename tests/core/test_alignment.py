"""Contrast of class-specific versions: the loss, its weights, and the queue."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from sklabeldiff.core.alignment import (
    TAU_0,
    KeyQueue,
    Keys,
    alignment_loss,
    alignment_weights,
    instance_loss,
)

N, C, R = 12, 4, 6
TAU, TAU_W = 0.2, 0.1


def unit(generator, n):
    draws = torch.randn((n, R), generator=generator, dtype=torch.float64)
    return functional.normalize(draws, dim=1)


@pytest.fixture
def pairs(generator):
    """Features, keys, logits and classes of twelve versions."""
    d = torch.randn((N, C), generator=generator, dtype=torch.float64)
    return unit(generator, N), unit(generator, N), d, torch.arange(N) % C


def loss_of(q, v, d, g, tau=TAU, tau_w=TAU_W):
    """L_con where keys are those of the batch."""
    positive = (g[:, None] == torch.cat([g, g])).fill_diagonal_(False)
    w = alignment_weights(d, torch.cat([d, d]), positive, tau_w)
    return alignment_loss(q, torch.cat([q, v]), w, tau)


class TestAlignment:
    def test_loss_is_that_of_the_page_entry_by_entry(self, pairs):
        q, v, d, g = pairs
        contrast, logits, labels = torch.cat([q, v]), torch.cat([d, d]), g.repeat(2)
        by_hand = []
        for a in range(N):
            others = [b for b in range(2 * N) if b != a]
            total = sum(torch.exp(q[a] @ contrast[b] / TAU) for b in others)
            same = [b for b in others if labels[b] == g[a]]
            e = [torch.exp(torch.cosine_similarity(d[a], logits[b], 0) / TAU_W)
                 for b in same]  # fmt: skip
            logs = [q[a] @ contrast[b] / TAU - torch.log(total) for b in same]
            mean = sum(w * log for w, log in zip(e, logs, strict=True)) / sum(e)
            by_hand.append(-TAU / TAU_0 * mean)
        assert_close(loss_of(q, v, d, g), torch.stack(by_hand))

    def test_distinct_classes_leave_the_own_key(self, pairs):  # check 4
        q, v, d, _ = pairs
        g = torch.arange(N)
        positive = (g[:, None] == torch.cat([g, g])).fill_diagonal_(False)
        w = alignment_weights(d, torch.cat([d, d]), positive, TAU_W)
        own = torch.cat([torch.zeros(N, N), torch.eye(N)], dim=1).double()
        assert torch.equal(w, own)
        logits = q @ torch.cat([q, v]).T / TAU
        logits = logits.masked_fill(torch.eye(N, 2 * N, dtype=torch.bool), -torch.inf)
        entropy = functional.cross_entropy(logits, g + N, reduction="none")
        assert_close(loss_of(q, v, d, g), TAU / TAU_0 * entropy)

    def test_order_of_the_versions_does_not_matter(self, pairs, generator):  # check 5
        order = torch.randperm(N, generator=generator)
        moved = [part[order] for part in pairs]
        assert_close(loss_of(*moved), loss_of(*pairs)[order])

    def test_weights_grow_with_the_cosine_and_sum_to_one(self, pairs):  # check 5
        _, _, d, g = pairs
        positive = (g[:, None] == g).fill_diagonal_(False)
        w = alignment_weights(d, d, positive, TAU_W)
        assert_close(w.sum(1), torch.ones(N, dtype=torch.float64))
        assert not w[~positive].any()
        nearer = d.clone()
        nearer[4] = 3 * d[0]  # of the class of row 0
        assert alignment_weights(d, nearer, positive, TAU_W)[0, 4] > w[0, 4]

    def test_length_of_the_logits_does_not_matter(self, pairs):
        q, v, d, g = pairs
        assert_close(loss_of(q, v, 5 * d, g), loss_of(q, v, d, g))

    def test_gradient_reaches_anchors_and_those_compared_with(self, pairs):
        q, v, d, g = pairs
        q = q.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda q: loss_of(q, v, d, g), q)
        # The loss of anchor 0 alone moves the others of the batch.
        loss_of(q, v, d, g)[0].backward()
        assert q.grad[1:].abs().sum(1).min() > 0


class TestInstances:
    def test_own_key_is_told_from_the_queue(self, pairs, generator):
        q, v, _, _ = pairs
        queue = unit(generator, 7)
        logits = torch.cat([(q * v).sum(1)[:, None], q @ queue.T], dim=1) / TAU
        first = torch.zeros(N, dtype=torch.int64)
        by_hand = functional.cross_entropy(logits, first, reduction="none")
        assert_close(instance_loss(q, v, queue, TAU), by_hand)

    def test_nothing_is_lost_to_an_empty_queue(self, pairs):  # check 6
        q, v, _, _ = pairs
        assert not instance_loss(q, v, q[:0], TAU).any()


def numbered(*numbers):
    """Keys that can be told by their numbers."""
    g = torch.tensor(numbers)
    column = g[:, None].float()
    return Keys(column.expand(-1, R), column.expand(-1, C), g, column.expand(-1, C))


class TestQueue:  # check 6
    @pytest.fixture
    def queue(self):
        return KeyQueue(5, R, C, torch.zeros(1))

    def held(self, queue):
        keys = queue.keys()
        for part in (keys.v, keys.d, keys.V):
            assert torch.equal(part[:, 0], keys.g.float())
        return sorted(keys.g.tolist())

    def test_it_begins_empty_and_grows(self, queue):
        assert len(queue) == 0
        assert len(queue.keys().v) == 0
        queue.push(numbered(1, 2, 3))
        assert len(queue) == 3
        assert self.held(queue) == [1, 2, 3]

    def test_the_oldest_keys_go_first(self, queue):
        queue.push(numbered(1, 2, 3))
        queue.push(numbered(4, 5, 6))
        assert self.held(queue) == [2, 3, 4, 5, 6]
        queue.push(numbered(7, 8, 9, 10))
        assert self.held(queue) == [6, 7, 8, 9, 10]
        assert len(queue) == 5

    def test_the_last_of_too_many_are_kept(self, queue):
        queue.push(numbered(1, 2))
        queue.push(numbered(*range(10, 18)))
        assert self.held(queue) == [13, 14, 15, 16, 17]
        queue.push(numbered(18))
        assert self.held(queue) == [14, 15, 16, 17, 18]

    def test_keys_carry_no_gradient(self, queue):
        keys = numbered(1, 2)
        queue.push(Keys(keys.v.clone().requires_grad_(), keys.d, keys.g, keys.V))
        assert not queue.keys().v.requires_grad

    def test_it_goes_on_from_its_state(self, queue):
        queue.push(numbered(1, 2, 3, 4))
        other = KeyQueue(5, R, C, torch.zeros(1))
        other.restore(queue.state())
        for each in (queue, other):
            each.push(numbered(5, 6))
        assert self.held(other) == self.held(queue) == [2, 3, 4, 5, 6]
