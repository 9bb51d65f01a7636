"""Scores without true labels, their scorers, and disambiguation accuracy."""

import ast
import inspect

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff import _label_columns, metrics, model_selection
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import (
    approximated_accuracy,
    approximated_accuracy_scorer,
    covering_rate,
    covering_rate_scorer,
    disambiguation_accuracy,
    label_issues_average_precision,
)
from sklabeldiff.targets import encode_candidates

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


class CentroidClassifier(ClassifierMixin, BaseEstimator):
    """Softmax of distances to class means, rows shared among their candidates."""

    def __init__(self, sharpness=1.0, flip=False, classes=None, missing_label=None):
        self.sharpness = sharpness
        self.flip = flip  # predicts the least likely class: a bad model
        self.classes = classes
        self.missing_label = missing_label

    def fit(self, X, y):
        Y, self.classes_ = encode_candidates(
            y, self.classes, missing_label=self.missing_label
        )
        weight = (Y > 0) / (Y > 0).sum(axis=1, keepdims=True)
        self.means_ = weight.T @ X / weight.sum(axis=0)[:, None]
        return self

    def predict_proba(self, X):
        distance = ((X[:, None] - self.means_[None]) ** 2).sum(axis=2)
        score = distance if self.flip else -distance
        P = np.exp(self.sharpness * (score - score.max(axis=1, keepdims=True)))
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def as_frozensets(mask, names):
    y = np.empty(len(mask), dtype=object)
    y[:] = [frozenset(names[row].tolist()) for row in mask]
    return y


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    return X, y, make_candidate_sets(y, rate=0.3, random_state=0)


NAMES = np.array(["setosa", "versicolor", "virginica"])
SCORERS = [covering_rate_scorer, approximated_accuracy_scorer]
FORMS = {
    "mask": lambda mask: mask,
    "frozensets": lambda mask: as_frozensets(mask, NAMES),
    "frame": lambda mask: pd.DataFrame(mask, columns=NAMES),
}
FOLDS = KFold(4, shuffle=True, random_state=0)


