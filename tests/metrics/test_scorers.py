"""Scorers in scikit-learn's model selection, with and without true labels."""

import ast
import inspect
import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff import _label_columns, metrics
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import (
    approximated_accuracy,
    approximated_accuracy_scorer,
    brier_score,
    candidate_log_likelihood,
    candidate_log_likelihood_scorer,
    covering_rate,
    covering_rate_scorer,
    disambiguation_accuracy,
    disambiguation_accuracy_scorer,
    entangled_accuracy,
    entangled_accuracy_scorer,
    expected_calibration_error,
    label_issues_average_precision,
    label_issues_scorer,
    make_true_label_scorer,
    neg_brier_score_scorer,
    neg_expected_calibration_error_scorer,
    top_k_accuracy,
    top_k_accuracy_scorer,
    true_accuracy_scorer,
)
from sklabeldiff.targets import encode_candidates


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
FORMS = {
    "mask": lambda mask: mask,
    "frozensets": lambda mask: as_frozensets(mask, NAMES),
    "frame": lambda mask: pd.DataFrame(mask, columns=NAMES),
}
FOLDS = KFold(4, shuffle=True, random_state=0)
# The function behind each scorer, of a mask and the probabilities of its columns.
LABEL_FREE = {
    covering_rate_scorer: lambda mask, P: covering_rate(mask, P.argmax(axis=1)),
    approximated_accuracy_scorer: approximated_accuracy,
    candidate_log_likelihood_scorer: candidate_log_likelihood,
}


@pytest.mark.parametrize("scorer", LABEL_FREE)
class TestLabelFreeScorers:
    def test_is_its_function(self, scorer, iris):
        X, _, mask = iris
        model = CentroidClassifier().fit(X, mask)
        expected = LABEL_FREE[scorer](mask, model.predict_proba(X))
        assert scorer(model, X, mask) == expected
        assert expected not in (0, 1)

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
        expected = (
            -log_loss(y, model.predict_proba(X))
            if scorer is candidate_log_likelihood_scorer
            else model.score(X, y)  # sets of one label have share 1
        )
        assert scorer(model, X, y) == pytest.approx(expected, rel=1e-12)

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
        wide = np.pad(model.predict_proba(X), [(0, 0), (0, 1)])
        assert scorer(model, X, sets) == LABEL_FREE[scorer](mask, wide)
        only_new = np.array([frozenset({"virginica"})] * 2, dtype=object)
        expected = -87.34 if scorer is candidate_log_likelihood_scorer else 0
        assert scorer(model, X[:2], only_new) == pytest.approx(expected, rel=1e-4)

    def test_label_unknown_to_the_fold_is_no_error(self, scorer, iris):
        X, _, mask = iris
        model = CentroidClassifier().fit(X, as_frozensets(mask, NAMES))
        fold = np.array([frozenset({"virginica"}), None], dtype=object)
        rows = [0, 1]  # both predicted setosa: outside, and covered by "unknown"
        assert model.predict(X[rows]).tolist() == ["setosa", "setosa"]
        expected = LABEL_FREE[scorer](
            [[0, 0, 1], [1, 1, 1]], model.predict_proba(X[rows])
        )
        assert scorer(model, X[rows], fold) == pytest.approx(expected, rel=1e-12)

    def test_columns_unknown_to_the_estimator_are_no_error(self, scorer, iris):
        X, y, mask = iris
        known = y > 0
        model = GaussianNB().fit(X[known], y[known])  # knows classes 1 and 2 only
        wide = np.pad(model.predict_proba(X), [(0, 0), (1, 0)])
        assert scorer(model, X, mask) == LABEL_FREE[scorer](mask, wide)

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
        assert score == scorer(other, X, unknown_as_none) > -0.5

    def test_works_among_several_metrics_and_with_routing(self, scorer, iris):
        X, _, mask = iris
        with sklearn.config_context(enable_metadata_routing=True):
            search = GridSearchCV(
                CentroidClassifier(),
                {"sharpness": [0.1, 1.0]},
                cv=FOLDS,
                scoring={s.__name__: s for s in LABEL_FREE},
                refit=scorer.__name__,
                error_score="raise",
            ).fit(X, mask)
        assert np.isfinite(search.best_score_)


