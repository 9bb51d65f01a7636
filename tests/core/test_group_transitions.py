"""Group matrices: counts worked by hand, the pull to the global matrix, silent rows."""

import pytest
import torch
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklabeldiff.core.group_transitions import (
    MAJORITY_BELIEF,
    dirichlet_groups,
    expected_counts,
    majority_beliefs,
)

T0 = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])


@pytest.fixture
def pure():
    """Two groups, each of one true class: what is true, given, and the group."""
    true = torch.tensor([0] * 10 + [1] * 10)
    given = torch.tensor([0] * 7 + [2] * 3 + [1] * 5 + [0] * 5)
    return one_hot(true, 3).float(), one_hot(given, 3).float(), true


def test_pure_groups_have_their_empirical_confusion(pure):  # check 7
    p, V, g = pure
    T = dirichlet_groups(p, V, g, 2, T0, kappa=0)
    assert_close(T[0, 0], torch.tensor([0.7, 0.0, 0.3]))
    assert_close(T[1, 1], torch.tensor([0.5, 0.5, 0.0]))


def test_rows_without_mass_stay_global(pure):  # check 8
    p, V, g = pure
    for kappa in (0, 10):
        T = dirichlet_groups(p, V, g, 2, T0, kappa)
        assert_close(T[0, 1:], T0[1:], rtol=0, atol=1e-6)
        assert_close(T[1, [0, 2]], T0[[0, 2]], rtol=0, atol=1e-6)


def test_prior_rows_pull_to_the_global_matrix(pure):  # check 7
    p, V, g = pure
    T = dirichlet_groups(p, V, g, 2, T0, kappa=10)
    assert_close(T[0, 0], (torch.tensor([7.0, 0, 3]) + 10 * T0[0]) / 20)
    far = dirichlet_groups(p, V, g, 2, T0, kappa=1e8)
    assert_close(far, T0.expand(2, 3, 3), rtol=0, atol=1e-6)


def test_counts_are_the_posterior_of_the_true_class():
    p, V = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[1.0, 0, 0]])
    # P(true 0 | given 0) = .5 * .8 / (.5 * .8 + .5 * .2)
    expected = torch.tensor([[0.8, 0, 0], [0.2, 0, 0], [0, 0, 0]])
    assert_close(expected_counts(p, V, T0), expected)


def test_candidate_sets_count_as_one_row_spread_over_the_set():
    p, V = torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 1, 0]])
    expected = torch.zeros((3, 3))
    expected[0] = torch.tensor([8 / 9, 1 / 9, 0])
    assert_close(expected_counts(p, V, T0), expected)


def test_matrices_are_stochastic(generator):
    p = torch.rand((60, 3), generator=generator)
    V = one_hot(torch.randint(3, (60,), generator=generator), 3).float()
    g = torch.randint(4, (60,), generator=generator)
    T = dirichlet_groups(p / p.sum(1, keepdim=True), V, g, 4, T0, kappa=10)
    assert_close(T.sum(-1), torch.ones((4, 3)))


def test_unlabelled_rows_change_nothing(pure):
    p, V, g = pure
    more = torch.cat([p, torch.full((5, 3), 1 / 3)])
    sets = torch.cat([V, torch.ones((5, 3))])
    groups = torch.cat([g, torch.zeros(5, dtype=torch.int64)])
    before = dirichlet_groups(p, V, g, 2, T0, kappa=10)
    assert_close(dirichlet_groups(more, sets, groups, 2, T0, kappa=10), before)
    assert_close(majority_beliefs(sets, groups, 2)[:20], majority_beliefs(V, g, 2))


def test_group_without_labelled_rows_stays_global(pure):
    p, V, g = pure
    assert_close(dirichlet_groups(p, V, g, 3, T0, kappa=10)[2], T0)


def test_majority_is_the_class_most_often_given():
    V = one_hot(torch.tensor([2, 2, 1, 0, 0, 1]), 3).float()
    V[5] = torch.tensor([1.0, 1.0, 0])  # half a vote each
    p = majority_beliefs(V, torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    assert p.argmax(1).tolist() == [2, 2, 2, 0, 0, 0]
    assert_close(p.amax(1), torch.full((6,), MAJORITY_BELIEF))
    assert_close(p.sum(1), torch.ones(6))
