"""Scores that need no true label: worked by hand, and what they estimate."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import log_loss

from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import (
    approximated_accuracy,
    candidate_log_likelihood,
    covering_rate,
)

SETS = [{"a", "b"}, {"c"}, {"b", "c"}, {"a"}]
MASK = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
PROBA = np.array([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1]])


class TestCoveringRate:
    def test_hand_worked(self):
        # a in {a, b}; b not in {c}; b in {b, c}; c not in {a}
        assert covering_rate(SETS, ["a", "b", "b", "c"]) == 0.5

    @pytest.mark.parametrize(
        "y",
        [
            MASK,
            MASK.astype(bool),
            MASK * [[0.5, 0.1, 0.4]],
            csr_array(MASK),
            pd.DataFrame(MASK),
            MASK.tolist(),
            [[0, 1], [2], [1, 2], [0]],
            np.array([{0, 1}, {2}, {1, 2}, {0}], dtype=object),
        ],
        ids=lambda y: type(y).__name__,
    )
    def test_every_form_of_the_sets_scores_alike(self, y):
        assert covering_rate(y, [0, 1, 1, 2]) == 0.5

    def test_is_accuracy_for_plain_labels(self):
        assert covering_rate([3, 5, 3, 5], [3, 3, 3, 3]) == 0.5

    def test_unlabelled_row_covers_any_prediction(self):
        assert covering_rate([{"a"}, None, {"b"}], ["b", "c", "a"]) == 1 / 3

    def test_rows_may_all_be_unlabelled(self):
        # As in a fold of data with few labels; a NaN would end a search in silence.
        assert covering_rate([None, None], [0, 1], classes=[0, 1]) == 1
        assert covering_rate([None, None], ["a", "b"]) == 1
        with pytest.raises(ValueError, match="y has 0 rows"):
            covering_rate([], [0], classes=[0, 1])

    def test_missing_label_marks_unlabelled_rows(self):
        y, y_pred = [0, -1, 1, -1], [1, 0, 1, 1]
        assert covering_rate(y, y_pred) == 0.25
        assert covering_rate(y, y_pred, missing_label=-1) == 0.75

    def test_prediction_in_no_set_is_not_covered(self):
        assert covering_rate([{"a"}, {"b"}], ["a", "z"]) == 0.5

    def test_classes_name_the_columns_of_a_matrix(self):
        assert covering_rate(MASK, list("abbc"), classes=["a", "b", "c"]) == 0.5
        assert covering_rate(MASK, list("abbc"), classes=["c", "b", "a"]) == 0.5
        assert covering_rate(MASK, list("aaaa"), classes=["a", "b", "c"]) == 0.5
        assert covering_rate(MASK, list("aaaa"), classes=["b", "a", "c"]) == 0.5
        assert covering_rate(MASK, list("aaaa"), classes=["c", "b", "a"]) == 0.5
        assert covering_rate(MASK, list("cccc"), classes=["b", "c", "a"]) == 0.5

    @pytest.mark.parametrize(
        ("y", "y_pred", "classes", "message"),
        [
            (MASK, ["a"] * 4, None, r"'a' is predicted, but the classes of y are \[0"),
            (MASK, [0, 0, 3, 0], None, "3 is predicted, but the classes of y are"),
            (MASK.tolist(), [0, 0, 3, 0], None, "3 is predicted"),
            (MASK, list("abzc"), list("abc"), "y_pred is 'z' in row 2, .*classes="),
            (SETS, [0, 0, 0, 0], None, "0 is predicted, but the classes of y are"),
            (SETS, list("aaa"), None, "inconsistent numbers of samples"),
            (SETS, ["a", None, "b", "b"], None, "row 1 of y_pred is missing"),
        ],
    )
    def test_unfit_predictions_are_named(self, y, y_pred, classes, message):
        with pytest.raises(ValueError, match=message):
            covering_rate(y, y_pred, classes=classes)


class TestApproximatedAccuracy:
    def test_hand_worked(self):
        # .6 / .8; .6 / .6; a is predicted but no candidate; .8 / .8
        expected = (0.75 + 1 + 0 + 1) / 4
        assert approximated_accuracy(MASK, PROBA) == pytest.approx(expected, rel=1e-12)

    def test_prediction_is_the_maximum_over_all_classes(self):
        # the best candidate, .4, does not count: the model predicts class 0
        assert approximated_accuracy([[0, 1, 1]], [[0.5, 0.4, 0.1]]) == 0

    def test_is_one_minus_the_expected_error_given_the_set(self):
        # the risk form: 1 - sum of the candidates' shares other than the prediction's
        rng = np.random.default_rng(0)
        P = rng.dirichlet(np.ones(5), size=200)
        mask = make_candidate_sets(np.arange(200) % 5, rate=0.4, random_state=0)
        share = P * mask / (P * mask).sum(axis=1, keepdims=True)
        others = np.arange(5) != P.argmax(axis=1)[:, None]
        expected = np.mean(1 - (share * others).sum(axis=1))
        assert approximated_accuracy(mask, P) == pytest.approx(expected, rel=1e-12)

    def test_is_unbiased_for_a_calibrated_model(self):
        # y ~ p and every wrong label enters alike: AA estimates the accuracy
        rng = np.random.default_rng(0)
        P = rng.dirichlet(np.full(4, 0.7), size=40_000)
        y = (P.cumsum(axis=1) < rng.random((len(P), 1))).sum(axis=1)
        mask = make_candidate_sets(y, rate=0.5, random_state=0)
        accuracy = (P.argmax(axis=1) == y).mean()
        assert abs(approximated_accuracy(mask, P) - accuracy) < 3 * 0.5 / 200
        assert covering_rate(mask, P.argmax(axis=1)) > accuracy + 0.1

    def test_is_accuracy_for_plain_labels(self):
        assert approximated_accuracy([0, 2, 1, 0], PROBA) == 0.75

    def test_is_mean_top_probability_when_nothing_is_known(self):
        got = approximated_accuracy(np.ones((4, 3)), PROBA)
        assert got == pytest.approx(PROBA.max(axis=1).mean(), rel=1e-12)

    def test_never_exceeds_the_covering_rate(self):
        rng = np.random.default_rng(1)
        for sharpness in (0.1, 1, 10):
            P = rng.dirichlet(np.full(3, 1 / sharpness), size=4)
            rate = covering_rate(MASK, P.argmax(axis=1))
            assert approximated_accuracy(MASK, P) <= rate + 1e-12

    def test_overconfidence_turns_it_into_the_covering_rate(self):
        P = np.eye(3)[[0, 1, 1, 2]]
        assert approximated_accuracy(MASK, P) == covering_rate(MASK, [0, 1, 1, 2])

    def test_scale_of_a_row_does_not_matter(self):
        scaled = PROBA * [[2], [0.1], [7], [1e-30]]
        assert approximated_accuracy(MASK, scaled) == pytest.approx(
            approximated_accuracy(MASK, PROBA), rel=1e-12
        )

    def test_row_without_mass_on_its_candidates_counts_nothing(self):
        assert approximated_accuracy([[0, 1, 1]], [[1.0, 0.0, 0.0]]) == 0
        assert approximated_accuracy([[0, 1, 1]], [[0.0, 0.0, 0.0]]) == 0

    def test_classes_name_the_columns(self):
        got = approximated_accuracy(SETS, PROBA, classes=["a", "b", "c"])
        assert got == approximated_accuracy(MASK, PROBA)
        turned = approximated_accuracy(SETS, PROBA[:, ::-1], classes=["c", "b", "a"])
        assert turned == got

    @pytest.mark.parametrize(
        ("y", "y_proba", "message"),
        [
            (MASK, PROBA[:, :2], "y_proba has 2 columns, but there are 3 classes"),
            (SETS[:2], PROBA[:2, :2], "2 columns, but there are 3 classes.*classes="),
            (MASK, PROBA[:3], "inconsistent numbers of samples"),
            (MASK, PROBA - [[0], [0], [0.3], [0]], "y_proba holds -0.2 in row 2. Give"),
            (MASK, PROBA * np.nan, "y_proba contains NaN"),
        ],
    )
    def test_unfit_probabilities_are_named(self, y, y_proba, message):
        with pytest.raises(ValueError, match=message):
            approximated_accuracy(y, y_proba)


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class TestCandidateLogLikelihood:
    def test_hand_worked(self):
        expected = np.log([0.8, 0.6, 0.5, 0.8]).mean()
        assert candidate_log_likelihood(MASK, PROBA) == pytest.approx(
            expected, rel=1e-12
        )

    @pytest.mark.parametrize(
        "y",
        [
            MASK,
            MASK.astype(bool),
            MASK * 0.3,
            csr_array(MASK),
            pd.DataFrame(MASK),
            [[0, 1], [2], [1, 2], [0]],
        ],
        ids=lambda y: type(y).__name__,
    )
    def test_every_form_of_the_sets_scores_alike(self, y):
        expected = candidate_log_likelihood(MASK, PROBA)
        assert candidate_log_likelihood(y, PROBA) == expected

    def test_weights_count_by_their_ratio_to_the_largest(self):
        y = np.array([[0.5, 0.25, 0.0], [0.2, 0.4, 0.4]])
        expected = np.log([0.6 + 0.2 / 2, 0.2 / 2 + 0.2 + 0.6]).mean()
        assert candidate_log_likelihood(y, PROBA[:2]) == pytest.approx(
            expected, rel=1e-7
        )

    def test_is_minus_the_log_loss_for_plain_labels(self):
        y = [0, 2, 1, 0]
        assert candidate_log_likelihood(y, PROBA) == pytest.approx(
            -log_loss(y, PROBA), rel=1e-12
        )

    def test_unlabelled_row_counts_nothing(self):
        P = np.random.default_rng(0).dirichlet(np.ones(7), size=100)
        assert candidate_log_likelihood(np.ones((100, 7)), P) == 0
        y, P = ["a", None, "b"], PROBA[:3, :2]
        expected = np.log([0.6 / 0.8, 0.4 / 0.9]).sum() / 3
        assert candidate_log_likelihood(y, P) == pytest.approx(expected, rel=1e-12)
        y = ["a", "?", "b"]
        assert candidate_log_likelihood(y, P, missing_label="?") == pytest.approx(
            expected, rel=1e-12
        )

    @pytest.mark.parametrize("mass", [0, 1e-200, 1.17e-38])
    def test_row_without_mass_on_its_candidates_is_clipped(self, mass):
        got = candidate_log_likelihood([[0, 1, 1]], [[1.0, mass, 0.0]])
        assert got == np.log(2.0**-126) == pytest.approx(-87.34, rel=1e-4)

    def test_scale_of_a_row_does_not_matter(self):
        scaled = PROBA * [[2], [0.1], [7], [1e-30]]
        assert candidate_log_likelihood(MASK, scaled) == pytest.approx(
            candidate_log_likelihood(MASK, PROBA), rel=1e-12
        )

    def test_classes_name_the_columns(self):
        expected = candidate_log_likelihood(MASK, PROBA)
        for turn in (slice(None), slice(None, None, -1)):
            got = candidate_log_likelihood(
                SETS, PROBA[:, turn], classes=["a", "b", "c"][turn]
            )
            assert got == pytest.approx(expected, rel=1e-12)

    def test_finds_the_temperature(self):
        # y ~ softmax(Z), every wrong label enters alike: no other temperature is better
        rng = np.random.default_rng(0)
        Z = 2 * rng.normal(size=(20_000, 4))
        y = (softmax(Z).cumsum(axis=1) < rng.random((len(Z), 1))).sum(axis=1)
        sets = make_candidate_sets(y, rate=0.4, random_state=0)
        temperatures = [0.5, 0.7, 0.85, 1, 1.2, 1.5, 2]
        scores = [candidate_log_likelihood(sets, softmax(Z / t)) for t in temperatures]
        assert temperatures[np.argmax(scores)] == 1

    @pytest.mark.parametrize(
        ("y", "y_proba", "message"),
        [
            (MASK, PROBA[:, :2], "y_proba has 2 columns, but there are 3 classes"),
            (MASK, PROBA[:3], "inconsistent numbers of samples"),
            (MASK, PROBA - [[0], [0], [0.3], [0]], "y_proba holds -0.2 in row 2. Give"),
            (
                MASK,
                PROBA * [[1], [0], [1], [0]],
                "y_proba is 0 for every class in row 1",
            ),
            (MASK, PROBA * np.nan, "y_proba contains NaN"),
        ],
    )
    def test_unfit_probabilities_are_named(self, y, y_proba, message):
        with pytest.raises(ValueError, match=message):
            candidate_log_likelihood(y, y_proba)
