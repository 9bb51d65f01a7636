"""Transition matrices and refresh rules against closed forms and known flips."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

from sklabeldiff.core import transitions
from sklabeldiff.core.graph import (
    edge_weights,
    jaccard,
    nearest_neighbours,
    propagate,
)
from sklabeldiff.core.transitions import (
    CLIP,
    MIN_CLASS_ROWS,
    agreement,
    bayes_refresh,
    confident_rows,
    harden,
    has_collapsed,
    inverse_refresh,
    normalise_rows,
    row_transition,
    set_log_likelihood,
    set_transition,
    sharpen,
    uniform_beliefs,
)
from sklabeldiff.datasets import make_candidate_sets

N_CLASSES = 5
RATE = 0.3


@pytest.fixture
def flips():
    """True one-hot labels and candidate sets with uniform flips, 2000 rows."""
    y = np.arange(2000) % N_CLASSES
    Y = make_candidate_sets(y, "uniform", rate=RATE, random_state=0)
    return torch.eye(N_CLASSES, dtype=torch.float64)[y], torch.as_tensor(Y)


def random_beliefs(Y, seed=0, dtype=torch.float64):
    gen = torch.Generator().manual_seed(seed)
    weights = torch.rand(Y.shape, generator=gen, dtype=dtype) * Y
    return weights / weights.sum(1, keepdim=True)


def uniform_model(Y, dtype=torch.float64):
    return torch.full(Y.shape, 1 / Y.shape[1], dtype=dtype)


def closed_form_row_transition(dtype):
    """Expected Trow of uniform flips, (a - b) I + b 1 1', by summing over sizes."""
    others = N_CLASSES - 1
    sizes = np.arange(others + 1)
    choose = np.array([1, 4, 6, 4, 1])
    chance = choose * RATE**sizes * (1 - RATE) ** (others - sizes)
    a = (chance / (1 + sizes)).sum()
    b = (1 - a) / others
    return torch.full((N_CLASSES, N_CLASSES), b, dtype=dtype).fill_diagonal_(a)


def test_set_transition_finds_the_flip_rate(flips):  # check 10
    S, Y = flips
    T = set_transition(S, Y)
    assert torch.equal(T.diagonal(), torch.ones(N_CLASSES, dtype=T.dtype))
    off = T[~torch.eye(N_CLASSES, dtype=bool)]
    bound = 4 * (RATE * (1 - RATE) / (len(S) / N_CLASSES)) ** 0.5
    assert torch.all((off - RATE).abs() < bound)


def test_set_transition_has_no_seam_between_blocks(flips, monkeypatch):
    S, Y = flips[:2]
    whole = set_transition(S, Y)
    monkeypatch.setattr(transitions, "BLOCK_ROWS", 7)
    assert torch.equal(set_transition(S, Y), whole)


def test_row_transition_is_stochastic_and_dominated_by_its_diagonal(flips):  # check 10
    T = row_transition(*flips)
    assert_close(T.sum(1), torch.ones_like(T[0]), rtol=0, atol=1e-9)
    off = T.clone().fill_diagonal_(0)
    assert torch.all(T.diagonal() > off.amax(1))
    assert_close(T, closed_form_row_transition(T.dtype), rtol=0, atol=0.03)


def test_transitions_of_clean_singletons_are_the_identity():  # check 10
    S = torch.eye(N_CLASSES, dtype=torch.float64).repeat(400, 1)
    # The prior row puts 1 / 5 on each label; 400 rows outweigh it.
    assert_close(set_transition(S, S.bool()), S[:N_CLASSES], rtol=0, atol=1e-3)
    assert_close(row_transition(S, S.bool()), S[:N_CLASSES])


def test_rare_class_gets_the_average_row(flips):
    S, Y = flips
    few = int(MIN_CLASS_ROWS) - 1
    kept = torch.cat([torch.arange(few) * N_CLASSES, torch.nonzero(S[:, 0] == 0)[:, 0]])
    T = set_transition(S[kept], Y[kept])
    average = Y[kept][~Y[kept].all(1)].double().mean(0)
    assert_close(T[0, 1:], average[1:])
    assert T[0, 0] == 1


