"""Exact nearest neighbours in blocks, on the device of the rows.

One matrix product gives a block of rows its distances to a stretch of others, up to
rounding: |x - z|^2 = |x|^2 - 2 xz + |z|^2 cancels where rows are near. So a few more
rows than asked for are kept, and their distances taken anew as differences.
"""

from __future__ import annotations

import torch
from torch import Tensor

QUERY_ROWS, STRETCH = 256, 16_384  # rows of a block, and others compared at a time
MAX_DIFFERENCES = 2**22  # entries of differences in memory at a time: 16 MB
N_SPARE = 8  # kept beyond those asked for, since the product rounds


def exact_search(X: Tensor, n_neighbors: int) -> tuple[Tensor, Tensor]:
    """Find the other rows nearest to each row, nearest first.

    A row is never its own neighbour, also where it has duplicates.

    Parameters
    ----------
    X : Tensor of shape (n, p)
    n_neighbors : int
        k; less where there are fewer other rows.

    Returns
    -------
    distances : Tensor of shape (n, k)
    neighbours : Tensor of shape (n, k), int64
    """
    n = len(X)
    k = min(n_neighbors, n - 1)
    X = X - X.mean(0)  # the product rounds the less, the smaller its terms
    lengths = X.square().sum(1)
    distances = X.new_empty((n, k))
    neighbours = torch.empty((n, k), dtype=torch.int64, device=X.device)
    rows_at_once = max(1, min(QUERY_ROWS, MAX_DIFFERENCES // (k + 1 + N_SPARE)))
    for start in range(0, n, rows_at_once):
        rows = slice(start, min(start + rows_at_once, n))
        found = _candidates(X[rows], X, lengths, min(k + 1 + N_SPARE, n))
        own = torch.arange(rows.start, rows.stop, device=X.device)
        distances[rows], neighbours[rows] = _nearest(X, own, found, k)
    return distances, neighbours


def _candidates(Q: Tensor, X: Tensor, lengths: Tensor, m: int) -> Tensor:
    """Nearest rows, up to rounding. (b, p), (n, p), (n,) -> (b, m)."""
    best = Q.new_empty((len(Q), 0))
    rows = best.long()
    for start in range(0, len(X), STRETCH):
        others = slice(start, start + STRETCH)
        # Without |q|^2, which is the same for all others.
        d2 = torch.addmm(lengths[others], Q, X[others].T, alpha=-2)
        least, found = d2.topk(min(m, d2.shape[1]), largest=False)
        least, found = torch.cat([best, least], 1), torch.cat([rows, found + start], 1)
        best, order = least.topk(min(m, least.shape[1]), largest=False)
        rows = found.gather(1, order)
    return rows


def _nearest(X: Tensor, own: Tensor, found: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sort candidates by their distance, and leave the row itself out."""
    found = found.sort(1).values  # rows at one distance stay in the order of X
    parts = max(1, -(-found.numel() * X.shape[1] // MAX_DIFFERENCES))
    d = torch.cat(
        [
            (X[mine, None] - X[theirs]).square().sum(-1).sqrt()
            for mine, theirs in zip(
                own.tensor_split(parts), found.tensor_split(parts), strict=True
            )
        ]
    )
    # Among many duplicates a row may not have found itself: no matter.
    d = d.where(found != own[:, None], torch.inf)
    d, order = d.sort(dim=1, stable=True)
    return d[:, :k], found.gather(1, order)[:, :k]
