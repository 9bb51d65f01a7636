"""Scores that need the truth: worked by hand, their limits, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import brier_score_loss, top_k_accuracy_score

from sklabeldiff.metrics import (
    brier_score,
    disambiguation_accuracy,
    expected_calibration_error,
    label_issues_average_precision,
    top_k_accuracy,
)

SETS = [{"a", "b"}, {"c"}, {"b", "c"}, {"a"}]
MASK = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
PROBA = np.array([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1]])


def random_case(n_rows=500, n_classes=5):
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(n_classes), size=n_rows)
    return (P.cumsum(axis=1) < rng.random((n_rows, 1))).sum(axis=1), P


@pytest.mark.parametrize(
    "function", [top_k_accuracy, expected_calibration_error, brier_score]
)
class TestTruthAndProbabilities:
    def test_classes_name_the_columns(self, function):
        expected = function([0, 2, 1, 1], PROBA)
        assert function(list("acbb"), PROBA, classes=list("abc")) == expected
        turned = function(list("acbb"), PROBA[:, ::-1], classes=list("cba"))
        if function is not top_k_accuracy:  # ties are turned around too
            assert turned == pytest.approx(expected, rel=1e-12)

    def test_scale_of_a_row_does_not_matter(self, function):
        truth, P = random_case()
        scaled = P * np.geomspace(1e-30, 1e30, len(P))[:, None]
        expected = function(truth, P)
        assert function(truth, scaled) == pytest.approx(expected, rel=1e-12)

    def test_containers_do_not_matter(self, function):
        truth, P = random_case()
        expected = function(truth, P)
        assert function(pd.Series(truth), pd.DataFrame(P)) == expected
        assert function(truth.tolist(), P.tolist()) == expected

    @pytest.mark.parametrize(
        ("true_labels", "y_proba", "classes", "message"),
        [
            ([0, 1, 2, 3], PROBA, None, "true_labels is 3 in row 3, .*classes="),
            (list("abca"), PROBA, None, "true_labels is 'a' in row 0"),
            ([0, 1, 2, 1], PROBA, list("abc"), "true_labels is 0 in row 0"),
            ([0, 1, 2], PROBA, None, "inconsistent numbers of samples"),
            ([0, 1, 1, 1], PROBA, [0, 1], "y_proba has 3 columns, but there are 2"),
            ([0, 1, None, 1], PROBA, None, "row 2 of true_labels is missing"),
            ([0, 1, 2, 1], PROBA - 0.15, None, "y_proba holds -0.05 in row 2. Give"),
            ([0, 1, 2, 1], PROBA * np.inf, None, "y_proba contains infinity"),
        ],
    )
    def test_unfit_input_is_named(
        self, function, true_labels, y_proba, classes, message
    ):
        with pytest.raises(ValueError, match=message):
            function(true_labels, y_proba, classes=classes)


class TestTopKAccuracy:
    def test_hand_worked(self):
        P = [[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.1, 0.7], [0.3, 0.1, 0.6]]
        truth = [1, 1, 2, 0]  # second, third, first, second
        got = [top_k_accuracy(truth, P, k=k) for k in (1, 2, 3)]
        assert got == [0.25, 0.75, 1]
        assert top_k_accuracy(truth, P) == got[1]

    @pytest.mark.parametrize("k", [1, 2, 4])
    def test_agrees_with_scikit_learn(self, k):
        truth, P = random_case()
        assert top_k_accuracy(truth, P, k=k) == pytest.approx(
            top_k_accuracy_score(truth, P, k=k), rel=1e-12
        )

    def test_first_of_equally_probable_classes_is_named(self):
        for k in (1, 2, 3, 4):
            right = [top_k_accuracy([j], np.full((1, 4), 0.25), k=k) for j in range(4)]
            assert right == [1] * k + [0] * (4 - k)

    def test_one_class_gives_the_accuracy_of_the_arg_max(self):
        P = np.random.default_rng(0).integers(0, 3, size=(200, 4)) + 0.0  # many ties
        truth = np.arange(200) % 4
        accuracy = (P.argmax(axis=1) == truth).mean()
        assert top_k_accuracy(truth, P, k=1) == accuracy

    def test_truth_that_is_no_class_is_wrong(self):
        got = top_k_accuracy(list("azbz"), PROBA, k=3, classes=list("abc"))
        assert got == 0.5

    @pytest.mark.parametrize(
        ("k", "error", "message"),
        [
            (0, ValueError, "k == 0, must be >= 1"),
            (4, ValueError, "k == 4, must be <= 3"),
            (1.5, TypeError, "k must be an instance of"),
        ],
    )
    def test_unfit_k_is_named(self, k, error, message):
        with pytest.raises(error, match=message):
            top_k_accuracy([0, 2, 1, 1], PROBA, k=k)


def two_classes(*confidence):
    """Probabilities whose largest, of class 0, is the one given."""
    return np.array([[c, 1 - c] for c in confidence])


class TestExpectedCalibrationError:
    def test_hand_worked(self):
        # (.4, .6]: one row, right. (.8, 1]: three rows, one right
        P = two_classes(0.6, 0.9, 0.85, 1.0)
        expected = 1 / 4 * (1 - 0.6) + 3 / 4 * abs(1 / 3 - 2.75 / 3)
        got = expected_calibration_error([0, 1, 0, 1], P, n_bins=5)
        assert got == pytest.approx(expected, rel=1e-12)

    def test_fifteen_bins_by_default(self):
        truth, P = random_case()
        expected = expected_calibration_error(truth, P, n_bins=15)
        assert expected_calibration_error(truth, P) == expected
        assert expected_calibration_error(truth, P, n_bins=14) != expected

    def test_bin_holds_its_upper_edge(self):
        # .75 is in (.5, .75]: alone it is wrong, and not made up for by the right .95
        P = two_classes(0.75, 0.95)
        apart = expected_calibration_error([1, 0], P, n_bins=4)
        assert apart == pytest.approx((0.75 + 0.05) / 2, rel=1e-12)
        together = expected_calibration_error([1, 0], two_classes(0.76, 0.95), n_bins=4)
        assert together == pytest.approx(abs(1 - 0.76 - 0.95) / 2, rel=1e-12)

    def test_bins_are_of_the_confidence_and_not_of_one_class(self):
        # class 1 is predicted, at .9: right
        got = expected_calibration_error([1, 1], [[0.1, 0.9], [0.1, 0.9]])
        assert got == pytest.approx(0.1, rel=1e-12)

    def test_one_bin_compares_the_means(self):
        truth, P = random_case()
        expected = abs((P.argmax(axis=1) == truth).mean() - P.max(axis=1).mean())
        for strategy in ("uniform", "quantile"):
            got = expected_calibration_error(truth, P, n_bins=1, strategy=strategy)
            assert got == pytest.approx(expected, rel=1e-9)

    def test_quantile_bins_hold_equally_many_rows(self):
        # the two least confident rows are wrong, the two most confident right
        P, truth = two_classes(0.91, 0.92, 0.97, 0.98), [1, 1, 0, 0]
        got = expected_calibration_error(truth, P, n_bins=2, strategy="quantile")
        assert got == pytest.approx((0.91 + 0.92 + 0.03 + 0.02) / 4, rel=1e-12)
        # all in one of the bins of equal width
        got = expected_calibration_error(truth, P, n_bins=2)
        assert got == pytest.approx(abs(2 - P.max(axis=1).sum()) / 4, rel=1e-12)

    @pytest.mark.parametrize("strategy", ["uniform", "quantile"])
    def test_equal_confidence_shares_a_bin(self, strategy):
        P = np.full((10, 2), [0.7, 0.3])
        truth = [0] * 7 + [1] * 3
        got = expected_calibration_error(truth, P, n_bins=5, strategy=strategy)
        assert got == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("strategy", ["uniform", "quantile"])
    def test_calibrated_model_is_near_zero_and_overconfident_one_is_not(self, strategy):
        truth, P = random_case(20_000)
        sharp = P**3 / (P**3).sum(axis=1, keepdims=True)
        # chance leaves about 15 bins of n / 15 rows with a deviation of .5 at most
        bound = 2 * 0.5 * np.sqrt(15 / len(P))
        assert expected_calibration_error(truth, P, strategy=strategy) < bound
        assert expected_calibration_error(truth, sharp, strategy=strategy) > 0.2

    def test_truth_that_is_no_class_is_wrong(self):
        P = two_classes(1.0, 1.0)
        assert expected_calibration_error(["a", "z"], P, classes=["a", "b"]) == 0.5

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"n_bins": 0}, ValueError, "n_bins == 0, must be >= 1"),
            ({"n_bins": 2.0}, TypeError, "n_bins must be an instance of"),
            ({"strategy": "kmeans"}, ValueError, "strategy is 'kmeans'. Choose"),
        ],
    )
    def test_unfit_bins_are_named(self, options, error, message):
        with pytest.raises(error, match=message):
            expected_calibration_error([0, 2, 1, 1], PROBA, **options)


class TestBrierScore:
    def test_hand_worked(self):
        expected = (0.4**2 + 2 * 0.2**2 + 0.2**2 + 0.8**2 + 0.6**2) / 2
        assert brier_score([0, 1], PROBA[:2]) == pytest.approx(expected, rel=1e-12)

    def test_is_twice_the_loss_of_scikit_learn_for_two_classes(self):
        truth, P = random_case(n_classes=2)
        expected = 2 * brier_score_loss(truth, P[:, 1])
        assert brier_score(truth, P) == pytest.approx(expected, rel=1e-12)

    def test_limits(self):
        assert brier_score([0, 1, 2], np.eye(3)) == 0
        assert brier_score([1, 2, 0], np.eye(3)) == 2

    def test_true_probabilities_score_best(self):
        truth, P = random_case(20_000)
        best = brier_score(truth, P)
        for power in (0.5, 0.8, 1.25, 2):
            assert brier_score(truth, P**power) > best

    def test_truth_that_is_no_class_adds_one(self):
        got = brier_score(list("az"), PROBA[:2], classes=list("abc"))
        expected = (0.4**2 + 2 * 0.2**2 + 1 + 2 * 0.2**2 + 0.6**2) / 2
        assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("function", [expected_calibration_error, brier_score])
def test_row_of_zeros_is_named(function):
    with pytest.raises(ValueError, match="y_proba is 0 for every class in row 1"):
        function([0, 2, 1, 1], PROBA * [[1], [0], [1], [0]])


class TestDisambiguationAccuracy:
    def test_hand_worked(self):
        # believed: 0, 2, 0, 0
        assert disambiguation_accuracy([0, 2, 1, 1], PROBA) == 0.5

    def test_candidates_restrict_the_arg_max(self):
        # row 2 believes in class 0, of its candidates {1, 2} in class 1
        assert disambiguation_accuracy([0, 2, 1, 1], PROBA, MASK) == 0.75

    def test_classes_name_the_columns(self):
        got = disambiguation_accuracy(list("acbb"), PROBA, classes=list("abc"))
        assert got == 0.5
        assert disambiguation_accuracy(list("acbb"), PROBA, SETS) == 0.75
        turned = disambiguation_accuracy(
            list("acbb"), PROBA[:, ::-1], SETS, classes=list("cba")
        )
        assert turned == 0.75

    def test_truth_that_was_never_a_candidate_is_wrong(self):
        got = disambiguation_accuracy(list("aczz"), PROBA, classes=list("abc"))
        assert got == 0.5

    @pytest.mark.parametrize(
        ("true_labels", "arguments", "message"),
        [
            ([0, 1, 2, 3], {}, "true_labels is 3 in row 3, .*classes="),
            (list("abca"), {}, "true_labels is 'a' in row 0"),
            ([0, 1, 2, 1], {"classes": list("abc")}, "true_labels is 0 in row 0"),
            ([0, 1, 2], {}, "inconsistent numbers of samples"),
            ([0, 1, 2, 1], {"classes": [0, 1]}, "label_distribution has 3 columns"),
            ([0, 1, 2, 1], {"y": MASK[:, :2]}, "row 1 has no candidate"),
            ([0, 1, 2, 1], {"y": MASK[:3]}, "inconsistent numbers of samples"),
            (["a", "b", None, "c"], {"y": SETS}, "row 2 of true_labels is missing"),
        ],
    )
    def test_unfit_truth_is_named(self, true_labels, arguments, message):
        with pytest.raises(ValueError, match=message):
            disambiguation_accuracy(true_labels, PROBA, **arguments)


class TestLabelIssuesAveragePrecision:
    GIVEN, TRUTH = list("aabbb"), list("abbab")  # rows 1 and 3 are wrong

    def test_hand_worked(self):
        # wrong, right, wrong, ...: precision 1/1 and 2/3 where the recall grows by half
        got = label_issues_average_precision(
            self.GIVEN, self.TRUTH, [0.4, 0.1, 0.9, 0.6, 0.8]
        )
        assert got == pytest.approx((1 + 2 / 3) / 2, rel=1e-12)

    def test_one_if_the_wrong_rows_have_the_lowest_scores(self):
        score = [5, -1, 4, 0, 3]
        assert label_issues_average_precision(self.GIVEN, self.TRUTH, score) == 1

    def test_worst_order(self):
        # the wrong rows come fourth and fifth
        got = label_issues_average_precision(self.GIVEN, self.TRUTH, [1, 8, 2, 9, 3])
        assert got == pytest.approx((1 / 4 + 2 / 5) / 2, rel=1e-12)

    def test_score_without_knowledge_gets_the_share_of_wrong_rows(self):
        got = label_issues_average_precision(self.GIVEN, self.TRUTH, [1] * 5)
        assert got == pytest.approx(2 / 5, rel=1e-12)

    def test_scale_of_the_score_does_not_matter(self):
        score = np.array([0.4, 0.1, 0.9, 0.6, 0.8])
        values = [
            label_issues_average_precision(self.GIVEN, self.TRUTH, s)
            for s in (score, 7 * score - 3, np.log(score), pd.Series(score))
        ]
        assert len(set(values)) == 1

    @pytest.mark.parametrize(
        "y",
        [
            MASK,
            MASK * [[0.5, 0.1, 0.4]],
            csr_array(MASK),
            pd.DataFrame(MASK),
            [[0, 1], [2], [1, 2], [0]],
        ],
        ids=lambda y: type(y).__name__,
    )
    def test_set_is_wrong_if_it_lacks_the_truth(self, y):
        # rows 0 and 3
        def average_precision(*score):
            return label_issues_average_precision(y, [2, 2, 1, 1], score)

        assert average_precision(0, 3, 2, 1) == 1
        assert average_precision(0, 1, 3, 2) == pytest.approx(5 / 6, rel=1e-12)

    def test_unlabelled_row_is_never_wrong(self):
        y, truth = ["a", None, "a"], ["a", "c", "b"]
        assert label_issues_average_precision(y, truth, [1, 0, 0]) == 0.5
        y = ["a", "?", "a"]
        got = label_issues_average_precision(y, truth, [1, 0, 0], missing_label="?")
        assert got == 0.5
        for classes in ("ab", "abc"):
            got = label_issues_average_precision(
                ["a", None, "a"], truth, [1, 0, 0], classes=list(classes)
            )
            assert got == 0.5

    def test_truth_that_was_never_given_makes_a_row_wrong(self):
        for classes in (None, ["a", "b"]):
            got = label_issues_average_precision(
                ["a", "b", "b"], ["a", "z", "b"], [2, 1, 3], classes=classes
            )
            assert got == 1

    def test_classes_name_the_columns(self):
        truth, score = list("ccbb"), [0, 1, 3, 2]
        got = label_issues_average_precision(MASK, truth, score, classes=list("abc"))
        assert got == pytest.approx(5 / 6, rel=1e-12)

    @pytest.mark.parametrize(
        ("y", "true_labels", "arguments", "message"),
        [
            (list("ab"), list("ab"), {}, "no row of y lacks its true label"),
            (list("ab"), list("ba"), {}, "every row of y lacks its true label"),
            ([None, "a"], list("ba"), {}, "no row of y lacks its true label"),
            (MASK[:2], [0, 3], {}, "3 is a true label, but the classes of y are"),
            (MASK[:2], list("ab"), {}, "'a' is a true label, .*classes="),
            (list("ab"), [0, 1], {}, "0 is a true label"),
            (list("ab"), list("zz"), {"classes": list("ab")}, "true_labels is 'z' in"),
            (list("abb"), ["a", None, "b"], {}, "row 1 of true_labels is missing"),
            (list("abc"), list("ab"), {}, "inconsistent numbers of samples"),
        ],
    )
    def test_unfit_truth_is_named(self, y, true_labels, arguments, message):
        with pytest.raises(ValueError, match=message):
            label_issues_average_precision(y, true_labels, [0, 1], **arguments)

    @pytest.mark.parametrize(
        ("score", "message"),
        [
            ([0, np.nan], "score contains NaN"),
            ([0, np.inf], "score contains infinity"),
            ([0, 1, 2], "inconsistent numbers of samples"),
            ([[0, 1], [2, 3]], r"score has shape \(2, 2\)"),
        ],
    )
    def test_unfit_score_is_named(self, score, message):
        with pytest.raises(ValueError, match=message):
            label_issues_average_precision(list("ab"), list("aa"), score)