def test_hardened_beliefs_decide_the_transition(flips):
    _, Y = flips
    S = random_beliefs(Y)
    assert_close(set_transition(S, Y), set_transition(harden(S), Y))


def test_relabelling_classes_permutes_the_transitions(flips):  # check 3
    S, Y = flips
    order = torch.tensor([3, 0, 4, 1, 2])
    for transition in (set_transition, row_transition):
        T = transition(S, Y)
        permuted = transition(S[:, order], Y[:, order])
        assert_close(permuted, T[order][:, order], rtol=0, atol=1e-12)


def test_relabelling_classes_permutes_the_refreshes(flips):  # check 3
    _, Y = flips
    order = torch.tensor([3, 0, 4, 1, 2])
    S, P = random_beliefs(Y, 1), random_beliefs(torch.ones_like(Y), 2)
    T = set_transition(S, Y)
    R = bayes_refresh(S, P, Y, T, 0.3)
    permuted = bayes_refresh(
        S[:, order], P[:, order], Y[:, order], T[order][:, order], 0.3
    )
    assert_close(permuted, R[:, order], rtol=0, atol=1e-12)


def test_set_log_likelihood_is_the_sum_over_the_other_labels():
    T = torch.tensor([[1.0, 0.2, 0.7], [0.5, 1.0, 0.0], [0.1, 0.9, 1.0]])
    Y = torch.tensor([[True, False, True]])
    expected = [
        np.log(1 - 0.2) + np.log(0.7),
        np.log(0.5) + np.log(CLIP),
        np.log(0.1) + np.log(1 - 0.9),
    ]
    ll = set_log_likelihood(Y, T)
    assert_close(ll, torch.tensor([expected], dtype=torch.float32))


def test_inverse_says_nothing_under_uniform_flips(flips):  # check 11
    _, Y = flips
    T = closed_form_row_transition(torch.float64)
    Ybar = uniform_beliefs(Y).double()
    Ybar /= Ybar.sum(1, keepdim=True)
    V = Ybar @ torch.linalg.inv(T)
    spread = V.masked_fill(~Y, -np.inf).amax(1) - V.masked_fill(~Y, np.inf).amin(1)
    assert spread.max() < 1e-8
    # So the rule leaves all candidates equal where the model does. float32 beliefs.
    P = uniform_model(Y, torch.float32)
    R = inverse_refresh(random_beliefs(Y).float(), P, Y, T.float())
    assert_close(R, uniform_beliefs(Y), rtol=0, atol=1e-5)


def refreshes(S, P, Y):
    yield bayes_refresh(S, P, Y, set_transition(S, Y), 0.3)
    yield inverse_refresh(S, P, Y, row_transition(S, Y))


@pytest.mark.parametrize("seed", [0, 1])
def test_refreshed_beliefs_are_distributions_over_candidates(flips, seed):  # check 12
    _, Y = flips
    Y = Y.clone()
    Y[:50] = torch.eye(N_CLASSES, dtype=bool)[torch.arange(50) % N_CLASSES]
    S = random_beliefs(Y, dtype=torch.float32)
    P = random_beliefs(torch.ones_like(Y), seed, dtype=torch.float32)
    P[100:110] = torch.eye(N_CLASSES)[0]  # sure of a class that may be no candidate
    for R in refreshes(S, P, Y):
        assert_close(R.sum(1), torch.ones(len(R)), rtol=0, atol=1e-6)
        assert torch.all(R[~Y] == 0)
        assert torch.equal(R[:50], Y[:50].float())


def test_refresh_without_model_or_transition_keeps_the_best_candidate(  # check 12
    flips,
):
    _, Y = flips
    S = random_beliefs(Y)
    R = bayes_refresh(S, uniform_model(Y), Y, set_transition(S, Y), gamma=0.0)
    assert torch.equal(R.argmax(1), S.argmax(1))


