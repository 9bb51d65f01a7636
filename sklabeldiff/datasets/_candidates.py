"""Candidate sets made from clean labels: the three generators of the literature.

A generator is a matrix of confusion weights and one rate: the weights say which wrong
labels may enter a row, the rate how often. Noise that removes the true label is not
made here.
"""

# P   (n, C)   annotator probabilities
# W   (n, C)   confusion weights, 0 at the true class; label j enters row i with
#              probability min(1, rate * W_ij)

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_consistent_length

from sklabeldiff._parameters import checked_random_state
from sklabeldiff._rows import check_table
from sklabeldiff.targets import encode_candidates

_KINDS = ("uniform", "pair", "instance")
# The default annotator is stopped early on purpose: a converged one is so sure of the
# labels it was trained on that only one or two wrong labels keep any weight.
_ANNOTATOR_WIDTHS = (64, 64)
_ANNOTATOR_EPOCHS = 20


def make_candidate_sets(
    y: ArrayLike,
    kind: Literal["uniform", "pair", "instance"] = "uniform",
    *,
    rate: float,
    X: ArrayLike | None = None,
    proba: ArrayLike | None = None,
    annotator: Any = None,
    ensure_partial: bool = False,
    random_state: int | RandomState | None = None,
) -> NDArray[np.bool_]:
    r"""Surround clean labels with wrong ones: candidate sets with a known truth.

    The true class is always a candidate. Every wrong label :math:`j` enters row
    :math:`i` independently, with a probability that `kind` and `rate` fix.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_classes)
        The clean labels: any form that :func:`~sklabeldiff.targets.encode_candidates`
        reads, with one class in every row. One label a row as a rule; a one-hot
        matrix may have columns of classes that do not occur.

    kind : {"uniform", "pair", "instance"}, default="uniform"
        Which wrong labels enter. The formulas are in the Notes.

        - "uniform": all alike.
        - "pair": for every class one fixed other class, the next one.
        - "instance": those that an annotator confuses with the true class *in this
          row*. Needs `X` or `proba`. The hardest of the three, and the most real.

    rate : float
        How many wrong labels enter: a probability in [0, 1] for "uniform" and "pair",
        the factor of equation (4) of the Notes, any number >= 0, for "instance".
        0 leaves the true label alone.

    X : array-like of shape (n_samples, n_features), default=None
        Features from which an annotator is trained. Only "instance" reads it.

    proba : array-like of shape (n_samples, n_classes), default=None
        What an annotator of your own thinks of every row: probabilities or
        non-negative weights such as counts of votes, columns as in the result. Rows
        need not sum to 1. Use it in place of `X` for a model trained elsewhere or for
        out-of-fold probabilities. Only "instance" reads it.

    annotator : classifier, default=None
        A scikit-learn classifier with ``predict_proba``; a clone of it is trained on
        `X` and the class indices. ``None`` stands for standardised columns and a
        multi-layer perceptron of two hidden layers of 64 units, stopped after 20
        epochs; on fewer than about 200 rows that is hardly trained, so bring your own.
        Only "instance" reads it.

    ensure_partial : bool, default=False
        Whether a row that no wrong label entered gets one after all, drawn in
        proportion to the confusion weights. With ``rate=0`` every row then has exactly
        two candidates.

    random_state : int, RandomState instance or None, default=None
        The only source of randomness. It also seeds the annotator where that left its
        own ``random_state`` at None.

    Returns
    -------
    candidates : ndarray of shape (n_samples, n_classes), dtype=bool
        The candidate sets, columns in the order of ``np.unique(y)`` or, for a one-hot
        `y`, in its own.

    Raises
    ------
    ValueError
        If `kind` is unknown, `rate` is out of range, a row of `y` has not exactly one
        class, `y` has fewer than two classes, or an "instance" has neither `X` nor
        `proba` or both.

    See Also
    --------
    load_pll : Real sets, among them clean ones to be used with this function.

    Notes
    -----
    With :math:`C` classes and true class :math:`y_i`, the label :math:`j \neq y_i`
    enters with probability

    .. math::

        \text{uniform:}\quad & \text{rate} \\
        \text{pair:}\quad & \text{rate} \cdot 1[j = (y_i + 1) \bmod C] \\
        \text{instance:}\quad & \min\Bigl(1,\;
            C \cdot \text{rate} \cdot \frac{P_{ij}}{1 - P_{i y_i}}\Bigr)
            \qquad (4)

    so that a row has on average ``1 + (C - 1) * rate``, ``1 + rate`` and at most
    ``1 + C * rate`` candidates. (4) is what the released code of [1]_ and [2]_ computes
    in several steps; the papers use a rate of 1 with 10 classes and .05 to .1 with 37
    to 102. A wrong label with at least ``1 / (C * rate)`` of the wrong mass is always a
    candidate, and a row whose annotator leaves no mass to wrong labels stays alone.
    Like the papers' annotators the default one is trained on the clean labels of the
    rows that it then confuses. On scikit-learn's digits it gives these averages:

    ======== ==== ==== ==== ====
    rate       .1   .3   .5  1.0
    set size  2.0  3.2  3.9  4.9
    ======== ==== ==== ==== ====

    A row may end with every class: with probability ``rate ** (C - 1)`` for "uniform".
    It says nothing then, but is legal; ``candidates.all(axis=1)`` finds such rows.

    With the same seed the sets of a smaller rate are subsets of those of a larger one,
    and an annotator gives the same sets as its probabilities do.

    References
    ----------
    .. [1] R. Zhao, B. Shi, K. Sun, B. Dong, "Mitigating Instance Entanglement in
           Instance-Dependent Partial Label Learning", CVPR 2026, arXiv:2603.04825.
    .. [2] D.-D. Wu, D.-B. Wang, M.-L. Zhang, "Distilling Reliable Knowledge for
           Instance-Dependent Partial Label Learning", AAAI 2024.

    Examples
    --------
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> make_candidate_sets(["cat", "dog", "eel"], "pair", rate=1)
    array([[ True,  True, False],
           [False,  True,  True],
           [ True, False,  True]])

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> candidates = make_candidate_sets(y, "instance", rate=0.3, X=X, random_state=0)
    >>> candidates.shape, bool(candidates[range(150), y].all())
    ((150, 3), True)
    """
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} is not one of {', '.join(map(repr, _KINDS))}.")
    _check_rate(rate, kind)
    codes, n_classes = _true_classes(y)
    rng = checked_random_state(random_state)
    # Drawn first, so that an annotator and its probabilities give the same sets.
    draws = rng.random_sample((codes.size, n_classes))

    if kind == "instance":
        P = _annotator_proba(codes, n_classes, X, proba, annotator, rng)
        W = _instance_weights(P, codes)
    elif kind == "pair":
        W = np.eye(n_classes)[(codes + 1) % n_classes]
    else:
        W = 1.0 - np.eye(n_classes)[codes]  # (n, C)

    candidates = draws < rate * W  # 1 and above: certain
    rows = np.arange(codes.size)
    candidates[rows, codes] = True
    if ensure_partial:
        alone = rows[candidates.sum(axis=1) == 1]
        drawn = _draw_wrong_label(W[alone], codes[alone], rng)
        candidates[alone, drawn] = True
    return candidates


