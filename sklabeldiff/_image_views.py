"""Images as tensors, and random views of whole batches of them on their device.

Which changes, and how strong, follows appendix A of SimCLR [1]_ and, for small images,
its appendix B.9: crops, flips and colours, no blur; and section 3 of CAD's method page.
Every number is drawn from the generator that is passed; kornia's own augmentations draw
from torch's global stream, so that only its functions are used.

.. [1] T. Chen et al., "A Simple Framework for Contrastive Learning of Visual
       Representations", ICML 2020, arXiv:2002.05709.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from sklabeldiff._optional import require

MAX_RATIO = 4 / 3  # width to height of a crop, and height to width
# A colour jitter of strength 1 (appendix A): multiples of brightness, contrast and
# saturation within 1 +- 0.8, and a turn of the colour circle by 0.2 of its round.
MULTIPLE, TURN = 0.8, 0.2 * 2 * math.pi
JITTERED, GREYED = 0.8, 0.2  # shares of the views
# Of CAD's views: a cut-out of 16 and a shift of 4 of 32 pixels; the strongest turn and
# shear are those of RandAugment.
CUTOUT, SHIFT, SLANT = 0.5, 0.125, 1.0
MAX_ANGLE, MAX_SHEAR = math.radians(30), 0.3
# Any constants would do, batch norm comes next: these give about -2 to 2.
PIXEL_MEAN, PIXEL_SCALE = 0.5, 0.25


def normalize(images: Tensor) -> Tensor:
    """Scale pixels in [0, 1] to what the network sees, and grey ones to RGB.

    (b, c, h, w), c = 1 or 3 -> (b, 3, h, w).
    """
    return ((images - PIXEL_MEAN) / PIXEL_SCALE).expand(-1, 3, -1, -1)


class ImageViews:
    """The views of CAD's section 3, of images in [0, 1].

    The crops, mirrors, cut-outs and the colours of the weak view are the paper's.
    Turned and slanted images and changed colours stand for its AutoAugment and
    RandAugment.

    Parameters
    ----------
    crop_scale, flip, color_jitter
        As of `RandomViews`; the first is that of the weak and the strong view.
    """

    def __init__(
        self, crop_scale: tuple[float, float], flip: bool, color_jitter: float
    ) -> None:
        if color_jitter > 0:
            require("kornia.enhance", "images")  # before any work
        self.weak = RandomViews(crop_scale, flip, color_jitter)
        self.strong = replace(self.weak, slant=SLANT, cutout=(0.0, CUTOUT))
        self.classified = replace(
            self.weak, crop_scale=(1.0, 1.0), shift=SHIFT, cutout=(CUTOUT, CUTOUT)
        )

    @staticmethod
    def plain(images: Tensor) -> Tensor:
        """Return images as the network sees them when it predicts."""
        return normalize(images)


@dataclass(frozen=True)
class RandomViews:
    """Draws one random view of each image.

    Parameters
    ----------
    crop_scale : tuple of two floats
        Least and greatest share of the area that a view shows, in (0, 1].
    flip : bool
        Whether half of the views are mirrored, left for right.
    color_jitter : float
        Strength of the changes of colour, in [0, 1]; 0 for none.
    shift : float
        How far the view moves, as a share of the side; what comes in is reflected.
    slant : float
        Strength of turns and shears, in [0, 1].
    cutout : tuple of two floats
        Least and greatest side of a grey square, as a share of the image's.
    """

    crop_scale: tuple[float, float]
    flip: bool
    color_jitter: float
    shift: float = 0.0
    slant: float = 0.0
    cutout: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse a share of the area that is none."""
        try:
            low, high = self.crop_scale
            fits = 0 < low <= high <= 1
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"crop_scale={self.crop_scale!r}: give (least, greatest), shares of an "
                "image's area that a view may show, above 0 and at most 1."
            )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw views of 8-bit images, or of those in [0, 1].

        (b, c, h, w), c = 1 or 3 -> (b, 3, h, w).
        """
        if images.dtype == torch.uint8:
            images = images / 255
        views = self._cropped(images, generator)
        if self.color_jitter > 0:
            views = self._recoloured(views, generator)
        if self.cutout[1] > 0:
            views = self._cut_out(views, generator)
        return normalize(views)

    def _cropped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Cut out a part, mirror it, and bring it to the old size, in one sampling."""
        n = len(images)
        area, log_ratio, x, y, side = _uniform(5, n, images, generator)  # each (b,)
        low, high = self.crop_scale
        area = low + (high - low) * area
        width = (area * MAX_RATIO ** (2 * log_ratio - 1)).sqrt()  # of 1, as the height
        # What would not fit into the image takes another shape of the same area.
        width = width.clamp(max=1).maximum(area)
        height = area / width
        theta = images.new_zeros(n, 2, 3)  # of the view to of the image, in [-1, 1]
        theta[:, 0, 2] = (1 - width) * (2 * x - 1)
        theta[:, 1, 2] = (1 - height) * (2 * y - 1)
        theta[:, 0, 0] = width * torch.where(side < 0.5, -1, 1) if self.flip else width
        theta[:, 1, 1] = height
        if self.shift > 0:
            theta[:, :, 2] += self._shifts(images, generator)
        if self.slant > 0:
            theta = self._slants(images, generator) @ theta
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(
            images,
            grid,
            padding_mode="reflection" if self.shift > 0 else "border",
            align_corners=False,
        )

    def _shifts(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw moves by whole pixels, which need no interpolation. -> (b, 2)."""
        sides = images.new_tensor(images.shape[:1:-1])  # width, height
        most = (self.shift * sides).floor()
        draws = _uniform(2, len(images), images, generator).T
        pixels = torch.floor((2 * most + 1) * draws) - most
        return 2 * pixels / sides

    def _slants(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a turn and a shear, about the middle of the image. -> (b, 2, 2).

        In coordinates from -1 to 1 along either side, of any length.
        """
        draws = 2 * _uniform(2, len(images), images, generator) - 1
        angle = self.slant * MAX_ANGLE * draws[0]
        shear = self.slant * MAX_SHEAR * draws[1]
        cos, sin = angle.cos(), angle.sin()
        turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
        turn[:, :, 1] += shear[:, None] * turn[:, :, 0]
        height, width = images.shape[2:]
        turn[:, 0, 1] *= height / width
        turn[:, 1, 0] *= width / height
        return turn

    def _cut_out(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Paint a grey square, parts of which may lie outside."""
        n, _, height, width = images.shape
        low, high = self.cutout
        size, *middle = _uniform(3, n, images, generator)[..., None]  # each (b, 1)
        half = (low + (high - low) * size) / 2
        inside = [
            ((torch.arange(side, device=images.device) + 0.5) / side - at).abs() < half
            for side, at in zip((height, width), middle, strict=True)
        ]
        square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill(square, PIXEL_MEAN)

    def _recoloured(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change the light, and the colours of images that have some."""
        enhance = require("kornia.enhance", "images")
        jitter, grey, *draws = _uniform(6, len(images), images, generator)
        # A jitter of 0 leaves an image as it is: no need to pick images out.
        strength = self.color_jitter * (jitter < JITTERED)
        changes = [strength * (2 * draw - 1) for draw in draws]  # each (b,)
        brightness, contrast, saturation = (1 + MULTIPLE * c for c in changes[:3])
        images = enhance.adjust_brightness_accumulative(images, brightness)
        images = enhance.adjust_contrast_with_mean_subtraction(images, contrast)
        if images.shape[1] == 1:
            return images
        saturation = saturation * (grey >= GREYED)
        images = enhance.adjust_saturation_with_gray_subtraction(images, saturation)
        recoloured: Tensor = enhance.adjust_hue(images, TURN * changes[3])
        return recoloured


def _uniform(
    n_numbers: int, n_images: int, like: Tensor, generator: torch.Generator
) -> Tensor:
    """Draw numbers in [0, 1) for every image, on its device. -> (n_numbers, b)."""
    return torch.rand(n_numbers, n_images, generator=generator, device=like.device)
