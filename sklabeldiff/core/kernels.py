"""Disambiguation by a kernel smoother that never looks at the row it judges.

A ridge regression of beliefs on kernel features answers for every training row
without that row's own label (leave-one-out, in closed form). Its answers, masked to
the candidates, become the next beliefs. What it says of a new row is the prior mean of
the diffusion, the part of the pretrained regressor in CARD. None of this is in the
DDMP paper.

    Z       (m, p)  landmarks, a sample of the training rows
    F       (n, m)  Nystroem features K(X, Z) K(Z, Z)^(-1/2), centred
    S       (n, C)  beliefs over candidates, rows sum to 1
    Y       (n, C)  candidate mask
    V       (n, C)  weight of each candidate, 1 for the heaviest of a row: Y, or given
    Ybar    (n, C)  rownorm(V), the beliefs to fall back to
    h       (n,)    leverage, the weight of a row's own label in its smoothed value
    pi      (C,)    mass each class is held to, mean Ybar
    T       (C, C)  set transition matrix of S;  P(Y_i | T)  (n, C)  of the sets

Smoothing:       A = F (F'F + ridge I)^-1 F' (S - mean S) + mean S
Leave-one-out:   A_i <- (A_i - h_i S_i) / (1 - h_i)
Balanced pass:   S_i <- rownorm( Y_i o max(A_i, 0) o pi / mean S )
Free pass:       S_i <- rownorm( Y_i o max(A_i, 0) o P(Y_i | T)^gamma )

The two differ in what they take distractors for. Balanced passes keep large classes
from swallowing small ones: right when distractors are themselves the truth of other
rows (the faces of one scene), wrong when they are drawn evenly over skewed classes.
Free passes let each class have distractors of its own; they start from hardened
beliefs, which drift less. Candidate sets do not tell which is right, so both are run
and their answers averaged. Kernel and ridge of each are those under which the candidate
sets of held-out rows are most likely: no true label is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from .rows import Rows
from .transitions import (
    harden,
    normalise_rows,
    set_log_likelihood,
    set_transition,
)

# Landmarks, and the entries of an n x m table above which there are fewer: 80 MB each.
# Of still larger tables a sample of rows is smoothed, and answers for the others.
N_LANDMARKS, MIN_LANDMARKS, MAX_ENTRIES = 600, 100, 2e7
MAX_ROWS = 100_000
BLOCK_ROWS = 16_384  # of which there are kernel values at a time
BLOCK_ENTRIES = 2**20  # of X at a time, where that is fewer rows: 4 MB
N_PASSES = 10
MIN_EIGENVALUE = 1e-6  # relative; smaller kernel directions are noise
MIN_FREEDOM = 1e-3  # 1 - h of a row that only its own label explains
MIN_MASS = 1e-6  # of a class that nobody believes in
MIN_ANSWER = 1e-3  # a ridge answers with numbers, not all of them probabilities
MAX_CUT = 0.1  # of very many classes all these together

# Widths g of exp(-g d2 / p) and exp(-g d1 / p), on standardised columns.
KERNELS = (
    ("gaussian", 0.1),
    ("gaussian", 0.5),
    ("laplacian", 0.3),
    ("laplacian", 1.5),
)
RIDGES = (0.03, 0.3)
Correction = Callable[[Tensor], Tensor]
# The search looks at a sample: for what it decides, more rows change nothing.
SEARCH_ROWS, SEARCH_LANDMARKS, SEARCH_HELD_OUT = 1500, 250, 1000
N_FOLDS = 5


@dataclass(frozen=True)
class KernelChoice:
    """One setting of the smoother."""

    kernel: str
    width: float
    ridge: float
    balanced: bool


def kernel_matrix(X: Tensor, Z: Tensor, kernel: str, width: float) -> Tensor:
    """Kernel values between rows. (n, p), (m, p) -> (n, m)."""
    if kernel == "laplacian":
        distance = torch.cdist(X, Z, p=1)
    else:
        distance = torch.cdist(X, Z).square_()
    return distance.mul_(-width / X.shape[1]).exp_()


def whitening(Z: Tensor, kernel: str, width: float) -> Tensor:
    """K_ZZ^(-1/2) without its null space. (m, p) -> (m, r)."""
    values, vectors = torch.linalg.eigh(kernel_matrix(Z, Z, kernel, width).double())
    keep = values > MIN_EIGENVALUE * values[-1]
    return (vectors[:, keep] / values[keep].sqrt()).to(Z.dtype)


def rows_at_once(n_columns: int) -> int:
    """Count the rows of X to look at together."""
    return max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // n_columns))


def kernel_features(
    X: Rows, rows: Tensor, Z: Tensor, white: Tensor, kernel: str, width: float
) -> Tensor:
    """F of some rows, uncentred. (n, p), (b,), (m, p), (m, r) -> (b, r)."""
    F = Z.new_empty((len(rows), white.shape[1]))
    step = rows_at_once(Z.shape[1])
    for some, f in zip(rows.split(step), F.split(step), strict=True):
        f.copy_(kernel_matrix(X[some], Z, kernel, width) @ white)
    return F


def fallback_beliefs(V: Tensor, like: Tensor) -> Tensor:
    """Ybar of some rows, in the precision of ``like``. (b, C) -> (b, C)."""
    V = V.to(like.dtype)
    return V / V.sum(1, keepdim=True)


def set_likelihood(Y: Tensor, T: Tensor, gamma: float) -> Tensor:
    """P(Y_i | T)^gamma of each class, largest 1. (n, C), (C, C) -> (n, C)."""
    ll = set_log_likelihood(Y, T)
    return torch.exp(gamma * (ll - ll.amax(1, keepdim=True)))


def learn_correction(
    S: Tensor, Y: Tensor, pi: Tensor, balanced: bool, gamma: float
) -> Correction:
    """Learn what a pass multiplies answers with from the beliefs before it.

    Of sets (b, C) it makes factors that broadcast to (b, C).
    """
    if balanced:
        factors = pi / S.mean(0).clamp(min=MIN_MASS)
        return lambda sets: factors
    T = set_transition(S, Y)
    return lambda sets: set_likelihood(sets, T, gamma)


def masked_beliefs(
    A: Tensor, Y: Tensor, Ybar: Tensor, correction: Correction
) -> Tensor:
    """Beliefs from a smoother's answers. (b, C) -> (b, C)."""
    return normalise_rows(Y * A.clamp(min=0) * correction(Y), Ybar)


