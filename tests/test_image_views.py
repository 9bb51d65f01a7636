"""Views of images that CAD adds to those of SimCLR, and the networks that see them."""

import math

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff._backbones import NETWORKS, random_encoder
from sklabeldiff._image_views import ImageViews, RandomViews, normalize

SIDE = 16


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def still(**changes):
    """Views that change nothing but what is asked for."""
    return RandomViews(
        **({"crop_scale": (1, 1), "flip": False, "color_jitter": 0} | changes)
    )


@pytest.fixture(scope="module")
def images():
    return torch.rand((200, 1, SIDE, SIDE), generator=generator(1))


class TestShift:
    def test_views_move_by_whole_pixels_and_reflect_what_comes_in(self, images):
        views = still(shift=0.125)(images, generator())[:, 0]
        moves = range(-2, 3)
        found = set()
        for view, image in zip(views, normalize(images)[:, 0], strict=True):
            padded = torch.nn.functional.pad(image[None, None], (2,) * 4, "replicate")
            # Past the edge the edge pixel comes first: reflection about its border.
            padded[..., 0, :], padded[..., -1, :] = (
                padded[..., 3, :],
                padded[..., -4, :],
            )
            padded[..., :, 0], padded[..., :, -1] = (
                padded[..., :, 3],
                padded[..., :, -4],
            )
            near = {
                (dy, dx)
                for dy in moves
                for dx in moves
                if torch.allclose(
                    view,
                    padded[0, 0, 2 + dy : 2 + dy + SIDE, 2 + dx : 2 + dx + SIDE],
                    atol=1e-3,
                )
            }
            assert len(near) == 1
            found |= near
        assert {dy for dy, _ in found} == {dx for _, dx in found} == set(moves)

    def test_none_leaves_the_image(self, images):
        assert_close(still()(images, generator()), normalize(images))


class TestSlant:
    def test_turns_and_shears_keep_the_middle_and_the_area(self, images):
        theta = still(slant=1.0)._slants(images, generator())
        assert_close(torch.linalg.det(theta), torch.ones(200))
        angle = torch.atan2(theta[:, 1, 0], theta[:, 0, 0])
        assert angle.abs().max() < math.radians(30)
        assert angle.max() > math.radians(27) and angle.min() < -math.radians(27)
        shear = (theta[:, :, 0] * theta[:, :, 1]).sum(1)
        assert shear.abs().max() < 0.3 and shear.std() > 0.15

    def test_disc_stays_where_it_is(self):
        at = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
        disc = (at[:, None] ** 2 + at**2 < 0.02).float()
        disc = disc.expand(100, 1, -1, -1)
        views = still(slant=1.0)(disc, generator())[:, 0] / 4 + 0.5
        weights = views / views.sum((1, 2), keepdim=True)
        assert (weights * at).sum((1, 2)).abs().max() < 0.01
        assert (weights * at[:, None]).sum((1, 2)).abs().max() < 0.01
        assert not torch.allclose(views[0], views[1], atol=0.05)


class TestCutout:
    def white(self, **changes):
        views = still(**changes)(torch.ones(500, 1, 40, 40), generator())
        return (views[:, 0] / 4 + 0.5) != 1  # where it is cut

    def test_square_has_the_side_asked_for_and_may_lie_half_outside(self):
        cut = self.white(cutout=(0.5, 0.5))
        height, width = cut.any(2).sum(1), cut.any(1).sum(1)
        assert torch.equal(cut.sum((1, 2)), height * width)  # one rectangle
        assert height.max() == width.max() == 20
        assert 10 <= height.min() and height.min() < 12  # its middle lies inside

    def test_side_is_drawn_between_its_bounds(self):
        cut = self.white(cutout=(0.0, 0.5)).sum((1, 2)).float()
        assert (cut == 0).any()
        assert 300 < cut.max() <= 400
        assert cut.mean() < 200

    def test_what_is_cut_is_grey(self):
        views = still(cutout=(0.5, 0.5))(torch.ones(3, 1, 8, 8), generator())
        assert set(views.unique().tolist()) == {0.0, 2.0}


class TestViewsOfCAD:
    views = ImageViews((0.2, 1.0), True, 0.5)

    def test_classified_view_is_whole_and_moved_and_cut(self):
        view = self.views.classified
        assert view.crop_scale == (1, 1)
        assert (view.shift, view.cutout, view.slant) == (0.125, (0.5, 0.5), 0)

    def test_weak_view_is_that_of_simclr(self):
        assert self.views.weak == RandomViews((0.2, 1.0), True, 0.5)

    def test_strong_view_is_slanted_and_cut_besides(self):
        view = self.views.strong
        assert (view.crop_scale, view.flip) == ((0.2, 1.0), True)
        assert (view.slant, view.cutout) == (1.0, (0.0, 0.5))

    def test_plain_view_is_the_image(self, images):
        assert torch.equal(self.views.plain(images), normalize(images))

    def test_generator_alone_decides(self, images):
        for view in (self.views.classified, self.views.weak, self.views.strong):
            first = view(images[:9], generator())
            before = torch.get_rng_state()
            assert torch.equal(view(images[:9], generator()), first)
            assert not torch.equal(view(images[:9], generator(1)), first)
            assert torch.equal(torch.get_rng_state(), before)

    def test_8_bit_images_give_the_views_of_their_fractions(self, images):
        whole = (255 * images[:5]).to(torch.uint8)
        a, b = (self.views.weak(x, generator()) for x in (whole, whole / 255))
        assert torch.equal(a, b)


@pytest.mark.parametrize("network", NETWORKS)
def test_features_are_the_means_of_the_maps(network):
    encoder = random_encoder(network, generator()).eval()
    images = torch.randn((2, 3, 28, 28), generator=generator(1))
    with torch.no_grad():
        maps = encoder.maps(images)
        assert_close(encoder(images), maps.mean((2, 3)))
    assert maps.shape == (2, encoder.n_features, 4, 4)
