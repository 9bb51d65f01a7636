"""Wrong labels made from clean ones: the noise generators of the literature.

Each is a matrix T(x) of flip probabilities for every row, from which one label is
drawn. Candidate sets, which keep the true label, are made next door.
"""

# T   (n, C, C)  T_ij(x) = P(noisy label j | true class i, row x); rows sum to 1
# q   (n,)       flip rate of each row
# V   (C, p, C)  PartT's projections, one a true class
# P   (n, C)     annotator probabilities;  u, s  (n,) its two most probable classes

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import truncnorm
from sklearn.preprocessing import minmax_scale
from sklearn.utils import check_consistent_length

from sklabeldiff._parameters import checked_random_state
from sklabeldiff._rows import check_table
from sklabeldiff.datasets._candidates import _annotator_proba, _true_classes

_KINDS = ("symmetric", "pair", "parts", "pmd")
_RATE_SPREAD = 0.1  # standard deviation of PartT's flip rates, before truncation
_BLOCK_ROWS = 512
_TINY = 1e-9

Transition = Callable[[slice], NDArray[np.float64]]
Flip = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# Probability that s is taken for u, by their difference d in probability.
_PMD_FLIPS: dict[int, Flip] = {
    1: lambda d: (1 - d**2) / 2,
    2: lambda d: 1 - d**3,
    3: lambda d: 1 - (d + d**2 + d**3) / 3,
}