def issues(mask, P, truth):
    mass = np.where(mask, P, 0).sum(axis=1)
    return label_issues_average_precision(mask, truth, mass)


# Of the mask, the probabilities of its columns, the columns of the truth, and the rows.
NEEDS_TRUTH = {
    "true_accuracy": (
        true_accuracy_scorer,
        lambda mask, P, truth, X: (P.argmax(axis=1) == truth).mean(),
    ),
    "top_2": (
        top_k_accuracy_scorer,
        lambda mask, P, truth, X: top_k_accuracy(truth, P, k=2),
    ),
    "calibration": (
        neg_expected_calibration_error_scorer,
        lambda mask, P, truth, X: -expected_calibration_error(truth, P),
    ),
    "brier": (
        neg_brier_score_scorer,
        lambda mask, P, truth, X: -brier_score(truth, P),
    ),
    "disambiguation": (
        disambiguation_accuracy_scorer,
        lambda mask, P, truth, X: disambiguation_accuracy(truth, P, mask),
    ),
    "issues": (label_issues_scorer, lambda mask, P, truth, X: issues(mask, P, truth)),
    "entangled": (
        entangled_accuracy_scorer,
        lambda mask, P, truth, X: entangled_accuracy(truth, P.argmax(axis=1), X, mask),
    ),
}


@pytest.fixture(scope="module")
def flawed_iris(iris):
    """Noisy rows, and one set in ten lacks the truth: no score is perfect."""
    X, y, mask = iris
    rng = np.random.default_rng(0)
    X = X + rng.normal(size=X.shape)
    wrong = rng.random(len(y)) < 0.1
    return X, y, np.where(wrong[:, None], np.eye(3, dtype=bool)[(y + 1) % 3], mask)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize(("scorer", "function"), NEEDS_TRUTH.values(), ids=NEEDS_TRUTH)
