"""Votes of several annotators: what they mean, in all forms, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

import sklabeldiff
from sklabeldiff.targets import (
    candidates_from_votes,
    encode_candidates,
    vote_labels,
)

# Five items by hand: a clear majority, a tie, three ways, one vote, none.
ANSWERS = [
    ["a", "a", "b", "a"],
    ["b", "c", "b", "c"],
    ["a", "b", "c", None],
    [None, None, "c", None],
    [None, None, None, None],
]
COUNTS = np.array([[3, 1, 0], [0, 2, 2], [1, 1, 1], [0, 0, 1], [0, 0, 0]])
CLASSES = ["a", "b", "c"]

# The same as numbers, -1 where there is no answer.
CODES = np.array(
    [[0, 0, 1, 0], [1, 2, 1, 2], [0, 1, 2, -1], [-1, -1, 2, -1], [-1, -1, -1, -1]]
)
TASKS = ["e", "d", "c", "b", "z"]  # not sorted; z has no answer


def long_table():
    """The answers one by one, in a shuffled order."""
    triples = [
        (TASKS[i], f"worker {j}", label)
        for i, row in enumerate(ANSWERS)
        for j, label in enumerate(row)
        if label is not None
    ]
    order = np.random.RandomState(0).permutation(len(triples))
    task, worker, label = zip(*(triples[k] for k in order), strict=True)
    return {"task": list(task), "worker": list(worker), "label": list(label)}


def assert_same(result, expected):
    """Compare (Y, classes) bit by bit."""
    for got, wanted in zip(result, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype


class TestCandidatesFromVotes:
    def test_every_class_with_a_vote_is_a_candidate(self):
        Y, classes = candidates_from_votes(ANSWERS)
        assert Y.dtype == bool
        np.testing.assert_array_equal(Y[:4], COUNTS[:4] > 0)
        assert classes.tolist() == CLASSES

    def test_item_without_votes_may_be_every_class(self):
        assert candidates_from_votes(ANSWERS, min_votes=3)[0][4].all()

    @pytest.mark.parametrize(
        ("min_votes", "expected"),
        [
            # The third item has no class with two votes: the tie of all three remains.
            (2, [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
            (3, [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
            # Shares are .75 .25 | .5 .5 | 1/3 1/3 1/3 | 1.
            (0.25, [[1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
            (0.26, [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
            (1.0, [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 1]]),
        ],
    )
    def test_min_votes_by_hand(self, min_votes, expected):
        Y, _ = candidates_from_votes(ANSWERS, min_votes=min_votes)
        np.testing.assert_array_equal(Y[:4], expected)

    def test_below_min_votes_only_the_best_remain(self):
        Y, _ = candidates_from_votes(
            [[4, 4, 3, 0], [2, 5, 1, 0]], min_votes=6, counts=1
        )
        np.testing.assert_array_equal(Y, [[1, 1, 0, 0], [0, 1, 0, 0]])

    def test_a_share_that_is_met_exactly_is_met(self):
        # Multiplied out, .07 * 100 is a little more than 7.
        for percent in range(1, 100):
            counts = [[percent, 100 - percent]]
            Y, _ = candidates_from_votes(counts, min_votes=percent / 100, counts=True)
            assert Y[0, 0], percent

    def test_integer_1_is_one_vote_and_float_1_is_all(self):
        votes = [["a", "a", "b"]]
        assert candidates_from_votes(votes, min_votes=np.int64(1))[0].sum() == 2
        Y, _ = candidates_from_votes(votes, min_votes=1.0)
        np.testing.assert_array_equal(Y, [[True, False]])  # none is unanimous

    def test_soft_gives_shares(self):
        Y, classes = candidates_from_votes(ANSWERS, soft=True)
        third = 1 / 3
        np.testing.assert_array_equal(
            Y,
            np.float32(
                [
                    [0.75, 0.25, 0],
                    [0, 0.5, 0.5],
                    [third, third, third],
                    [0, 0, 1],
                    [third, third, third],
                ]
            ),
        )
        assert Y.dtype == np.float32 and classes.tolist() == CLASSES

    def test_soft_shares_are_those_among_the_candidates(self):
        Y, _ = candidates_from_votes([[6, 3, 1]], min_votes=2, soft=True, counts=True)
        np.testing.assert_array_equal(Y, np.float32([[2 / 3, 1 / 3, 0]]))

    @pytest.mark.parametrize("soft", [False, True])
    def test_result_passes_through_encode_candidates_unchanged(self, soft):
        Y, _ = candidates_from_votes(ANSWERS, soft=soft)
        np.testing.assert_array_equal(encode_candidates(Y)[0], Y)

    def test_it_stands_at_the_front_door(self):
        assert sklabeldiff.candidates_from_votes is candidates_from_votes


WIDE_FORMS = {
    "tuples": lambda: [tuple(row) for row in ANSWERS],
    "ragged": lambda: [[v for v in row if v is not None] for row in ANSWERS],
    "object array": lambda: np.array(ANSWERS, dtype=object),
    "pandas": lambda: pd.DataFrame(ANSWERS, columns=list("wxyz")),
    "polars": lambda: pl.DataFrame(ANSWERS, schema=list("wxyz"), orient="row"),
    "Series of lists": lambda: pd.Series(ANSWERS),
    "arrow": lambda: pa.table(
        {j: [row[k] for row in ANSWERS] for k, j in enumerate("wxyz")}
    ),
}
LONG_FORMS = {
    "dict of lists": long_table,
    "dict of arrays": lambda: {k: np.array(v) for k, v in long_table().items()},
    "pandas": lambda: pd.DataFrame(long_table()),
    "pandas categories": lambda: pd.DataFrame(long_table()).astype("category"),
    "polars": lambda: pl.DataFrame(long_table()),
    "arrow": lambda: pa.table(long_table()),
    "without workers": lambda: pd.DataFrame(long_table()).drop(columns="worker"),
}


class TestForms:
    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("form", WIDE_FORMS)
    def test_wide_forms_agree(self, form, soft):
        votes = WIDE_FORMS[form]()
        expected = candidates_from_votes(ANSWERS, soft=soft)
        assert_same(candidates_from_votes(votes, soft=soft), expected)

    @pytest.mark.parametrize("min_votes", [1, 2, 0.5])
    @pytest.mark.parametrize("form", LONG_FORMS)
    def test_long_table_agrees_with_the_wide_one(self, form, min_votes):
        table = LONG_FORMS[form]()
        got = candidates_from_votes(table, min_votes=min_votes, tasks=TASKS)
        assert_same(got, candidates_from_votes(ANSWERS, min_votes=min_votes))

    def test_counts_agree_with_the_answers(self):
        got = candidates_from_votes(COUNTS, soft=True, counts=True, classes=CLASSES)
        assert_same(got, candidates_from_votes(ANSWERS, soft=True))

    @pytest.mark.parametrize(
        "counts", [COUNTS.tolist(), csr_array(COUNTS), COUNTS * 1.0]
    )
    def test_containers_of_counts_agree(self, counts):
        expected = candidates_from_votes(COUNTS, min_votes=2, counts=True)
        assert_same(candidates_from_votes(counts, min_votes=2, counts=True), expected)

    def test_columns_of_counts_are_the_classes(self):
        frame = pd.DataFrame(COUNTS, columns=["c", "a", "b"])
        Y, classes = candidates_from_votes(frame, counts=True)
        assert classes.tolist() == ["c", "a", "b"]
        np.testing.assert_array_equal(Y[0], [True, True, False])

    def test_missing_label_is_no_answer(self):
        Y, classes = candidates_from_votes(CODES, missing_label=-1)
        np.testing.assert_array_equal(Y, candidates_from_votes(ANSWERS)[0])
        assert classes.tolist() == [0, 1, 2] and classes.dtype == CODES.dtype

    def test_missing_label_says_nothing_about_tasks(self):
        table = {"task": [-1, 3], "label": [0, 1]}
        Y, _ = candidates_from_votes(table, missing_label=-1)
        np.testing.assert_array_equal(Y, [[True, False], [False, True]])

    def test_labels_of_an_array_keep_their_dtype(self):
        _, classes = candidates_from_votes(CODES.astype(np.int8), missing_label=-1)
        assert classes.dtype == np.int8

    def test_minus_1_is_an_ordinary_label_unless_said(self):
        assert candidates_from_votes(CODES)[1].tolist() == [-1, 0, 1, 2]

    def test_nan_is_no_answer(self):
        votes = np.where(CODES < 0, np.nan, CODES)
        Y, classes = candidates_from_votes(votes)
        np.testing.assert_array_equal(Y, candidates_from_votes(ANSWERS)[0])
        assert classes.tolist() == [0.0, 1.0, 2.0]

    def test_missing_label_in_a_table_leaves_the_task_without_that_vote(self):
        table = {"task": [0, 0, 1], "label": [1, -1, -1]}
        Y, _ = candidates_from_votes(table, classes=[0, 1], missing_label=-1)
        np.testing.assert_array_equal(Y, [[False, True], [True, True]])

    def test_rows_are_the_sorted_tasks_by_default(self):
        Y, _ = candidates_from_votes(long_table())
        np.testing.assert_array_equal(
            Y, candidates_from_votes(ANSWERS)[0][[3, 2, 1, 0]]
        )

    def test_numbers_of_tasks_need_no_order_and_no_density(self):
        table = {"task": np.array([70, -5, 70]), "label": np.array([3, 3, 9])}
        Y, classes = candidates_from_votes(table)
        np.testing.assert_array_equal(Y, [[True, False], [True, True]])
        assert classes.tolist() == [3, 9]

    def test_an_annotator_who_answered_twice_counts_twice(self):
        table = {"task": [0, 0, 0], "worker": ["w", "w", "x"], "label": [1, 1, 0]}
        Y, _ = candidates_from_votes(table, min_votes=2)
        np.testing.assert_array_equal(Y, [[False, True]])

    def test_classes_fix_the_columns(self):
        Y, classes = candidates_from_votes([["a"], ["b"]], classes=["b", "x", "a"])
        np.testing.assert_array_equal(Y, [[0, 0, 1], [1, 0, 0]])
        assert classes.tolist() == ["b", "x", "a"]

    def test_fractions_listed_as_classes_are_labels(self):
        Y, _ = candidates_from_votes([[0.5, 1.5]], classes=[1.5, 2.5, 0.5])
        np.testing.assert_array_equal(Y, [[True, False, True]])


class TestRefusals:
    @pytest.mark.parametrize(
        ("votes", "arguments", "message"),
        [
            ([["a"], ["b", "x"]], {"classes": ["a", "b"]},
             r"row 1 of votes has the answer 'x', which is not among .*Add it to cla"),
            (CODES, {"classes": [0, 1, 2]},
             r"row 2 of votes has the answer -1,.* or give missing_label="),
            ({"task": [1, 1, 2], "label": ["a", "b", "x"]}, {"classes": ["a", "b"]},
             r"row 2 of votes has the answer 'x'"),
            ([["a"], ["b", 3]], {},
             r"row 1 has the label 3 \(int\), but row 0 has 'a'.*Convert them"),
            ([[1.0, np.nan], [2.0, 0.3]], {},
             r"row 1 of votes holds 0\.3\. .*use encode_candidates"),
            ([["a"], "b"], {}, r"row 1 of votes is 'b' \(str\)\. Give one list"),
            (np.array([3, 1]), {}, r"row 0 of votes is 3 \(int\)\. Give one list"),
            ([{"a"}], {}, r"row 0 of votes is \{'a'\} \(set\)\. Give one list"),
            ([[["a"], "b"]], {}, r"row 0 holds \['a'\] \(list\), which cannot be"),
            ([[None, np.nan], []], {}, r"no vote for any of the 2 items\. At least"),
            (np.full((3, 2), -1), {"missing_label": -1}, "no vote for any of the 3"),
            (np.zeros((2, 3)), {"counts": True}, "no vote for any of the 2 items"),
            ([], {}, "no vote for any of the 0 items"),
            (None, {}, "votes must be a 2-D array of answers, a list of answers"),
            ({"item": [1], "label": [1]}, {}, 'a table with the columns "task" and'),
            ({"task": [1, 2], "label": [1]}, {}, "in length: 2 tasks, 1 labels. Give"),
            ({"task": [[1, 2]], "label": [1]}, {}, r'"task" of votes: row 0 holds'),
            ({"task": np.eye(2), "label": [1, 1]}, {},
             r'"task" of votes has shape \(2, 2\)\. Give it one value per answer'),
            ({"task": ["s", None], "label": [1, 1]}, {},
             r"row 1 of votes has no task .*or drop the row"),
            ({"task": ["s", 1], "label": [1, 1]}, {},
             r'in the column "task" of votes: row 1 has the label 1'),
            ({"task": [5, 6], "label": [1, 1]}, {"tasks": [5, 7]},
             r"row 1 of votes has the task 6, .* the 2 tasks \[5, 7\]\. Add it to ta"),
            ({"task": [5], "label": [1]}, {"tasks": [5, 5]}, "tasks has 5 again at"),
            ({"task": [1j, 2j], "label": [1, 1]}, {}, "Complex data not supported"),
            ([["a"]], {"tasks": [0]}, r"tasks= gives the order .*leave it out"),
            (COUNTS, {"tasks": range(5), "counts": True}, "row i of votes is item i"),
            ([[1, 2], [3, -1]], {"counts": True},
             r"row 1 of votes has -1 for class 1\. Counts are whole numbers >= 0"),
            ([[1, 2], [0.5, 0.5]], {"counts": True},
             r"row 1 of votes has 0\.5 for class 0.*encode_candidates reads them"),
            (np.array([[1, np.nan]]), {"counts": True}, "row 0 of votes has nan for"),
            (COUNTS, {"counts": True, "classes": ["a", "b"]},
             r"3 columns of counts, but there are 2 classes.*Give one column"),
            (np.array([["a", "b"]]), {"counts": True}, r"With counts=True it holds"),
            (pd.DataFrame(COUNTS), {"counts": True, "classes": CLASSES},
             r"have names, and classes= was given too\. Leave one out"),
            (ANSWERS, {"classes": ["a", "a"]}, "classes has 'a' again at position 1"),
            (ANSWERS, {"min_votes": 0}, "min_votes=0 must be an integer from 1, or a"),
            (ANSWERS, {"min_votes": 1.5}, r"min_votes=1\.5 must be .* float in \(0, 1"),
            (ANSWERS, {"min_votes": 0.0}, r"min_votes=0\.0 must be"),
            (ANSWERS, {"min_votes": np.nan}, "min_votes=nan must be"),
        ],
    )  # fmt: skip
    def test_row_and_remedy_are_named(self, votes, arguments, message):
        with pytest.raises(ValueError, match=message):
            candidates_from_votes(votes, **arguments)

    @pytest.mark.parametrize("min_votes", ["2", None, True])
    def test_min_votes_that_is_no_number_is_a_type_error(self, min_votes):
        with pytest.raises(TypeError, match="must be an integer from 1"):
            candidates_from_votes(ANSWERS, min_votes=min_votes)

    def test_bytes_are_refused(self):
        with pytest.raises(TypeError, match=r"row 1 has the label b'x'.*decode them"):
            candidates_from_votes([[None], [b"x"]])

    def test_classes_that_cannot_be_sorted_name_the_remedy(self):
        votes = [[object(), object()]]
        with pytest.raises(ValueError, match=r"cannot be sorted\. Give classes="):
            candidates_from_votes(votes)


class TestVoteLabels:
    def test_majority_by_hand(self):
        y = vote_labels([ANSWERS[0], ANSWERS[3]])
        assert y.tolist() == ["a", "c"] and y.dtype == "<U1"

    def test_ties_are_broken_evenly_among_the_best(self):
        y = vote_labels(np.tile([2, 0, 2, 1], (9_000, 1)), counts=True, random_state=0)
        share = np.bincount(y, minlength=4) / len(y)
        # 3 standard errors of a fair coin are .016
        np.testing.assert_allclose(share, [0.5, 0, 0.5, 0], atol=0.016)

    def test_random_is_the_answer_of_one_annotator(self):
        counts = np.tile([3, 0, 6, 1], (10_000, 1))
        y = vote_labels(counts, "random", counts=True, random_state=0)
        share = np.bincount(y, minlength=4) / len(y)
        # 3 standard errors are at most .015
        np.testing.assert_allclose(share, [0.3, 0, 0.6, 0.1], atol=0.015)

    def test_random_draws_only_answers_that_were_given(self):
        for seed in range(50):
            y = vote_labels(ANSWERS[:4], "random", random_state=seed)
            column = [CLASSES.index(label) for label in y]
            assert COUNTS[np.arange(4), column].all()

    @pytest.mark.parametrize("how", ["majority", "random"])
    def test_item_without_votes_has_no_label(self, how):
        y = vote_labels(CODES, how, missing_label=-1, random_state=0)
        assert y.dtype == object and y[4] is None
        assert type(y[0]) is int and y[3] == 2
        assert encode_candidates(y)[0][4].all()

    @pytest.mark.parametrize("how", ["majority", "random"])
    def test_random_state_is_the_only_randomness(self, how):
        counts = np.tile([2, 2, 1], (100, 1))
        a, b, c = (
            vote_labels(counts, how, counts=True, random_state=seed)
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()

    @pytest.mark.parametrize("how", ["majority", "random"])
    def test_forms_agree(self, how):
        expected = vote_labels(ANSWERS, how, random_state=0)
        table = vote_labels(long_table(), how, tasks=TASKS, random_state=0)
        counts = vote_labels(COUNTS, how, counts=True, classes=CLASSES, random_state=0)
        np.testing.assert_array_equal(table, expected)
        np.testing.assert_array_equal(counts, expected)

    def test_unknown_way_is_named(self):
        with pytest.raises(ValueError, match="how='mean' is not 'majority' or 'ran"):
            vote_labels(ANSWERS, "mean")


def test_cifar10h_as_published(data_home):
    with np.load(data_home / "images" / "cifar10h_counts.npz") as file:
        counts, y = file["counts"], file["y"]
    Y, _ = candidates_from_votes(counts, counts=True)
    assert Y.sum(axis=1).mean() == pytest.approx(1.940, abs=5e-4)
    assert Y[np.arange(len(y)), y].mean() == pytest.approx(0.9996, abs=5e-5)
    majority = vote_labels(counts, counts=True, random_state=0)
    assert (majority == y).mean() == pytest.approx(0.9921, abs=5e-4)