def make_noisy_labels(
    X: ArrayLike | None,
    y: ArrayLike,
    kind: Literal["symmetric", "pair", "parts", "pmd"] = "symmetric",
    *,
    rate: float,
    scale: Literal["unit"] | None = "unit",
    proba: ArrayLike | None = None,
    annotator: Any = None,
    pmd_type: Literal[1, 2, 3] = 1,
    return_transition: bool = False,
    random_state: int | RandomState | None = None,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.float64]]:
    r"""Replace some of the clean labels by wrong ones.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or None
        Features. Only "parts", and "pmd" without `proba`, read them.

    y : array-like of shape (n_samples,)
        The clean labels.

    kind : {"symmetric", "pair", "parts", "pmd"}, default="symmetric"
        Which label replaces which. The formulas are in the Notes.

        - "symmetric": any other, all alike.
        - "pair": the next class.
        - "parts": depends on the row; PartT of [1]_.
        - "pmd": near the border of two classes the one is taken for the other [2]_.

    rate : float
        In [0, 1]: the expected share of wrong labels, but the location of the rows'
        flip rates for "parts", whose mean is a little higher: .129, .206, .300 for .1,
        .2, .3. For "pmd" the share of rows that get their second most probable class.

    scale : {"unit"} or None, default="unit"
        For "parts": bring each column of `X` into [0, 1] first. With None, on raw
        pixels from 0 to 255, every row has a single flip target, as in the released
        code.

    proba : array-like of shape (n_samples, n_classes), default=None
        For "pmd": class probabilities of an annotator of your own.

    annotator : classifier, default=None
        For "pmd" without `proba`: trained on `X` and the clean labels; see
        `make_candidate_sets`.

    pmd_type : {1, 2, 3}, default=1
        Type of flip probability of "pmd".

    return_transition : bool, default=False
        Whether to return T(x) as well.

    random_state : int, RandomState instance or None, default=None
        The only source of randomness.

    Returns
    -------
    noisy : ndarray of shape (n_samples,)
        Labels of the type of `y`.
    transition : ndarray of shape (n_samples, n_classes, n_classes), dtype float64
        If `return_transition`: the probability of each label given each true class, in
        every row. Rows sum to 1.

    Raises
    ------
    ValueError
        If `kind` is unknown, `rate` is out of range, `y` is not one label a row, or
        features are needed and not given.

    See Also
    --------
    make_candidate_sets : Sets that keep the true label.

    Notes
    -----
    "parts": with :math:`q_i` from a normal distribution of location `rate` and
    deviation .1, truncated to [0, 1], and one :math:`V_c` with standard normal entries
    for each class c, a row of true class c keeps its label with probability
    :math:`1 - q_i`, and the rest is shared by a softmax of :math:`x_i^T V_c` over the
    other classes.

    "pmd": with :math:`\eta_u \ge \eta_s` the two largest probabilities of a row and
    :math:`d = \eta_u - \eta_s`, the label is u with probability
    :math:`\min(1, \kappa / c)`, and s otherwise, where :math:`1 - \kappa` is
    :math:`(1 - d^2) / 2`, :math:`1 - d^3` or :math:`1 - (d + d^2 + d^3) / 3` by
    `pmd_type`. The factor c is the one that gives `rate`; the released code asks for c
    itself. `y` only trains the annotator, so rows where u is another class are wrong
    already.

    References
    ----------
    .. [1] X. Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label
           Noise", NeurIPS 2020.
    .. [2] Y. Zhang et al., "Learning with Feature-Dependent Label Noise: A Progressive
           Approach", ICLR 2021.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} is not one of {', '.join(map(repr, _KINDS))}.")
    if pmd_type not in _PMD_FLIPS:
        raise ValueError(f"pmd_type={pmd_type!r} is not one of 1, 2, 3.")
    _check_rate(rate)
    try:
        n_dimensions = np.ndim(y)
    except ValueError as error:  # rows of several lengths
        raise ValueError("y holds collections: give one label a row.") from error
    if n_dimensions != 1:
        raise ValueError(f"y has {n_dimensions} dimensions: give one label a row.")
    codes, n_classes = _true_classes(y)
    rng = checked_random_state(random_state)
    if kind == "parts":
        transition = _parts(_features(X, codes, scale), n_classes, rate, rng)
    elif kind == "pmd":
        P = _annotator_proba(codes, n_classes, X, proba, annotator, rng)
        transition = _pmd(P, rate, _PMD_FLIPS[pmd_type])
    else:
        transition = _class_dependent(kind, n_classes, rate)

    draws = rng.random_sample(codes.size)
    noisy = np.empty_like(codes)
    tables = []
    for start in range(0, codes.size, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        T = transition(block)  # (b, C, C), or (C, C) for all rows
        T = np.broadcast_to(T, (len(codes[block]), n_classes, n_classes))
        own = T[np.arange(len(T)), codes[block]]
        noisy[block] = (own.cumsum(axis=1) < draws[block, None]).sum(axis=1)
        if return_transition:
            tables.append(T)
    # Rounding may leave a cumulative sum a little below 1.
    labels = np.unique(np.asarray(y))[noisy.clip(max=n_classes - 1)]
    return (labels, np.concatenate(tables)) if return_transition else labels


def _class_dependent(kind: str, n_classes: int, rate: float) -> Transition:
    """T of flips that depend on the class alone, the same for all rows."""
    stays = np.eye(n_classes)
    if kind == "pair":
        moves = np.roll(stays, 1, axis=1)
    else:
        moves = (1.0 - stays) / (n_classes - 1)
    T = (1 - rate) * stays + rate * moves
    return lambda block: T


def _parts(
    X: NDArray[np.float64], n_classes: int, rate: float, rng: RandomState
) -> Transition:
    """T of PartT. (n, p) -> function of a block."""
    n, p = X.shape
    low, high = -rate / _RATE_SPREAD, (1 - rate) / _RATE_SPREAD
    q = truncnorm.rvs(low, high, rate, _RATE_SPREAD, size=n, random_state=rng)
    if rate == 0:
        q = np.zeros(n)
    V = rng.standard_normal((n_classes, p, n_classes))
    stays = np.eye(n_classes, dtype=bool)

    def transition(block: slice) -> NDArray[np.float64]:
        logits = np.einsum("bp,cpj->bcj", X[block], V, optimize=True)
        logits[:, stays] = -np.inf
        flips = q[block, None, None]
        return np.where(stays, 1 - flips, flips * softmax(logits, axis=2))

    return transition


def _pmd(P: NDArray[np.float64], rate: float, flip: Flip) -> Transition:
    """T of PMD, the same row for every true class. (n, C) -> function of a block."""
    n, n_classes = P.shape
    P = P / P.sum(axis=1, keepdims=True)
    order = np.argsort(-P, axis=1, kind="stable")
    rows = np.arange(n)
    u, s = order[:, 0], order[:, 1]
    kappa = 1 - flip(P[rows, u] - P[rows, s])

    def excess(c: float) -> float:
        return np.minimum(1.0, kappa / c).mean() - (1 - rate)

    # The share that keeps u falls as c grows, and is at most 1 / c.
    c = brentq(excess, _TINY, 1 / (1 - rate)) if 0 < rate < 1 else _TINY
    keep = np.minimum(1.0, kappa / c) * (rate < 1)
    labels = np.zeros((n, n_classes))
    labels[rows, u] = keep
    labels[rows, s] = 1 - keep
    return lambda block: np.repeat(labels[block, None], n_classes, axis=1)


def _features(
    X: ArrayLike | None, codes: NDArray[np.intp], scale: str | None
) -> NDArray[np.float64]:
    """Features of "parts", in [0, 1] if asked for."""
    if X is None:
        raise ValueError(
            "kind='parts' needs X: which label replaces which depends on the row."
        )
    if scale not in ("unit", None):
        raise ValueError(f"scale={scale!r} is not 'unit' or None.")
    rows: NDArray[np.float64] = check_table(X, "X")
    check_consistent_length(rows, codes)
    return minmax_scale(rows) if scale == "unit" else rows


def _check_rate(rate: float) -> None:
    """Refuse what is no share."""
    if not isinstance(rate, Real) or isinstance(rate, bool):
        raise TypeError(f"rate={rate!r} must be a number from 0 to 1.")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate!r} must be a number from 0 to 1.")
