"""The U-Net that answers for every class, on images so small that it is quick."""

import copy
import pickle
import sys

import pytest
import torch
from torch import nn

from sklabeldiff._arrays import load_arrays, state_arrays
from sklabeldiff._unet import SIZES, UNet, make_unet
from sklabeldiff.core.class_diffusion import Reader, sample
from sklabeldiff.core.edm import asked, c_noise
from sklabeldiff.core.noise_levels import NoiseLevels

N_CLASSES = 3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(image_shape=(8, 8), n_classes=N_CLASSES):
    """A network whose last layer does not say 0."""
    network = make_unet(image_shape, n_classes, "tiny", generator())
    nn.init.normal_(network.unet.conv_out.weight, generator=generator(1))
    return network


@pytest.fixture(scope="module")
def network():
    return awake()


@pytest.fixture(scope="module")
def rows():
    """Two noisy 8 x 8 images and their noise levels."""
    return torch.randn((2, 64), generator=generator(2)), torch.tensor([-0.5, 0.2])


@pytest.fixture(scope="module")
def trained():
    """A network, what it learnt from, and its losses step by step."""
    network = make_unet((8, 8), 2, "tiny", generator())
    stream = generator(3)
    x = 0.5 * torch.randn((16, 64), generator=stream)
    y = torch.arange(16)[:, None] % 2
    x += 0.5 * (2 * y - 1)  # dark and bright
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        eps = torch.randn(x.shape, generator=stream)
        u, noise_level, wanted = asked(x, eps, torch.full((16,), 0.8))
        F = network(u, noise_level, y)
        loss = (F[:, 0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, x, losses


class Echo(nn.Module):
    """Stands in for the network inside: keeps what it is asked and repeats images."""

    def forward(self, images, timesteps, tokens, return_dict):
        self.images, self.timesteps, self.tokens = images, timesteps, tokens
        return (images,)


def echoing(image_shape):
    network = make_unet(image_shape, N_CLASSES, "tiny", generator())
    network.unet = Echo()
    return network


class TestImages:
    SHAPES = ((8, 8), (6, 5), (4, 7, 3))

    @pytest.mark.parametrize("image_shape", SHAPES)
    def test_pixels_come_back_where_they_were(self, image_shape):
        d = torch.Size(image_shape).numel()
        u = torch.randn((2, d), generator=generator())
        F = echoing(image_shape)(u, torch.zeros(2))
        assert torch.equal(F, u[:, None].expand(-1, N_CLASSES, -1))

    def test_channels_go_first_and_the_image_to_the_middle(self):
        network = echoing((2, 3, 2))
        u = torch.randn((1, 12), generator=generator())
        network(u, torch.zeros(1))
        images = network.unet.images
        assert images.shape == (N_CLASSES, 2, 4, 4)
        assert images[0, 1, 2, 2] == u[0].reshape(2, 3, 2)[1, 2, 1]
        assert images.count_nonzero() == N_CLASSES * 12

    @pytest.mark.parametrize(("side", "inside"), [(28, 32), (32, 32), (8, 8)])
    def test_sides_are_filled_up_to_what_the_levels_need(self, side, inside):
        with torch.device("meta"):
            network = UNet((side, side, 1), N_CLASSES, SIZES["small"])
            network.unet = Echo()
            network(torch.empty(2, side**2), torch.empty(2))
        assert network.unet.images.shape[2:] == (inside, inside)

    @pytest.mark.parametrize("image_shape", SHAPES)
    def test_answers_have_a_row_for_each_class(self, image_shape):
        d = torch.Size(image_shape).numel()
        F = awake(image_shape)(
            torch.randn((2, d), generator=generator()), torch.ones(2)
        )
        assert F.shape == (2, N_CLASSES, d)


class TestConditions:
    def test_no_condition_stands_for_all_classes(self, network, rows):
        classes = torch.arange(N_CLASSES).expand(2, -1)
        torch.testing.assert_close(network(*rows), network(*rows, classes))

    def test_classes_may_come_in_any_order_and_number(self, network, rows):
        classes = torch.tensor([[2, 0], [1, 1]])
        wanted = network(*rows)[[[0], [1]], classes]
        torch.testing.assert_close(network(*rows, classes), wanted)

    def test_a_pure_mixture_is_its_class(self, network, rows):
        pure = torch.eye(N_CLASSES).expand(2, -1, -1)
        torch.testing.assert_close(network(*rows, pure), network(*rows))

    def test_a_mixture_has_the_mean_token(self, rows):
        network = echoing((8, 8))
        network(*rows)
        tokens = network.unet.tokens.view(2, N_CLASSES, -1)
        network(*rows, torch.full((2, 1, N_CLASSES), 1 / N_CLASSES))
        torch.testing.assert_close(network.unet.tokens, tokens.mean(1))

    def test_classes_answer_differently(self, network, rows):
        F = network(*rows)
        assert (F[:, 0] - F[:, 1]).abs().mean() > 0.1 * F.abs().mean()

    def test_first_tokens_are_as_large_for_any_number_of_classes(self):
        for n_classes in (2, 200):
            network = make_unet((8, 8), n_classes, "tiny", generator())
            network.unet = Echo()
            network(torch.zeros(1, 64), torch.zeros(1))
            spread = network.unet.tokens.std().item()
            assert spread == pytest.approx(1 / 3**0.5, rel=0.2)  # of -1 to 1


class TestNoiseLevels:
    def test_neighbouring_levels_are_told_apart(self, network):
        # A factor of 1.3; unscaled, the two embeddings are 0.07 apart.
        echo = echoing((8, 8))
        echo(torch.zeros(2, 64), c_noise(torch.tensor([0.30, 0.39])))
        first, second = network.unet.time_proj(echo.unet.timesteps)[[0, -1]]
        assert (first - second).norm() > 0.5

    def test_each_row_has_its_own_level(self, network, rows):
        u, levels = rows
        alone = network(u[1:], levels[1:])
        torch.testing.assert_close(network(u, levels)[1:], alone)

    def test_the_level_changes_the_answer(self, network, rows):
        u, levels = rows
        F, other = network(u, levels), network(u, levels + 0.5)
        assert (F - other).abs().mean() > 0.01 * F.abs().mean()


class TestWeights:
    def test_first_answer_is_zero(self, rows):
        F = make_unet((8, 8), N_CLASSES, "tiny", generator())(*rows)
        assert not F.any()

    def test_equal_seeds_give_equal_weights(self):
        first, second = (make_unet((8, 8), 2, "tiny", generator(7)) for _ in range(2))
        for name, weights in first.state_dict().items():
            assert torch.equal(weights, second.state_dict()[name]), name

    def test_other_seeds_give_other_weights(self):
        first, second = (make_unet((8, 8), 2, "tiny", generator(s)) for s in (7, 8))
        kept = [
            name
            for name, weights in first.named_parameters()
            if torch.equal(weights, second.get_parameter(name))
        ]
        assert all("norm" in name or "conv_out" in name for name in kept), kept

    def test_every_weight_gets_a_value(self, monkeypatch):
        to_empty = nn.Module.to_empty

        def to_nan(module, *, device):
            for weights in to_empty(module, device=device).parameters():
                nn.init.constant_(weights, float("nan"))

        monkeypatch.setattr(nn.Module, "to_empty", to_nan)
        network = make_unet((8, 8), 2, "tiny", generator())
        assert not [n for n, w in network.named_parameters() if w.isnan().any()]
        assert not list(network.buffers())  # nobody gives them values

    def test_first_weights_are_as_large_as_torch_draws_them(self):
        network = make_unet((8, 8), 2, "small", generator())
        block = network.unet.down_blocks[0].resnets[0]
        for layer in (network.unet.time_embedding.linear_2, block.conv1):
            like = copy.deepcopy(layer)
            with torch.random.fork_rng():
                like.reset_parameters()
            drawn, usual = layer.weight.detach(), like.weight.detach()
            assert drawn.std().item() == pytest.approx(usual.std().item(), rel=0.03)
            assert drawn.max().item() == pytest.approx(usual.max().item(), rel=0.01)

    def test_global_stream_is_left_as_it_was(self, rows):
        before = torch.get_rng_state()
        network = awake()
        network.train()(*rows).sum().backward()
        assert torch.equal(torch.get_rng_state(), before)

    def test_training_mode_answers_alike(self, network, rows):
        # No dropout. In evaluation diffusers keeps another order in memory, and so
        # rounds in another way: 6e-6 of answers up to 10.
        network = copy.deepcopy(network)
        F = network.train()(*rows)
        torch.testing.assert_close(network.eval()(*rows), F, rtol=0, atol=1e-4)


class TestSizes:
    @staticmethod
    def built(size, side=32):
        with torch.device("meta"):
            return UNet((side, side, 3), 10, SIZES[size])

    # EDM's own network has 55.734 million: see Notes of make_unet.
    @pytest.mark.parametrize(
        ("size", "count"), [("small", 1_725_123), ("paper", 55_870_211)]
    )
    def test_number_of_weights(self, size, count):
        assert sum(w.numel() for w in self.built(size).parameters()) == count

    @pytest.mark.parametrize(
        ("side", "level"), [(8, 0), (16, 0), (28, 1), (32, 1), (64, 2), (128, None)]
    )
    def test_attention_sits_at_one_level_of_side_16_or_less(self, side, level):
        unet = self.built("small", side).unet
        has = [i for i, b in enumerate(unet.down_blocks) if hasattr(b, "attentions")]
        assert has == ([] if level is None else [level])


class TestCopies:
    def test_deepcopy_answers_alike(self, network, rows):
        assert torch.equal(copy.deepcopy(network)(*rows), network(*rows))

    def test_deepcopy_shares_no_weight(self, network, rows):
        F = network(*rows)
        nn.init.zeros_(copy.deepcopy(network).unet.conv_out.weight)
        assert torch.equal(network(*rows), F)

    def test_pickle_answers_alike(self, network, rows):
        assert torch.equal(pickle.loads(pickle.dumps(network))(*rows), network(*rows))

    def test_arrays_carry_all_that_was_learnt(self, network, rows):
        other = make_unet((8, 8), N_CLASSES, "tiny", generator(9))
        load_arrays(other, state_arrays(network), torch.device("cpu"))
        assert torch.equal(other(*rows), network.eval()(*rows))

    def test_inference_mode_answers_alike(self, network, rows):
        with torch.inference_mode():
            F = network(*rows)
        assert torch.equal(F, network(*rows))


class TestBlocks:
    @pytest.fixture
    def counted(self):
        network, images = awake(), []
        network.unet.register_forward_pre_hook(
            lambda module, args: images.append(len(args[0]))
        )
        return network, images

    def test_prediction_asks_about_few_images_at_once(self, counted):
        network, images = counted
        noise = torch.randn((2, 1, 64), generator=generator())
        reader = Reader.of(NoiseLevels(6.4), "quantile", "edm", noise)
        reader.log_likelihood(network, torch.zeros(30, 64))
        block = 64 // N_CLASSES * N_CLASSES
        assert images == [N_CLASSES] + 2 * 2 * [block]  # 30 rows are two blocks of 21

    def test_samples_are_not_drawn_in_full_blocks(self, counted):
        network, images = counted
        noise = torch.randn((66, 64), generator=generator())
        sample(network, torch.zeros(66, dtype=torch.int64), noise, n_steps=2)
        assert images == 3 * [64] + 3 * [2]


class TestTraining:
    def test_loss_falls(self, trained):
        *_, losses = trained
        assert sum(losses[-3:]) / 3 < 0.7 * losses[0]

    def test_bright_class_is_answered_brighter(self, trained):
        network, x, _ = trained
        with torch.inference_mode():
            F = network(*asked(x, torch.zeros_like(x), torch.full((16,), 0.8))[:2])
        dark, bright = F.mean((0, 2))
        assert bright > dark + 0.2


class TestErrors:
    @pytest.mark.parametrize(
        ("image_shape", "error", "message"),
        [
            (8, TypeError, r"must be \(height, width\) or .* got 8"),
            ((64,), ValueError, r"must be \(height, width\) or .* got \(64,\)"),
            ((2, 8, 8, 3), ValueError, r"got \(2, 8, 8, 3\)"),
            ((8, 0), ValueError, "width in image_shape must be at least 1, got 0"),
            ((8, 8, -3), ValueError, "channels in image_shape must .* got -3"),
            ((8.0, 8), TypeError, "height in image_shape must be an integer, got 8.0"),
        ],
    )
    def test_image_shape(self, image_shape, error, message):
        with pytest.raises(error, match=message):
            make_unet(image_shape, 2, "tiny", generator())

    def test_size(self):
        with pytest.raises(ValueError, match=r"size must be one of .*, got 'huge'"):
            make_unet((8, 8), 2, "huge", generator())

    def test_without_diffusers_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ImportError, match=r'pip install "sklabeldiff\[images\]"'):
            make_unet((8, 8), 2, "tiny", generator())
