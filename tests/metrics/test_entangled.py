"""Entangled rows: equal to brute force in blocks of any size, and within memory."""

import math
import tracemalloc
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import _entangled, entangled_accuracy, entangled_subset


def random_case(n_rows=40, n_classes=4, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, size=n_rows)
    sets = make_candidate_sets(truth, rate=0.3, random_state=seed)
    return rng.normal(size=(n_rows, n_features)), sets, truth


def cosine(a, b):
    lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
    return round(a @ b / lengths, 12) if lengths else 0.0


def brute_force(F, sets, truth, fraction):
    """All pairs in a list, sorted."""
    pairs = [
        (-cosine(F[i], F[j]), i, j)
        for i, j in combinations(range(len(F)), 2)
        if truth[i] != truth[j] and (sets[i] & sets[j]).any()
    ]
    taken = sorted(pairs)[: math.ceil(fraction * len(pairs))]
    return sorted({row for _, i, j in taken for row in (i, j)})


# Rows 0 and 1, 2 and 3 point alike; 0 and 4 have the same sets, but the same truth.
F = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.3, 1], [1, 0.1]])
SETS = [{"a", "b"}, {"a", "b"}, {"b", "c"}, {"b", "c"}, {"a", "b"}]
TRUTH = list("abbca")
# Cosines, best first: (0, 1) and (1, 4) .995, (2, 3) .980, (1, 3) .476, (0, 3) and
# (3, 4) .381, (0, 2) and (2, 4) .198; (0, 4), (1, 2) have one truth.


class TestEntangledSubset:
    def test_hand_worked(self):
        def rows(n_pairs):
            return entangled_subset(F, SETS, TRUTH, fraction=n_pairs / 8).tolist()

        assert rows(1) == [0, 1]
        assert rows(2) == [0, 1, 4]
        assert rows(3) == [0, 1, 2, 3, 4]

    def test_at_least_one_pair_is_taken(self):
        assert entangled_subset(F, SETS, TRUTH).tolist() == [0, 1]
        assert entangled_subset(F, SETS, TRUTH, fraction=1e-12).tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("fraction", "n_pairs"), [(0.065, 7), (0.07, 7), (0.0701, 8), (1, 100)]
    )
    def test_number_of_pairs_is_rounded_up(self, fraction, n_pairs):
        # 100 pairs of two rows each; in floats 0.07 * 100 is more than 7
        rows = np.arange(200)
        sets = [{2 * m, 2 * m + 1} for m in rows // 2]
        angle = (rows // 2 + 1) * (rows % 2) / 100
        F = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        got = entangled_subset(F, sets, rows, fraction=fraction)
        np.testing.assert_array_equal(got, rows[: 2 * n_pairs])

    def test_sets_must_have_a_candidate_in_common(self):
        sets = [{"a"}, {"b"}, {"b"}, {"b", "c"}, {"a"}]
        assert entangled_subset(F, sets, TRUTH).tolist() == [2, 3]

    def test_empty_if_no_two_rows_are_entangled(self):
        got = entangled_subset(F, list("abbca"), TRUTH)
        assert got.shape == (0,)
        assert got.dtype.kind == "i"
        assert len(entangled_subset(F, SETS, ["a"] * 5, fraction=1)) == 0

    def test_length_of_the_features_does_not_matter(self):
        F, sets, truth = random_case()
        lengths = np.geomspace(1e-3, 1e3, len(F))[:, None]
        np.testing.assert_array_equal(
            entangled_subset(F * lengths, sets, truth, fraction=0.03),
            entangled_subset(F, sets, truth, fraction=0.03),
        )

    def test_row_of_zeros_is_at_right_angles_to_all(self):
        # -1 is farther, 0 as far as the axes: the pair with the smaller rows first
        F = np.array([[-1, 0], [0, 0], [1, 0], [0, 1]])
        sets, truth = np.ones((4, 4)), [0, 1, 2, 3]

        def rows(n_pairs):
            return entangled_subset(F, sets, truth, fraction=n_pairs / 6).tolist()

        assert rows(1) == [0, 1]
        assert rows(2) == [0, 1, 3]  # (0, 3)
        assert rows(3) == [0, 1, 2, 3]  # (1, 2)

    @pytest.mark.parametrize(
        "form",
        [
            lambda mask: mask.astype(float) * 0.3,
            lambda mask: mask * [0.5, 0.1, 0.4, 1],
            csr_array,
            pd.DataFrame,
            lambda mask: [set(np.flatnonzero(row).tolist()) for row in mask],
        ],
        ids=["floats", "weights", "sparse", "frame", "sets"],
    )
    def test_every_form_of_the_sets_gives_the_same_rows(self, form):
        F, mask, truth = random_case()
        expected = entangled_subset(F, mask, truth, fraction=0.02)
        got = entangled_subset(F.tolist(), form(mask), truth.tolist(), fraction=0.02)
        np.testing.assert_array_equal(got, expected)

    def test_unlabelled_row_shares_a_candidate_with_every_row(self):
        sets = ["a", None, "b", "c", "a"]
        assert entangled_subset(F, sets, TRUTH).tolist() == [0, 1]
        sets = ["a", "?", "b", "c", "a"]
        got = entangled_subset(F, sets, TRUTH, missing_label="?")
        assert got.tolist() == [0, 1]

    def test_classes_name_the_columns(self):
        mask = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1], [1, 1, 0]]
        got = entangled_subset(F, mask, TRUTH, classes=list("abc"))
        assert got.tolist() == [0, 1]

    @pytest.mark.parametrize("block", [1, 7, 100, 2**22])
    @pytest.mark.parametrize("fraction", [0.001, 0.02, 0.3, 1])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_equals_brute_force_in_blocks_of_any_size(
        self, monkeypatch, block, fraction, seed
    ):
        monkeypatch.setattr(_entangled, "MAX_BLOCK_ENTRIES", block)
        F, sets, truth = random_case(seed=seed)
        got = entangled_subset(F, sets, truth, fraction=fraction)
        assert got.tolist() == brute_force(F, sets, truth, fraction)

    @pytest.mark.parametrize("block", [1, 100, 2**22])
    def test_ties_go_to_the_first_pair_in_blocks_of_any_size(self, monkeypatch, block):
        monkeypatch.setattr(_entangled, "MAX_BLOCK_ENTRIES", block)
        _, sets, truth = random_case()
        # few distinct directions: cosines of many pairs are equal but for rounding
        F = np.random.default_rng(0).integers(-1, 2, size=(40, 3)) * [[1.0, 1.0, 0.1]]
        for fraction in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
            got = entangled_subset(F, sets, truth, fraction=fraction)
            assert got.tolist() == brute_force(F, sets, truth, fraction)

    def test_memory_stays_far_under_the_square_of_the_rows(self, monkeypatch):
        monkeypatch.setattr(_entangled, "MAX_BLOCK_ENTRIES", 2**15)
        F, sets, truth = random_case(n_rows=3000, n_features=8)
        sizes = []
        blocks = _entangled._pair_blocks

        def watched(*args):
            for start, entangled in blocks(*args):
                sizes.append(entangled.size)
                yield start, entangled

        monkeypatch.setattr(_entangled, "_pair_blocks", watched)
        tracemalloc.start()
        try:
            entangled_subset(F, sets, truth, fraction=1e-4)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert max(sizes) <= 2**15
        assert peak < len(F) ** 2  # bytes: an eighth of a matrix of cosines

    @pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
    def test_unfit_fraction_is_named(self, fraction):
        with pytest.raises(ValueError, match=f"fraction == {fraction}, must be"):
            entangled_subset(F, SETS, TRUTH, fraction=fraction)

    @pytest.mark.parametrize(
        ("F", "y", "true_labels", "message"),
        [
            (F[:4], SETS, TRUTH, "inconsistent numbers of samples"),
            (F, SETS[:4], TRUTH, "inconsistent numbers of samples"),
            (F * np.nan, SETS, TRUTH, "F contains NaN"),
            (F[:, 0], SETS, TRUTH, "Expected 2D array"),
            (F, SETS, [0, 1, 1, 2, 0], "0 is a true label, but the classes of y are"),
            (F, SETS, ["a", None, "b", "c", "a"], "row 1 of true_labels is missing"),
        ],
    )
    def test_unfit_input_is_named(self, F, y, true_labels, message):
        with pytest.raises(ValueError, match=message):
            entangled_subset(F, y, true_labels)


