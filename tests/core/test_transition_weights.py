"""W and T: rows sum to one, the diagonal wins, and the way back."""

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.transition_weights import (
    initial_weight,
    transition_of,
    volmin_transition,
    weights_of,
)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 100])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_rows_sum_to_one_and_the_diagonal_wins(n_classes, scale, generator):  # check 1
    shape = (4, n_classes, n_classes)
    W = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    W.requires_grad_()
    T = transition_of(W)
    assert_close(T.sum(-1), torch.ones(shape[:2], dtype=W.dtype), rtol=0, atol=1e-6)
    off = T.masked_fill(torch.eye(n_classes, dtype=bool), 0)
    assert torch.all(T.diagonal(dim1=-2, dim2=-1) > off.amax(-1))
    T.square().sum().backward()
    assert torch.isfinite(W.grad).all()


def dominant(generator, n_classes=6):
    """Matrices inside the range where the way back is exact."""
    T = torch.rand((5, n_classes, n_classes), generator=generator, dtype=torch.float64)
    T = T + 0.01
    eye = torch.eye(n_classes, dtype=bool)
    largest = T.masked_fill(eye, 0).amax(-1)
    T = torch.where(eye, 1.2 * largest[..., None], T)
    return T / T.sum(-1, keepdim=True)


def test_there_and_back_is_the_identity(generator):  # check 2
    T = dominant(generator)
    assert_close(transition_of(weights_of(T)), T, rtol=0, atol=1e-6)
    # Rows, not columns, are what sums to one.
    assert not torch.allclose(T.sum(-2), torch.ones_like(T.sum(-2)))


def test_matrices_out_of_range_are_projected(generator):  # check 2
    for T in (torch.eye(4), torch.full((4, 4), 0.25), torch.eye(4).flip(0)):
        T = T.double()
        W = weights_of(T)
        assert torch.isfinite(W).all()
        found = transition_of(W)
        assert_close(found.sum(-1), torch.ones(4, dtype=T.dtype), rtol=0, atol=1e-6)
        off = found.masked_fill(torch.eye(4, dtype=bool), 0)
        assert torch.all(found.diagonal() > off.amax(-1))


@pytest.mark.parametrize("n_classes", [4, 100, 1000])
def test_clean_labels_stay_nearly_clean(n_classes):
    clean = torch.eye(n_classes, dtype=torch.float64)
    W = weights_of(clean)
    assert torch.isfinite(W).all()
    assert_close(transition_of(W), clean, rtol=0, atol=0.01)


@pytest.mark.parametrize("n_classes", [3, 10, 100, 1000])
def test_first_weights_keep_half(n_classes):  # check 3
    W = torch.full((n_classes, n_classes), initial_weight(n_classes)).double()
    assert_close(volmin_transition(W).diagonal(), W.new_full((n_classes,), 0.5))


@pytest.mark.parametrize(("n_classes", "kept"), [(3, 0.60), (10, 0.526), (100, 0.503)])
def test_first_weights_in_the_papers_form(n_classes, kept):  # check 3
    W = torch.full((n_classes, n_classes), initial_weight(n_classes)).double()
    T = transition_of(W)
    assert_close(T.diagonal(), W.new_full((n_classes,), kept), rtol=0, atol=5e-4)
