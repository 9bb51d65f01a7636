"""The contrastive loss, by hand, and what surrounds it in training."""

import math

import pytest
import torch
from torch import nn

from sklabeldiff.core.contrastive import (
    N_PROJECTED,
    ContrastiveNetwork,
    contrastive_loss,
    nt_xent,
)


@pytest.fixture
def pair():
    """Projections of two views of five images, in double precision."""
    g = torch.Generator().manual_seed(0)
    return tuple(torch.randn(5, 3, generator=g, dtype=torch.float64) for _ in range(2))


class TestLoss:
    def test_two_rows_by_hand(self):
        # Rows a and b, views 1 and 2, on the axes: cosines are 0 and 1.
        z_1 = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        z_2 = torch.tensor([[3.0, 0.0], [1.0, 0.0]])
        tau = 0.5
        # a1 sees a2 (1), b1 (0), b2 (1); a2 sees a1 (1), b1 (0), b2 (1);
        # b1 sees b2 (0), a1 (0), a2 (0); b2 sees b1 (0), a1 (1), a2 (1).
        e = math.exp(1 / tau)
        terms = 2 * math.log((2 * e + 1) / e), math.log(3), math.log(1 + 2 * e)
        assert nt_xent(z_1, z_2, tau).item() == pytest.approx(sum(terms) / 4, rel=1e-6)

    def test_is_equation_1_term_by_term(self, pair):
        tau, z = 0.3, torch.cat(pair)
        s = nn.functional.cosine_similarity(z[:, None], z[None], dim=2)
        terms = []
        for i in range(10):
            j = (i + 5) % 10
            others = [math.exp(s[i, k] / tau) for k in range(10) if k != i]
            terms.append(-math.log(math.exp(s[i, j] / tau) / sum(others)))
        assert nt_xent(*pair, tau).item() == pytest.approx(sum(terms) / 10, rel=1e-12)

    def test_gradients_are_those_of_finite_differences(self, pair):
        inputs = [z.requires_grad_() for z in pair]
        assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.2), inputs)

    def test_lengths_do_not_matter(self, pair):
        z_a, z_b = pair
        lengths = torch.tensor([[1e-3], [0.5], [1.0], [7.0], [1e4]])
        scaled = nt_xent(lengths * z_a, z_b / lengths, 0.5)
        torch.testing.assert_close(scaled, nt_xent(z_a, z_b, 0.5))

    def test_order_of_rows_and_of_views_does_not_matter(self, pair):
        z_a, z_b = pair
        order = torch.tensor([3, 1, 4, 0, 2])
        expected = nt_xent(z_a, z_b, 0.5)
        torch.testing.assert_close(nt_xent(z_a[order], z_b[order], 0.5), expected)
        torch.testing.assert_close(nt_xent(z_b, z_a, 0.5), expected)

    def test_which_views_are_paired_matters(self, pair):
        z_a, z_b = pair
        z_b = z_a + 0.1 * z_b
        assert nt_xent(z_a, z_b.roll(1, 0), 0.5) > nt_xent(z_a, z_b, 0.5) + 0.5

    def test_equal_projections_are_a_guess_among_all_others(self):
        z = torch.ones(4, 3)
        assert nt_xent(z, z, 0.1).item() == pytest.approx(math.log(7))

    def test_hot_temperature_is_a_guess_too(self, pair):
        assert nt_xent(*pair, 1e6).item() == pytest.approx(math.log(9), abs=1e-5)

    def test_cold_temperature_is_the_largest_gap(self):
        # exp(1 / tau) would overflow; the loss is (1 - 0) / tau for the one misled row.
        z_a = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], requires_grad=True)
        z_b = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        tau = 1e-4
        loss = nt_xent(z_a, z_b, tau)
        # a1 and a2 are torn between two equals, b1 among three, b2 is misled.
        expected = (2 * math.log(2) + math.log(3) + 1 / tau + math.log(2)) / 4
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        loss.backward()
        assert torch.isfinite(z_a.grad).all()

    def test_single_row_has_nothing_to_learn(self):
        z_a, z_b = torch.tensor([[1.0, 2.0]], requires_grad=True), torch.ones(1, 2)
        loss = nt_xent(z_a, z_b, 0.5)
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(z_a.grad, torch.zeros(1, 2))

    def test_zero_projections_give_finite_gradients(self):
        z = torch.zeros(3, 2, requires_grad=True)
        nt_xent(z, torch.eye(3, 2), 0.5).backward()
        assert torch.isfinite(z.grad).all()


class TestTraining:
    @pytest.fixture
    def network(self):
        generator = torch.Generator().manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
        return ContrastiveNetwork(encoder, 6, generator)

    def test_projections_come_from_a_perceptron_on_the_features(self, network):
        images = torch.rand(5, 3, 2, 2)
        first, _, last = network.head
        hidden = first(network.encoder(images)).clamp(min=0)
        torch.testing.assert_close(network(images), last(hidden))
        assert network(images).shape == (5, N_PROJECTED)

    def test_head_is_drawn_from_the_generator_alone(self, network):
        before = torch.get_rng_state()
        again = ContrastiveNetwork(
            network.encoder, 6, torch.Generator().manual_seed(0)
        ).head.state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        for name, weight in network.head.state_dict().items():
            assert torch.equal(weight, again[name])

    def test_loss_is_that_of_two_views_of_the_rows_asked_for(self, network):
        images = torch.rand(6, 3, 2, 2)
        rows = torch.tensor([4, 0, 3])

        def views(images, generator):
            return images + 0.1 * torch.randn(images.shape, generator=generator)

        loss = contrastive_loss(images, views, 0.5, torch.Generator().manual_seed(1))
        twice = torch.cat([images[rows], images[rows]])
        seen = views(twice, torch.Generator().manual_seed(1))
        expected = nt_xent(network(seen[:3]), network(seen[3:]), 0.5)
        torch.testing.assert_close(loss(network, rows), expected)

    def test_two_views_of_an_image_are_drawn_apart(self, network):
        seen = []

        def views(images, generator):
            seen.append(torch.randn(images.shape, generator=generator))
            return seen[-1]

        images, rows = torch.zeros(4, 3, 2, 2), torch.arange(4)
        contrastive_loss(images, views, 0.5, torch.Generator())(network, rows)
        first, second = seen[0].chunk(2)
        assert not torch.equal(first, second)
