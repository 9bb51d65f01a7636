"""Pixels of all images, read once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sklabeldiff._optional import require

from ._encoding import Source, cut
from ._gathering import bad_rows, good_rows, refuse_nothing

if TYPE_CHECKING:
    from PIL.Image import Image

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
