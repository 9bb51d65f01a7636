"""Splitters that divide candidate sets evenly."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from scipy.sparse import coo_array, csr_array, issparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.naive_bayes import GaussianNB

from sklabeldiff._stratification import _place, _rarest_first, strata_weights
from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import (
    CandidateStratifiedGroupKFold,
    CandidateStratifiedKFold,
    CandidateStratifiedShuffleSplit,
    RepeatedCandidateStratifiedKFold,
    candidate_train_test_split,
)

NAMES = np.array(["setosa", "versicolor", "virginica"])
GROUPS = np.arange(150) * 7 % 31  # every class in every group of the sorted iris

SPLITTERS = {
    "folds": CandidateStratifiedKFold(4, shuffle=True, random_state=0),
    "repeated": RepeatedCandidateStratifiedKFold(
        n_splits=3, n_repeats=2, random_state=0
    ),
    "shuffle split": CandidateStratifiedShuffleSplit(4, test_size=0.3, random_state=0),
    "groups": CandidateStratifiedGroupKFold(4, shuffle=True, random_state=0),
}


def fold_numbers(splitter, y, groups=None):
    """Fold of each row; checks that the folds are a partition."""
    n_rows = len(y)
    fold = np.full(n_rows, -1)
    for f, (train, test) in enumerate(splitter.split(np.zeros((n_rows, 1)), y, groups)):
        assert (fold[test] == -1).all()
        fold[test] = f
        np.testing.assert_array_equal(np.setdiff1d(np.arange(n_rows), test), train)
    assert (fold >= 0).all()
    assert fold.max() + 1 == splitter.get_n_splits()
    return fold


def sums_by_fold(fold, values):
    """Sum of the rows of each fold. (n,), (n, C) -> (k, C)."""
    return np.array([values[fold == f].sum(axis=0) for f in range(fold.max() + 1)])


def splits_of(splitter, y, n_rows=150):
    """Row numbers, in the order given, of all parts of all splits."""
    X = np.zeros((n_rows, 1))
    return [rows.tolist() for s in splitter.split(X, y, GROUPS[:n_rows]) for rows in s]


def with_seed(splitter, seed):
    again = clone(splitter, safe=False)
    again.random_state = seed
    return again


def placed(w):
    """Part of each row of nine equal ones, placed one by one."""
    mass = w.sum(axis=0)
    w = w[_rarest_first(w, mass, True)]
    lack = np.tile((w / mass).sum(axis=0) / 9, (9, 1))
    return _place(w, mass, np.ones(9, dtype=int), lack, np.full(9, len(w) // 9))


def as_frozensets(mask, names):
    y = np.empty(len(mask), dtype=object)
    y[:] = [frozenset(names[row].tolist()) for row in mask]
    return y


def random_sets(rng, n_rows, n_classes, rate):
    """Sets around skewed true classes. (n, C)."""
    mask = rng.random((n_rows, n_classes)) < rate
    truth = rng.choice(n_classes, n_rows, p=rng.dirichlet(np.ones(n_classes)))
    mask[np.arange(n_rows), truth] = True
    return mask


FORMS = {
    "mask": lambda Y: Y,
    "numbers": lambda Y: Y.astype(float),
    "frame": lambda Y: pd.DataFrame(Y, columns=NAMES),
    "polars": lambda Y: pl.DataFrame(Y, schema=NAMES.tolist()),
    "tensor": torch.tensor,
    "frozensets": lambda Y: as_frozensets(Y, NAMES),
    "series": lambda Y: pd.Series(as_frozensets(Y, NAMES)),
    "sparse": csr_array,
    "lists": lambda Y: [NAMES[row].tolist() for row in Y],
    "none": lambda Y: [None if r.all() else set(NAMES[r].tolist()) for r in Y],
}


@pytest.fixture(scope="module")
def iris():
    """Features, true classes, candidate sets; sorted by class."""
    X, y = load_iris(return_X_y=True)
    return X, y, make_candidate_sets(y, rate=0.4, random_state=0)


@pytest.fixture(scope="module")
def truth():
    """Digits, sorted."""
    return np.sort(load_digits().target)


@pytest.fixture(scope="module")
def distinct():
    """Weights no two rows of which are alike, and no two entries of a column."""
    return np.random.default_rng(0).dirichlet(np.ones(5), 150)


class TestStratifiedKFold:
    def test_by_hand(self):
        # Class 2 is rarest and comes first: one {2} for each fold. Of {0, 1}, twice,
        # and of {0}, twice, each fold gets one. The odd {1} goes where there is room.
        y = [{0, 1}, {0, 1}, {2}, {2}, {0}, {0}, {1}]
        fold = fold_numbers(CandidateStratifiedKFold(2), y)
        assert fold.tolist() == [0, 1, 0, 1, 0, 1, 0]

    def test_rarest_class_decides_where_a_row_goes(self):
        # All sets differ. Both rows with class 3 must part, though {0, 3} and {1, 3}
        # could also balance {0, 2} and {1, 2}.
        y = [{0, 3}, {1, 3}, {0, 2}, {1, 2}, {0, 1, 2}, {0}]
        fold = fold_numbers(CandidateStratifiedKFold(2), y)
        assert fold[0] != fold[1]

    @pytest.mark.parametrize("n_splits", [2, 3, 5])
    @pytest.mark.parametrize("seed", [None, 0, 1])
    def test_plain_labels_are_stratified_as_by_scikit_learn(self, n_splits, seed):
        y = np.repeat(np.arange(5), [53, 29, 10, 6, 5])
        y = np.random.default_rng(0).permutation(y)
        kwargs = {"shuffle": seed is not None, "random_state": seed}
        one_hot = np.eye(5)[y]
        for splitter in (
            CandidateStratifiedKFold(n_splits, **kwargs),
            StratifiedKFold(n_splits, **kwargs),
        ):
            fold = fold_numbers(splitter, y)
            assert np.ptp(sums_by_fold(fold, one_hot), axis=0).max() <= 1
            assert np.ptp(np.bincount(fold)) <= 1

    def test_without_shuffling_equal_rows_stay_in_order(self):
        y = np.repeat([0, 1], [6, 4])
        fold = fold_numbers(CandidateStratifiedKFold(2), y)
        assert fold.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]

    @pytest.mark.parametrize("weighted", [False, True], ids=["sets", "weights"])
    def test_every_class_is_as_likely_in_every_fold(self, weighted):
        rng = np.random.default_rng(0)
        for _ in range(40):
            Y = random_sets(rng, 60, 6, 0.3).astype(float)
            if weighted:
                Y *= rng.uniform(0.1, 1, Y.shape)
            w = Y / Y.sum(axis=1, keepdims=True)
            fold = fold_numbers(CandidateStratifiedKFold(4), Y)
            deviation = np.ptp(sums_by_fold(fold, w), axis=0)
            # The worst of all classes and 40 draws was 1.7; of random folds it is 8.
            assert deviation.max() < 2.2

    def test_rare_classes_are_heard_among_common_ones(self):
        rng = np.random.default_rng(0)
        spread = []
        for _ in range(60):
            Y = rng.random((300, 20)) < 0.1
            truth = rng.choice(20, 300, p=rng.dirichlet(np.full(20, 0.3)))
            Y[np.arange(300), truth] = True
            w = Y / Y.sum(axis=1, keepdims=True)
            fold = fold_numbers(CandidateStratifiedKFold(4), Y)
            rarest = np.argsort(w.sum(axis=0))[:2]
            spread.append(np.ptp(sums_by_fold(fold, w[:, rarest]), axis=0).mean())
        # .21; .29 where what a fold lacks is not relative to the class.
        assert np.mean(spread) < 0.25

    def test_order_of_the_classes_breaks_no_tie(self):
        # Sums in another order differ in the last digit, as on another machine.
        rng = np.random.default_rng(0)
        for _ in range(60):
            w = strata_weights(random_sets(rng, 60, 8, 0.4))
            if len(np.unique(w.sum(axis=0).round(6))) < 8:
                continue  # which class is rarest is a tie of another kind
            other = rng.permutation(8)
            np.testing.assert_array_equal(placed(w), placed(w[:, other]))

    def test_rare_candidate_is_kept_in_every_training_part(self):
        rng = np.random.default_rng(0)
        for seed in range(100):
            Y = random_sets(rng, 30, 8, 0.05)
            splitter = CandidateStratifiedKFold(3, shuffle=True, random_state=seed)
            several = Y.sum(axis=0) >= 2
            for train, _ in splitter.split(Y, Y):
                assert Y[train].any(axis=0)[several].all()

    def test_fold_sizes_differ_by_one_at_most(self):
        rng = np.random.default_rng(0)
        for _ in range(100):
            n_rows, n_classes = rng.integers(10, 80), rng.integers(2, 9)
            Y = random_sets(rng, n_rows, n_classes, rng.choice([0.05, 0.3, 0.7]))
            fold = fold_numbers(CandidateStratifiedKFold(int(rng.integers(2, 8))), Y)
            assert np.ptp(np.bincount(fold)) <= 1

    def test_weights_of_rows_by_hand(self):
        Y = np.array([[1, 1, 0], [1, 1, 1], [2, 1, 1]])
        expected = [[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.25, 0.25]]
        np.testing.assert_array_equal(strata_weights(Y), expected)

    def test_unlabelled_rows_are_spread_evenly(self):
        rng = np.random.default_rng(0)
        for _ in range(300):
            n_rows, n_classes = rng.integers(12, 50), rng.integers(3, 7)
            Y = random_sets(rng, n_rows, n_classes, 0.3)
            Y[rng.random(n_rows) < rng.uniform()] = True
            fold = fold_numbers(CandidateStratifiedKFold(int(rng.integers(2, 8))), Y)
            assert np.ptp(sums_by_fold(fold, Y.all(axis=1)[:, None])) <= 1

    def test_set_of_all_classes_with_unequal_weights_is_not_unlabelled(self):
        y = np.array([[8, 1, 1], [8, 1, 1], [1, 8, 1], [1, 8, 1], [1, 1, 1], [1, 1, 1]])
        fold = fold_numbers(CandidateStratifiedKFold(2), y)
        assert fold.tolist() == [0, 1, 0, 1, 0, 1]

    @pytest.mark.parametrize("y", [np.ones((6, 3)), [7] * 6], ids=["unknown", "one"])
    def test_rows_that_are_all_alike(self, y):
        fold = fold_numbers(CandidateStratifiedKFold(3), y)
        assert fold.tolist() == [0, 0, 1, 1, 2, 2]

    def test_many_rows_are_balanced_to_a_few(self):
        y = np.random.default_rng(0).integers(10, size=20_000)
        Y = make_candidate_sets(y, rate=0.3, random_state=0)
        fold = fold_numbers(CandidateStratifiedKFold(5), Y)
        w = Y / Y.sum(axis=1, keepdims=True)
        assert np.ptp(sums_by_fold(fold, w), axis=0).max() < 3  # of some 400 each

    def test_shuffling_changes_which_distinct_sets_meet(self):
        # No two rows are equal, so only the order of placing can differ.
        Y = np.unpackbits(np.arange(1, 41, dtype=np.uint8)[:, None], axis=1)

        def together(seed):
            splitter = CandidateStratifiedKFold(2, shuffle=True, random_state=seed)
            fold = fold_numbers(splitter, Y)
            return fold == fold[0]

        assert (together(0) != together(1)).any()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"n_splits": 1}, "n_splits=2 or more, got n_splits=1"),
            ({"n_splits": 2.5}, "number of folds must be of Integral type"),
            ({"random_state": 0}, "random_state has no effect since shuffle is False"),
        ],
    )
    @pytest.mark.parametrize(
        "splitter", [CandidateStratifiedKFold, CandidateStratifiedGroupKFold]
    )
    def test_unfit_parameters(self, splitter, arguments, message):
        with pytest.raises(ValueError, match=message):
            splitter(**arguments)


class TestHiddenClasses:
    """The true classes of the rows, which the splitters do not see."""

    @pytest.mark.parametrize("seed", [None, 0])
    def test_every_class_is_in_every_training_part(self, seed, truth):
        Y = make_candidate_sets(truth, rate=0.3, random_state=0)

        def n_classes(splitter):
            return [len(np.unique(truth[train])) for train, _ in splitter.split(Y, Y)]

        assert n_classes(KFold(5)) == [8, 8, 9, 9, 8]
        splitter = CandidateStratifiedKFold(
            5, shuffle=seed is not None, random_state=seed
        )
        assert n_classes(splitter) == [10] * 5

    def test_true_classes_are_more_even_than_by_chance(self, truth):
        spread = []
        for seed in range(20):
            Y = make_candidate_sets(truth, rate=0.3, random_state=seed)
            for splitter in (CandidateStratifiedKFold, KFold):
                folds = splitter(5, shuffle=True, random_state=seed).split(Y, Y)
                shares = [np.bincount(truth[t]) / len(t) for _, t in folds]
                spread.append(np.ptp(shares, axis=0).mean())
        ours, chance = np.mean(np.reshape(spread, (20, 2)), axis=0)
        assert ours < 0.9 * chance  # .0310 and .0369


class TestRepeatedStratifiedKFold:
    def test_each_repeat_is_stratified_folds(self):
        rng = np.random.default_rng(0)
        for seed in range(20):
            Y = random_sets(rng, 60, 6, 0.3)
            w = Y / Y.sum(axis=1, keepdims=True)
            splitter = RepeatedCandidateStratifiedKFold(
                n_splits=4, n_repeats=2, random_state=seed
            )
            tests = [test for _, test in splitter.split(Y, Y)]
            for repeat in (tests[:4], tests[4:]):
                assert np.sort(np.concatenate(repeat)).tolist() == list(range(60))
                weights = [w[test].sum(axis=0) for test in repeat]
                # The worst is 2.0; of random folds it is 4.
                assert np.ptp(weights, axis=0).max() < 2.4

    @pytest.mark.parametrize("kind", ["sets", "weights"])
    def test_repeats_differ(self, kind, iris, distinct):
        y = iris[2] if kind == "sets" else distinct
        splitter = RepeatedCandidateStratifiedKFold(
            n_splits=2, n_repeats=10, random_state=0
        )
        halves = {min(map(tuple, map(sorted, pair))) for pair in splitter.split(y, y)}
        assert len(halves) == 10

    def test_number_of_splits(self):
        assert RepeatedCandidateStratifiedKFold().get_n_splits() == 50

    def test_unfit_parameters(self, iris):
        with pytest.raises(ValueError, match="repetitions must be greater than 0"):
            RepeatedCandidateStratifiedKFold(n_repeats=0)
        splitter = RepeatedCandidateStratifiedKFold(n_splits=1)
        with pytest.raises(ValueError, match="n_splits=2 or more, got n_splits=1"):
            next(splitter.split(iris[0], iris[2]))


def parts_of(splitter, Y):
    """First split: 0 for rows to train on, 1 to test on, 2 unused. (n,)."""
    part = np.full(len(Y), 2)
    train, test = next(splitter.split(Y, Y))
    part[train], part[test] = 0, 1
    assert (part == 0).sum() == len(train)
    assert (part == 1).sum() == len(test)
    return part


class TestStratifiedShuffleSplit:
    @pytest.mark.parametrize("n_rows", [7, 20, 33, 100])
    @pytest.mark.parametrize(
        "sizes",
        [
            {},
            {"test_size": 0.25},
            {"test_size": 3},
            {"train_size": 0.4},
            {"train_size": 5},
            {"test_size": 0.3, "train_size": 0.45},
            {"test_size": 2, "train_size": 2},
            {"test_size": 0.8, "train_size": 1},
        ],
    )
    def test_sizes_are_those_of_scikit_learn(self, n_rows, sizes):
        Y = random_sets(np.random.default_rng(0), n_rows, 4, 0.3)
        expected = next(ShuffleSplit(**sizes, random_state=0).split(Y))
        splitter = CandidateStratifiedShuffleSplit(2, **sizes, random_state=0)
        for split in splitter.split(Y, Y):
            assert list(map(len, split)) == list(map(len, expected))
            rows = np.concatenate(split)
            assert len(np.unique(rows)) == len(rows)

    def test_by_hand(self):
        # Half of {0, 1} and half of {2}. Of the three {0} one or two, and then the one
        # {1} is where there is room.
        y = [{0, 1}, {2}, {0}, {0}, {0}, {2}, {1}, {0, 1}]
        for seed in range(20):
            splitter = CandidateStratifiedShuffleSplit(
                1, test_size=0.5, random_state=seed
            )
            _, test = next(splitter.split(y, y))
            assert len({0, 7} & set(test)) == 1
            assert len({1, 5} & set(test)) == 1
            assert len({2, 3, 4} & set(test)) + (6 in test) == 2
            assert len({2, 3, 4} & set(test)) in (1, 2)

    @pytest.mark.parametrize(
        ("y", "tested"),
        [
            # Shares of 0.2 and 1.8; of 0.25, 1 and 0.75.
            ([0] * 2 + [1] * 18, [1, 1]),
            ([0] + [1] * 4 + [None] * 3, [1, None]),
        ],
        ids=["rare class", "unlabelled rows"],
    )
    def test_shares_are_rounded_to_the_nearest(self, y, tested):
        splitter = CandidateStratifiedShuffleSplit(20, test_size=2, random_state=0)
        for _, test in splitter.split(y, y):
            assert sorted((y[i] for i in test), key=str) == tested

    @pytest.mark.parametrize(
        "sizes", [{"test_size": 0.1}, {"test_size": 0.25}, {"train_size": 0.5}]
    )
    def test_plain_labels_are_stratified_as_by_scikit_learn(self, sizes):
        y = np.random.default_rng(0).permutation(
            np.repeat(np.arange(5), [53, 29, 11, 6, 5])
        )
        for splitter in (CandidateStratifiedShuffleSplit, StratifiedShuffleSplit):
            for _, test in splitter(10, **sizes, random_state=0).split(y, y):
                share = np.bincount(y) * len(test) / len(y)
                assert np.abs(np.bincount(y[test], minlength=5) - share).max() < 1

    @pytest.mark.parametrize("weighted", [False, True], ids=["sets", "weights"])
    @pytest.mark.parametrize(
        ("test_size", "train_size"),
        [(0.1, None), (0.25, None), (0.5, None), (0.2, 0.4)],
    )
    def test_test_part_has_its_share_of_every_class(
        self, test_size, train_size, weighted
    ):
        rng = np.random.default_rng(0)
        ours, random = [], []
        for seed in range(60):
            n_rows, n_classes = rng.integers(30, 150), rng.integers(3, 12)
            Y = random_sets(rng, n_rows, n_classes, rng.choice([0.05, 0.3])) * 1.0
            if weighted:
                Y *= rng.uniform(0.1, 1, Y.shape)
            w = Y / Y.sum(axis=1, keepdims=True)
            arguments = {"test_size": test_size, "train_size": train_size}
            for splitter, found in [
                (CandidateStratifiedShuffleSplit, ours),
                (ShuffleSplit, random),
            ]:
                part = parts_of(splitter(1, **arguments, random_state=seed), Y)
                share = w.sum(axis=0) * (part == 1).mean()
                found.append(np.abs(w[part == 1].sum(axis=0) - share).max())
        # In rows; over the eight cases the means are .46 to .60 against 1.3 to 2.0, the
        # worst 1.0 to 1.9 against 3.7 to 6.7.
        assert np.mean(ours) < 0.7 < 1.1 < np.mean(random)
        assert max(ours) < 2.2 < 3 < max(random)

    def test_unlabelled_rows_have_their_share(self):
        rng = np.random.default_rng(0)
        for seed in range(100):
            Y = random_sets(rng, rng.integers(30, 90), rng.integers(3, 7), 0.3)
            Y[rng.random(len(Y)) < rng.uniform()] = True
            splitter = CandidateStratifiedShuffleSplit(
                1, test_size=0.25, random_state=seed
            )
            part = parts_of(splitter, Y)
            unknown = Y.all(axis=1)
            share = unknown.sum() * (part == 1).mean()
            assert abs(unknown[part == 1].sum() - share) < 1

    @pytest.mark.parametrize("test_size", [0.1, 0.5, 0.8])
    def test_class_of_two_rows_stays_in_training(self, test_size):
        rng = np.random.default_rng(0)
        for seed in range(100):
            Y = random_sets(rng, 60, 6, 0.3)
            Y[:, 5] = False
            Y[~Y.any(axis=1), 0] = True
            Y[rng.choice(60, 2, replace=False), 5] = True
            splitter = CandidateStratifiedShuffleSplit(
                1, test_size=test_size, random_state=seed
            )
            train, _ = next(splitter.split(Y, Y))
            assert Y[train].any(axis=0).all()

    @pytest.mark.parametrize("train_size", [3, 6])
    def test_few_rows_hold_all_classes_where_they_can(self, train_size):
        # Every class has four rows, two of them with another class: three rows can hold
        # all six.
        pairs = [{0, 1}, {2, 3}, {4, 5}] * 2
        y = [{j} for j in range(6)] * 2 + pairs
        for seed in range(50):
            splitter = CandidateStratifiedShuffleSplit(
                1, train_size=train_size, random_state=seed
            )
            train, _ = next(splitter.split(y, y))
            assert set().union(*(y[i] for i in train)) == set(range(6))

    def test_too_few_rows_for_all_classes_are_no_error(self):
        y = np.arange(20) % 10
        splitter = CandidateStratifiedShuffleSplit(5, train_size=4, random_state=0)
        for train, _ in splitter.split(y, y):
            assert len(np.unique(y[train])) == 4

    @pytest.mark.parametrize("kind", ["sets", "weights"])
    def test_every_row_may_be_tested(self, kind, iris, distinct):
        y = iris[2] if kind == "sets" else distinct
        splitter = CandidateStratifiedShuffleSplit(200, test_size=0.25, random_state=0)
        times = np.bincount(
            np.concatenate([test for _, test in splitter.split(y, y)]), minlength=150
        )
        # In 50 of 200 splits on average: 30 to 67 with sets, 20 to 75 with weights.
        assert times.min() > 10
        assert times.max() < 100

    @pytest.mark.parametrize("kind", ["sets", "weights"])
    def test_splits_differ(self, kind, iris, distinct):
        y = iris[2] if kind == "sets" else distinct
        splitter = CandidateStratifiedShuffleSplit(10, random_state=0)
        assert len({tuple(sorted(test)) for _, test in splitter.split(y, y)}) == 10

    def test_rows_come_in_random_order(self, iris):
        train, test = next(CandidateStratifiedShuffleSplit(1).split(iris[0], iris[2]))
        assert (np.diff(train) < 0).any()
        assert (np.diff(test) < 0).any()

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ({"test_size": 1.5}, r"test_size=1.5 should be .* float in the \(0, 1\)"),
            ({"test_size": 10}, "smaller than the number of samples 10"),
            ({"train_size": 0}, "train_size=0 should be either positive"),
            ({"train_size": "all"}, "Invalid value for train_size: all"),
            ({"test_size": 0.6, "train_size": 0.6}, "Reduce test_size and/or train"),
            ({"test_size": 6, "train_size": 6}, "Reduce test_size and/or train"),
            ({"train_size": 0.01}, "resulting train set will be empty. Adjust"),
        ],
    )
    def test_unfit_sizes(self, sizes, message):
        y = np.arange(10) % 2
        with pytest.raises(ValueError, match=message):
            next(CandidateStratifiedShuffleSplit(**sizes).split(y, y))


def grouped(rng, unlabelled=0.1):
    """Sets of rows whose groups have classes of their own, and the groups."""
    n_groups, n_classes = rng.integers(15, 60), rng.integers(3, 9)
    sizes = rng.integers(1, 25, n_groups)
    prior = rng.dirichlet(np.ones(n_classes))
    truth = np.concatenate(
        [
            rng.choice(n_classes, size, p=rng.dirichlet(4 * prior + 1e-3))
            for size in sizes
        ]
    )
    Y = rng.random((len(truth), n_classes)) < 0.2
    Y[np.arange(len(truth)), truth] = True
    Y[rng.random(len(truth)) < unlabelled] = True
    return Y, np.repeat(rng.permutation(n_groups), sizes)


class TestStratifiedGroupKFold:
    def test_by_hand(self):
        # The three large groups part, as they share class 0. Of the small ones, which
        # come after, each goes where its class is missing.
        y = [{0}] * 9 + [{0, 1}, {2}, {1}]
        groups = [*"aaabbbccc", *"def"]
        fold = fold_numbers(CandidateStratifiedGroupKFold(3), y, groups)
        assert fold.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2]

    def test_no_group_is_in_two_folds(self):
        rng = np.random.default_rng(0)
        for seed in range(30):
            Y, groups = grouped(rng)
            splitter = CandidateStratifiedGroupKFold(
                int(rng.integers(2, 9)), shuffle=True, random_state=seed
            )
            fold = fold_numbers(splitter, Y, groups)
            assert len(set(zip(groups, fold, strict=True))) == groups.max() + 1
            assert np.bincount(fold).min() > 0

    def test_classes_are_more_even_than_by_group_k_fold(self):
        rng = np.random.default_rng(0)
        spread = []
        for _ in range(50):
            Y, groups = grouped(rng)
            w = strata_weights(Y)
            w = np.column_stack([w, ~w.any(axis=1)])
            spread.append(
                [
                    np.ptp(sums_by_fold(fold, w / w.sum(axis=0)), axis=0).mean()
                    for splitter in (CandidateStratifiedGroupKFold(5), GroupKFold(5))
                    for fold in [fold_numbers(splitter, Y, groups)]
                ]
            )
        ours, theirs = np.mean(spread, axis=0)
        assert ours < 0.65 * theirs  # .067 and .131 of the weight of a class

    def test_unlabelled_rows_spread_too(self):
        # By size alone both groups of them would join b.
        y = [{0}] * 7 + [{1}] + [{0}] * 3 + [{1}] + [None] * 4
        groups = [*"aaaaaaaabbbbccdd"]
        fold = fold_numbers(CandidateStratifiedGroupKFold(2), y, groups)
        assert fold.tolist() == [0] * 8 + [1] * 4 + [1, 1, 0, 0]

    def test_sizes_break_ties(self):
        # No group has a class of another: each goes to the smallest fold.
        y = np.repeat(np.arange(6), [6, 5, 4, 3, 2, 1])
        fold = fold_numbers(CandidateStratifiedGroupKFold(3), y, y)
        assert np.bincount(fold).tolist() == [7, 7, 7]

    def test_shuffling_changes_which_groups_meet(self, iris):
        def together(seed):
            splitter = CandidateStratifiedGroupKFold(3, shuffle=True, random_state=seed)
            fold = fold_numbers(splitter, iris[2], np.arange(150) // 5)
            return fold == fold[0]

        assert (together(0) != together(1)).any()

    @pytest.mark.parametrize(
        "form",
        [
            lambda g: g.tolist(),
            lambda g: g.astype(float),
            lambda g: np.array([f"patient {i}" for i in g]),
            lambda g: [("ward", i) for i in g.tolist()],
            lambda g: pd.Series(g, index=g + 5),
            lambda g: pd.Categorical.from_codes(g, [f"c{i}" for i in range(31)][::-1]),
            lambda g: pl.Series(g),
        ],
        ids=["list", "float", "text", "tuples", "series", "categorical", "polars"],
    )
    def test_groups_in_any_form_split_alike(self, form, iris):
        splitter = CandidateStratifiedGroupKFold(4, shuffle=True, random_state=0)
        expected = fold_numbers(splitter, iris[2], GROUPS)
        got = fold_numbers(splitter, iris[2], form(GROUPS))
        np.testing.assert_array_equal(got, expected)

    @pytest.mark.parametrize(
        ("groups", "message"),
        [
            (None, r"groups is None\. Pass groups="),
            ([1, 1, 2, 2, 2, 2], "n_splits=3 folds need as many groups.* are 2. Lower"),
            ([1, 2, None, 3, 4, 5], "row 2 has no group. Give it a group of its own"),
            (["a", "b", "c", float("nan"), "d", "e"], "row 3 has no group"),
            ([1, 2, 3], "inconsistent numbers of samples"),
            ([[1], [2], [3], [1], [2], [3]], "groups must be .* row 0 holds"),
        ],
    )
    def test_unfit_groups(self, groups, message):
        y = np.arange(6) % 2
        with pytest.raises(ValueError, match=message):
            next(CandidateStratifiedGroupKFold(3).split(y, y, groups))

    def test_groups_are_routed(self, iris):
        X, _, Y = iris
        cv = CandidateStratifiedGroupKFold(3)
        with sklearn.config_context(enable_metadata_routing=True):
            search = GridSearchCV(PLKNNClassifier(), {"n_neighbors": [10]}, cv=cv)
            search.fit(X, Y, groups=GROUPS)
        assert search.best_score_ > 0.8


@pytest.mark.parametrize("splitter", SPLITTERS.values(), ids=SPLITTERS)
class TestEverySplitter:
    @pytest.mark.parametrize("form", FORMS)
    def test_forms_of_y_split_alike(self, splitter, form, iris):
        expected = splits_of(splitter, iris[2])
        assert splits_of(splitter, FORMS[form](iris[2])) == expected

    def test_number_of_splits(self, splitter, iris):
        n_splits = len(list(splitter.split(*iris[1:], GROUPS)))
        assert splitter.get_n_splits(*iris[1:], GROUPS) == n_splits

    def test_seed_fixes_the_splits(self, splitter, iris):
        expected = splits_of(splitter, iris[2])
        assert splits_of(splitter, iris[2]) == expected
        assert splits_of(with_seed(splitter, 1), iris[2]) != expected
        drawing = with_seed(splitter, np.random.RandomState(0))
        assert splits_of(drawing, iris[2]) == expected
        assert splits_of(drawing, iris[2]) != expected

    def test_global_generator_is_untouched(self, splitter, iris):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        splits_of(splitter, iris[2])
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002

    @pytest.mark.parametrize("form", ["mask", "frame", "frozensets"])
    def test_serves_scikit_learn_as_cv(self, splitter, form, iris):
        X, _, Y = iris
        y = FORMS[form](Y)
        clf = PLKNNClassifier(classes=NAMES if form != "mask" else None)
        scores = cross_val_score(clf, X, y, cv=splitter, groups=GROUPS)
        assert scores.min() > 0.8
        found = cross_validate(clf, X, y, cv=splitter, groups=GROUPS)
        np.testing.assert_array_equal(found["test_score"], scores)
        search = GridSearchCV(clf, {"n_neighbors": [10]}, cv=splitter)
        search.fit(X, y, groups=GROUPS)
        assert search.best_score_ == pytest.approx(scores.mean(), rel=1e-12)

    def test_serves_scikit_learn_with_plain_labels(self, splitter, iris):
        X, y, _ = iris
        scores = cross_val_score(GaussianNB(), X, NAMES[y], cv=splitter, groups=GROUPS)
        assert scores.min() > 0.8

    def test_clones_with_its_parameters(self, splitter, iris):
        again = clone(splitter, safe=False)
        assert again is not splitter
        assert repr(again) == repr(splitter)
        assert splits_of(again, iris[2]) == splits_of(splitter, iris[2])

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            ([{0}, set(), {1}], "row 1 has no candidate"),
            ([0.5, 1.5, 2.5], "continuous"),
            (None, "y is None"),
            ([0, 1, 0, 1], "inconsistent numbers of samples"),
        ],
    )
    def test_unfit_rows(self, splitter, y, message):
        with pytest.raises(ValueError, match=message):
            splits_of(splitter, y, 3)


@pytest.mark.parametrize("name", ["folds", "repeated"])
def test_more_folds_than_rows(name):
    with pytest.raises(ValueError, match=r"folds need as many rows, .* are 2\. Lower"):
        splits_of(SPLITTERS[name], [{0}, {1}], 2)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "folds",
            "CandidateStratifiedKFold(n_splits=4, random_state=0, shuffle=True)",
        ),
        (
            "repeated",
            "RepeatedCandidateStratifiedKFold(n_repeats=2, n_splits=3, random_state=0)",
        ),
        (
            "shuffle split",
            "CandidateStratifiedShuffleSplit(n_splits=4, random_state=0, "
            "test_size=0.3, train_size=None)",
        ),
        (
            "groups",
            "CandidateStratifiedGroupKFold(n_splits=4, random_state=0, shuffle=True)",
        ),
    ],
)
def test_parameters_are_shown(name, shown):
    assert " ".join(repr(SPLITTERS[name]).split()) == shown


class TestTrainTestSplit:
    @pytest.mark.parametrize("form", FORMS)
    def test_forms_of_y_come_out_as_they_went_in(self, form, iris):
        X, _, Y = iris
        y = FORMS[form](Y)
        _, _, y_train, y_test, rows, test = candidate_train_test_split(
            X, y, np.arange(150), random_state=0
        )
        for part, chosen in ((y_train, rows), (y_test, test)):
            assert type(part) is type(y)
            expected = FORMS[form](Y[chosen])
            if isinstance(y, list):
                assert part == expected
            elif issparse(y):
                np.testing.assert_array_equal(part.toarray(), expected.toarray())
            else:
                np.testing.assert_array_equal(np.asarray(part), np.asarray(expected))
        masked = candidate_train_test_split(Y, Y, np.arange(150), random_state=0)
        np.testing.assert_array_equal(masked[-1], test)

    def test_is_the_first_split_of_the_splitter(self, iris):
        X, y, Y = iris
        sizes = {"test_size": 0.2, "train_size": 0.5}
        parts = candidate_train_test_split(X, Y, y, **sizes, random_state=3)
        splitter = CandidateStratifiedShuffleSplit(1, **sizes, random_state=3)
        rows = next(splitter.split(X, Y))
        expected = [a[r] for a in (X, Y, y) for r in rows]
        assert len(parts) == 6
        for part, array in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(part, array)

    def test_a_quarter_is_tested_by_default(self, iris):
        X, _, Y = iris
        assert len(candidate_train_test_split(X, Y)[1]) == 38
        assert len(candidate_train_test_split(X, Y, train_size=0.5)[1]) == 75

    def test_data_may_be_rows_of_any_kind(self, iris):
        _, y, Y = iris
        frame = pd.DataFrame({"row": np.arange(150)}, index=np.arange(150) + 7)
        texts = [str(i) for i in range(150)]
        parts = candidate_train_test_split(frame, Y, texts, coo_array(Y), y.tolist())
        assert isinstance(parts[0], pd.DataFrame)
        rows = parts[0]["row"].tolist()
        assert (parts[0].index == parts[0]["row"] + 7).all()
        assert parts[4] == [str(i) for i in rows]
        np.testing.assert_array_equal(parts[6].toarray(), Y[rows])
        assert parts[8] == y[rows].tolist()

    def test_set_of_a_single_row_is_no_trap(self):
        Y = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]] * 3 + [[1, 0, 1]])
        with pytest.raises(ValueError, match="least populated class"):
            train_test_split(Y, stratify=Y)
        _, _, y_train, y_test = candidate_train_test_split(Y, Y, random_state=0)
        assert (len(y_train), len(y_test)) == (9, 4)

    def test_lengths_must_agree(self, iris):
        X, y, Y = iris
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            candidate_train_test_split(X, Y, y[:9])