def test_full_trust_and_flat_beliefs_give_the_exact_posterior():
    T = torch.tensor([[1, 0.9, 0.5], [0.2, 1, 0.5], [0, 0, 1]], dtype=torch.float64)
    Y = torch.tensor([[True, True, False]])
    flat = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    R = bayes_refresh(flat, flat, Y, T, gamma=1.0)
    assert_close(R, torch.tensor([[0.9, 0.2, 0.0]], dtype=torch.float64) / 1.1)


def test_rows_that_may_be_any_class_say_nothing(flips):
    S, Y = flips
    full = torch.ones((200, N_CLASSES), dtype=bool)
    believed = torch.eye(N_CLASSES, dtype=S.dtype)[torch.zeros(200, dtype=int)]
    T = set_transition(S, Y)
    assert_close(set_transition(torch.cat([S, believed]), torch.cat([Y, full])), T)
    assert torch.all(set_log_likelihood(full, T) == 0)
    assert torch.isfinite(set_transition(believed, full)).all()


def test_singular_row_transition_gives_finite_beliefs():  # check 12
    Y = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool)
    S = uniform_beliefs(Y)
    singular = torch.full((3, 3), 1 / 3)
    R = inverse_refresh(S, uniform_model(Y, torch.float32), Y, singular)
    assert torch.isfinite(R).all()
    assert_close(R.sum(1), torch.ones(3))


def test_reweighting_resolves_class_dependent_flips():  # check 13
    X, y = load_digits(return_X_y=True)
    before, after = [], []
    splits = StratifiedKFold(4, shuffle=True, random_state=0).split(X, y)
    for seed, (rows, _) in enumerate(splits):
        Z = StandardScaler().fit_transform(X[rows])
        Y = make_candidate_sets(y[rows], "pair", rate=0.9, random_state=seed)
        distances, neighbours = nearest_neighbours(Z, 10)
        W = edge_weights(distances, neighbours, jaccard(Y, neighbours))
        S = propagate(W, Y, Y / Y.sum(1, keepdims=True), 10)
        S, Y = torch.as_tensor(S), torch.as_tensor(Y)
        ll = set_log_likelihood(Y, set_transition(S, Y))
        tempered = S * torch.exp(0.3 * (ll - ll.amax(1, keepdim=True)))
        for result, beliefs in ((before, S), (after, tempered)):
            result.append(np.mean(beliefs.argmax(1).numpy() == y[rows]))
    # Measured: .988 before, 1.000 after.
    assert np.mean(after) >= 0.990
    assert np.mean(after) > np.mean(before) + 0.005


def test_zero_rows_fall_back():
    weights, fallback = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.eye(2)
    expected = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    assert torch.equal(normalise_rows(weights, fallback), expected)


def test_sharpened_beliefs_are_squares():
    S = torch.tensor([[0.75, 0.25, 0.0]])
    assert_close(sharpen(S), torch.tensor([[0.9, 0.1, 0.0]]))
    assert torch.equal(harden(S), torch.tensor([[1.0, 0.0, 0.0]]))


def test_confidence_is_judged_on_the_candidates():
    P = torch.tensor([[0.10, 0.01, 0.89], [0.5, 0.4, 0.1], [0.0, 0.0, 1.0]])
    Y = torch.tensor([[True, True, False]] * 3)
    assert confident_rows(P, Y, 0.9).tolist() == [True, False, False]


def test_agreement_counts_the_best_candidates():
    P = torch.tensor([[0.1, 0.0, 0.9], [0.2, 0.8, 0.0]])
    Y = torch.tensor([[True, True, False]] * 2)
    S = torch.tensor([[0.7, 0.3, 0.0], [0.7, 0.3, 0.0]])
    assert agreement(S, P, Y) == 0.5


def test_emptied_class_is_a_collapse():  # check 15
    before = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    assert has_collapsed(torch.tensor([[1.0, 0.0], [0.95, 0.05]]), before)
    assert not has_collapsed(torch.tensor([[1.0, 0.0], [0.85, 0.15]]), before)


def test_class_that_never_had_mass_is_no_collapse():  # check 15
    S = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert not has_collapsed(S, S)