def _instance_weights(
    P: NDArray[np.float64], codes: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Weights C * P_ij / (1 - P_iy), 0 at y. (n, C), (n,) -> (n, C). Eq. 4."""
    W = P.copy()
    W[np.arange(codes.size), codes] = 0.0
    # The sum is 1 - P_iy without its cancellation, and lets P be unnormalised.
    wrong_mass = W.sum(axis=1, keepdims=True)
    np.divide(W, wrong_mass, out=W, where=wrong_mass > 0)
    return W * W.shape[1]


def _draw_wrong_label(
    W: NDArray[np.float64], codes: NDArray[np.intp], rng: RandomState
) -> NDArray[np.intp]:
    """One wrong label a row, in proportion to its weight. (m, C), (m,) -> (m,)."""
    unknown = W.sum(axis=1) == 0  # no wrong label has weight: all are alike
    W = np.where(unknown[:, None], 1.0 - np.eye(W.shape[1])[codes], W)
    # The first to ring of exponential clocks with rates w_j is j with probability
    # w_j / sum(w): one draw for all rows, no loop.
    ringing = np.full(W.shape, np.inf)
    np.divide(rng.standard_exponential(W.shape), W, out=ringing, where=W > 0)
    return ringing.argmin(axis=1)


def _annotator_proba(
    codes: NDArray[np.intp],
    n_classes: int,
    X: ArrayLike | None,
    proba: ArrayLike | None,
    annotator: Any,
    rng: RandomState,
) -> NDArray[np.float64]:
    """Weights of the given or of a newly trained annotator. -> (n, C)."""
    if (X is None) == (proba is None):
        given = "neither" if X is None else "both"
        raise ValueError(
            f"kind='instance' got {given} of X and proba. Give X to have an annotator "
            "trained, or proba with what an annotator of yours thinks of each row."
        )
    if proba is None:
        return _train_annotator(codes, n_classes, X, annotator, rng)
    P = check_table(proba, "proba")
    if P.shape != (codes.size, n_classes):
        raise ValueError(
            f"proba has shape {P.shape}; y asks for {(codes.size, n_classes)}: one row "
            "for each label and one column for each class."
        )
    negative = np.flatnonzero((P < 0).any(axis=1))
    if negative.size:
        row = negative[0]
        raise ValueError(
            f"proba holds {P[row].min():g} in row {row}. Give probabilities or "
            "other non-negative weights; turn logits into probabilities first."
        )
    return P


def _train_annotator(
    codes: NDArray[np.intp],
    n_classes: int,
    X: ArrayLike | None,
    annotator: Any,
    rng: RandomState,
) -> NDArray[np.float64]:
    """Train an annotator on clean labels and ask it about the same rows. -> (n, C)."""
    check_consistent_length(codes, X)
    occurring = np.unique(codes)
    P = np.zeros((codes.size, n_classes))
    if annotator is not None:
        model = _seeded_clone(annotator, rng).fit(X, codes)
        P[:, occurring] = model.predict_proba(X)
        return P
    features = StandardScaler().fit_transform(check_table(X, "X"))
    model = MLPClassifier(_ANNOTATOR_WIDTHS, random_state=_draw_seed(rng))
    # Epoch by epoch: stopping early is meant, and fit would warn of it.
    for _ in range(_ANNOTATOR_EPOCHS):
        model.partial_fit(features, codes, classes=occurring)
    P[:, occurring] = model.predict_proba(features)
    return P


def _seeded_clone(estimator: Any, rng: RandomState) -> Any:
    """Clone with a seed wherever a ``random_state``, nested too, was left at None."""
    copy = clone(estimator)
    seeds = {
        name: _draw_seed(rng)
        for name, value in sorted(copy.get_params().items())
        if name.split("__")[-1] == "random_state" and value is None
    }
    return copy.set_params(**seeds)


def _draw_seed(rng: RandomState) -> int:
    """Seed for one estimator."""
    return int(rng.randint(2**31 - 1))


def _check_rate(rate: float, kind: str) -> None:
    """Refuse what is no rate of this kind."""
    upper, allowed = (
        (np.inf, "a finite number >= 0")
        if kind == "instance"
        else (1, "a number from 0 to 1")
    )
    if not isinstance(rate, Real) or isinstance(rate, bool):
        raise TypeError(f"rate={rate!r} must be {allowed} for kind={kind!r}.")
    if not (0 <= rate <= upper and np.isfinite(rate)):
        raise ValueError(f"rate={rate!r} must be {allowed} for kind={kind!r}.")


def _true_classes(y: Any) -> tuple[NDArray[np.intp], int]:
    """Class index of every row and the number of classes. -> (n,), C."""
    Y, _ = encode_candidates(y)
    several = np.flatnonzero((Y > 0).sum(axis=1) != 1)
    if several.size:
        raise ValueError(
            f"row {several[0]} of y has {(Y[several[0]] > 0).sum()} possible classes. "
            "Candidate sets are made from one true label a row: drop the rows "
            "where it is missing or in doubt."
        )
    if Y.shape[1] < 2:
        raise ValueError("y holds one class. Candidate sets need at least two.")
    return Y.argmax(axis=1), Y.shape[1]
