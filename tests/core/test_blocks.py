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


def test_blocks_that_do_not_fit_are_halved_where_they_were_asked_for():
    def narrow(X):
        if len(X) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return 2 * X

    X = torch.arange(20.0)[:, None]
    with pytest.warns(UserWarning, match="with 8 rows at a time; it goes on") as told:
        found = in_blocks(narrow, X, block_rows=8)
    assert torch.equal(found, 2 * X)
    assert told[0].filename == __file__


def test_no_rows_are_an_error():
    with pytest.raises(ValueError, match="There are no rows"):
        in_blocks(lambda X: X, torch.ones(0, 2))


def test_memory_for_no_row_is_an_error():
    def never(X):
        raise torch.OutOfMemoryError("CUDA out of memory (a test)")

    with (
        pytest.warns(UserWarning, match="goes on with 1"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        in_blocks(never, torch.ones(3, 2), block_rows=2)
