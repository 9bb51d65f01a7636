"""Gates of class-specific versions: contributions of entries, maps of images."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from sklabeldiff.core.class_gates import activation_gate, contribution_gate, gated
from sklabeldiff.core.two_headed import TwoHeaded, row_trunk

B, D, C = 6, 5, 3
PAIRS = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5])
CLASSES = torch.tensor([0, 2, 1, 0, 1, 2, 1, 0, 2])
ZERO = torch.zeros(1, D)


@pytest.fixture
def x(generator):
    return torch.randn((B, D), generator=generator)


@pytest.fixture
def linear_network(generator):
    return TwoHeaded(nn.Identity(), D, C, generator)


class Maps(nn.Module):
    """A trunk whose maps are the image, at half its size."""

    def maps(self, images):
        return functional.avg_pool2d(images, 2)

    def forward(self, images):
        return self.maps(images).mean((2, 3))


class TestContribution:  # check 10
    def test_linear_network_is_gated_by_its_weights(self, linear_network, x):
        a = contribution_gate(linear_network, x, PAIRS, CLASSES, ZERO)
        W = linear_network.classes.weight[CLASSES]
        by_hand = functional.relu(W * x[PAIRS])
        assert_close(a, by_hand / by_hand.amax(1, keepdim=True))

    def test_what_counts_is_the_distance_from_the_mean(self, x, generator):
        network = TwoHeaded(row_trunk(D, [8], generator), 8, C, generator).eval()
        a = contribution_gate(network, x, PAIRS, CLASSES, ZERO)
        # The same network, rows and mean, moved by a constant.
        far = copy.deepcopy(network)
        with torch.no_grad():
            far.trunk[0].bias -= 100 * far.trunk[0].weight.sum(1)
        moved = contribution_gate(far, x + 100, PAIRS, CLASSES, ZERO + 100)
        assert_close(moved, a, rtol=0, atol=1e-3)

    def test_slopes_of_a_deep_network_are_its_own(self, x, generator):
        network = TwoHeaded(row_trunk(D, [8, 8], generator), 8, C, generator).eval()
        a = contribution_gate(network, x, PAIRS, CLASSES, ZERO)
        slopes = torch.func.vmap(torch.func.jacrev(lambda row: network(row[None])[0]))
        by_hand = functional.relu(slopes(x)[PAIRS, CLASSES] * x[PAIRS])
        assert_close(a, by_hand / by_hand.amax(1, keepdim=True))
        assert_close(a.amax(1), torch.ones(len(PAIRS)))
        assert (a >= 0).all()

    def test_gate_is_open_where_nothing_speaks_for_the_class(self, linear_network):
        x = -linear_network.classes.weight.detach()[1:2]
        a = contribution_gate(
            linear_network, x, torch.tensor([0]), torch.tensor([1]), ZERO
        )
        assert torch.equal(a, torch.ones(1, D))

    def test_no_graph_and_no_gradient_is_left(self, linear_network, x):
        with torch.no_grad():
            a = contribution_gate(linear_network, x, PAIRS, CLASSES, ZERO)
        assert not a.requires_grad
        assert linear_network.classes.weight.grad is None


class TestActivation:  # check 10
    @pytest.fixture
    def network(self, generator):
        return TwoHeaded(Maps(), 4, C, generator)

    @pytest.fixture
    def images(self, generator):
        return torch.randn((B, 4, 6, 8), generator=generator)

    def test_gate_is_the_enlarged_map_of_the_class(self, network, images):
        a = activation_gate(network, images, PAIRS, CLASSES, ZERO)
        assert a.shape == (len(PAIRS), 1, 6, 8)
        assert not a.requires_grad
        for n, (i, s) in enumerate(zip(PAIRS, CLASSES, strict=True)):
            W = network.classes.weight[s].detach()
            M = functional.relu((W[:, None, None] * Maps().maps(images[i])).sum(0))
            M = functional.interpolate(M[None, None], (6, 8), mode="bilinear")
            assert_close(a[n], (M / M.max())[0])

    def test_largest_is_one_at_any_size(self, network, images):
        a = activation_gate(network, images, PAIRS, CLASSES, ZERO)
        assert torch.equal(a.amax((1, 2, 3)), torch.ones(len(PAIRS)))
        assert a.min() >= 0

    def test_gate_is_open_where_nothing_speaks_for_the_class(self, network, images):
        with torch.no_grad():
            network.classes.weight[1] = -1.0
        one = torch.tensor([0])
        a = activation_gate(network, images.abs(), one, torch.tensor([1]), ZERO)
        assert torch.equal(a, torch.ones(1, 1, 6, 8))


class TestVersions:
    def test_what_the_gate_shuts_goes_to_the_centre(self, x):
        a = torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0])
        centre = torch.full((1, D), 2.0)
        by_hand = x.clone()
        by_hand[:, 1] = 2 + 0.1 * (x[:, 1] - 2)
        by_hand[:, 3] = 2 + 0.1 * (x[:, 3] - 2)
        by_hand[:, 2] = 2 + 0.55 * (x[:, 2] - 2)
        assert_close(gated(x, a, 0.1, centre), by_hand)

    def test_open_gates_leave_rows_as_they_are(self, x):  # check 8
        a = torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
        assert torch.equal(gated(x, a, 1, torch.full((1, D), 2.0)), x)