class TestTrueLabelScorers:
    def test_is_its_function_without_routing(self, scorer, function, flawed_iris):
        X, y, mask = flawed_iris
        model = CentroidClassifier().fit(X, mask)
        P = model.predict_proba(X)
        got = scorer(model, X, mask, true_labels=y)
        assert got == pytest.approx(function(mask, P, y, X), rel=1e-12)
        assert isinstance(got, float)
        assert got not in (0, 1)

    @pytest.mark.parametrize("form", FORMS)
    def test_forms_of_y_score_alike(self, scorer, function, flawed_iris, form):
        X, y, mask = flawed_iris
        truth = y if form == "mask" else NAMES[y]
        model = CentroidClassifier().fit(X, FORMS[form](mask))
        got = scorer(model, X, FORMS[form](mask), true_labels=truth)
        expected = function(mask, model.predict_proba(X), y, X)
        assert got == pytest.approx(expected, rel=1e-12)

    @pytest.mark.usefixtures("routing")
    def test_grid_search_finds_the_better_model(self, scorer, function, flawed_iris):
        X, y, mask = flawed_iris
        sets, truth = as_frozensets(mask, NAMES), NAMES[y]
        search = GridSearchCV(
            make_pipeline(StandardScaler(), CentroidClassifier()),
            {"centroidclassifier__flip": [True, False]},
            cv=FOLDS,
            scoring=scorer,
            error_score="raise",
        ).fit(X, sets, true_labels=truth)
        assert search.best_params_ == {"centroidclassifier__flip": False}
        got = search.score(X, sets, true_labels=truth)
        assert got == scorer(search.best_estimator_, X, sets, true_labels=truth)

    @pytest.mark.usefixtures("routing")
    def test_each_fold_gets_its_own_truth(self, scorer, function, flawed_iris):
        X, y, mask = flawed_iris
        done = cross_validate(
            CentroidClassifier(),
            X,
            mask,
            cv=FOLDS,
            scoring={"truth": scorer, "sets": covering_rate_scorer},
            params={"true_labels": y},
            error_score="raise",
        )
        for i, (train, test) in enumerate(FOLDS.split(X)):
            P = CentroidClassifier().fit(X[train], mask[train]).predict_proba(X[test])
            expected = function(mask[test], P, y[test], X[test])
            assert done["test_truth"][i] == pytest.approx(expected, rel=1e-12)
            covered = covering_rate(mask[test], P.argmax(axis=1))
            assert done["test_sets"][i] == covered

    def test_missing_truth_is_an_error_that_says_how_to_pass_it(
        self, scorer, function, flawed_iris
    ):
        X, _, mask = flawed_iris
        model = CentroidClassifier().fit(X, mask)
        with pytest.raises(
            ValueError, match=r"fit\(X, y, true_labels=\.\.\.\)"
        ) as info:
            scorer(model, X, mask)
        for part in (
            "needs the true labels",
            "scorer(estimator, X, y, true_labels=...)",
            "sklearn.set_config(enable_metadata_routing=True)",
            'params={"true_labels": ...}',
        ):
            assert part in str(info.value)

    def test_label_unknown_to_the_estimator_is_wrong(
        self, scorer, function, flawed_iris
    ):
        X, y, mask = flawed_iris
        sets = as_frozensets(mask, NAMES)
        train = ~mask[:, 2]  # never saw virginica
        model = CentroidClassifier().fit(X[train], sets[train])
        wide = np.pad(model.predict_proba(X), [(0, 0), (0, 1)])
        got = scorer(model, X, sets, true_labels=NAMES[y])
        assert got == pytest.approx(function(mask, wide, y, X), rel=1e-12)

    def test_label_unknown_to_the_fold_is_no_error(self, scorer, function, flawed_iris):
        X, y, mask = flawed_iris
        model = CentroidClassifier().fit(X, as_frozensets(mask, NAMES))
        fold = ~mask[:, 0] & (y > 0)  # setosa is neither a candidate nor true
        sets = as_frozensets(mask[fold], NAMES)
        got = scorer(model, X[fold], sets, true_labels=NAMES[y[fold]])
        expected = function(mask[fold], model.predict_proba(X[fold]), y[fold], X[fold])
        assert got == pytest.approx(expected, rel=1e-12)

    def test_truth_that_is_no_label_at_all_is_an_error(
        self, scorer, function, flawed_iris
    ):
        X, y, mask = flawed_iris
        model = CentroidClassifier().fit(X, as_frozensets(mask, NAMES))
        with pytest.raises(ValueError, match=r"true_labels is 0 in row 0, .*classes"):
            scorer(model, X, as_frozensets(mask, NAMES), true_labels=y)

    def test_missing_label_of_the_estimator_is_obeyed(
        self, scorer, function, flawed_iris
    ):
        X, y, mask = flawed_iris
        given = np.where(np.arange(len(y)) % 2, mask.argmax(axis=1), -1)
        model = CentroidClassifier(missing_label=-1).fit(X, given)
        mask = np.eye(3, dtype=bool)[given] | (given < 0)[:, None]
        expected = function(mask, model.predict_proba(X), y, X)
        got = scorer(model, X, given, true_labels=y)
        assert got == pytest.approx(expected, rel=1e-12)

    def test_pickles(self, scorer, function, flawed_iris):
        X, y, mask = flawed_iris
        model = CentroidClassifier().fit(X, mask)
        copied = pickle.loads(pickle.dumps(scorer))
        assert repr(copied) == repr(scorer)
        got = copied(model, X, mask, true_labels=y)
        assert got == scorer(model, X, mask, true_labels=y)


