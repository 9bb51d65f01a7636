"""Transition matrices of groups where classes are many: the rows that differ.

A group is nearly pure in the true class, so that its matrix is the global one but for a
row or two: those whose class has more mass in the group than one row. Only they are
kept. Section 9 of DTM's method page; what is not said there is ours.

    T0         (C, C)  global matrix, T_ij = P(given j | true i)
    R          (M, C)  rows that differ, of all groups; M is K to 3 K, and at most n
    row_class  (M,)    class whose row it is
    row_group  (M,)    group that it belongs to, ascending
    drawn      (n, d)  groups whose matrices are averaged for a row of the data
    p, V, g            as in `group_transitions`

Nothing of size K x C x C, or n x C x C, is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import in_blocks, rows_of
from .group_transitions import N_ROUNDS, expected_counts, is_labelled
from .noisy_classifier import MIN_PROBABILITY
from .transition_weights import transition_of, weights_of
from .transitions import normalise_rows

# Rows of the data behind a row of a matrix, for it to be kept. With less, shrinkage
# would leave it within 1 / (1 + kappa) of the global one, in total variation.
MIN_MASS = 1.0
CHUNK = 4096  # rows of the data that are counted at a time


@dataclass(frozen=True)
class SparseTransitions:
    """Matrices of K groups.

    Parameters
    ----------
    T0 : Tensor of shape (C, C)
    R : Tensor of shape (M, C)
    row_class : Tensor of shape (M,), int64
    row_group : Tensor of shape (M,), int64
    n_groups : int
    """

    T0: Tensor
    R: Tensor
    row_class: Tensor
    row_group: Tensor
    n_groups: int

    def __len__(self) -> int:
        """Return the number of groups, K."""
        return self.n_groups

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return len(self.T0)

    def parts(self) -> tuple[Tensor | int, ...]:
        """All that it is made of, for a checkpoint."""
        return (*self.arrays().values(), self.n_groups)

    def arrays(self) -> dict[str, Tensor]:
        """All that `of_arrays` wants, by name."""
        names = ("T0", "R", "row_class", "row_group")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of_arrays(
        cls,
        T0: Tensor,
        R: Tensor,
        row_class: Tensor,
        row_group: Tensor,
        *,
        n_groups: int,
    ) -> SparseTransitions:
        """Undo `arrays`.

        Raises
        ------
        ValueError
            If a row is of a class or a group that there is not, or groups are not in
            order.
        """
        if len(R):
            is_class = 0 <= row_class.min() and row_class.max() < len(T0)
            is_group = 0 <= row_group.min() and row_group.max() < n_groups
            if not is_class or not is_group or (row_group.diff() < 0).any():
                raise ValueError(
                    f"rows of group matrices must be of classes below {len(T0)} and, "
                    f"in order, of groups below {n_groups}"
                )
        return cls(T0, R, row_class, row_group, n_groups)

    @property
    def change(self) -> Tensor:
        """What the rows add to those of T0. (M, C)."""
        return self.R - self.T0[self.row_class]

    def matrices(self, drawn: Tensor) -> Tensor:
        """Mean matrix of the groups drawn. (n, d) -> (n, C, C)."""
        change = self.change / drawn.shape[1]

        def block(drawn: Tensor) -> Tensor:
            T = self.T0.expand(len(drawn), -1, -1).clone()
            n, m = self._pairs(drawn)
            return T.index_put_((n, self.row_class[m]), change[m], accumulate=True)

        return self._in_blocks(self.n_classes**2, block, drawn)

    def columns(self, drawn: Tensor, V: Tensor) -> Tensor:
        """Columns of the mean matrix that explain what was given. (n, C) -> (n, C)."""
        change = self.change / drawn.shape[1]

        def block(drawn: Tensor, V: Tensor) -> Tensor:
            n, m = self._pairs(drawn)
            more = (change[m] * V[n]).sum(1)
            c = V @ self.T0.T
            c = c.index_put_((n, self.row_class[m]), more, accumulate=True)
            return c.clamp(min=0)  # a sum of differences may round below

        return self._in_blocks(self._pair_entries(drawn), block, drawn, V)

    def given(self, drawn: Tensor, f: Tensor) -> Tensor:
        """T^T f under the mean matrix. (n, d), (n, C) -> (n, C)."""
        change = self.change / drawn.shape[1]

        def block(drawn: Tensor, f: Tensor) -> Tensor:
            n, m = self._pairs(drawn)
            more = change[m] * f[n, self.row_class[m]][:, None]
            return (f @ self.T0).index_add_(0, n, more).clamp(min=0)

        return self._in_blocks(self._pair_entries(drawn), block, drawn, f)

    def _pairs(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Each row of a block with each kept row of its groups. (b, d) -> (P,) x2."""
        groups = torch.arange(self.n_groups + 1, device=drawn.device)
        start = torch.searchsorted(self.row_group, groups)
        counts = start.diff()[drawn].flatten()
        place = torch.arange(len(counts), device=drawn.device)
        place = place.repeat_interleave(counts)
        first = (start[drawn].flatten() - counts.cumsum(0) + counts)[place]
        m = first + torch.arange(len(place), device=drawn.device)
        return place // drawn.shape[1], m

    def _pair_entries(self, drawn: Tensor) -> int:
        """Numbers to a row of the data, where each of its groups keeps the most."""
        most = self.row_group.bincount(minlength=1).max().item()
        return self.n_classes * (1 + drawn.shape[1] * int(most))

    def _in_blocks(self, entries: int, *args: object) -> Tensor:
        return in_blocks(*args, block_rows=rows_of(entries))  # type: ignore[arg-type]


