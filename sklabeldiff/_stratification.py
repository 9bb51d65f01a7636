"""Parts of a data set in which every class has its share of weight.

Knows rows of weights and sizes of parts. How users hold labels, how sizes are given and
what the parts are for is not decided here.
"""

# w         (n, C)  weight of each class in a row; 0 throughout if it may be any class
# mass      (C,)    weight of each class in all rows
# relative  (n, C)  w in units of the mass of the class
# parts     (k,)    sizes of the parts, or integers in their ratio
# lack      (k, C)  share of each class's mass that a part is still short of
# room      (k,)    rows that a part has still to get

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

_DECIMALS = 9  # of what a part lacks: ties do not depend on the machine's rounding


def strata_weights(Y: NDArray[Any]) -> NDArray[np.float64]:
    """Weights of encoded sets: rows sum to 1, or to 0. (n, C) -> (n, C)."""
    w = Y / Y.sum(axis=1, keepdims=True, dtype=np.float64)
    w[(w == w[:, :1]).all(axis=1)] = 0  # such rows say nothing about a class
    return w


def folds(
    Y: NDArray[Any],
    n_splits: int,
    rng: RandomState | None,
    *,
    surest_first: bool = True,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to train on and rows held out, fold by fold. (n, C) -> n_splits pairs."""
    if n_splits > len(Y):
        raise ValueError(
            f"n_splits={n_splits} folds need as many rows, but there are {len(Y)}. "
            "Lower n_splits."
        )
    parts = np.ones(n_splits, dtype=np.intp)
    fold = stratify(strata_weights(Y), parts, rng, surest_first=surest_first)
    yield from each_held_out(fold, n_splits)


def each_held_out(
    fold: NDArray[np.intp], n_splits: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Row numbers outside and inside of each fold, ascending."""
    for f in range(n_splits):
        yield np.flatnonzero(fold != f), np.flatnonzero(fold == f)


def stratify(
    w: NDArray[np.float64],
    parts: NDArray[np.intp],
    rng: RandomState | None,
    *,
    surest_first: bool,
) -> NDArray[np.intp]:
    """Part of each row. (n, C), (k,) -> (n,).

    Of rows with equal weights each part gets as many as divide without remainder, and
    only the rest is placed one by one.
    """
    first, kind, count = _distinct_rows(w)
    shares, left = np.divmod(count[:, None] * parts, parts.sum())  # (p, k)
    rest = np.repeat(np.arange(len(first)), count - shares.sum(axis=1))
    if rng is not None:
        rng.shuffle(rest)
    mass = w.sum(axis=0)
    lack = left.T @ _relative(w[first], mass) / parts.sum()
    room = len(w) * parts // parts.sum() - shares.sum(axis=0)
    order = _rarest_first(w[first[rest]], mass, surest_first)
    rest = rest[order]
    placed = _place(w[first[rest]], mass, parts, lack, room)
    np.add.at(shares, (rest, placed), 1)

    rows = np.arange(len(w)) if rng is None else rng.permutation(len(w))
    rows = rows[np.argsort(kind[rows], kind="stable")]  # kind by kind
    part = np.empty(len(w), dtype=np.intp)
    part[rows] = np.repeat(np.tile(np.arange(len(parts)), len(first)), shares.ravel())
    return part


def train_and_test(
    w: NDArray[np.float64], sizes: NDArray[np.intp], rng: RandomState
) -> NDArray[np.intp]:
    """0 for rows to train on, 1 to test on, 2 unused. (n, C), (3,) -> (n,).

    The order within a class is random: were the surest rows placed first, weights that
    are all different would leave nothing to chance.
    """
    part = stratify(_with_unlabelled(w), sizes[sizes > 0], rng, surest_first=False)
    _bring_classes(w, part, rng)
    return part


def stratify_groups(
    w: NDArray[np.float64],
    group: NDArray[np.intp],
    n_splits: int,
    rng: RandomState | None,
) -> NDArray[np.intp]:
    """Fold of each row, no group in two of them. (n, C), (n,) -> (n,).

    The largest group comes first, and each goes to the fold where the sum of the
    squared weights of the folds, relative to the mass of the class, grows least.
    """
    w, size = _with_unlabelled(w), np.bincount(group)
    weight = np.zeros((len(size), w.shape[1]))  # of each group
    np.add.at(weight, group, w)
    relative = _relative(weight, w.sum(axis=0))
    order = np.arange(len(size)) if rng is None else rng.permutation(len(size))
    held, n_held = np.zeros((n_splits, w.shape[1])), np.zeros(n_splits, dtype=np.intp)
    fold = np.empty(len(size), dtype=np.intp)
    for g in order[np.argsort(-size[order], kind="stable")]:
        f = np.lexsort((n_held, np.round(held @ weight[g], _DECIMALS)))[0]
        held[f] += relative[g]
        n_held[f] += size[g]
        fold[g] = f
    return fold[group]


def _with_unlabelled(w: NDArray[np.float64]) -> NDArray[np.float64]:
    """One more class, for the rows that may be any. (n, C) -> (n, C + 1)."""
    return np.column_stack([w, ~w.any(axis=1)])


def _relative(w: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights in units of the mass of the class. (m, C), (C,) -> (m, C)."""
    return w / np.where(mass > 0, mass, 1)


def _distinct_rows(w: NDArray[np.float64]) -> tuple[NDArray[np.intp], ...]:
    """First row of each kind (p,), kind of each row (n,), rows of each kind (p,)."""
    # As bytes: np.unique(axis=0) compares field by field, ten times as slowly.
    as_bytes = np.ascontiguousarray(w).view(f"S{w.itemsize * w.shape[1]}").ravel()
    _, *found = np.unique(
        as_bytes, return_index=True, return_inverse=True, return_counts=True
    )
    return tuple(found)


def _place(
    w: NDArray[np.float64],
    mass: NDArray[np.float64],
    parts: NDArray[np.intp],
    lack: NDArray[np.float64],
    room: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Part of each row, placed one by one. (m, C) -> (m,).

    Each row goes where the sum of lack^2 / size, over parts and classes, falls most.
    Rows for which there is no room make some parts larger, by one row each.
    """
    relative = _relative(w, mass)
    half = (w * relative).sum(axis=1) / 2
    size = parts * len(parts) / parts.sum()  # 1 if all are equal
    lack, room, n_larger = lack.copy(), room.copy(), len(w) - room.sum()
    part = np.empty(len(w), dtype=np.intp)
    for i in range(len(w)):
        closed = room + (n_larger > 0) <= 0
        fall = np.round((lack @ w[i] - half[i]) / size, _DECIMALS)
        p = np.lexsort((-room, -fall, closed))[0]
        lack[p] -= relative[i]
        room[p] -= 1
        n_larger -= room[p] < 0
        part[i] = p
    return part


def _rarest_first(
    w: NDArray[np.float64], mass: NDArray[np.float64], surest_first: bool
) -> NDArray[np.intp]:
    """Order of the rows by their rarest class; maybe the surest of it first. -> (m,).

    Rows without weights come before: while all parts have room, they part for sure.
    """
    by_mass = np.argsort(mass, kind="stable")
    rank = np.where(w.any(axis=1), (w[:, by_mass] > 0).argmax(axis=1), -1)
    if not surest_first:
        return np.argsort(rank, kind="stable")
    sureness = w[np.arange(len(w)), by_mass[rank]]
    return np.lexsort((-sureness, rank))


def _bring_classes(
    w: NDArray[np.float64], part: NDArray[np.intp], rng: RandomState
) -> None:
    """Swap rows until part 0 has a candidate of each class that several rows may be.

    As far as swaps of two rows, each of which wins more classes than it loses, can.
    Between equal ones, the rows that are most alike are swapped. Changes `part`.
    """
    has = w > 0
    wanted = has.sum(axis=0) > 1
    while True:
        n_held = has[part == 0].sum(axis=0)
        lost = wanted & (n_held == 0)
        if not lost.any():
            return
        come = rng.permutation(np.flatnonzero((part > 0) & has[:, lost].any(axis=1)))
        go = rng.permutation(np.flatnonzero(part == 0))
        last = has[go] & wanted & (n_held == 1)
        won = has[come][:, lost].sum(axis=1)[:, None] - (~has[come] * 1) @ last.T
        alike = w[come] @ w[go].T / 2  # less than 1
        c, g = np.unravel_index(np.argmax(won + alike), won.shape)
        if won[c, g] < 1:
            return
        part[[come[c], go[g]]] = part[[go[g], come[c]]]
