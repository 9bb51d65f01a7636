"""Transition matrices and refresh rules for candidate sets that are lists.

The formulas are those of `transitions`; what differs is that no matrix C x C is made.
Of the set transition matrix only the pairs that occur are kept. All others are the
background: the prior rows alone, a number for each row times one for each column.

    N       pairs (i, j)  rows believed to be class i that have candidate j
    T_ij    (N_ij + r m_j) / (n_i + r)  =  N_ij / (n_i + r) + a_i m_j
    m       (C,)  share of rows with candidate j;  a_i = r / (n_i + r)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from torch import Tensor

from .lists import GATHERED, CandidateLists
from .transitions import (
    CLIP,
    COLLAPSE_SHARE,
    MIN_CLASS_ROWS,
    PINV_RIDGE,
    PSEUDO_COUNT,
)

MAX_INVERTED = 2000  # classes; inverting takes the cube of their number


@dataclass(frozen=True)
class ListedTransition:
    """Tset of very many classes.

    Parameters
    ----------
    keys : Tensor of shape (q,), int64
        Pairs that occur, as i C + j, rising.
    values : Tensor of shape (q,), double
        T_ij of these pairs.
    row : Tensor of shape (C,), double
        a_i.
    column : Tensor of shape (C,), double
        m_j.
    """

    keys: Tensor
    values: Tensor
    row: Tensor
    column: Tensor

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.row)

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """T_ij of some pairs, off the diagonal. (q,), (q,) -> (q,) double."""
        found = self.row[i] * self.column[j]
        if not len(self.keys):
            return found
        key = i * self.n_classes + j
        place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[place] == key, self.values[place], found)

    def log_absences(self) -> Tensor:
        """Sum over j != i of log(1 - T_ij): no other class is a candidate. (C,)."""
        # The n_i take few values, so the background is summed for each of these.
        distinct, which = self.row.unique(return_inverse=True)
        step = max(1, GATHERED // self.n_classes)
        sums = [
            log_absence(a[:, None] * self.column).sum(1) for a in distinct.split(step)
        ]
        total = torch.cat(sums)[which]
        total -= log_absence(self.row * self.column)  # j = i
        i, j = self.keys // self.n_classes, self.keys % self.n_classes
        more = log_absence(self.values) - log_absence(self.row[i] * self.column[j])
        return total.index_add_(0, i, torch.where(i == j, 0.0, more))

    def array(self) -> csr_array:
        """Pairs that occur, and the diagonal, as a sparse matrix. (C, C)."""
        C = self.n_classes
        diagonal = torch.arange(C, device=self.keys.device) * (C + 1)
        keys = torch.cat([self.keys, diagonal]).unique()
        i, j = keys // C, keys % C
        values = torch.where(i == j, 1.0, self.at(i, j)).float()
        ends = torch.searchsorted(i, torch.arange(C + 1, device=i.device))
        parts = (a.cpu().numpy() for a in (values, j.int(), ends.int()))
        return csr_array(tuple(parts), shape=(C, C))


def log_absence(T: Tensor) -> Tensor:
    """log(1 - T), clipped."""
    return torch.log1p(-T.clamp(CLIP, 1 - CLIP))


def set_transition(S: Tensor, lists: CandidateLists) -> ListedTransition:
    """Tset from hardened beliefs. (e,). See `transitions.set_transition`."""
    C = lists.n_classes
    told, entries = lists.select(lists.sizes < C)
    counts = torch.ones_like(told.classes, dtype=torch.double)
    believed = told.classes[told.best(S[entries])] if len(told) else told.classes
    rows = torch.bincount(believed, minlength=C).double()
    average = told.by_class(counts) / max(1, len(told))
    keys = believed[told.rows] * C + told.classes
    keys, N = keys.unique(return_counts=True)
    i, j = keys // C, keys % C
    enough = rows >= MIN_CLASS_ROWS
    keys, N, i, j = (a[enough[i]] for a in (keys, N, i, j))
    a = torch.where(enough, PSEUDO_COUNT / (rows + PSEUDO_COUNT), 1.0)
    values = (N + PSEUDO_COUNT * average[j]) / (rows[i] + PSEUDO_COUNT)
    return ListedTransition(keys, values, a, average)


def set_log_likelihood(lists: CandidateLists, T: ListedTransition) -> Tensor:
    """Log P(the other candidates | its class) of every entry. (e,) double.

    0 for rows that may be any class.
    """
    told = lists.sizes < lists.n_classes
    few, entries = lists.select(told)
    ll = T.log_absences()[few.classes]
    for first, second in few.pairs():
        i, j = few.classes[first], few.classes[second]
        t = T.at(i, j).clamp(CLIP, 1 - CLIP)
        ll.index_add_(0, first, torch.where(i == j, 0.0, torch.logit(t)))
    out = ll.new_zeros(len(lists.classes))
    out[entries] = ll
    return out


def tempered_likelihood(
    lists: CandidateLists, T: ListedTransition, gamma: float
) -> Tensor:
    """P(Y_i | T)^gamma of each candidate, the largest of its row 1. (e,) float32."""
    ll = set_log_likelihood(lists, T)
    return torch.exp(gamma * (ll - lists.largest(ll)[lists.rows])).float()


def bayes_refresh(
    S0: Tensor, P: Tensor, lists: CandidateLists, T: ListedTransition, gamma: float
) -> Tensor:
    """Rule a: beliefs from S0, the model and the set transition matrix. (e,)."""
    R = (S0 * P).sqrt() * tempered_likelihood(lists, T, gamma)
    return lists.normalised(R, S0)


def inverse_refresh(S0: Tensor, P: Tensor, S: Tensor, lists: CandidateLists) -> Tensor:
    """Rule b: candidate distribution times the inverse row transition, times P. (e,).

    Raises
    ------
    ValueError
        If there are more than ``MAX_INVERTED`` classes.
    """
    C = lists.n_classes
    if C > MAX_INVERTED:
        raise ValueError(
            f"refresh='inverse' inverts a matrix of {C} x {C}; it takes up to "
            f"{MAX_INVERTED} classes. Use refresh='bayes' or None."
        )
    Ybar = lists.uniform()
    believed = lists.classes[lists.best(S)]
    matrix = PSEUDO_COUNT * torch.eye(C, dtype=torch.double, device=S.device)
    keys = believed[lists.rows] * C + lists.classes
    matrix.view(-1).index_add_(0, keys, Ybar.double())
    matrix /= matrix.sum(1, keepdim=True)
    ridge = PINV_RIDGE * torch.eye(C, dtype=S.dtype, device=S.device)
    inverse = torch.linalg.pinv(matrix.to(S.dtype) + ridge)
    V = torch.zeros_like(P)
    for first, second in lists.pairs():
        share = Ybar[second] * inverse[lists.classes[second], lists.classes[first]]
        V.index_add_(0, first, share)
    return lists.normalised(V.clamp(min=0) * P, S0)


def confident_rows(P: Tensor, lists: CandidateLists, gate: float) -> Tensor:
    """Rows whose model belief, cut to the candidates, exceeds ``gate``. (n,) bool."""
    return lists.largest(lists.normalised(P, lists.uniform())) > gate


def agreement(S: Tensor, P: Tensor, lists: CandidateLists) -> float:
    """Share of rows where the model's best candidate is the most believed class."""
    return lists.best(P).eq(lists.best(S)).double().mean().item()


def has_collapsed(S: Tensor, S_before: Tensor, lists: CandidateLists) -> bool:
    """Whether a class kept less than a tenth of the belief mass that it had."""
    now, before = lists.by_class(S), lists.by_class(S_before)
    return bool((now < COLLAPSE_SHARE * before).any())


def mean_entropy(S: Tensor, n_rows: int) -> float:
    """Mean entropy of the rows, in nats. (e,)."""
    return torch.special.entr(S).double().sum().item() / n_rows