def sparse_groups(
    p: Tensor, V: Tensor, g: Tensor, n_groups: int, T0: Tensor, kappa: float
) -> SparseTransitions:
    """Matrices from expected counts, as of `dirichlet_groups`, row by row.

    (n, C), (n, C), (n,), (C, C). A row without the mass to be kept is that of T0.
    """
    rows = is_labelled(V).nonzero()[:, 0]
    rows = rows[g[rows].argsort(stable=True)]
    sizes = torch.bincount(g[rows], minlength=n_groups).tolist()
    kept: list[Tensor] = []
    found: list[Tensor] = []
    for own in rows.split(sizes):
        classes, R = _kept_rows(p[own], V[own], T0, kappa)
        kept.append(classes)
        found.append(R)
    row_class, R = torch.cat(kept), torch.cat(found)
    counts = torch.tensor([len(classes) for classes in kept], device=R.device)
    row_group = torch.arange(n_groups, device=R.device).repeat_interleave(counts)
    is_own = own_entries(row_class, len(T0))
    R = transition_of(weights_of(R, is_own), is_own)  # the diagonal is the largest
    return SparseTransitions(
        transition_of(weights_of(T0)), R, row_class, row_group, n_groups
    )


def _kept_rows(p: Tensor, V: Tensor, T0: Tensor, kappa: float) -> tuple[Tensor, Tensor]:
    """Classes whose row a group keeps, and the rows. (m, C) x2 -> (k,), (k, C)."""
    c = V @ T0.T
    joint = p * c
    total = joint.sum(1, keepdim=True).clamp(min=MIN_PROBABILITY)
    kept = ((joint / total).sum(0) > MIN_MASS).nonzero()[:, 0]
    p, prior = p[:, kept], T0[kept]
    rest = total - joint[:, kept].sum(1, keepdim=True)  # stays with T0
    R = prior
    for _ in range(N_ROUNDS):
        explained = rest + (p * (V @ R.T)).sum(1, keepdim=True)
        counts = R * ((p / explained.clamp(min=MIN_PROBABILITY)).T @ V)
        R = normalise_rows(counts + kappa * prior, prior)
    return kept, R


def own_entries(row_class: Tensor, n_classes: int) -> Tensor:
    """Where rows of matrices have their diagonal entry. (M,) -> (M, C) bool."""
    own = torch.zeros((len(row_class), n_classes), device=row_class.device)
    return own.scatter_(1, row_class[:, None], 1.0).bool()


def one_matrix(f: Tensor, V: Tensor, T0: Tensor, kappa: float) -> Tensor:
    """Matrix of all rows, by expected counts in chunks. (n, C) x2, (C, C) -> (C, C)."""
    T = T0
    for _ in range(N_ROUNDS):
        counts = torch.zeros_like(T0)
        for p, given in zip(f.split(CHUNK), V.split(CHUNK), strict=True):
            told = is_labelled(given)
            counts += expected_counts(p[told], given[told], T)
        T = normalise_rows(counts + kappa * T0, T0)
    return T