class RidgeSmoother:
    """Ridge regression of beliefs on fixed features, for any ridge.

    Parameters
    ----------
    F : Tensor of shape (n, m)
        Features of the training rows. Overwritten.
    """

    def __init__(self, F: Tensor) -> None:
        self.centre = F.mean(0)
        F -= self.centre
        values, vectors = torch.linalg.eigh((F.T @ F).double())
        self.values = values.to(F.dtype).clamp(min=0)
        self.vectors = vectors.to(F.dtype)
        for f in F.split(BLOCK_ROWS):
            f.copy_(f @ self.vectors)
        self.scores = F  # (n, m)

    def coefficients(self, S: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights of the scores (m, C), and offset (C,)."""
        offset = S.mean(0)
        moments = self.scores.T @ (S - offset)
        return moments / (self.values + ridge)[:, None], offset

    def leverage(self, ridge: float) -> Tensor:
        """Share of each row in its own smoothed value. (n, 1)."""
        share = 1 / (self.values + ridge)
        h = torch.cat([f.square() @ share for f in self.scores.split(BLOCK_ROWS)])
        return (h + 1 / len(h))[:, None]

    def leave_one_out(self, S: Tensor, ridge: float, h: Tensor | None = None) -> Tensor:
        """Smoothed beliefs, each row answered without its own label. (n, C).

        ``h`` is `leverage` of this ridge, where it is known already.
        """
        weights, offset = self.coefficients(S, ridge)
        h = self.leverage(ridge) if h is None else h
        fitted = self.scores @ weights + offset
        return (fitted - h * S) / (1 - h).clamp(min=MIN_FREEDOM)

    def predictor(self, S: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights (m, C) and offset (C,) that answer for raw, uncentred features."""
        weights, offset = self.coefficients(S, ridge)
        weights = self.vectors @ weights
        return weights, offset - self.centre @ weights

    def disambiguate(
        self,
        S: Tensor,
        Y: Tensor,
        Ybar: Tensor,
        ridge: float,
        balanced: bool,
        gamma: float,
    ) -> Tensor:
        """Beliefs after ``N_PASSES`` passes of smoothing and masking. (n, C).

        ``gamma`` is the trust of the free passes in the set transition matrix.
        """
        pi, h = Ybar.mean(0), self.leverage(ridge)
        S = S if balanced else harden(S)
        for _ in range(N_PASSES):
            A = self.leave_one_out(S, ridge, h)
            correction = learn_correction(S, Y, pi, balanced, gamma)
            S = masked_beliefs(A, Y, Ybar, correction)
        return S


@dataclass(frozen=True)
class KernelBeliefs:
    """What the smoothers say of new rows, on average.

    Parameters
    ----------
    choices : list of KernelChoice
    landmarks : Tensor of shape (m, p)
    weights : Tensor of shape (n_choices, m, C)
    offset : Tensor of shape (n_choices, C)
    """

    choices: list[KernelChoice]
    landmarks: Tensor
    weights: Tensor
    offset: Tensor

    def answer(self, k: int, X: Tensor) -> Tensor:
        """Answers of one smoother for new rows. (b, p) -> (b, C)."""
        choice = self.choices[k]
        K = kernel_matrix(X, self.landmarks, choice.kernel, choice.width)
        return torch.addmm(self.offset[k], K, self.weights[k])

    def prior_mean(self, X: Tensor) -> Tensor:
        """Average the smoothers' answers for new rows. (b, p) -> (b, C)."""
        total = self.offset.sum(0)
        for choice, weights in zip(self.choices, self.weights, strict=True):
            K = kernel_matrix(X, self.landmarks, choice.kernel, choice.width)
            total = total + K @ weights
        return total / len(self.choices)


def landmarks_and_rows(
    X: Rows, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks (m, p), numbers of the rows to be smoothed, and of the others."""
    drawn = torch.randperm(len(X), generator=generator)
    n_landmarks = min(N_LANDMARKS, max(MIN_LANDMARKS, int(MAX_ENTRIES / len(X))))
    Z = X[drawn[:n_landmarks].to(X.device)]
    parts = drawn[:MAX_ROWS], drawn[MAX_ROWS:]
    smoothed, others = (rows.sort().values.to(X.device) for rows in parts)
    return Z, smoothed, others


def fit_kernel_beliefs(
    X: Rows,
    Y: Tensor,
    V: Tensor,
    S: Tensor,
    choices: list[KernelChoice],
    gamma: float,
    generator: torch.Generator,
) -> tuple[KernelBeliefs, Tensor, Tensor]:
    """Disambiguate by the chosen smoothers.

    Above ``MAX_ROWS`` rows a sample is smoothed. The others get its answers, which have
    not seen their labels, and one pass.

    Parameters
    ----------
    X : Tensor or StreamedRows of shape (n, p)
    Y : Tensor of shape (n, C), bool
    V : Tensor of shape (n, C), bool or float
    S : Tensor of shape (n, C)
        Beliefs to start from. Overwritten.
    choices : list of KernelChoice
    gamma : float
        Trust of the free passes in the set transition matrix.
    generator : torch.Generator
        Draws the landmarks.

    Returns
    -------
    fitted : KernelBeliefs
    S : Tensor of shape (n, C)
        The new beliefs, mean over the choices.
    prior : Tensor of shape (n, C)
        Leave-one-out answers for the training rows, their prior mean.
    """
    Z, numbers, others = landmarks_and_rows(X, generator)
    smoothed: slice | Tensor = numbers if len(others) else slice(None)  # spares a copy
    y = Y[smoothed]
    s = S[smoothed] if len(others) else S.clone()
    ybar = fallback_beliefs(V[smoothed], S)

    all_weights, all_offsets = [], []
    beliefs, prior = S.zero_(), torch.zeros_like(S)
    for choice in choices:
        white = whitening(Z, choice.kernel, choice.width)
        F = kernel_features(X, numbers, Z, white, choice.kernel, choice.width)
        smoother = RidgeSmoother(F)
        own = smoother.disambiguate(s, y, ybar, choice.ridge, choice.balanced, gamma)
        beliefs[smoothed] += own / len(choices)
        prior[smoothed] += smoother.leave_one_out(own, choice.ridge) / len(choices)
        weights, offset = smoother.predictor(own, choice.ridge)
        del F, smoother
        weights = white @ weights
        correction = learn_correction(own, y, ybar.mean(0), choice.balanced, gamma)
        for rows in others.split(rows_at_once(Z.shape[1])):
            A = kernel_matrix(X[rows], Z, choice.kernel, choice.width) @ weights
            A += offset
            fallback = fallback_beliefs(V[rows], S)
            found = masked_beliefs(A, Y[rows], fallback, correction)
            beliefs[rows] += found / len(choices)
            prior[rows] += A / len(choices)
        all_weights.append(weights)
        all_offsets.append(offset)
    fitted = KernelBeliefs(
        choices, Z, torch.stack(all_weights), torch.stack(all_offsets)
    )
    # One more division: an average of rows that sum to 1 is off by a rounding error.
    beliefs /= beliefs.sum(1, keepdim=True)
    return fitted, beliefs, prior


def held_out_folds(n: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Masks of held-out rows: every fold, or as many as give enough rows."""
    fold = torch.randperm(n, generator=generator) % N_FOLDS
    enough = -(-N_FOLDS * SEARCH_HELD_OUT // n)
    for k in range(min(N_FOLDS, enough)):
        yield fold == k


def held_out_likelihood(
    X: Tensor,
    Y: Tensor,
    Ybar: Tensor,
    S: Tensor,
    gamma: float,
    generator: torch.Generator,
) -> dict[KernelChoice, float]:
    """How likely the candidate sets of held-out rows are under each choice.

    (n, p), (n, C) bool, (n, C), (n, C) -> sum over rows of
    log sum_q P(true class q | x) P(Y | q, T), for each choice over the same rows.
    """
    folds = [fold.to(X.device) for fold in held_out_folds(len(X), generator)]
    total: dict[KernelChoice, float] = {}
    for kernel, width in KERNELS:
        Z = X[:SEARCH_LANDMARKS]
        F = kernel_matrix(X, Z, kernel, width) @ whitening(Z, kernel, width)
        for out in folds:
            kept = ~out
            smoother = RidgeSmoother(F[kept])
            for ridge, balanced in product(RIDGES, (True, False)):
                beliefs = smoother.disambiguate(
                    S[kept], Y[kept], Ybar[kept], ridge, balanced, gamma
                )
                weights, offset = smoother.predictor(beliefs, ridge)
                T = set_transition(beliefs, Y[kept])
                answer = F[out] @ weights + offset
                choice = KernelChoice(kernel, width, ridge, balanced)
                found = candidate_log_likelihood(answer, Y[out], T)
                total[choice] = total.get(choice, 0.0) + found
    return total


def min_answer(n_classes: int) -> float:
    """Least probability that an answer stands for."""
    return min(MIN_ANSWER, MAX_CUT / n_classes)


def candidate_log_likelihood(answer: Tensor, Y: Tensor, T: Tensor) -> float:
    """Sum over rows of the log-likelihood of their candidate sets. (n, C) x2, (C, C).

    Answers become probabilities by cutting them at `min_answer`.
    """
    p = answer.clamp(min=min_answer(answer.shape[1]))
    joint = (p / p.sum(1, keepdim=True)).log() + set_log_likelihood(Y, T)
    # The true class is a candidate; a class outside the set is ruled out.
    return joint.where(Y, -torch.inf).logsumexp(1).double().sum().item()


def choose_kernels(
    X: Rows,
    Y: Tensor,
    V: Tensor,
    S: Tensor,
    gamma: float,
    generator: torch.Generator,
) -> list[KernelChoice]:
    """Choose kernel and ridge, balanced and free, by the likelihood of held-out sets.

    Parameters
    ----------
    X : Tensor or StreamedRows of shape (n, p)
        Standardised rows.
    Y : Tensor of shape (n, C), bool
    V : Tensor of shape (n, C), bool or float
    S : Tensor of shape (n, C)
        Beliefs to start from.
    gamma : float
        Trust of the free passes in the set transition matrix.
    generator : torch.Generator
        Draws the sample of rows and the folds.
    """
    rows = torch.randperm(len(X), generator=generator)[:SEARCH_ROWS].to(X.device)
    Ybar = fallback_beliefs(V[rows], S)
    likelihood = held_out_likelihood(X[rows], Y[rows], Ybar, S[rows], gamma, generator)
    return best_choices(likelihood)


def best_choices(likelihood: dict[KernelChoice, float]) -> list[KernelChoice]:
    """Likeliest settings of balanced passes, and of free ones."""

    def best(balanced: bool) -> KernelChoice:
        choices = [choice for choice in likelihood if choice.balanced == balanced]
        return max(choices, key=likelihood.__getitem__)

    return [best(True), best(False)]
