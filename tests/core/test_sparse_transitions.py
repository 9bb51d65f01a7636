"""Sparse group matrices: against the dense ones, row by row, and in size."""

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core.group_transitions import N_ROUNDS, dirichlet_groups
from sklabeldiff.core.sparse_table import sparse_table
from sklabeldiff.core.sparse_transitions import (
    SparseTransitions,
    one_matrix,
    own_entries,
    sparse_groups,
)
from sklabeldiff.core.transition_table import principal_table
from sklabeldiff.core.transition_weights import transition_of, weights_of

C, K = 5, 8


def dense(T):
    """What `TransitionEstimation.by_counts` makes of counts, whole."""
    return transition_of(weights_of(T))


@pytest.fixture
def problem(generator):
    """Impure groups, beliefs that are not sure, some unlabelled rows: p, V, g, T0."""
    n = 300
    g = torch.randint(K - 1, (n,), generator=generator)  # the last group is empty
    p = torch.rand((n, C), generator=generator) ** 4
    V = one_hot(torch.randint(C, (n,), generator=generator), C).float()
    V[:20] = 1.0
    T0 = torch.rand((C, C), generator=generator) + 3 * torch.eye(C)
    return p / p.sum(1, keepdim=True), V, g, T0 / T0.sum(1, keepdim=True)


@pytest.fixture
def groups(generator):
    """Three groups that keep two rows, none and one."""
    T0 = torch.rand((C, C), generator=generator) + 2 * torch.eye(C)
    R = torch.rand((3, C), generator=generator)
    R, T0 = (a / a.sum(1, keepdim=True) for a in (R, T0))
    return SparseTransitions(T0, R, torch.tensor([1, 4, 0]), torch.tensor([0, 0, 2]), 3)


def whole(groups):
    """All matrices, written out."""
    T = groups.T0.expand(len(groups), C, C).clone()
    for R, i, k in zip(groups.R, groups.row_class, groups.row_group, strict=True):
        T[k, i] = R
    return T


# -- estimation ------------------------------------------------------------------------


def test_rows_with_mass_of_more_than_one_row_are_kept():
    true = torch.tensor([0] * 10 + [1] * 10 + [3])
    given = torch.tensor([0] * 7 + [2] * 3 + [1] * 5 + [0] * 5 + [3])
    p, V = one_hot(true, C).float(), one_hot(given, C).float()
    g = torch.tensor([0] * 10 + [1] * 11)
    T0 = torch.full((C, C), 0.1).fill_diagonal_(0.6)
    found = sparse_groups(p, V, g, 2, T0, kappa=10.0)
    assert found.row_class.tolist() == [0, 1]  # not the single row of class 3
    assert found.row_group.tolist() == [0, 1]
    expected = torch.tensor([7.0, 0, 3, 0, 0]) + 10 * T0[0]
    assert_close(found.R[0], expected / 20)


def test_rows_are_those_of_whole_matrices(problem):
    # Every row that is kept, and of the others those without any mass, are the same
    # up to what the second round of counts takes from rows that were not kept; these
    # had a mass of at most 1 beside kappa prior rows, or 1 / (1 + kappa) in all.
    p, V, g, T0 = problem
    for kappa in (10.0, 100.0):
        found = sparse_groups(p, V, g, K, T0, kappa)
        expected = dense(dirichlet_groups(p, V, g, K, T0, kappa))
        assert len(found.R) > K
        off = (whole(found) - expected).abs().sum(-1) / 2
        assert off.max() < 1 / (1 + kappa)
        kept = torch.zeros((K, C), dtype=bool)
        kept[found.row_group, found.row_class] = True
        assert off[kept].max() < 0.1 / (1 + kappa)


def test_kept_rows_are_exact_where_beliefs_are_sure(problem):
    _, V, g, T0 = problem
    p = one_hot(g % C, C).float()
    found = sparse_groups(p, V, g, K, T0, 10.0)
    expected = dense(dirichlet_groups(p, V, g, K, T0, 10.0))
    assert_close(whole(found), expected, rtol=0, atol=1e-6)


def test_rows_that_are_not_kept_explain_their_part():
    p = torch.tensor([[0.8, 0.2, 0, 0, 0]]).repeat(4, 1)
    V = one_hot(torch.zeros(4, dtype=int), C).float()
    T0 = torch.full((C, C), 0.1).fill_diagonal_(0.6)
    found = sparse_groups(p, V, torch.zeros(4, dtype=int), 1, T0, kappa=10.0)
    assert found.row_class.tolist() == [0]  # of class 1 there are 4 * .02 / .5 rows
    T = 0.6
    for _ in range(N_ROUNDS):
        count = 4 * 0.8 * T / (0.8 * T + 0.2 * 0.1)
        T = (count + 10 * 0.6) / (count + 10)
    assert found.R[0, 0].item() == pytest.approx(T, abs=1e-5)


