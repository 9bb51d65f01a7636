"""Random views of rows that are no images: noise, and entries at their mean.

What stands for the crops and colours of images; section 11b of CAD's method page.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Distortion:
    """How far a view may be from its row.

    Parameters
    ----------
    noise : float
        Deviation of what is added to every entry, in units of `scale`.
    dropped : float
        Share of the entries that go to `centre`.
    centre, scale : Tensor of shape (d,)
        Mean and deviation of the columns.
    """

    noise: float
    dropped: float
    centre: Tensor
    scale: Tensor

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one view of each row. (b, d) -> (b, d)."""
        draw = torch.rand(x.shape, generator=generator, device=x.device)
        eps = torch.randn(x.shape, generator=generator, device=x.device)
        views = x + self.noise * self.scale * eps
        return torch.where(draw < self.dropped, self.centre, views)


class RowViews:
    """The views of section 3, for rows like those of x, (n, d)."""

    def __init__(self, x: Tensor) -> None:
        columns = x.mean(0), x.std(0, correction=0)
        self.classified = Distortion(0.05, 0.10, *columns)
        self.weak = Distortion(0.05, 0.05, *columns)
        self.strong = Distortion(0.10, 0.20, *columns)

    @staticmethod
    def plain(x: Tensor) -> Tensor:
        """Rows as the network sees them when it predicts."""
        return x