class TestRoutingDisabled:
    """scikit-learn hands the truth to the classifier's fit, which does not take it."""

    def test_cross_validate_fails(self, iris):
        X, y, mask = iris
        with pytest.raises(
            TypeError, match="unexpected keyword argument 'true_labels'"
        ):
            cross_validate(
                CentroidClassifier(),
                X,
                mask,
                scoring=true_accuracy_scorer,
                params={"true_labels": y},
                error_score="raise",
            )

    def test_grid_search_fails(self, iris):
        X, y, mask = iris
        search = GridSearchCV(
            CentroidClassifier(),
            {"flip": [True, False]},
            scoring=true_accuracy_scorer,
            error_score="raise",
        )
        with pytest.raises(
            TypeError, match="unexpected keyword argument 'true_labels'"
        ):
            search.fit(X, mask, true_labels=y)

    def test_without_the_truth_the_scorer_says_how_to_pass_it(self, iris):
        X, _, mask = iris
        with pytest.raises(ValueError, match="enable_metadata_routing=True"):
            cross_validate(
                CentroidClassifier(),
                X,
                mask,
                scoring=true_accuracy_scorer,
                error_score="raise",
            )


class TestMakeTrueLabelScorer:
    def test_score_of_scikit_learn(self, iris):
        X, y, mask = iris
        model = CentroidClassifier().fit(X, mask)
        scorer = make_true_label_scorer(f1_score, average="macro")
        expected = f1_score(y, model.predict(X), average="macro")
        assert scorer(model, X, mask, true_labels=y) == expected

    def test_options_reach_the_function(self, iris):
        X, y, mask = iris
        model = CentroidClassifier().fit(X, mask)
        for k in (1, 2, 3):
            scorer = make_true_label_scorer(
                top_k_accuracy, response="predict_proba", k=k
            )
            expected = top_k_accuracy(y, model.predict_proba(X), k=k)
            assert scorer(model, X, mask, true_labels=y) == expected

    def test_lower_is_better_turns_the_sign(self, iris):
        X, y, mask = iris
        model = CentroidClassifier().fit(X, mask)
        scorer = make_true_label_scorer(
            brier_score, response="predict_proba", greater_is_better=False
        )
        expected = -brier_score(y, model.predict_proba(X))
        assert scorer(model, X, mask, true_labels=y) == expected < 0

    def test_function_gets_by_name_what_it_asks_for(self, iris):
        X, y, mask = iris
        model = CentroidClassifier(missing_label=-1).fit(X, mask)

        def everything(true_labels, answer, y, F, classes, missing_label):
            assert y is mask
            assert F is X
            np.testing.assert_array_equal(answer, model.predict(X))
            assert classes.tolist() == [0, 1, 2]
            assert missing_label == -1
            return len(true_labels)

        scorer = make_true_label_scorer(everything)
        assert scorer(model, X, mask, true_labels=y) == len(y)

    def test_classes_of_an_answer_that_is_not_compared_with_y(self, iris):
        X, y, _ = iris
        model = GaussianNB().fit(X[y > 0], y[y > 0])

        def n_classes(true_labels, answer, *, classes):
            assert answer.shape[1] == len(classes)
            return len(classes)

        scorer = make_true_label_scorer(n_classes, response="predict_proba")
        assert scorer(model, X, y, true_labels=y) == 2

    def test_repr_is_how_it_was_made(self):
        assert repr(top_k_accuracy_scorer) == (
            "make_true_label_scorer(top_k_accuracy, response='predict_proba', k=2)"
        )
        assert repr(neg_brier_score_scorer) == (
            "make_true_label_scorer(brier_score, response='predict_proba', "
            "greater_is_better=False)"
        )

    def test_unfit_response_is_named(self):
        with pytest.raises(ValueError, match="response is 'decision_function'"):
            make_true_label_scorer(f1_score, response="decision_function")


def test_every_public_name_is_there_and_no_other_score():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
    public = {name for name in vars(metrics) if not name.startswith("_")}
    assert public == set(metrics.__all__)


@pytest.mark.parametrize(
    ("module", "below"),
    [
        (_label_columns, {"_label_forms", "targets"}),
        (metrics._candidates, {"_label_columns", "_rows", "targets"}),
        (metrics._truth, {"_label_columns", "_label_forms", "_rows"}),
        (metrics._proba, {"metrics._candidates", "metrics._truth"}),
        (metrics._entangled, {"_label_columns", "_rows", "metrics._truth"}),
        (
            metrics._scorers,
            {
                "_issues",
                "_label_columns",
                "metrics._candidates",
                "metrics._entangled",
                "metrics._proba",
                "metrics._truth",
            },
        ),
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
