"""Candidate sets of very many classes, as lists: nothing has a column for each class.

    e       entries (row, class) in all sets; sorted by row, then by class
    v       (e,)  one number an entry: a belief, a weight, an answer

A set of 3 out of 10 000 classes is three entries. What works on dense tables (n, C)
elsewhere works here on the entries alone, or on a few dense rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.sparse import csr_array
from torch import Tensor

GATHERED = 2**22  # numbers in memory at a time where entries meet vectors: 16 MB


@dataclass(frozen=True)
class CandidateLists:
    """Which classes each row may be.

    Parameters
    ----------
    ends : Tensor of shape (n + 1,), int64
        Row i has the entries from ``ends[i]`` to ``ends[i + 1]``, one at least.
    classes : Tensor of shape (e,), int64
        Class of each entry.
    n_classes : int
        C.
    """

    ends: Tensor
    classes: Tensor
    n_classes: int

    @classmethod
    def of(cls, Y: csr_array, device: torch.device) -> CandidateLists:
        """Candidates are the entries of a matrix with sorted indices. (n, C)."""
        ends, classes = (
            torch.as_tensor(a, dtype=torch.int64, device=device)
            for a in (Y.indptr, Y.indices)
        )
        return cls(ends, classes, Y.shape[1])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ends) - 1

    @cached_property
    def sizes(self) -> Tensor:
        """Candidates of each row. (n,)."""
        return self.ends.diff()

    @cached_property
    def rows(self) -> Tensor:
        """Row of each entry. (e,)."""
        numbers = torch.arange(len(self), device=self.ends.device)
        return numbers.repeat_interleave(self.sizes)

    # -- rows of a list ----------------------------------------------------------------

    def total(self, v: Tensor) -> Tensor:
        """Sum over each row. (e,) -> (n,)."""
        return torch.segment_reduce(v, "sum", offsets=self.ends)

    def largest(self, v: Tensor) -> Tensor:
        """Maximum of each row. (e,) -> (n,)."""
        return torch.segment_reduce(v, "max", offsets=self.ends)

    def best(self, v: Tensor) -> Tensor:
        """Entry of each row with the largest number, the first of equals. (e,) -> (n,).

        Entries are sorted by class, so this is what argmax takes of a dense row.
        """
        numbers = torch.arange(len(v), device=v.device)
        numbers = numbers.where(v == self.largest(v)[self.rows], len(v))
        first = numbers.new_full((len(self),), len(v))
        return first.scatter_reduce_(0, self.rows, numbers, "amin")

    def normalised(self, v: Tensor, fallback: Tensor) -> Tensor:
        """Divide by the row's sum; rows that sum to zero become ``fallback``. (e,)."""
        total = self.total(v)
        safe = torch.where(total > 0, total, 1.0)
        return torch.where((total > 0)[self.rows], v / safe[self.rows], fallback)

    def uniform(self) -> Tensor:
        """Ybar, equal belief in every candidate. (e,) float32."""
        return (1 / self.sizes.float())[self.rows]

    def sharpened(self, v: Tensor) -> Tensor:
        """Squared beliefs, renormalised. (e,)."""
        return self.normalised(v**2, v)

    def hardened(self, v: Tensor) -> Tensor:
        """1 for the most believed class of each row. (e,)."""
        return torch.zeros_like(v).index_fill_(0, self.best(v), 1.0)

    # -- classes -----------------------------------------------------------------------

    def by_class(self, v: Tensor) -> Tensor:
        """Sum over all rows, in double. (e,) -> (C,)."""
        total = torch.zeros(self.n_classes, dtype=torch.double, device=v.device)
        return total.index_add_(0, self.classes, v.double())

    def class_mean(self, v: Tensor) -> Tensor:
        """Mean over all rows. (e,) -> (C,)."""
        return (self.by_class(v) / len(self)).to(v.dtype)

    # -- between lists and dense rows --------------------------------------------------

    def select(self, rows: Tensor) -> tuple[CandidateLists, Tensor]:
        """Take some rows, and tell which entries these are. (b,) int64 or (n,) bool."""
        if rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        sizes = self.sizes[rows]
        ends = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        shift = (self.ends[rows] - ends[:-1]).repeat_interleave(sizes)
        entries = torch.arange(len(shift), device=shift.device) + shift
        return CandidateLists(ends, self.classes[entries], self.n_classes), entries

    def dense(self, v: Tensor, rows: Tensor) -> Tensor:
        """Rows with a column for each class, 0 off the lists. (e,), (b,) -> (b, C)."""
        lists, entries = self.select(rows)
        table = v.new_zeros((len(lists), self.n_classes))
        table[lists.rows, lists.classes] = v[entries]
        return table

    def taken(self, table: Tensor) -> Tensor:
        """Entries of dense rows, which are those of these lists. (n, C) -> (e,)."""
        return table[self.rows, self.classes]

    # -- products with vectors ---------------------------------------------------------

    def moments(self, F: Tensor, v: Tensor) -> Tensor:
        """V' F, where V is the table of the entries. (n, m), (e,) -> (C, m)."""
        out = F.new_zeros((self.n_classes, F.shape[1]))
        for some in self._runs(F.shape[1]):
            out.index_add_(0, self.classes[some], F[self.rows[some]] * v[some, None])
        return out

    def answers(self, F: Tensor, W: Tensor) -> Tensor:
        """F W' at the entries alone. (n, m), (C, m) -> (e,)."""
        out = F.new_empty(len(self.classes))
        for some in self._runs(F.shape[1]):
            products = F[self.rows[some]] * W[self.classes[some]]
            out[some] = products.sum(1)
        return out

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of entries of one row, each with each and itself: (q,), (q,) at a time.

        The first are in order, and all pairs of an entry come together.
        """
        partners = self.sizes[self.rows]
        until = partners.cumsum(0)
        start = 0
        while start < len(partners):
            before = until[start] - partners[start]
            stop = int(torch.searchsorted(until, before + GATHERED // 8, right=True))
            stop = max(stop, start + 1)
            numbers = torch.arange(start, stop, device=until.device)
            first = numbers.repeat_interleave(partners[start:stop])
            offset = until[first] - partners[first] - before
            place = torch.arange(len(first), device=until.device) - offset
            yield first, self.ends[self.rows[first]] + place
            start = stop

    def _runs(self, width: int) -> Iterator[slice]:
        """Yield runs of entries whose vectors fit into memory."""
        step = max(1, GATHERED // max(1, width))
        starts = range(0, len(self.classes), step)
        return (slice(start, start + step) for start in starts)
