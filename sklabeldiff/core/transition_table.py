"""The weights of all groups as one small table of coordinates.

A diffusion over C x C weights learns from K matrices only, so that the centred table
has rank K - 1 at most: its principal components lose nothing, and being linear they
carry the Gaussian processes over unchanged (section 5.3 of DTM's method page).

    W_g    (C, C)    weights behind the matrix of group g, see `transition_weights`
    s_g    share of the rows that are in group g
    Wbar   (C, C)    sum_g s_g W_g
    B      (r, C, C) principal directions, scaled: coordinates have mean 0, variance 1
    z_g    (r,)      coordinates of a group:  W_g = Wbar + z_g B
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .transition_weights import transition_of

ENERGY = 0.99  # of the variance of the table; what is left out is noise of the counts
MAX_COMPONENTS = 256
MIN_VARIANCE = 1e-10  # of weights of order 1; below it there is only rounding


@dataclass(frozen=True)
class TransitionTable:
    """Coordinates of the groups, and the way from coordinates to matrices.

    Parameters
    ----------
    mean : Tensor of shape (C, C)
        Wbar.
    basis : Tensor of shape (r, C, C) or (C, C)
        B; or, for one coordinate an entry, the scale of each entry.
    z : Tensor of shape (K, r)
    """

    mean: Tensor
    basis: Tensor
    z: Tensor

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates, r; 0 if all groups are alike."""
        return self.z.shape[1]

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return len(self.mean)

    def weights(self, z: Tensor) -> Tensor:
        """W of coordinates. (..., r) -> (..., C, C)."""
        if self.basis.dim() == 2:
            return self.mean + z.unflatten(-1, self.mean.shape) * self.basis
        flat = z @ self.basis.flatten(1)
        return self.mean + flat.unflatten(-1, self.mean.shape)

    def transition(self, z: Tensor) -> Tensor:
        """T of coordinates. (..., r) -> (..., C, C)."""
        return transition_of(self.weights(z))

    @property
    def z_range(self) -> tuple[Tensor, Tensor]:
        """Least and largest value of each coordinate among the groups. (r,) each."""
        return self.z.amin(0), self.z.amax(0)


def principal_table(
    W: Tensor,
    share: Tensor,
    energy: float = ENERGY,
    max_components: int = MAX_COMPONENTS,
) -> TransitionTable:
    """Coordinates along the principal components. (K, C, C), (K,).

    At ``energy=1`` nothing is lost, with r = min(K - 1, C^2) directions.
    """
    n_groups, n_classes, _ = W.shape
    mean = torch.einsum("g,gij->ij", share.double(), W.double())
    centred = (W.double() - mean).flatten(1)  # (K, C^2)
    weighted = centred * share.double().sqrt()[:, None]
    # The smaller of the two Gram matrices: a thousand groups of a hundred classes
    # would take the other one to 10^4 x 10^4.
    by_group = n_groups <= centred.shape[1]
    gram = weighted @ weighted.T if by_group else weighted.T @ weighted
    values, vectors = torch.linalg.eigh(gram)  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    most = min(n_groups - 1, centred.shape[1], max_components)
    r = min(_n_components(values, energy), most)
    variance, vectors = values[:r], vectors[:, :r]
    # Directions of norm sqrt(variance), of the few components alone.
    basis = vectors.T @ weighted if by_group else (vectors * variance.sqrt()).T
    z = centred @ basis.T / variance
    basis = basis.unflatten(1, (n_classes, n_classes))
    return TransitionTable(mean.to(W), basis.to(W), z.to(W))


def _n_components(values: Tensor, energy: float) -> int:
    """Count the components that hold ``energy`` of the variance."""
    values = values[values > MIN_VARIANCE]
    below = values.cumsum(0) < energy * values.sum() * (1 - MIN_VARIANCE)
    return min(int(below.sum()) + 1, len(values))


def full_table(W: Tensor, share: Tensor) -> TransitionTable:
    """Coordinates are the standardised entries themselves. (K, C, C), (K,)."""
    mean = torch.einsum("g,gij->ij", share, W)
    variance = torch.einsum("g,gij->ij", share, (W - mean).square())
    # An entry that never varies has scale 0, and its coordinate means nothing.
    scale = variance.sqrt()
    z = (W - mean) / scale.where(scale > 0, 1.0)
    return TransitionTable(mean, scale, z.flatten(1))
