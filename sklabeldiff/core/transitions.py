"""Transition matrices between true labels and candidate sets, and refresh rules.

Works on whole arrays of beliefs; it trains nothing. Section and equation numbers are
those of the method page.

    S      (n, C)  beliefs over candidates, rows sum to 1
    S0     (n, C)  initial beliefs
    P      (n, C)  what the model believes, rows sum to 1
    Y      (n, C)  candidate mask, bool
    Tset   (C, C)  Tset_ij = P(j is a candidate | true class i)
    Trow   (C, C)  share of the candidate mass of class i that lies on j; rows sum to 1

A row that may be any class, such as an unlabelled one, says nothing about Tset, and
Tset nothing about it. Otherwise classes that are believed of unlabelled rows would seem
to be the ones that go unlabelled, and draw ever more of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

PSEUDO_COUNT = 1.0  # r: prior rows a class, so that an empty class has a matrix row
MIN_CLASS_ROWS = 5.0  # below this many rows, a class says nothing about its candidates
CLIP = 1e-3  # keeps one surprising candidate from outweighing everything else
PINV_RIDGE = 1e-3  # Trow may be singular; this makes its inverse exist
BLOCK_ROWS = 8192  # counted at a time
COLLAPSE_SHARE = 0.1  # a class left with less than this share of its mass is lost


def normalise_rows(weights: Tensor, fallback: Tensor) -> Tensor:
    """Divide rows by their sums; rows that sum to zero become ``fallback``. (n, C)."""
    total = weights.sum(-1, keepdim=True)
    safe = torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, weights / safe, fallback)


def uniform_beliefs(Y: Tensor) -> Tensor:
    """Ybar, equal belief in every candidate. (n, C) bool -> (n, C) float32."""
    Y = Y.to(torch.float32)
    return Y / Y.sum(-1, keepdim=True)


def sharpen(S: Tensor) -> Tensor:
    """Squared beliefs, renormalised. (n, C)."""
    return normalise_rows(S**2, S)


def harden(S: Tensor) -> Tensor:
    """One-hot of the most believed class. (n, C)."""
    return torch.nn.functional.one_hot(S.argmax(-1), S.shape[-1]).to(S.dtype)


def set_transition(S: Tensor, Y: Tensor) -> Tensor:
    """Tset, Bernoulli per label, from hardened beliefs. (n, C) x2 -> (C, C).

    Hardened, because mass wrongly left on a distractor co-occurs with the true class
    and would feed the error back (section 6.1). A class believed in fewer than
    ``MIN_CLASS_ROWS`` rows gets the average row.
    """
    n_classes = S.shape[1]
    matrix = S.new_zeros((n_classes, n_classes), dtype=torch.double)
    rows, candidates = matrix[0].clone(), matrix[0].clone()
    n_told = 0
    for s, y in zip(S.split(BLOCK_ROWS), Y.split(BLOCK_ROWS), strict=True):
        told = ~y.all(1)
        hard, mask = harden(s[told]).double(), y[told].double()
        matrix += hard.T @ mask
        rows += hard.sum(0)
        candidates += mask.sum(0)
        n_told += len(mask)
    average = candidates / max(1, n_told)  # m_j
    rows = rows[:, None]
    matrix = (matrix + PSEUDO_COUNT * average) / (rows + PSEUDO_COUNT)
    matrix = torch.where(rows < MIN_CLASS_ROWS, average, matrix)
    return matrix.fill_diagonal_(1.0).to(S.dtype)


def row_transition(S: Tensor, Y: Tensor) -> Tensor:
    """Trow, a stochastic matrix, from hardened beliefs. (n, C) x2 -> (C, C)."""
    hard, Ybar = harden(S).double(), uniform_beliefs(Y).double()
    prior = PSEUDO_COUNT * torch.eye(S.shape[1], dtype=hard.dtype, device=S.device)
    matrix = hard.T @ Ybar + prior
    return (matrix / matrix.sum(1, keepdim=True)).to(S.dtype)


def set_log_likelihood(Y: Tensor, Tset: Tensor) -> Tensor:
    """ll_ni = log P(the other candidates of row n | true class i). (n, C).

    0 for rows that may be any class.
    """
    T = Tset.clamp(CLIP, 1 - CLIP)
    mask = Y.to(T.dtype)
    inside, outside = T.log(), (1 - T).log()
    inside, outside = inside.fill_diagonal_(0.0), outside.fill_diagonal_(0.0)
    ll = mask @ inside.T + (1 - mask) @ outside.T
    return ll.masked_fill(Y.all(1, keepdim=True), 0.0)


def bayes_refresh(
    S0: Tensor, P: Tensor, Y: Tensor, Tset: Tensor, gamma: float
) -> Tensor:
    """Beliefs from S0, the model and the set transition matrix (rule a). (n, C)."""
    ll = set_log_likelihood(Y, Tset)
    base = (S0 * P).sqrt()
    R = Y * base * torch.exp(gamma * (ll - ll.amax(1, keepdim=True)))
    return normalise_rows(R, S0)


def inverse_refresh(S0: Tensor, P: Tensor, Y: Tensor, Trow: Tensor) -> Tensor:
    """Candidate distribution times the inverse transition, times P (rule b). (n, C)."""
    ridge = PINV_RIDGE * torch.eye(len(Trow), dtype=Trow.dtype, device=Trow.device)
    Ybar = uniform_beliefs(Y).to(Trow.dtype)
    V = (Ybar @ torch.linalg.pinv(Trow + ridge)).clamp(min=0)
    return normalise_rows(Y * V * P, S0)


def confident_rows(P: Tensor, Y: Tensor, gate: float) -> Tensor:
    """Rows whose model belief, cut to the candidates, exceeds ``gate``. (n,) bool."""
    return normalise_rows(Y * P, uniform_beliefs(Y)).amax(1) > gate


def agreement(S: Tensor, P: Tensor, Y: Tensor) -> float:
    """Share of rows where the model's best candidate is the most believed class."""
    tables = (a.split(BLOCK_ROWS) for a in (S, P, Y))
    same = (
        torch.where(y, p, -1.0).argmax(1).eq(s.argmax(1)).sum().item()
        for s, p, y in zip(*tables, strict=True)
    )
    return sum(same) / len(S)


def has_collapsed(S: Tensor, S_before: Tensor) -> bool:
    """Whether a class kept less than a tenth of the belief mass that it had."""
    return bool((S.sum(0) < COLLAPSE_SHARE * S_before.sum(0)).any())
