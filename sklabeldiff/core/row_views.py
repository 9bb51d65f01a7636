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
        Deviation of what is added to every entry.
    dropped : float
        Share of the entries that go to 0, the mean.
    """

    noise: float
    dropped: float

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw one view of each row. (b, d) -> (b, d)."""
        draw = torch.rand(x.shape, generator=generator, device=x.device)
        eps = torch.randn(x.shape, generator=generator, device=x.device)
        return (x + self.noise * eps) * (draw >= self.dropped)


class RowViews:
    """The views of section 3, for standardised rows."""

    classified = Distortion(0.05, 0.10)
    weak = Distortion(0.05, 0.05)
    strong = Distortion(0.10, 0.20)

    @staticmethod
    def plain(x: Tensor) -> Tensor:
        """Rows as the network sees them when it predicts."""
        return x
