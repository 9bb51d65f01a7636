"""The leave-one-out kernel smoother against brute force."""

import inspect

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core import kernels
from sklabeldiff.core.kernels import (
    MIN_ANSWER,
    MIN_FREEDOM,
    KernelChoice,
    RidgeSmoother,
    candidate_log_likelihood,
    choose_kernels,
    fit_kernel_beliefs,
    held_out_folds,
    held_out_likelihood,
    kernel_matrix,
    whitening,
)
from sklabeldiff.core.transitions import (
    harden,
    normalise_rows,
    set_log_likelihood,
    set_transition,
)

RIDGE, GAMMA = 0.3, 0.3
CHOICE = KernelChoice("gaussian", 1.0, RIDGE, True)


@pytest.fixture
def problem(generator):
    """Features, beliefs and candidate sets of 40 rows, float64."""
    F = torch.randn((40, 6), generator=generator, dtype=torch.float64) + 1
    Y = torch.rand((40, 4), generator=generator) < 0.5
    Y[torch.arange(40), torch.arange(40) % 4] = True
    S = torch.rand((40, 4), generator=generator, dtype=torch.float64) * Y
    return F, S / S.sum(1, keepdim=True), Y


def ridge_answer(F, S, new, ridge):
    """Ridge regression with a free offset, written out. (n, m), (n, C), (b, m)."""
    centre, offset = F.mean(0), S.mean(0)
    Fc = F - centre
    gram = Fc.T @ Fc + ridge * torch.eye(F.shape[1], dtype=F.dtype)
    weights = torch.linalg.solve(gram, Fc.T @ (S - offset))
    return (new - centre) @ weights + offset


@pytest.mark.parametrize("ridge", [0.03, 0.3, 10.0])
def test_leave_one_out_equals_refitting_without_the_row(problem, ridge):
    F, S, _ = problem
    found = RidgeSmoother(F.clone()).leave_one_out(S, ridge)
    for i in range(len(F)):
        rest = torch.arange(len(F)) != i
        expected = ridge_answer(F[rest], S[rest], F[i], ridge)
        assert_close(found[i], expected, rtol=0, atol=1e-9)


def test_leave_one_out_never_looks_at_the_row_itself(problem):
    F, S, _ = problem
    smoother = RidgeSmoother(F.clone())
    changed = S.clone()
    changed[7] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    before, after = (smoother.leave_one_out(b, RIDGE) for b in (S, changed))
    assert_close(after[7], before[7], rtol=0, atol=1e-9)
    assert not torch.allclose(after[8], before[8])


def test_leverage_is_the_diagonal_of_the_smoothing_matrix(problem):
    F, _, _ = problem
    everyone = torch.eye(len(F), dtype=F.dtype)
    hat = ridge_answer(F, everyone, F, RIDGE)
    h = RidgeSmoother(F.clone()).leverage(RIDGE)
    assert_close(h[:, 0], hat.diagonal())


def test_predictor_repeats_the_fitted_values(problem):
    F, S, _ = problem
    weights, offset = RidgeSmoother(F.clone()).predictor(S, RIDGE)
    assert_close(F @ weights + offset, ridge_answer(F, S, F, RIDGE))


def test_row_that_only_its_own_label_explains_stays_finite():
    F = torch.eye(5, dtype=torch.float64)
    found = RidgeSmoother(F).leave_one_out(torch.eye(5, dtype=torch.float64), 1e-12)
    assert torch.isfinite(found).all()


def test_leverage_is_never_taken_for_all(problem):
    F, S, _ = problem
    smoother = RidgeSmoother(F.clone())
    fitted = ridge_answer(F, S, F, RIDGE)
    everything = torch.ones((len(F), 1), dtype=F.dtype)
    found = smoother.leave_one_out(S, RIDGE, everything)
    assert_close(found, (fitted - S) / MIN_FREEDOM)
    assert 0 < MIN_FREEDOM < 0.01


@pytest.mark.parametrize("balanced", [True, False])
def test_beliefs_are_distributions_over_candidates(problem, balanced):  # check 1
    F, S, Y = problem
    Ybar = Y / Y.sum(1, keepdim=True)
    found = RidgeSmoother(F).disambiguate(S, Y, Ybar, RIDGE, balanced, GAMMA)
    assert_close(found.sum(1), torch.ones(40, dtype=F.dtype), rtol=0, atol=1e-6)
    assert torch.all(found[~Y] == 0)
    assert torch.all(found >= 0)