def test_unlabelled_rows_and_empty_groups_keep_nothing(problem):
    p, V, g, T0 = problem
    found = sparse_groups(p, torch.ones_like(V), g, K, T0, 10.0)
    assert found.R.shape == (0, C)
    assert_close(found.matrices(torch.tensor([[0], [3]])), found.T0.expand(2, C, C))
    assert K - 1 not in sparse_groups(*problem[:3], K, T0, 10.0).row_group


def test_one_matrix_is_that_of_one_group(problem):
    p, V, g, T0 = problem
    expected = dirichlet_groups(p, V, torch.zeros_like(g), 1, T0, 10.0)[0]
    assert_close(one_matrix(p, V, T0, 10.0), expected)


# -- use -------------------------------------------------------------------------------


def test_everything_is_read_off_the_mean_matrix(groups, generator):
    drawn = torch.randint(3, (40, 4), generator=generator)
    T = whole(groups)[drawn].mean(1)
    assert_close(groups.matrices(drawn), T)
    V = (torch.rand((40, C), generator=generator) < 0.4).float()
    assert_close(groups.columns(drawn, V), torch.einsum("bij,bj->bi", T, V))
    f = torch.rand((40, C), generator=generator)
    assert_close(groups.given(drawn, f), torch.einsum("bij,bi->bj", T, f))


def test_answers_do_not_depend_on_the_batch(groups, generator):
    drawn = torch.randint(3, (300, 4), generator=generator)
    V = torch.rand((300, C), generator=generator)
    for read in (groups.columns, groups.given):
        parts = [read(drawn[:7], V[:7]), read(drawn[7:], V[7:])]
        assert_close(torch.cat(parts), read(drawn, V), rtol=0, atol=0)


def test_arrays_give_the_same_matrices_back(groups):
    again = SparseTransitions.of_arrays(**groups.arrays(), n_groups=3)
    assert_close(whole(again), whole(groups), rtol=0, atol=0)
    for name, value in (
        ("row_class", torch.tensor([1, C, 0])),
        ("row_group", torch.tensor([0, 0, 3])),
        ("row_group", torch.tensor([2, 0, 0])),
    ):
        with pytest.raises(ValueError, match="classes below 5 and, in order"):
            SparseTransitions.of_arrays(**groups.arrays() | {name: value}, n_groups=3)


def test_nothing_is_as_large_as_the_matrices_of_all_groups(watch, generator):
    n_classes, n_groups, n = 120, 60, 600
    y = torch.arange(n) % n_classes
    p = torch.full((n, n_classes), 0.02 / (n_classes - 1))
    p.scatter_(1, y[:, None], 0.98)
    V = one_hot((y + (torch.arange(n) % 3 == 0)) % n_classes, n_classes).float()
    g = y % n_groups
    T0 = torch.full((n_classes,) * 2, 0.3 / (n_classes - 1)).fill_diagonal_(0.7)
    share = torch.full((n_groups,), 1 / n_groups)
    with watch() as seen:
        found = sparse_groups(p, V, g, n_groups, T0, 10.0)
        table = sparse_table(found, share, 0)
        found.columns(table.nearest(table.z[g][None]), V)
    assert len(found.R) == 2 * n_groups
    assert max(shape.numel() for shape in seen.shapes) <= n * n_classes


# -- coordinates -----------------------------------------------------------------------


def test_coordinates_are_principal_components(problem):
    # As of the whole table of weights, but for the direction of each axis.
    found = sparse_groups(*problem[:3], K, problem[3], 10.0)
    share = torch.rand((K,), generator=torch.Generator().manual_seed(1)) + 0.1
    share /= share.sum()
    for energy in (1.0, 0.8):
        z = sparse_table(found, share, 0, energy).z
        expected = principal_table(weights_of(whole(found)), share, energy).z
        assert z.shape == expected.shape
        assert_close(z.abs(), expected.abs(), rtol=1e-3, atol=1e-3)
    assert sparse_table(found, share, 0, max_components=2).n_coordinates == 2


def test_a_draw_at_a_group_is_this_group(problem):
    found = sparse_groups(*problem[:3], K, problem[3], 10.0)
    table = sparse_table(found, torch.full((K,), 1 / K), 0)
    drawn = table.nearest(torch.stack([table.z + 0.01, table.z.flip(0)]))
    assert drawn.T.tolist() == [list(range(K)), list(range(K))[::-1]]


def test_groups_that_are_alike_have_no_coordinates(groups):
    alike = SparseTransitions(
        groups.T0, groups.R[:0], groups.row_class[:0], groups.row_group[:0], 3
    )
    assert sparse_table(alike, torch.full((3,), 1 / 3), 0).n_coordinates == 0


def test_weights_of_single_rows_are_those_of_the_matrix(groups):
    W, own = weights_of(groups.T0), own_entries(torch.arange(C), C)
    assert_close(weights_of(groups.T0[2:4], own[2:4]), W[2:4], rtol=0, atol=0)
    assert_close(transition_of(W[2:4], own[2:4]), transition_of(W)[2:4])
