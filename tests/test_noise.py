"""The generators of wrong labels: their rates, their matrices, their errors."""

import numpy as np
import pytest
from scipy.stats import truncnorm
from sklearn.datasets import load_digits

from sklabeldiff.datasets import make_noisy_labels

KINDS = ("symmetric", "pair", "parts", "pmd")


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def truncated_mean(rate):
    return truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, rate, 0.1)


def modal_share(T, y):
    """Mean largest share of the wrong labels of a row. check 15."""
    own = T[np.arange(len(y)), y].copy()
    own[np.arange(len(y)), y] = 0
    return (own.max(1) / own.sum(1)).mean()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_parts_flip_at_the_truncated_mean(rate):  # check 15
    rng = np.random.RandomState(0)
    X, y = rng.uniform(size=(5000, 8)), rng.randint(5, size=5000)
    noisy = make_noisy_labels(X, y, "parts", rate=rate, random_state=1)
    assert (noisy != y).mean() == pytest.approx(truncated_mean(rate), abs=0.02)


def test_the_mean_rate_of_parts_is_that_of_the_paper():  # check 15
    found = [truncated_mean(rate) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
    np.testing.assert_allclose(found, [0.1288, 0.2055, 0.3004, 0.4, 0.5], atol=1e-4)


def test_raw_pixels_leave_one_target_a_row(digits):  # check 15
    X, y = digits
    for factor, scale, low, high in ((16, None, 0.99, 1), (1 / 16, None, 0.5, 0.9)):
        _, T = make_noisy_labels(
            factor * X, y, "parts", rate=0.3, scale=scale, return_transition=True
        )
        assert low < modal_share(T, y) <= high


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_matrices_sum_to_one(digits, kind):  # check 15
    X, y = digits
    noisy, T = make_noisy_labels(
        X, y, kind, rate=0.3, return_transition=True, random_state=0
    )
    assert T.shape == (len(y), 10, 10)
    np.testing.assert_allclose(T.sum(2), 1, atol=1e-12)
    assert (T >= 0).all()
    # The labels were drawn from these matrices: their probability is what it should.
    own = T[np.arange(len(y)), y]
    expected = (own**2).sum(1).mean()
    assert own[np.arange(len(y)), noisy].mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("kind", KINDS[:3])
def test_no_rate_no_flips(digits, kind):  # check 15
    X, y = digits
    assert (make_noisy_labels(X, y, kind, rate=0.0, random_state=0) == y).all()


def test_class_dependent_flips():
    y = np.repeat(["cat", "dog", "eel"], 2000)
    pair = make_noisy_labels(None, y, "pair", rate=0.3, random_state=0)
    assert set(pair[y == "cat"]) == {"cat", "dog"}
    assert set(pair[y == "eel"]) == {"eel", "cat"}
    assert (pair != y).mean() == pytest.approx(0.3, abs=0.02)
    even = make_noisy_labels(None, y, "symmetric", rate=0.3, random_state=0)
    assert (even != y).mean() == pytest.approx(0.3, abs=0.02)
    assert (even[y == "cat"] == "eel").mean() == pytest.approx(0.15, abs=0.03)


@pytest.mark.parametrize("pmd_type", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.1, 0.35, 0.7])
def test_pmd_moves_its_share_and_the_doubtful_first(pmd_type, rate):
    rng = np.random.RandomState(5)
    P = rng.dirichlet([0.5] * 4, size=4000)
    y = P.argmax(1)
    noisy, T = make_noisy_labels(
        None,
        y,
        "pmd",
        rate=rate,
        proba=P,
        pmd_type=pmd_type,
        return_transition=True,
        random_state=0,
    )
    second = np.argsort(-P, axis=1)[:, 1]
    assert set(np.where(noisy == y, second, noisy) - second) == {0}
    assert (noisy != y).mean() == pytest.approx(rate, abs=0.02)
    top = np.sort(P, axis=1)
    d = top[:, -1] - top[:, -2]
    assert (noisy != y)[d < 0.2].mean() > (noisy != y)[d > 0.8].mean()
    kept = T[np.arange(len(y)), 0, y]
    flip = {1: (1 - d**2) / 2, 2: 1 - d**3, 3: 1 - (d + d**2 + d**3) / 3}[pmd_type]
    free = kept < 1
    np.testing.assert_allclose(np.ptp((kept / (1 - flip))[free]), 0, atol=1e-9)


def test_blocks_change_nothing(digits, monkeypatch):
    X, y = digits
    whole = make_noisy_labels(X, y, "parts", rate=0.3, random_state=0)
    monkeypatch.setattr("sklabeldiff.datasets._noise._BLOCK_ROWS", 100)
    assert (make_noisy_labels(X, y, "parts", rate=0.3, random_state=0) == whole).all()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"kind": "odd"}, ValueError, "'odd' is not one of"),
        ({"rate": 1.5}, ValueError, "from 0 to 1"),
        ({"y": np.eye(3)}, ValueError, "one label a row"),
        ({"rate": "much"}, TypeError, "from 0 to 1"),
        ({"kind": "parts"}, ValueError, "needs X"),
        ({"pmd_type": 4}, ValueError, "pmd_type=4"),
        ({"kind": "parts", "X": np.zeros((4, 2)), "scale": "up"}, ValueError, "'up'"),
        ({"kind": "parts", "X": np.zeros((3, 2))}, ValueError, "inconsistent"),
    ],
)
def test_refusals(changes, error, words):
    params = {"X": None, "y": [0, 1, 0, 1], "rate": 0.2} | changes
    with pytest.raises(error, match=words):
        make_noisy_labels(params.pop("X"), params.pop("y"), **params)
