"""Forward correction: columns for matrices, identities, and VolMinNet's volume."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.testing import assert_close

from sklabeldiff.core.noisy_classifier import (
    VolumeMinimisation,
    columns_of,
    forward_loss,
    label_posterior,
)

C = 4


@pytest.fixture
def problem(generator):
    """Logits, one matrix a row, and given labels, in double precision."""
    z = torch.randn((30, C), generator=generator, dtype=torch.float64)
    T = torch.rand((30, C, C), generator=generator, dtype=torch.float64) + 0.1
    y = torch.randint(C, (30,), generator=generator)
    return z, T / T.sum(-1, keepdim=True), y


def test_cached_columns_equal_full_matrices(problem):  # check 6
    z, T, y = problem
    by_matrix, by_column = z.clone().requires_grad_(), z.clone().requires_grad_()
    given = torch.einsum("bij,bi->bj", T, by_matrix.softmax(1))
    full = -given.gather(1, y[:, None]).log().mean()
    cached = forward_loss(by_column, columns_of(T, one_hot(y, C).double())).mean()
    assert_close(cached, full, rtol=0, atol=1e-6)
    full.backward()
    cached.backward()
    assert_close(by_column.grad, by_matrix.grad, rtol=0, atol=1e-5)


def test_identity_is_ordinary_cross_entropy(problem):  # check 5
    z, _, y = problem
    c = columns_of(torch.eye(C, dtype=z.dtype), one_hot(y, C).double())
    loss = forward_loss(z, c)
    assert_close(loss, cross_entropy(z, y, reduction="none"), rtol=0, atol=1e-7)


def test_one_matrix_is_the_same_matrix_in_every_row(problem):
    _, T, y = problem
    V = one_hot(y, C).double()
    assert_close(columns_of(T[0], V), columns_of(T[:1].expand(30, C, C), V))
    assert_close(columns_of(T[0], V), T[0][:, y].T)  # columns, not rows


def test_candidate_set_sums_its_columns(problem):
    z, T, _ = problem
    V = torch.zeros((30, C), dtype=z.dtype)
    V[:, [0, 2]] = 1
    given = torch.einsum("bij,bi->bj", T, z.softmax(1))
    assert_close(forward_loss(z, columns_of(T, V)), -given[:, [0, 2]].sum(1).log())


def test_unlabelled_rows_teach_nothing(problem):
    z, T, _ = problem
    z = z.requires_grad_()
    loss = forward_loss(z, columns_of(T, torch.ones((30, C), dtype=z.dtype)))
    assert_close(loss, torch.zeros_like(loss))
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert_close(gradient, torch.zeros_like(gradient))


def test_posterior_is_bayes_rule():
    f, c = torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[0.1, 0.8, 0.0]])
    expected = torch.tensor([[0.06, 0.24, 0.0]]) / 0.3
    assert_close(label_posterior(f, c), expected)


def test_volume_is_the_log_determinant(generator):
    model = VolumeMinimisation(nn.Linear(2, 3), 3)
    with torch.no_grad():
        model.W.copy_(torch.randn((3, 3), generator=generator))
    T = model.transition()
    assert_close(model.volume(), T.det().abs().log())
    assert model.volume() < 0