class TestEntangledAccuracy:
    def test_hand_worked(self):
        def accuracy(y_pred, n_pairs):
            return entangled_accuracy(
                TRUTH, list(y_pred), F, SETS, fraction=n_pairs / 8
            )

        assert accuracy("abccc", 1) == 1  # rows 0, 1
        assert accuracy("aaccc", 1) == 0.5
        assert accuracy("abcca", 2) == 1  # rows 0, 1, 4
        assert accuracy("abccc", 2) == 2 / 3
        assert accuracy("abcca", 3) == 4 / 5

    def test_a_pair_in_a_thousand_by_default(self):
        F, sets, truth = random_case(n_rows=120)
        y_pred = (truth + np.arange(120) % 3 // 2) % 4
        expected = entangled_accuracy(truth, y_pred, F, sets, fraction=1e-3)
        assert entangled_accuracy(truth, y_pred, F, sets) == expected
        rows = entangled_subset(F, sets, truth)
        assert expected == (y_pred == truth)[rows].mean()

    def test_classes_name_the_columns(self):
        mask = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1], [1, 1, 0]]
        got = entangled_accuracy(TRUTH, list("aaccc"), F, mask, classes=list("abc"))
        assert got == 0.5

    def test_prediction_or_truth_that_is_no_class_is_wrong(self):
        got = entangled_accuracy(TRUTH, list("zbbca"), F, SETS)
        assert got == 0.5
        got = entangled_accuracy(
            list("zbbca"), list("abbca"), F, SETS, classes=list("abc")
        )
        assert got == 0.5

    def test_no_entangled_pair_is_an_error(self):
        with pytest.raises(ValueError, match=r"no two rows are entangled.*Pass more"):
            entangled_accuracy(TRUTH, TRUTH, F, list("abbca"))

    @pytest.mark.parametrize(
        ("y_pred", "message"),
        [
            ([0, 1, 1, 2, 0], "y_pred is 0 in row 0, .*classes="),
            (list("abbc"), "inconsistent numbers of samples"),
            (["a", None, "b", "c", "a"], "row 1 of y_pred is missing"),
        ],
    )
    def test_unfit_predictions_are_named(self, y_pred, message):
        with pytest.raises(ValueError, match=message):
            entangled_accuracy(TRUTH, y_pred, F, SETS)