@pytest.mark.parametrize("scorer", SCORERS)
class TestScorers:
    def test_is_its_function(self, scorer, iris):
        X, _, mask = iris
        model = CentroidClassifier().fit(X, mask)
        expected = (
            covering_rate(mask, model.predict(X))
            if scorer is covering_rate_scorer
            else approximated_accuracy(mask, model.predict_proba(X))
        )
        assert scorer(model, X, mask) == expected
        assert 0.5 < expected < 1

    def test_forms_of_y_score_alike_in_cross_validation(self, scorer, iris):
        X, _, mask = iris
        scores = [
            cross_val_score(
                CentroidClassifier(), X, form(mask), cv=FOLDS, scoring=scorer
            )
            for form in FORMS.values()
        ]
        assert np.isfinite(scores[0]).all()
        np.testing.assert_array_equal(scores[0], scores[1])
        np.testing.assert_array_equal(scores[0], scores[2])

    @pytest.mark.parametrize("form", FORMS)
    def test_grid_search_finds_the_better_model(self, scorer, iris, form):
        X, _, mask = iris
        search = GridSearchCV(
            make_pipeline(StandardScaler(), CentroidClassifier()),
            {"centroidclassifier__flip": [True, False]},
            cv=FOLDS,
            scoring=scorer,
            error_score="raise",
        ).fit(X, FORMS[form](mask))
        assert search.best_params_ == {"centroidclassifier__flip": False}
        best = search.best_estimator_
        assert search.score(X, FORMS[form](mask)) == scorer(best, X, FORMS[form](mask))

    def test_plain_labels_and_a_scikit_learn_classifier(self, scorer, iris):
        X, y, _ = iris
        model = GaussianNB().fit(X, y)
        score = scorer(model, X, y)
        if scorer is covering_rate_scorer:
            assert score == model.score(X, y)
        else:  # sets of one label have share 1
            assert score == pytest.approx(model.score(X, y), rel=1e-12)

    def test_column_labels_come_from_the_estimator(self, scorer, iris):
        X, _, mask = iris
        plain = CentroidClassifier().fit(X, mask)
        named = CentroidClassifier(classes=NAMES[::-1]).fit(X, mask)
        assert named.classes_[0] == "virginica"
        assert scorer(named, X, mask) == scorer(plain, X, mask)

    def test_label_unknown_to_the_estimator_is_no_error(self, scorer, iris):
        X, _, mask = iris
        sets = as_frozensets(mask, NAMES)
        train = ~mask[:, 2]  # never saw virginica
        model = CentroidClassifier().fit(X[train], sets[train])
        assert model.classes_.tolist() == ["setosa", "versicolor"]
        assert 0 < scorer(model, X, sets) < 1
        only_new = np.array([frozenset({"virginica"})] * 2, dtype=object)
        assert scorer(model, X[:2], only_new) == 0

    def test_label_unknown_to_the_fold_is_no_error(self, scorer, iris):
        X, _, mask = iris
        model = CentroidClassifier().fit(X, as_frozensets(mask, NAMES))
        fold = np.array([frozenset({"virginica"}), None], dtype=object)
        rows = [0, 1]  # both predicted setosa: outside, and covered by "unknown"
        assert model.predict(X[rows]).tolist() == ["setosa", "setosa"]
        P = model.predict_proba(X[rows])
        expected = 0.5 if scorer is covering_rate_scorer else P[1, 0] / 2
        assert scorer(model, X[rows], fold) == pytest.approx(expected, rel=1e-12)

    def test_columns_unknown_to_the_estimator_are_no_error(self, scorer, iris):
        X, y, mask = iris
        known = y > 0
        model = GaussianNB().fit(X[known], y[known])  # knows classes 1 and 2 only
        wide = np.zeros((len(X), 3))
        wide[:, 1:] = model.predict_proba(X)
        expected = (
            covering_rate(mask, model.predict(X))
            if scorer is covering_rate_scorer
            else approximated_accuracy(mask, wide)
        )
        assert scorer(model, X, mask) == expected

    def test_missing_label_of_the_estimator_is_obeyed(self, scorer, iris):
        X, y, _ = iris
        y = np.where(np.arange(len(y)) % 2, y, -1)
        model = CentroidClassifier(missing_label=-1)
        fitted = make_pipeline(StandardScaler(), model).fit(X, y)
        assert fitted.classes_.tolist() == [0, 1, 2]
        unknown_as_none = np.array([None if v < 0 else v for v in y], dtype=object)
        other = make_pipeline(StandardScaler(), CentroidClassifier()).fit(
            X, unknown_as_none
        )
        score = scorer(fitted, X, y)
        assert score == scorer(other, X, unknown_as_none) > 0.5

    def test_works_among_several_metrics_and_with_routing(self, scorer, iris):
        X, _, mask = iris
        with sklearn.config_context(enable_metadata_routing=True):
            search = GridSearchCV(
                CentroidClassifier(),
                {"sharpness": [0.1, 1.0]},
                cv=FOLDS,
                scoring={s.__name__: s for s in SCORERS},
                refit=scorer.__name__,
                error_score="raise",
            ).fit(X, mask)
        assert np.isfinite(search.best_score_)


@pytest.mark.parametrize(
    ("module", "below"),
    [
        (_label_columns, {"targets"}),
        (metrics, {"_label_columns"}),
        (model_selection, {"_label_columns", "targets"}),
    ],
)
def test_only_labels_stand_below(module, below):
    """No estimator, and no torch."""
    tree = ast.parse(inspect.getsource(module))
    modules = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    ours = {m for m in modules if m.startswith("sklabeldiff")}
    assert ours == {f"sklabeldiff.{name}" for name in below}
    assert not any(m.startswith("torch") for m in modules)
