"""The kernel smoothers of `kernels`, for candidate sets that are lists.

Same formulas, same draws from the generator: only what a smoother answers for the
candidates is worked out, never a table n x C. The prior mean of training rows, which
has a column for each class, is made anew for the rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from .kernels import (
    KERNELS,
    MIN_FREEDOM,
    MIN_MASS,
    N_PASSES,
    RIDGES,
    SEARCH_LANDMARKS,
    SEARCH_ROWS,
    KernelBeliefs,
    KernelChoice,
    RidgeSmoother,
    best_choices,
    held_out_folds,
    kernel_features,
    kernel_matrix,
    landmarks_and_rows,
    min_answer,
    whitening,
)
from .listed_transitions import (
    ListedTransition,
    set_log_likelihood,
    set_transition,
    tempered_likelihood,
)
from .lists import GATHERED, CandidateLists
from .rows import Rows


def fallback_beliefs(V: Tensor | None, lists: CandidateLists) -> Tensor:
    """Ybar: equal belief in every candidate, or what weights say. (e,)."""
    return lists.uniform() if V is None else V / lists.total(V)[lists.rows]


@dataclass(frozen=True)
class _Correction:
    """What a pass multiplies answers with, learnt from the beliefs before it."""

    factors: Tensor | None
    T: ListedTransition | None
    gamma: float

    @classmethod
    def learn(
        cls, S: Tensor, lists: CandidateLists, pi: Tensor, balanced: bool, gamma: float
    ) -> _Correction:
        if balanced:
            mass = lists.class_mean(S).clamp(min=MIN_MASS)
            return cls(pi / mass, None, gamma)
        return cls(None, set_transition(S, lists), gamma)

    def __call__(self, lists: CandidateLists) -> Tensor:
        """Factors of the entries. (e,)."""
        if self.T is not None:
            return tempered_likelihood(lists, self.T, self.gamma)
        assert self.factors is not None
        return self.factors[lists.classes]


class ListedSmoother:
    """Ridge regression of listed beliefs on fixed features, for any ridge.

    Parameters
    ----------
    smoother : RidgeSmoother
        Of the features of the rows.
    lists : CandidateLists
        Of the same rows.
    """

    def __init__(self, smoother: RidgeSmoother, lists: CandidateLists) -> None:
        self.smoother, self.lists = smoother, lists
        self.total = smoother.scores.sum(0)

    def coefficients(self, S: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights of the scores (C, m), and offset (C,)."""
        offset = self.lists.class_mean(S)
        moments = self.lists.moments(self.smoother.scores, S)
        moments -= offset[:, None] * self.total
        return moments / (self.smoother.values + ridge), offset

    def leave_one_out(self, S: Tensor, ridge: float, h: Tensor) -> Tensor:
        """Smoothed beliefs, each row answered without its own label. (e,).

        ``h`` (n,) is the leverage of the rows.
        """
        weights, offset = self.coefficients(S, ridge)
        fitted = self.lists.answers(self.smoother.scores, weights)
        fitted += offset[self.lists.classes]
        h = h[self.lists.rows]
        return (fitted - h * S) / (1 - h).clamp(min=MIN_FREEDOM)

    def predictor(self, S: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights (C, m) and offset (C,) that answer for raw, uncentred features."""
        weights, offset = self.coefficients(S, ridge)
        weights = weights @ self.smoother.vectors.T
        return weights, offset - weights @ self.smoother.centre

    def disambiguate(
        self, S: Tensor, Ybar: Tensor, ridge: float, balanced: bool, gamma: float
    ) -> Tensor:
        """Beliefs after ``N_PASSES`` passes of smoothing and masking. (e,)."""
        lists = self.lists
        pi, h = lists.class_mean(Ybar), self.smoother.leverage(ridge)[:, 0]
        S = S if balanced else lists.hardened(S)
        for _ in range(N_PASSES):
            A = self.leave_one_out(S, ridge, h)
            correction = _Correction.learn(S, lists, pi, balanced, gamma)
            S = lists.normalised(A.clamp(min=0) * correction(lists), Ybar)
        return S


@dataclass(frozen=True)
class LeaveOneOutPrior:
    """Prior means of training rows: what the smoothers say without their own labels.

    Parameters
    ----------
    fitted : KernelBeliefs
    lists : CandidateLists
    leverage : Tensor of shape (n_choices, n)
        Of each row in its own smoothed value; 0 of rows that no smoother has seen.
    beliefs : Tensor of shape (n_choices, e)
        What each smoother came to believe.
    """

    fitted: KernelBeliefs
    lists: CandidateLists
    leverage: Tensor
    beliefs: Tensor

    def rows(self, rows: Tensor, c: Tensor) -> Tensor:
        """Prior means of some rows, given their features. (b,), (b, p) -> (b, C)."""
        lists, entries = self.lists.select(rows)
        total = c.new_zeros((len(rows), self.lists.n_classes))
        for k in range(len(self.beliefs)):
            A = self.fitted.answer(k, c)
            h = self.leverage[k, rows]
            own = h[lists.rows] * self.beliefs[k, entries]
            A[lists.rows, lists.classes] -= own
            total += A / (1 - h).clamp(min=MIN_FREEDOM)[:, None]
        return total / len(self.beliefs)


def fit_kernel_beliefs(
    X: Rows,
    lists: CandidateLists,
    V: Tensor | None,
    S: Tensor,
    choices: list[KernelChoice],
    gamma: float,
    generator: torch.Generator,
) -> tuple[KernelBeliefs, Tensor, LeaveOneOutPrior]:
    """Disambiguate by the chosen smoothers. See `kernels.fit_kernel_beliefs`.

    (n, p), lists of n rows, (e,), (e,) -> smoothers, new beliefs (e,), prior means.
    """
    Z, smoothed, others = landmarks_and_rows(X, generator)
    few, entries = lists.select(smoothed)
    s, ybar = S[entries], fallback_beliefs(V, lists)
    beliefs = S.new_zeros((len(choices), len(S)))
    leverage = S.new_zeros((len(choices), len(lists)))
    all_weights, all_offsets = [], []
    for k, choice in enumerate(choices):
        white = whitening(Z, choice.kernel, choice.width)
        F = kernel_features(X, smoothed, Z, white, choice.kernel, choice.width)
        smoother = RidgeSmoother(F)
        listed = ListedSmoother(smoother, few)
        own = listed.disambiguate(
            s, ybar[entries], choice.ridge, choice.balanced, gamma
        )
        beliefs[k, entries] = own
        leverage[k, smoothed] = smoother.leverage(choice.ridge)[:, 0]
        weights, offset = listed.predictor(own, choice.ridge)
        correction = _Correction.learn(
            own, few, few.class_mean(ybar[entries]), choice.balanced, gamma
        )
        del F, smoother, listed
        all_weights.append((weights @ white.T).T)
        all_offsets.append(offset)
        if len(others):
            fitted = KernelBeliefs([choice], Z, all_weights[-1][None], offset[None])
            _answer_others(X, fitted, lists, others, ybar, correction, beliefs[k])
    fitted = KernelBeliefs(
        choices, Z, torch.stack(all_weights), torch.stack(all_offsets)
    )
    mean = beliefs.mean(0)
    mean /= lists.total(mean)[lists.rows]
    return fitted, mean, LeaveOneOutPrior(fitted, lists, leverage, beliefs)


def _answer_others(
    X: Rows,
    fitted: KernelBeliefs,
    lists: CandidateLists,
    others: Tensor,
    ybar: Tensor,
    correction: _Correction,
    beliefs: Tensor,
) -> None:
    """Write beliefs about rows that were not smoothed: answers, and one pass."""
    for rows in others.split(max(1, GATHERED // lists.n_classes)):
        some, entries = lists.select(rows)
        A = some.taken(fitted.prior_mean(X[rows]))
        found = A.clamp(min=0) * correction(some)
        beliefs[entries] = some.normalised(found, ybar[entries])


def choose_kernels(
    X: Rows,
    lists: CandidateLists,
    V: Tensor | None,
    S: Tensor,
    gamma: float,
    generator: torch.Generator,
) -> list[KernelChoice]:
    """Choose kernel and ridge by the likelihood of held-out sets.

    See `kernels.choose_kernels`.
    """
    drawn = torch.randperm(len(X), generator=generator)[:SEARCH_ROWS]
    rows = drawn.to(lists.ends.device)
    few, entries = lists.select(rows)
    Ybar = fallback_beliefs(V, lists)[entries]
    x, s = X[rows], S[entries]
    likelihood: dict[KernelChoice, float] = {}
    folds = [fold.to(x.device) for fold in held_out_folds(len(x), generator)]
    for kernel, width in KERNELS:
        Z = x[:SEARCH_LANDMARKS]
        F = kernel_matrix(x, Z, kernel, width) @ whitening(Z, kernel, width)
        for out in folds:
            kept, mine = few.select(~out)
            held, _ = few.select(out)
            listed = ListedSmoother(RidgeSmoother(F[~out]), kept)
            for ridge, balanced in product(RIDGES, (True, False)):
                beliefs = listed.disambiguate(
                    s[mine], Ybar[mine], ridge, balanced, gamma
                )
                weights, offset = listed.predictor(beliefs, ridge)
                T = set_transition(beliefs, kept)
                choice = KernelChoice(kernel, width, ridge, balanced)
                found = candidate_log_likelihood(F[out], weights, offset, held, T)
                likelihood[choice] = likelihood.get(choice, 0.0) + found
    return best_choices(likelihood)


def candidate_log_likelihood(
    F: Tensor, W: Tensor, offset: Tensor, lists: CandidateLists, T: ListedTransition
) -> float:
    """Sum over rows of the log-likelihood of their candidate sets, given features.

    (b, m), (C, m), (C,). Answers become probabilities by cutting them from below.
    """
    least = min_answer(lists.n_classes)
    total = torch.cat(
        [
            torch.addmm(offset, f, W.T).clamp(min=least).sum(1)
            for f in F.split(max(1, GATHERED // lists.n_classes))
        ]
    )
    p = (lists.answers(F, W) + offset[lists.classes]).clamp(min=least)
    joint = (p / total[lists.rows]).log() + set_log_likelihood(lists, T)
    largest = lists.largest(joint)
    rest = lists.total(torch.exp(joint - largest[lists.rows]))
    return (largest + rest.log()).double().sum().item()
