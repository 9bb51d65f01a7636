"""The blocked search against scikit-learn's, and against all pairs."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from sklabeldiff.core import neighbours
from sklabeldiff.core.neighbours import exact_search


def rows(n=300, p=5, seed=0, dtype=torch.float32):
    gen = torch.Generator().manual_seed(seed)
    return torch.randn((n, p), generator=gen, dtype=dtype)


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_neighbours_are_those_of_scikit_learn(shift):
    X = rows() + shift
    search = NearestNeighbors(n_neighbors=8, algorithm="brute").fit(X.double())
    distances, found = search.kneighbors(X.double())
    ours, indices = exact_search(X, 7)
    np.testing.assert_array_equal(indices, found[:, 1:])
    np.testing.assert_allclose(ours, distances[:, 1:], rtol=1e-5)


@pytest.mark.parametrize(
    "name, value", [("QUERY_ROWS", 7), ("STRETCH", 11), ("MAX_DIFFERENCES", 50)]
)
def test_there_is_no_seam_between_blocks(monkeypatch, name, value):
    X = rows()
    distances, indices = exact_search(X, 7)
    monkeypatch.setattr(neighbours, name, value)
    again, same = exact_search(X, 7)
    assert torch.equal(same, indices)
    assert torch.equal(again, distances)


def test_distances_of_near_rows_are_not_rounded_away():
    # The product alone has |x - z|^2 only to 1e-7 |x|^2: these distances would be 0.
    X = torch.tensor([[100.0], [100.001], [100.003], [-300.0], [300.0]])
    distances, indices = exact_search(X, 2)
    assert indices[:3].tolist() == [[1, 2], [0, 2], [1, 0]]
    exact = (X.double() - X.double().T).abs().gather(1, indices)
    torch.testing.assert_close(distances.double(), exact, rtol=1e-2, atol=0)


def test_no_row_is_its_own_neighbour_among_duplicates():
    X = rows(60)
    X[10:50] = X[0]  # more than are kept
    distances, indices = exact_search(X, 10)
    assert not (indices == torch.arange(60)[:, None]).any()
    assert all(len(set(row)) == 10 for row in indices.tolist())
    assert not distances[10:50].any()


def test_all_others_are_neighbours_of_a_small_table():
    assert exact_search(rows(4), 10)[1].shape == (4, 3)


def test_no_array_grows_with_the_square_of_the_rows(watch, monkeypatch):
    monkeypatch.setattr(neighbours, "QUERY_ROWS", 64)
    monkeypatch.setattr(neighbours, "STRETCH", 512)
    largest = []
    for n in (2000, 4000):
        with watch() as seen:
            exact_search(rows(n, 2), 3)
        largest.append(max(shape.numel() for shape in seen.shapes))
    # Every block, or the table of neighbours itself.
    assert largest == [max(64 * 512, 3 * n) for n in (2000, 4000)]