def test_single_candidates_stay_one_hot(problem):  # check 1
    F, _, Y = problem
    Y = torch.cat([torch.eye(4, dtype=bool), Y[4:]])
    Ybar = Y / Y.sum(1, keepdim=True, dtype=F.dtype)
    found = RidgeSmoother(F).disambiguate(Ybar, Y, Ybar, RIDGE, True, GAMMA)
    assert torch.equal(found[:4], torch.eye(4, dtype=F.dtype))


def test_duplicated_rows_give_finite_beliefs(blobs, generator):  # check 1
    X = torch.zeros_like(blobs.X)
    _, S, prior = fit_kernel_beliefs(
        X, blobs.Y, blobs.Ybar, blobs.Ybar.clone(), [CHOICE], GAMMA, generator
    )
    assert torch.isfinite(prior).all()
    assert_close(S.sum(1), torch.ones(len(S)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("balanced", [True, False])
def test_class_that_nobody_believes_in_stays_finite(problem, balanced):
    F, _, Y = problem
    S = Y.to(F.dtype)
    S[:, 0] = 0
    S /= S.sum(1, keepdim=True).clamp(min=1)
    pi = torch.full((4,), 0.25, dtype=F.dtype)
    factors = kernels.learn_correction(S, Y, pi, balanced, GAMMA)(Y)
    assert torch.isfinite(factors).all()
    assert torch.all(factors >= 0)


@pytest.mark.parametrize("balanced", [True, False])
def test_relabelling_classes_permutes_the_beliefs(problem, balanced):  # check 3
    F, S, Y = problem
    Ybar = Y / Y.sum(1, keepdim=True, dtype=F.dtype)
    order = torch.tensor([2, 0, 3, 1])
    smoother = RidgeSmoother(F)
    found = smoother.disambiguate(S, Y, Ybar, RIDGE, balanced, GAMMA)
    permuted = smoother.disambiguate(
        S[:, order], Y[:, order], Ybar[:, order], RIDGE, balanced, GAMMA
    )
    assert_close(permuted, found[:, order], rtol=0, atol=1e-10)


def skewed_problem():
    """A large and a small class that overlap, every row ambiguous. pi is even."""
    gen = torch.Generator().manual_seed(0)
    y = (torch.arange(120) % 6 == 0).long()
    X = torch.randn((120, 2), generator=gen) + y[:, None]
    Y = torch.ones((120, 2), dtype=bool)
    start = torch.nn.functional.one_hot(y, 2).float() * 0.2 + 0.4
    return X, Y, Y / 2.0, start


def test_balanced_passes_keep_the_class_masses():
    X, Y, Ybar, S = skewed_problem()
    smoother = RidgeSmoother(kernel_matrix(X, X[:50], "gaussian", 1.0))
    off = {
        balanced: (
            smoother.disambiguate(S, Y, Ybar, RIDGE, balanced, GAMMA).mean(0)
            - Ybar.mean(0)
        )
        .abs()
        .max()
        for balanced in (True, False)
    }
    assert off[True] < 0.05
    assert off[True] < off[False] / 2


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_kernel_matrix_is_its_formula(kernel, generator):
    X, Z = torch.randn((2, 5, 3), generator=generator, dtype=torch.float64)
    difference = X[:, None] - Z
    distance = (
        difference.abs().sum(-1) if kernel == "laplacian" else (difference**2).sum(-1)
    )
    expected = torch.exp(-0.7 * distance / 3)
    assert_close(kernel_matrix(X, Z, kernel, 0.7), expected)


def test_whitened_features_reproduce_the_kernel(generator):
    Z = torch.randn((20, 3), generator=generator, dtype=torch.float64)
    Z = torch.cat([Z, Z[:3]])  # duplicates: a null space
    K = kernel_matrix(Z, Z, "gaussian", 1.0)
    F = K @ whitening(Z, "gaussian", 1.0)
    assert F.shape[1] <= 20
    assert_close(F @ F.T, K, rtol=0, atol=1e-5)  # directions below 1e-6 are left out


def test_prior_mean_leaves_one_out_in_training_and_not_after(blobs, generator):
    fitted, S, prior = fit_kernel_beliefs(
        blobs.X, blobs.Y, blobs.Ybar, blobs.Ybar.clone(), [CHOICE], GAMMA, generator
    )
    white = whitening(fitted.landmarks, "gaussian", 1.0)
    F = kernel_matrix(blobs.X, fitted.landmarks, "gaussian", 1.0) @ white
    h = RidgeSmoother(F).leverage(RIDGE)
    answer = fitted.prior_mean(blobs.X)
    # float32, divided by 1 - h.
    assert_close((answer - h * S) / (1 - h), prior, rtol=0, atol=1e-3)
    assert torch.equal(prior.argmax(1), blobs.y)
    assert torch.equal(S.argmax(1), blobs.y)


@pytest.mark.parametrize("balanced", [True, False])
def test_rows_beyond_the_sample_are_answered_as_new_ones(blobs, monkeypatch, balanced):
    choice = KernelChoice("gaussian", 1.0, RIDGE, balanced)

    def fit(rows, seed):
        gen = torch.Generator().manual_seed(seed)
        tables = (blobs.X, blobs.Y, blobs.Ybar, blobs.Ybar.clone())
        tables = (table[rows] for table in tables)
        return fit_kernel_beliefs(*tables, [choice], GAMMA, gen)

    monkeypatch.setattr(kernels, "MAX_ROWS", 60)
    monkeypatch.setattr(kernels, "BLOCK_ROWS", 7)
    fitted, S, prior = fit(slice(None), 3)
    drawn = torch.randperm(90, generator=torch.Generator().manual_seed(3))
    sample, others = drawn[:60].sort().values, drawn[60:]
    assert_close(prior[others], fitted.prior_mean(blobs.X[others]))
    assert not torch.allclose(prior[sample], fitted.prior_mean(blobs.X[sample]))
    if balanced:
        correction = blobs.Ybar[sample].mean(0) / S[sample].mean(0)
    else:
        T = set_transition(S[sample], blobs.Y[sample])
        ll = set_log_likelihood(blobs.Y[others], T)
        correction = torch.exp(GAMMA * ll)
    expected = blobs.Y[others] * prior[others].clamp(min=0) * correction
    expected /= expected.sum(1, keepdim=True)
    assert_close(S[others], expected, rtol=0, atol=1e-5)
    assert_close(S.sum(1), torch.ones(90))
    assert torch.all(S[~blobs.Y] == 0)
    assert torch.equal(S.argmax(1), blobs.y)
    # The sample is as it would be alone, but for the landmarks.
    monkeypatch.setattr(kernels, "MAX_ROWS", 100)
    _, alone, _ = fit(sample, 0)
    assert_close(S[sample], alone, rtol=0, atol=1e-3)


@pytest.mark.parametrize("sampled", [90, 60])
def test_weights_are_what_beliefs_fall_back_to(blobs, monkeypatch, sampled):
    monkeypatch.setattr(kernels, "MAX_ROWS", sampled)
    # Answers that are never positive leave nothing to believe but the weights.
    monkeypatch.setattr(
        kernels, "masked_beliefs", lambda A, Y, Ybar, correction: Ybar.clone()
    )
    V = torch.where(blobs.truth > 0, 1.0, 0.25) * blobs.Y
    gen = torch.Generator().manual_seed(0)
    _, S, _ = fit_kernel_beliefs(
        blobs.X, blobs.Y, V, blobs.Ybar.clone(), [CHOICE], GAMMA, gen
    )
    assert_close(S, V / V.sum(1, keepdim=True))


def test_several_choices_are_averaged(blobs):
    choices = [CHOICE, KernelChoice("laplacian", 0.3, 0.03, False)]

    def fit(choices):
        gen = torch.Generator().manual_seed(0)
        fitted, S, prior = fit_kernel_beliefs(
            blobs.X, blobs.Y, blobs.Ybar, blobs.Ybar.clone(), choices, GAMMA, gen
        )
        return fitted.prior_mean(blobs.X), S, prior

    apart = [fit([choice]) for choice in choices]
    for both, first, second in zip(fit(choices), *apart, strict=True):
        assert_close(both, (first + second) / 2, rtol=0, atol=1e-5)


def test_free_passes_weigh_answers_by_the_likelihood_of_the_sets(problem, monkeypatch):
    monkeypatch.setattr(kernels, "N_PASSES", 1)
    F, S, Y = problem
    Ybar = Y / Y.sum(1, keepdim=True, dtype=F.dtype)
    smoother = RidgeSmoother(F)
    hard = harden(S)
    ll = set_log_likelihood(Y, set_transition(hard, Y))
    A = smoother.leave_one_out(hard, RIDGE).clamp(min=0)
    expected = Y * A * torch.exp(0.7 * ll)
    total = expected.sum(1, keepdim=True)
    expected = torch.where(total > 0, expected / total, Ybar)
    found = smoother.disambiguate(S, Y, Ybar, RIDGE, balanced=False, gamma=0.7)
    assert_close(found, expected)


def confused_pairs(n=300):
    """Overlapping blobs; most rows of a class have the next class as a candidate."""
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 4
    angle = y * torch.pi / 2
    X = torch.stack([angle.cos(), angle.sin()], 1)
    X = X + 0.6 * torch.randn((n, 2), generator=gen)
    Y = torch.nn.functional.one_hot(y, 4).bool()
    rows = torch.rand(n, generator=gen) < 0.9
    Y[rows, (y[rows] + 1) % 4] = True
    return X, y, Y, Y / Y.sum(1, keepdim=True)


def test_trust_in_the_transition_resolves_confused_pairs():
    X, y, Y, Ybar = confused_pairs()
    smoother = RidgeSmoother(kernel_matrix(X, X[:100], "gaussian", 0.5))
    start = normalise_rows(Y * smoother.leave_one_out(Ybar, RIDGE), Ybar)
    share_right = {}
    for gamma in (0.0, GAMMA):
        S = smoother.disambiguate(start, Y, Ybar, RIDGE, False, gamma)
        share_right[gamma] = (S.argmax(1) == y).double().mean()
    # Measured: .757 and .970.
    assert share_right[GAMMA] > share_right[0.0] + 0.1


def test_unlabelled_rows_do_not_draw_each_other_into_a_class():
    X, y, Y, _ = confused_pairs()
    Y = torch.nn.functional.one_hot(y, 4).bool()
    gen = torch.Generator().manual_seed(1)
    Y[torch.rand(len(Y), generator=gen) < 0.8] = True
    Ybar = Y / Y.sum(1, keepdim=True)
    smoother = RidgeSmoother(kernel_matrix(X, X[:100], "gaussian", 0.5))
    with_trust, without = (
        smoother.disambiguate(Ybar, Y, Ybar, RIDGE, False, gamma)
        for gamma in (1.0, 0.0)
    )
    assert_close(with_trust, without)


def test_choice_knows_no_true_labels():
    for function, weights in ((choose_kernels, "V"), (held_out_likelihood, "Ybar")):
        assert list(inspect.signature(function).parameters) == [
            *("X", "Y", weights, "S", "gamma", "generator")
        ]


def test_choice_repeats_with_its_generator(blobs):
    tensors = (blobs.X, blobs.Y, blobs.Ybar, blobs.Ybar)
    first, second = (
        choose_kernels(*tensors, GAMMA, torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert first == second
    assert [choice.balanced for choice in first] == [True, False]


def test_candidate_log_likelihood_is_its_formula():
    T = torch.tensor([[1.0, 0.2, 0.7], [0.5, 1.0, 0.4], [0.1, 0.9, 1.0]])
    Y = torch.tensor([[True, False, True], [False, True, False]])
    answer = torch.tensor([[0.6, 0.1, 0.3], [1.2, 0.4, -0.1]])
    low = MIN_ANSWER
    expected = np.log(
        0.6 * (1 - 0.2) * 0.7 + 0.3 * 0.1 * (1 - 0.9)  # true class 0, or 2
    ) + np.log(0.4 / (1.6 + low) * (1 - 0.5) * (1 - 0.4))
    assert candidate_log_likelihood(answer, Y, T) == pytest.approx(expected, rel=1e-5)


def test_likelihood_prefers_a_kernel_that_sees_the_classes(blobs, generator):
    tensors = (blobs.Y, blobs.Ybar, blobs.Ybar)
    noise = torch.randn(blobs.X.shape, generator=generator)
    seeing, blind = (
        held_out_likelihood(X, *tensors, GAMMA, generator) for X in (blobs.X, noise)
    )
    assert max(blind.values()) < max(seeing.values()) - 0.3 * len(blobs.X)


def test_folds_hold_out_every_row_once(generator):
    held = torch.stack(list(held_out_folds(23, generator)))
    assert torch.equal(held.sum(0), torch.ones(23, dtype=int))
    assert np.ptp(held.sum(1).numpy()) <= 1
