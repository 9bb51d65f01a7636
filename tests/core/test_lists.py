"""Candidate lists against the dense tables that they stand for."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch.testing import assert_close

from sklabeldiff.core import (
    graph,
    kernels,
    label_diffusion,
    listed_graph,
    listed_kernels,
    lists,
    transitions,
)
from sklabeldiff.core import listed_transitions as listed
from sklabeldiff.core.kernels import KernelChoice
from sklabeldiff.core.label_diffusion import (
    LabelDiffusion,
    LabelDiffusionTraining,
    LabelScale,
    RefreshRule,
)
from sklabeldiff.core.listed_diffusion import ListedDiffusionTraining
from sklabeldiff.core.lists import CandidateLists
from sklabeldiff.core.process import GaussianProcess
from sklabeldiff.core.schedules import cosine_schedule

N, C, P = 120, 30, 4
GAMMA = 0.3
CHOICES = [
    KernelChoice("gaussian", 0.5, 0.3, True),
    KernelChoice("laplacian", 0.3, 0.03, False),
]


@pytest.fixture
def problem():
    """Rows near 30 centres, up to five candidates each, a few rows with all."""
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(N) % C
    X = torch.randn((C, P), generator=gen)[y]
    X = X + 0.3 * torch.randn((N, P), generator=gen)
    Y = torch.rand((N, C), generator=gen) < 0.08
    Y[torch.arange(N), y] = True
    Y[::40] = True
    S = torch.rand((N, C), generator=gen) * Y
    other = torch.rand((N, C), generator=gen)
    sparse = csr_array(Y.numpy())
    return SimpleNamespace(
        X=X,
        y=y,
        Y=Y,
        S=S / S.sum(1, keepdim=True),
        P=other / other.sum(1, keepdim=True),
        Ybar=Y.float() / Y.sum(1, keepdim=True),
        sparse=sparse,
        lists=CandidateLists.of(sparse, torch.device("cpu")),
    )


def of(problem, table):
    """Entries of a dense table."""
    return table[problem.Y]


def many_blocks(monkeypatch):
    """Let a few numbers be all that fits into memory."""
    for module in (lists, listed, listed_kernels, listed_graph):
        if hasattr(module, "GATHERED"):
            monkeypatch.setattr(module, "GATHERED", 64)


# -- rows and classes ------------------------------------------------------------------


def test_entries_are_those_of_the_mask(problem):
    assert_close(problem.lists.taken(problem.S), of(problem, problem.S))
    rows, classes = problem.Y.nonzero(as_tuple=True)
    assert_close(problem.lists.rows, rows)
    assert_close(problem.lists.classes, classes)
    assert len(problem.lists) == N


def test_rows_and_classes_are_summed_as_in_a_table(problem):
    v, S = of(problem, problem.S), problem.S
    assert_close(problem.lists.total(v), S.sum(1))
    assert_close(problem.lists.largest(v), S.amax(1))
    assert_close(problem.lists.by_class(v), S.double().sum(0))
    assert_close(problem.lists.class_mean(v), S.mean(0))


def test_best_is_the_first_of_equals(problem):
    best = problem.lists.classes[problem.lists.best(of(problem, problem.S))]
    assert_close(best, problem.S.argmax(1))
    ties = problem.Y.float()
    best = problem.lists.classes[problem.lists.best(of(problem, ties))]
    assert_close(best, ties.argmax(1))


def test_beliefs_are_made_as_in_a_table(problem):
    v, found = of(problem, problem.S), problem.lists
    assert_close(found.uniform(), of(problem, problem.Ybar))
    assert_close(found.sharpened(v), of(problem, transitions.sharpen(problem.S)))
    assert_close(found.hardened(v), of(problem, transitions.harden(problem.S)))
    weights = problem.S.clone()
    weights[3] = 0
    expected = transitions.normalise_rows(weights, problem.Ybar)
    entries = found.normalised(of(problem, weights), found.uniform())
    assert_close(entries, of(problem, expected))


@pytest.mark.parametrize("mask", [False, True])
def test_some_rows_are_lists_again(problem, mask):
    rows = torch.tensor([7, 0, 41, 7]) if not mask else torch.arange(N) % 3 == 0
    some, entries = problem.lists.select(rows)
    expected = problem.S[rows]
    assert_close(some.taken(expected), of(problem, problem.S)[entries])
    assert_close(problem.lists.dense(of(problem, problem.S), rows), expected)


@pytest.mark.parametrize("blocks", ["one", "many"])
def test_products_are_those_of_a_table(problem, blocks, monkeypatch):
    if blocks == "many":
        many_blocks(monkeypatch)
    F = torch.randn((N, 6), generator=torch.Generator().manual_seed(1))
    W = torch.randn((C, 6), generator=torch.Generator().manual_seed(2))
    v = of(problem, problem.S)
    assert_close(problem.lists.moments(F, v), problem.S.T @ F)
    assert_close(problem.lists.answers(F, W), of(problem, F @ W.T))


@pytest.mark.parametrize("blocks", ["one", "many"])
def test_pairs_are_all_of_each_row(problem, blocks, monkeypatch):
    if blocks == "many":
        many_blocks(monkeypatch)
    first, second = map(torch.cat, zip(*problem.lists.pairs(), strict=True))
    rows = problem.lists.rows
    assert_close(rows[first], rows[second])
    expected = {
        (i, j)
        for row in range(N)
        for i in (rows == row).nonzero().ravel().tolist()
        for j in (rows == row).nonzero().ravel().tolist()
    }
    assert len(first) == len(expected)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected


# -- the graph -------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", ["one", "many"])
def test_graph_beliefs_are_those_of_a_table(problem, blocks, monkeypatch):
    if blocks == "many":
        many_blocks(monkeypatch)
    distances, neighbours = graph.nearest_neighbours(problem.X.double(), 7)
    J = graph.jaccard(problem.Y.numpy(), neighbours)
    np.testing.assert_allclose(listed_graph.jaccard(problem.sparse, neighbours), J)
    W = graph.edge_weights(distances, neighbours, J)
    Ybar = problem.Ybar.double()
    expected = graph.propagate(W, problem.Y.numpy(), Ybar.numpy(), 5)
    found = listed_graph.propagate(W, problem.sparse, of(problem, Ybar).numpy(), 5)
    np.testing.assert_allclose(found, expected[problem.Y.numpy()], atol=1e-12)


def test_rows_without_neighbours_keep_their_beliefs(problem):
    W = csr_array((N, N))
    Ybar = of(problem, problem.Ybar.double()).numpy()
    np.testing.assert_allclose(
        listed_graph.propagate(W, problem.sparse, Ybar, 3), Ybar, atol=1e-12
    )


# -- transitions -----------------------------------------------------------------------


def as_matrix(T):
    """Every entry of a listed matrix."""
    i, j = torch.meshgrid(torch.arange(C), torch.arange(C), indexing="ij")
    return T.at(i.ravel(), j.ravel()).reshape(C, C).fill_diagonal_(1.0)


@pytest.fixture(params=["some", "most"])
def believed(request, problem):
    """Beliefs, with few rows in some classes or in most."""
    if request.param == "most":
        return problem.S
    truth = torch.nn.functional.one_hot(problem.y % 9, C) * problem.Y
    return transitions.normalise_rows(truth.float(), problem.Ybar)


def test_set_transition_is_that_of_a_table(problem, believed):
    expected = transitions.set_transition(believed.double(), problem.Y)
    T = listed.set_transition(of(problem, believed), problem.lists)
    assert_close(as_matrix(T), expected)
    sparse = T.array()
    table = torch.as_tensor(sparse.toarray()).double()
    seen = table > 0
    assert_close(table[seen], expected[seen].float().double())
    assert_close(sparse.diagonal(), np.ones(C, dtype=np.float32))
    assert seen.sum() < C * C


@pytest.mark.parametrize("blocks", ["one", "many"])
def test_log_likelihood_is_that_of_a_table(problem, believed, blocks, monkeypatch):
    if blocks == "many":
        many_blocks(monkeypatch)
    T = transitions.set_transition(believed.double(), problem.Y)
    expected = transitions.set_log_likelihood(problem.Y, T)
    found = listed.set_transition(of(problem, believed), problem.lists)
    found = listed.set_log_likelihood(problem.lists, found)
    assert_close(found, of(problem, expected), atol=1e-9, rtol=1e-9)


def test_matrix_of_rows_that_say_nothing(problem):
    full = torch.ones((5, C), dtype=torch.bool)
    found = CandidateLists.of(csr_array(full.numpy()), torch.device("cpu"))
    T = listed.set_transition(found.uniform(), found)
    assert not len(T.keys)
    assert (T.at(torch.tensor([0, 1]), torch.tensor([1, 2])) == 0).all()
    assert (listed.set_log_likelihood(found, T) == 0).all()
    assert T.array().nnz == C


def test_refresh_rules_are_those_of_a_table(problem):
    S, P0 = (of(problem, table) for table in (problem.S, problem.P))
    T = transitions.set_transition(problem.S, problem.Y)
    expected = transitions.bayes_refresh(problem.S, problem.P, problem.Y, T, GAMMA)
    T = listed.set_transition(S, problem.lists)
    found = listed.bayes_refresh(S, P0, problem.lists, T, GAMMA)
    assert_close(found, of(problem, expected), atol=1e-5, rtol=1e-4)
    T = transitions.row_transition(problem.S, problem.Y)
    expected = transitions.inverse_refresh(problem.S, problem.P, problem.Y, T)
    found = listed.inverse_refresh(S, P0, S, problem.lists)
    assert_close(found, of(problem, expected), atol=1e-4, rtol=1e-3)


def test_inverting_a_huge_matrix_is_refused(problem, monkeypatch):
    monkeypatch.setattr(listed, "MAX_INVERTED", C - 1)
    S = problem.lists.uniform()
    with pytest.raises(ValueError, match=r"30 x 30; it takes up to 29.*'bayes'"):
        listed.inverse_refresh(S, S, S, problem.lists)


def test_guards_are_those_of_a_table(problem):
    S, P0 = (of(problem, table) for table in (problem.S, problem.P))
    gate = 0.4
    expected = transitions.confident_rows(problem.P, problem.Y, gate)
    assert 0 < expected.sum() < N
    assert_close(listed.confident_rows(P0, problem.lists, gate), expected)
    expected = transitions.agreement(problem.S, problem.P, problem.Y)
    assert listed.agreement(S, P0, problem.lists) == pytest.approx(expected)
    expected = label_diffusion.mean_entropy(problem.S)
    assert listed.mean_entropy(S, N) == pytest.approx(expected, rel=1e-5)
    for column, collapses in ((problem.S[:, 0] * 0.09, True), (problem.S[:, 0], False)):
        after = problem.S.clone()
        after[:, 0] = column
        assert transitions.has_collapsed(after, problem.S) == collapses
        found = listed.has_collapsed(of(problem, after), S, problem.lists)
        assert found == collapses


# -- kernels ---------------------------------------------------------------------------


def test_kernel_beliefs_are_those_of_a_table(problem, monkeypatch):
    monkeypatch.setattr(kernels, "N_LANDMARKS", 50)
    parts = (CHOICES, GAMMA)
    fitted, S, prior = kernels.fit_kernel_beliefs(
        *(problem.X, problem.Y, problem.Y, problem.S.clone(), *parts),
        torch.Generator().manual_seed(0),
    )
    found, v, rows = listed_kernels.fit_kernel_beliefs(
        *(problem.X, problem.lists, None, of(problem, problem.S), *parts),
        torch.Generator().manual_seed(0),
    )
    assert_close(v, of(problem, S), atol=1e-4, rtol=1e-3)
    assert_close(found.weights, fitted.weights, atol=1e-3, rtol=1e-3)
    assert_close(found.offset, fitted.offset, atol=1e-4, rtol=1e-3)
    some = torch.tensor([5, 0, 80])
    made = rows.rows(some, problem.X[some])
    assert_close(made, prior[some], atol=1e-3, rtol=1e-3)


def test_rows_that_are_not_smoothed_get_answers(problem, monkeypatch):
    monkeypatch.setattr(kernels, "MAX_ROWS", 70)
    monkeypatch.setattr(kernels, "N_LANDMARKS", 40)
    many_blocks(monkeypatch)
    _, S, prior = kernels.fit_kernel_beliefs(
        *(problem.X, problem.Y, problem.Y, problem.S.clone(), CHOICES, GAMMA),
        torch.Generator().manual_seed(0),
    )
    _, v, rows = listed_kernels.fit_kernel_beliefs(
        *(problem.X, problem.lists, None, of(problem, problem.S), CHOICES, GAMMA),
        torch.Generator().manual_seed(0),
    )
    assert_close(v, of(problem, S), atol=1e-4, rtol=1e-3)
    every = torch.arange(N)
    assert_close(rows.rows(every, problem.X), prior, atol=1e-3, rtol=1e-3)


def test_weights_count_as_in_a_table(problem):
    V = problem.Y * (1 + torch.arange(C)) / C
    ybar = kernels.fallback_beliefs(V, problem.S)
    found = listed_kernels.fallback_beliefs(of(problem, V), problem.lists)
    assert_close(found, of(problem, ybar))


def test_the_same_kernels_are_chosen(problem, monkeypatch):
    monkeypatch.setattr(kernels, "SEARCH_ROWS", 100)
    monkeypatch.setattr(listed_kernels, "SEARCH_ROWS", 100)
    expected = kernels.choose_kernels(
        *(problem.X, problem.Y, problem.Y, problem.S, GAMMA),
        torch.Generator().manual_seed(0),
    )
    found = listed_kernels.choose_kernels(
        *(problem.X, problem.lists, None, of(problem, problem.S), GAMMA),
        torch.Generator().manual_seed(0),
    )
    assert found == expected


@pytest.mark.parametrize("blocks", ["one", "many"])
def test_likelihood_of_held_out_sets_is_that_of_a_table(problem, blocks, monkeypatch):
    if blocks == "many":
        many_blocks(monkeypatch)
    gen = torch.Generator().manual_seed(3)
    F, W = torch.randn((N, 6), generator=gen), torch.randn((C, 6), generator=gen)
    offset = torch.rand(C, generator=gen)
    T = transitions.set_transition(problem.S, problem.Y)
    expected = kernels.candidate_log_likelihood(F @ W.T + offset, problem.Y, T)
    T = listed.set_transition(of(problem, problem.S), problem.lists)
    found = listed_kernels.candidate_log_likelihood(F, W, offset, problem.lists, T)
    assert found == pytest.approx(expected, rel=1e-5)


def test_least_answers_of_many_classes_are_no_large_share():
    assert kernels.min_answer(100) == kernels.MIN_ANSWER
    assert 10_000 * kernels.min_answer(10_000) == pytest.approx(0.1)


# -- training --------------------------------------------------------------------------


class Teller:
    """Stands for a denoiser: it answers with the truth, halfway from the prior mean."""

    def __init__(self, problem):
        self.problem = problem

    def label_distribution(self, c, f):
        rows = (c[:, None] == self.problem.X).all(-1).float().argmax(1)
        return 0.5 * self.problem.P[rows] + 0.5 * f.softmax(1)


class Still:
    """Stands for a trainer whose weights stay."""

    module = torch.nn.Linear(1, 1)
    averaged: dict = {}  # noqa: RUF012
    n_epochs = 7


@pytest.mark.parametrize("kind", ["bayes", "inverse"])
def test_refresh_is_that_of_a_table(problem, kind, monkeypatch):
    rule = RefreshRule(kind, gamma=GAMMA, eta=0.5, gate=0.0)
    prior = listed_kernels.fit_kernel_beliefs(
        *(problem.X, problem.lists, None, of(problem, problem.S), CHOICES, GAMMA),
        torch.Generator().manual_seed(0),
    )[2]
    f = prior.rows(torch.arange(N), problem.X)
    common = Teller(problem), lambda loss: Still()
    table = LabelDiffusionTraining(
        *common, problem.S, problem.X, f, problem.Y, "sharp", rule
    )
    found = ListedDiffusionTraining(
        *common,
        *(of(problem, problem.S), problem.X, prior, problem.lists, "sharp", rule),
    )
    table.refresh()
    found.refresh()
    assert_close(found.progress.S, of(problem, table.progress.S), atol=1e-4, rtol=1e-3)
    assert not torch.equal(found.progress.S, of(problem, problem.S))
    (ours,), (theirs,) = found.progress.history, table.progress.history
    assert ours.pop("entropy") == pytest.approx(theirs.pop("entropy"), rel=1e-3)
    assert ours == theirs
    assert ours["refreshed"]


def test_batches_are_those_of_a_table(problem):
    rule = RefreshRule(None, GAMMA, 0.5, 0.9)
    found = ListedDiffusionTraining(
        *(None, lambda loss: Still(), of(problem, problem.S), problem.X, None),
        *(problem.lists, "sharp", rule),
    )
    rows = torch.tensor([80, 3])
    S, c, f = found.batch(rows)
    assert_close(S, problem.S[rows])
    assert_close(c, problem.X[rows])
    assert_close(f, torch.zeros((2, C)))


# -- scaled labels ---------------------------------------------------------------------


def test_labels_of_many_classes_are_scaled():
    assert LabelScale.of(200) == (1.0, 0.0)
    scale = LabelScale.of(1000)
    one_hot = torch.eye(1000, dtype=torch.double)
    x = scale(one_hot)
    # The variance of a coordinate is near that of ten classes.
    assert x.var(0, correction=0).mean().item() == pytest.approx(0.09, rel=0.12)
    assert_close(scale.inverse(x), one_hot)
    low, high = scale.range
    assert low < x.min() < x.max() < high


def test_scaled_chain_ends_in_labels_of_their_own_unit():
    scale = LabelScale.of(400)
    truth, f = torch.eye(400)[:5], 0.6 * torch.eye(400)[1:6]

    class Oracle:
        def eval(self):
            return self

        def condition(self, c, f):
            return ()

        def denoise(self, s, t, condition):
            return (scale(truth) - scale(f))[torch.arange(len(s)) % 5]

    process = GaussianProcess(cosine_schedule(20), x0_range=scale.range)
    model = LabelDiffusion(Oracle(), process, 5, 1.0, scale)
    P = model._probabilities(torch.zeros((5, 1)), f)
    assert_close(P, torch.softmax(-((truth - 1) ** 2) / 0.1, dim=1), atol=1e-4, rtol=0)
    steps, states = model.path(torch.zeros((5, 1)), f)
    assert steps[-1] == 0
    assert_close(states[:, 0], f, atol=1e-5, rtol=0)
    assert_close(states[:, -1], truth, atol=1e-4, rtol=0)
