"""Coordinates of groups whose matrices are kept as the rows that differ.

The coordinates are principal components of the weights, found from products with the
rows alone: the table of K x C x C weights is never there. Components of so many groups
lose much, as nearly every class has a direction of its own (the first 256 hold .63 of
the variance of 1000 groups of 1000 classes), and a sum of components has no zeros. So a
draw is not put together from them: it is the group whose coordinates are nearest.

    D      (M, C)  change of the weights in each row that is kept
    z      (K, r)  coordinates, of mean 0 and variance 1 over the rows of the data
    share  (K,)    share of the rows of the data that are in a group
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .sparse_transitions import SparseTransitions, own_entries
from .transition_table import ENERGY, MAX_COMPONENTS, MIN_VARIANCE
from .transition_weights import weights_of

N_PASSES = 4  # of the randomised search for components; the spectrum is flat
MORE_DIRECTIONS = 10  # that it looks into than it keeps


@dataclass(frozen=True)
class SparseTable:
    """Coordinates of the groups, and the way from coordinates to groups.

    Parameters
    ----------
    groups : SparseTransitions
    z : Tensor of shape (K, r)
    """

    groups: SparseTransitions
    z: Tensor

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates, r; 0 if groups are not told apart."""
        return self.z.shape[1]

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return self.groups.n_classes

    @property
    def z_range(self) -> tuple[Tensor, Tensor]:
        """Least and largest value of each coordinate among the groups. (r,) each."""
        return self.z.amin(0), self.z.amax(0)

    def nearest(self, z: Tensor) -> Tensor:
        """Group of each draw. (d, b, r) -> (b, d)."""
        return torch.cdist(z.flatten(0, 1), self.z).argmin(1).view(z.shape[:2]).T


def sparse_table(
    groups: SparseTransitions,
    share: Tensor,
    seed: int,
    energy: float = ENERGY,
    max_components: int = MAX_COMPONENTS,
) -> SparseTable:
    """Coordinates along principal components of the weights, by random search. (K,)."""
    gram = _Gram(groups, share.double())
    K, device = len(share), share.device
    generator = torch.Generator().manual_seed(seed)
    width = min(max_components + MORE_DIRECTIONS, K)
    Q = torch.randn((K, width), generator=generator, dtype=torch.float64).to(device)
    for _ in range(N_PASSES):
        Q, _ = torch.linalg.qr(gram(Q))
    values, vectors = torch.linalg.eigh(Q.T @ gram(Q))  # ascending
    values, vectors = values.flip(0), Q @ vectors.flip(1)
    below = values.cumsum(0) < energy * gram.variance * (1 - MIN_VARIANCE)
    r = min(int(below.sum()) + 1, int((values > MIN_VARIANCE).sum()), max_components)
    # Not vectors over sqrt(share): a group may be empty.
    z = gram.centred(gram.root * vectors[:, :r]) / values[:r]
    return SparseTable(groups, z.to(groups.R))


class _Gram:
    """Products with the K x K Gram matrix of the centred, weighted table of weights."""

    def __init__(self, groups: SparseTransitions, share: Tensor) -> None:
        own = own_entries(groups.row_class, groups.n_classes)
        W0 = weights_of(groups.T0)
        self.D = weights_of(groups.R, own) - W0[groups.row_class]
        self.rows = [
            (groups.row_class == i).nonzero()[:, 0] for i in groups.row_class.unique()
        ]
        self.row_group, self.share = groups.row_group, share
        self.root = share.sqrt()[:, None]

    @property
    def variance(self) -> Tensor:
        """Of all weights together: what all components hold."""
        total = self.share.new_zeros(())
        for rows in self.rows:
            D, share = self.D[rows].double(), self.share[self.row_group[rows]]
            total += (share @ D.square()).sum() - (share @ D).square().sum()
        return total

    def centred(self, x: Tensor) -> Tensor:
        """Inner products of the centred table with sums of the rows of the table.

        (K, q) -> (K, q). Weights of the sums that add up to 0 centre them too; those
        of components do, after one pass.
        """
        y = torch.zeros_like(x)
        for rows in self.rows:
            D, g = self.D[rows].double(), self.row_group[rows]
            y.index_add_(0, g, D @ (D.T @ x[g]))
        return y - self.share @ y

    def __call__(self, x: Tensor) -> Tensor:
        """(K, q) -> (K, q)."""
        return self.root * self.centred(self.root * x)
