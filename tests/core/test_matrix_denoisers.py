"""The networks over the entries of a transition matrix, by their formulas."""

import pytest
import torch
from torch.nn.functional import group_norm, silu
from torch.testing import assert_close

from sklabeldiff.core.matrix_denoisers import (
    AXIAL_WIDTH,
    MATRIX_DENOISERS,
    N_NORM_GROUPS,
    ConvolutionBlock,
    MLPBlock,
)

B, P, L, H = 6, 2, 10, 16


def test_perceptron_block_is_its_formula(generator):
    block = MLPBlock(P, H, generator)
    u, m = torch.randn((2, B, H), generator=generator)
    e = torch.randn((B, P), generator=generator)
    A, Be, Cm = block.inner(u), block.scale(e), block.shift(m)
    assert_close(block(u, m, e), u + silu(A * (1 + Be) + Cm))


def test_convolution_block_is_its_formula(generator):
    block = ConvolutionBlock(3, 16, H, generator)
    torch.nn.init.constant_(block.norms[1].weight, 2.0)
    u = torch.randn((B, 3, 4, 4), generator=generator)
    m = torch.randn((B, H), generator=generator)
    scale, shift = block.film(m)[:, :, None, None].split(16, dim=1)
    h = group_norm(block.first(u), N_NORM_GROUPS) * (1 + scale) + shift
    h = 2 * group_norm(block.second(silu(h)), N_NORM_GROUPS)
    assert_close(block(u, m), block.skip(u) + silu(h))


@pytest.fixture
def axial(generator):
    network = MATRIX_DENOISERS["axial"](P, 16, L, H, generator)
    torch.nn.init.normal_(network.out.weight, generator=generator)
    return network


@pytest.fixture
def batch(generator):
    """z of 4 classes (B, 16), t (B,), e (B, P)."""
    z = torch.randn((B, 16), generator=generator)
    t = torch.randint(1, L + 1, (B,), generator=generator)
    return z, t, torch.randn((B, P), generator=generator)


def test_renamed_classes_give_renamed_answers(axial, batch):
    z, t, e = batch
    before = axial(z, t, e).unflatten(1, (4, 4))
    order = torch.tensor([2, 0, 3, 1])
    assert axial.classes.shape == (2, 4, AXIAL_WIDTH)
    with torch.no_grad():
        axial.classes.copy_(axial.classes[:, order])
    renamed = z.unflatten(1, (4, 4))[:, order][:, :, order].flatten(1)
    after = axial(renamed, t, e).unflatten(1, (4, 4))
    assert_close(after, before[:, order][:, :, order], rtol=1e-4, atol=1e-4)


def test_rows_of_the_matrix_are_not_its_columns(axial, batch):
    z, t, e = batch
    turned = z.unflatten(1, (4, 4)).mT.flatten(1)
    back = axial(turned, t, e).unflatten(1, (4, 4)).mT.flatten(1)
    assert not torch.allclose(back, axial(z, t, e), atol=0.1)


@pytest.mark.parametrize("position", [0, 5])
def test_every_entry_sees_its_row_and_column(axial, batch, position):
    """And through them every other entry."""
    z, t, e = batch
    before = axial(z, t, e)
    z[:, position] += 1
    assert torch.all((axial(z, t, e) - before).abs().amax(0) > 1e-6)
