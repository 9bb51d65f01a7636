"""Row-wise functions in blocks."""

import pytest
import torch

from sklabeldiff.core.blocks import BLOCK_ROWS, in_blocks


@pytest.fixture
def product(generator):
    weights = torch.randn((37, 11), generator=generator)
    return lambda X: torch.tanh(X @ weights)


@pytest.mark.parametrize("n", [1, 5, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 700])
def test_any_split_of_the_rows_gives_the_same_bits(product, generator, n):  # check 7
    X = torch.randn((n, 37), generator=generator)
    whole = in_blocks(product, X)
    assert whole.shape == (n, 11)
    for size in (1, 3, 100, 256):
        if size * 20 < n:
            continue
        parts = [in_blocks(product, part) for part in X.split(size)]
        assert torch.equal(torch.cat(parts), whole)


def test_row_order_does_not_matter(product, generator):
    X = torch.randn((300, 37), generator=generator)
    order = torch.randperm(300, generator=generator)
    assert torch.equal(in_blocks(product, X[order]), in_blocks(product, X)[order])


def test_arrays_are_cut_alike():
    X, Z = torch.arange(10.0)[:, None], torch.arange(10.0)[:, None] ** 2
    assert torch.equal(in_blocks(torch.add, X, Z, block_rows=4), X + Z)


def test_every_block_has_the_same_shape():
    seen = []
    in_blocks(lambda X: seen.append(X.shape) or X, torch.ones(10, 2), block_rows=4)
    assert seen == [(4, 2)] * 3
