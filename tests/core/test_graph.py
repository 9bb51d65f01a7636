"""Neighbours, the similarity of candidate sets, and beliefs passed along edges."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import sklabeldiff
from sklabeldiff.core import graph
from sklabeldiff.core.graph import (
    BLOCK_ROWS,
    edge_weights,
    jaccard,
    nearest_neighbours,
    propagate,
)


def random_problem(n=60, p=3, n_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    Y = rng.random((n, n_classes)) < 0.4
    Y[np.arange(n), rng.integers(n_classes, size=n)] = True
    return rng.standard_normal((n, p)), Y, Y / Y.sum(1, keepdims=True)


def beliefs(X, Y, Ybar, n_passes=10, similarity=True, n_neighbors=10):
    distances, neighbours = nearest_neighbours(X, n_neighbors)
    J = jaccard(Y, neighbours) if similarity else None
    return propagate(edge_weights(distances, neighbours, J), Y, Ybar, n_passes)


def duplicates():
    X, Y, Ybar = random_problem()
    return np.zeros_like(X), Y, Ybar


def isolated():
    """Each row is alone with its set, so that no neighbour is compatible."""
    X = np.random.default_rng(0).standard_normal((5, 2))
    Y = np.eye(10).reshape(5, 2, 10).any(1)
    return X, Y, Y / 2


PROBLEMS = [random_problem, duplicates, isolated]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("n_passes", [0, 1, 10])
@pytest.mark.parametrize("similarity", [True, False])
def test_beliefs_are_distributions_over_candidates(  # check 1
    problem, n_passes, similarity
):
    X, Y, Ybar = problem()
    S = beliefs(X, Y, Ybar, n_passes, similarity)
    np.testing.assert_allclose(S.sum(1), 1, atol=1e-6)
    assert np.all(S[~Y] == 0)
    assert np.all(S >= 0)


def test_single_candidates_stay_one_hot():  # check 1
    X, Y, _ = random_problem()
    Y[:20] = np.eye(5, dtype=bool)[np.arange(20) % 5]
    S = beliefs(X, Y, Y / Y.sum(1, keepdims=True))
    assert np.array_equal(S[:20], Y[:20])


def test_rows_without_compatible_neighbours_keep_their_beliefs():  # check 1
    X, Y, Ybar = isolated()
    np.testing.assert_allclose(beliefs(X, Y, Ybar), Ybar)


def test_one_pass_worked_by_hand():
    # Rows at 0, 1 and 3 with two neighbours each; sigma is the farther distance.
    X = np.array([[0.0], [1.0], [3.0]])
    Y = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    Ybar = Y / Y.sum(1, keepdims=True)
    near, far = np.exp(-((1 / 3) ** 2)) / 2, np.exp(-1) / 3  # J = 1/2, 1/3
    W0 = near / (near + far)
    a = 0.95 * (W0 * 1 + (1 - W0) * 0) + 0.05 * 0.5
    b = 0.95 * (W0 * 0 + (1 - W0) * 0.5) + 0.05 * 0.5
    expected = [a / (a + b), b / (a + b), 0]
    np.testing.assert_allclose(beliefs(X, Y, Ybar, 1)[0], expected, rtol=1e-12)


def test_no_row_is_its_own_neighbour():  # check 2
    X = np.random.default_rng(0).standard_normal((50, 2))
    X[10:40] = X[0]  # more duplicates than neighbours are asked for
    distances, neighbours = nearest_neighbours(X, 10)
    assert neighbours.shape == distances.shape == (50, 10)
    assert not np.any(neighbours == np.arange(50)[:, None])
    assert all(len(set(row)) == 10 for row in neighbours)
    actual = np.linalg.norm(X[:, None] - X[neighbours], axis=-1)
    np.testing.assert_allclose(distances, actual, atol=1e-7)
    assert np.all(np.diff(distances, axis=1) >= 0)


def test_rows_on_a_gpu_are_searched_there(monkeypatch):  # check 2
    X = np.random.default_rng(0).standard_normal((50, 2))
    expected = nearest_neighbours(X, 10)
    monkeypatch.setattr(graph, "on_accelerator", lambda X: True)
    monkeypatch.setattr(graph, "NearestNeighbors", None)  # not called
    found = nearest_neighbours(torch.as_tensor(X), 10)
    np.testing.assert_allclose(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_all_others_are_neighbours_of_a_small_table():  # check 2
    _, neighbours = nearest_neighbours(np.arange(4.0)[:, None], 10)
    assert neighbours.shape == (4, 3)


def test_jaccard_of_equal_disjoint_and_overlapping_sets():  # check 2
    Y = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]], dtype=bool)
    everyone = np.tile(np.arange(4), (4, 1))
    J = jaccard(Y, everyone)
    assert J[0, 1] == 1  # equal
    assert J[0, 2] == 0  # disjoint
    assert J[0, 3] == pytest.approx(1 / 3)
    np.testing.assert_array_equal(J, J.T)


def test_jaccard_has_no_seam_between_blocks():
    rng = np.random.default_rng(0)
    Y = rng.random((BLOCK_ROWS + 3, 4)) < 0.5
    Y[:, 0] = True
    neighbours = rng.integers(len(Y), size=(len(Y), 2))
    last = jaccard(Y, neighbours)[-2]
    alone = [(Y[-2] & Y[j]).sum() / (Y[-2] | Y[j]).sum() for j in neighbours[-2]]
    np.testing.assert_allclose(last, alone)


def test_edge_weights_of_a_row_sum_to_one_and_fall_with_distance():
    X, _, _ = random_problem()
    distances, neighbours = nearest_neighbours(X, 10)
    W = edge_weights(distances, neighbours)
    assert W.nnz == 600  # n k entries, never n x n
    np.testing.assert_allclose(W.sum(1), 1)
    dense = np.take_along_axis(W.toarray(), neighbours, axis=1)
    assert np.all(np.diff(dense, axis=1) <= 1e-12)


@pytest.mark.parametrize("similarity", [True, False])
def test_relabelling_classes_permutes_the_beliefs(similarity):  # check 3
    X, Y, Ybar = random_problem()
    order = np.array([3, 0, 4, 1, 2])
    S = beliefs(X, Y, Ybar, similarity=similarity)
    permuted = beliefs(X, Y[:, order], Ybar[:, order], similarity=similarity)
    # The sums of rows are taken in another order: equal up to rounding.
    np.testing.assert_allclose(permuted, S[:, order], atol=1e-12)


def test_row_order_does_not_matter():
    X, Y, Ybar = random_problem()
    order = np.random.default_rng(1).permutation(len(X))
    S = beliefs(X, Y, Ybar)
    np.testing.assert_allclose(
        beliefs(X[order], Y[order], Ybar[order]), S[order], atol=1e-12
    )


def test_weighted_candidates_pull_beliefs():
    X, Y, Ybar = random_problem()
    weights = Ybar * np.array([9, 1, 1, 1, 1])
    weights /= weights.sum(1, keepdims=True)
    assert beliefs(X, Y, weights)[:, 0].sum() > beliefs(X, Y, Ybar)[:, 0].sum()


MEMORY_SCRIPT = """
import resource, sys
import numpy as np, torch
from sklabeldiff.core.graph import edge_weights, jaccard, nearest_neighbours, propagate
from sklabeldiff.core.kernels import KernelChoice, fit_kernel_beliefs

torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = int(sys.argv[1])
rng = np.random.default_rng(0)
X = rng.standard_normal((n, 32), dtype=np.float32)
Y = rng.random((n, 50)) < 0.1
Y[np.arange(n), rng.integers(50, size=n)] = True
Ybar = Y / Y.sum(1, keepdims=True)
distances, neighbours = nearest_neighbours(X, 10)
W = edge_weights(distances, neighbours, jaccard(Y, neighbours))
S = propagate(W, Y, Ybar, 10)
tensors = [torch.as_tensor(a) for a in (X, Y, Ybar.astype("f4"), S.astype("f4"))]
choices = [KernelChoice("gaussian", 0.3, 0.3, balanced) for balanced in (True, False)]
fit_kernel_beliefs(*tensors, choices, 0.3, torch.Generator().manual_seed(0))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before // 1024, after // 1024)
"""


def test_peak_memory_has_no_square_table(full):  # check 20
    pytest.importorskip("resource", reason="peak memory is read by resource")
    # MB in a process of its own: all of it at full size, the growth at the small one,
    # where a float32 table of 7000 x 7000 would add 196. Measured: 890 and 120, for a
    # few copies of the n x 600 kernel features.
    n_rows, limit = (50_000, 1000) if full else (7_000, 180)
    package = Path(sklabeldiff.__file__).parents[1]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(n_rows)],
        env=os.environ | threads | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    assert (after if full else after - before) < limit
