"""Images as tensors, and random views of whole batches of them on their device.

Which changes, and how strong, follows appendix A of SimCLR [1]_ and, for small images,
its appendix B.9: crops, flips and colours, no blur. Every number is drawn from the
generator that is passed; kornia's own augmentations draw from torch's global stream,
so that only its functions are used.

.. [1] T. Chen et al., "A Simple Framework for Contrastive Learning of Visual
       Representations", ICML 2020, arXiv:2002.05709.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ._encoding import Source, cut
from ._gathering import bad_rows, good_rows, refuse_nothing
from ._images import require

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_RATIO = 4 / 3  # width to height of a crop, and height to width
# A colour jitter of strength 1 (appendix A): multiples of brightness, contrast and
# saturation within 1 +- 0.8, and a turn of the colour circle by 0.2 of its round.
MULTIPLE, TURN = 0.8, 0.2 * 2 * math.pi
JITTERED, GREYED = 0.8, 0.2  # shares of the views
# Any constants would do, batch norm comes next: these give about -2 to 2.
PIXEL_MEAN, PIXEL_SCALE = 0.5, 0.25

READ_ROWS = 256  # images that are in memory at their own size


def read_pixels(sources: Iterable[Source], size: int) -> tuple[Tensor, dict[int, str]]:
    """Read all images that can be read, and tell the bad rows.

    -> (n, c, s, s), uint8, on the CPU; c is 1 if all images are grey, or else 3.
    """
    blocks: list[Tensor] = []
    bad: dict[int, str] = {}
    n_rows = 0
    for source in sources:
        rows = np.arange(len(source))
        source.check(rows)
        for block in cut(good_rows(source, rows), READ_ROWS):
            images = [item for item in source.items(block) if item is not None]
            blocks += [resized(images, size)] if images else []
        bad |= bad_rows(source)
        n_rows += len(source)
    refuse_nothing(bad, n_rows)
    pixels = torch.cat(blocks)
    is_grey = bool((pixels == pixels[:, :1]).all())
    return (pixels[:, :1].clone() if is_grey else pixels), bad


def resized(images: list[Image], size: int) -> Tensor:
    """Bring whole images to a square. list of b -> (b, 3, s, s), uint8."""
    bilinear = require("PIL.Image").Resampling.BILINEAR
    arrays = [np.asarray(image.resize((size, size), bilinear)) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def normalize(images: Tensor) -> Tensor:
    """Scale pixels in [0, 1] to what the network sees, and grey ones to RGB.

    (b, c, h, w), c = 1 or 3 -> (b, 3, h, w).
    """
    return ((images - PIXEL_MEAN) / PIXEL_SCALE).expand(-1, 3, -1, -1)


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
    """

    crop_scale: tuple[float, float]
    flip: bool
    color_jitter: float

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
        """Draw views of 8-bit images. (b, c, h, w), c = 1 or 3 -> (b, 3, h, w)."""
        views = self._cropped(images / 255, generator)
        if self.color_jitter > 0:
            views = self._recoloured(views, generator)
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
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        return functional.grid_sample(
            images, grid, padding_mode="border", align_corners=False
        )

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
