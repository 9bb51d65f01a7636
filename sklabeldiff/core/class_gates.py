"""Which entries of a row speak for a class: the gates of class-specific versions.

    # x   (b, ...)  rows as the network sees them
    # i   (N,)      row of each version;  s (N,) its class
    # a   (N, ...)  gates in [0, 1], of which the largest of a version is 1

An image is gated by its class activation map, a row by what each entry contributes to
the logit, which for a linear network is the same thing at a single place. Section 7.2
and 11b of CAD's method page; the procedure is not the paper's, which has the formula.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .two_headed import TwoHeaded

# (network, x, i, s, centre) -> a
Gate = Callable[[TwoHeaded, Tensor, Tensor, Tensor, Tensor], Tensor]


def contribution_gate(
    network: TwoHeaded, x: Tensor, i: Tensor, s: Tensor, centre: Tensor
) -> Tensor:
    """Gate entries by relu((x - centre) dlogit_s/dx) over its maximum. -> (N, d)."""
    with torch.enable_grad():
        rows = x[i].detach().requires_grad_()
        of_class = network(rows).gather(1, s[:, None])
        (slope,) = torch.autograd.grad(of_class.sum(), rows)
    return _over_maximum(functional.relu((rows.detach() - centre) * slope))


@torch.no_grad()
def activation_gate(
    network: TwoHeaded, x: Tensor, i: Tensor, s: Tensor, centre: Tensor
) -> Tensor:
    """Gate pixels by the map of class s, enlarged. -> (N, 1, height, width).

    ``network.trunk.maps`` gives the last maps of the trunk, (b, p, h, w), whose means
    are what the class head sees. The centre plays no part.
    """
    maps = network.trunk.maps(x)  # type: ignore[operator]
    of_class = torch.einsum("np,nphw->nhw", network.classes.weight[s], maps[i])
    enlarged = functional.interpolate(
        functional.relu(of_class)[:, None],
        x.shape[2:],
        mode="bilinear",
        align_corners=False,
    )
    return _over_maximum(enlarged)


def _over_maximum(strength: Tensor) -> Tensor:
    """Entries of each version over its largest; ones where nothing speaks for it."""
    dims = tuple(range(1, strength.ndim))
    largest = strength.amax(dims, keepdim=True)
    return torch.where(largest > 0, strength / largest, 1.0)


def gated(x: Tensor, a: Tensor, eps: float, centre: Tensor) -> Tensor:
    """Versions whose ungated entries are near the centre. Eq. (5), section 7.2.

    (N, ...), (N, ...) -> (N, ...). With eps = 1 it is x, bit for bit.
    """
    if eps == 1:
        return x
    return centre + (a + eps * (1 - a)) * (x - centre)
