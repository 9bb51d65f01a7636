"""Temperatures and rejection around classifiers of candidate sets."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import CandidateWeightedClassifier, PLKNNClassifier
from sklabeldiff.calibration import (
    CandidateCalibratedClassifier,
    RejectOptionClassifier,
)
from sklabeldiff.core.temperature import fit_temperature, tempered
from sklabeldiff.datasets import load_pll, make_candidate_sets
from sklabeldiff.metrics import expected_calibration_error
from sklabeldiff.model_selection import CandidateStratifiedKFold, cross_val_proba
from sklabeldiff.utils.estimator_checks import parametrize_with_candidate_checks

NAMES = np.array(["setosa", "versicolor", "virginica"])
WRAPPED = [
    CandidateCalibratedClassifier(PLKNNClassifier()),
    RejectOptionClassifier(PLKNNClassifier()),
]


@parametrize_with_checks(WRAPPED)
def test_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_candidate_checks(WRAPPED)
def test_candidate_sets(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.4, random_state=0), y


@pytest.fixture(scope="module")
def digits():
    """Half of the digits with candidate sets, half with the truth."""
    X, y = load_digits(return_X_y=True)
    Y = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    X, X_test, Y, _, _, y_test = train_test_split(
        X, Y, y, test_size=0.5, random_state=0
    )
    return X, Y, X_test, y_test


class TestCalibrated:
    def test_is_its_parts_written_out(self, iris):
        X, Y, _ = iris
        model = CandidateCalibratedClassifier(PLKNNClassifier(), cv=3).fit(X, Y)
        held_out = cross_val_proba(PLKNNClassifier(), X, Y, cv=3)
        T = fit_temperature(held_out, Y)
        assert model.temperature_ == T
        plain = PLKNNClassifier().fit(X, Y).predict_proba(X)
        np.testing.assert_array_equal(model.predict_proba(X), tempered(plain, T))
        before, after = model.log_likelihood_
        assert before < after

    def test_most_probable_class_stays(self, digits):
        X, Y, X_test, _ = digits
        model = CandidateCalibratedClassifier(PLKNNClassifier()).fit(X, Y)
        np.testing.assert_array_equal(
            model.predict(X_test), model.estimator_.predict(X_test)
        )

    def test_class_that_was_never_a_candidate_stays_impossible(self, digits):
        # An over-sure model: its temperature is above 1 and would raise zeros.
        X, Y, X_test, _ = digits
        wider = np.column_stack([Y, np.zeros(len(Y), dtype=bool)])
        inner = CandidateWeightedClassifier(GaussianNB())
        model = CandidateCalibratedClassifier(inner).fit(X, wider)
        assert model.temperature_ > 1
        P = model.predict_proba(X_test)
        assert (P[:, 10] == 0).all()
        np.testing.assert_allclose(P.sum(axis=1), 1)

    def test_plain_labels_of_any_classifier(self, iris):
        X, _, y = iris
        sure = make_pipeline(StandardScaler(), LogisticRegression(C=1e4, max_iter=9999))
        model = CandidateCalibratedClassifier(sure).fit(X, NAMES[y])
        assert model.temperature_ > 2
        assert model.classes_.tolist() == NAMES.tolist()
        assert model.score(X, NAMES[y]) > 0.9

    def test_weights_reach_the_temperature(self, iris):
        X, Y, _ = iris
        weights = Y * np.random.default_rng(0).uniform(0.1, 1, Y.shape)
        model = CandidateCalibratedClassifier(PLKNNClassifier()).fit(X, weights)
        held_out = cross_val_proba(PLKNNClassifier(), X, weights)
        relative = weights / weights.max(axis=1, keepdims=True)
        expected = fit_temperature(held_out, relative)
        assert model.temperature_ == pytest.approx(expected, rel=1e-4)
        assert expected != pytest.approx(fit_temperature(held_out, Y), rel=1e-2)

    def test_missing_label_of_the_classifier_is_obeyed(self, iris):
        X, _, y = iris
        y = np.where(np.arange(150) % 3, y, -1)
        inner = make_pipeline(StandardScaler(), PLKNNClassifier(missing_label=-1))
        model = CandidateCalibratedClassifier(inner).fit(X, y)
        assert model.classes_.tolist() == [0, 1, 2]

    def test_rows_that_only_the_classifier_understands(self, iris):
        X, Y, _ = iris
        frame = pd.DataFrame(X, columns=list("abcd"))
        model = CandidateCalibratedClassifier(PLKNNClassifier()).fit(frame, Y)
        assert model.feature_names_in_.tolist() == list("abcd")

    def test_estimator_without_probabilities(self, iris):
        with pytest.raises(TypeError, match="with predict_proba, got LinearSVC"):
            CandidateCalibratedClassifier(LinearSVC()).fit(*iris[:2])


class TestReject:
    @pytest.mark.parametrize("coverage", [0.5, 0.8, 1.0])
    def test_coverage_holds_on_held_out_rows(self, coverage, digits):
        X, Y, _, _ = digits
        model = RejectOptionClassifier(PLKNNClassifier(), coverage=coverage).fit(X, Y)
        confidence = cross_val_proba(PLKNNClassifier(), X, Y).max(axis=1)
        answered = confidence >= model.threshold_
        assert answered.mean() == pytest.approx(coverage, abs=1 / len(X))

    def test_doubtful_rows_are_the_wrong_ones(self, digits):
        X, Y, X_test, y_test = digits
        model = RejectOptionClassifier(
            CandidateWeightedClassifier(), coverage=0.6, reject_label=-1
        ).fit(X, Y)
        labels = model.predict_with_reject(X_test)
        answered = labels != -1
        right = model.predict(X_test) == y_test
        assert right[answered].mean() > right.mean() + 0.05
        np.testing.assert_array_equal(~answered, model.is_rejected(X_test))
        np.testing.assert_array_equal(labels[answered], model.predict(X_test)[answered])

    def test_covering_rate_is_that_of_the_answered_rows(self, digits):
        X, Y, _, _ = digits
        model = RejectOptionClassifier(PLKNNClassifier(), coverage=0.5).fit(X, Y)
        P = cross_val_proba(PLKNNClassifier(), X, Y)
        answered = P.max(axis=1) >= model.threshold_
        inside = Y[np.arange(len(Y)), P.argmax(axis=1)]
        assert model.covering_rate_ == inside[answered].mean() > inside.mean()

    def test_threshold_takes_the_place_of_coverage(self, iris):
        X, Y, _ = iris
        model = RejectOptionClassifier(PLKNNClassifier(), threshold=0.6).fit(X, Y)
        assert model.threshold_ == 0.6
        assert np.isnan(model.covering_rate_)
        confidence = model.predict_proba(X).max(axis=1)
        np.testing.assert_array_equal(model.is_rejected(X), confidence < 0.6)
        everything = clone(model).set_params(threshold=0.0).fit(X, Y)
        assert not everything.is_rejected(X).any()

    @pytest.mark.parametrize(
        ("names", "reject_label", "kind"),
        [
            (np.arange(3), -1, "i"),
            (np.arange(3), None, "O"),
            (np.arange(3), "unsure", "O"),
            (NAMES, "unsure", "U"),
            (NAMES, "a very long word for unsure", "U"),
            (NAMES, -1, "O"),
        ],
    )
    def test_label_of_rejected_rows(self, names, reject_label, kind, iris):
        X, _, y = iris
        model = RejectOptionClassifier(
            GaussianNB(), threshold=0.99, reject_label=reject_label
        ).fit(X, names[y])
        labels = model.predict_with_reject(X)
        assert labels.dtype.kind == kind
        rejected = model.is_rejected(X)
        assert rejected.any() and not rejected.all()
        assert set(labels[rejected].tolist()) == {reject_label}
        assert set(labels[~rejected].tolist()) == set(names.tolist())

    @pytest.mark.parametrize(
        ("parameters", "error", "message"),
        [
            ({"coverage": 0}, ValueError, "coverage must be above 0 and at most 1"),
            ({"coverage": "all"}, TypeError, "coverage must be a number"),
            ({"threshold": 1.5}, ValueError, "threshold must be at least 0"),
            ({"reject_label": np.ones(2)}, TypeError, "reject_label must be a number"),
            ({"reject_label": 2}, ValueError, "reject_label=2 is one of the classes"),
            ({"estimator": LinearSVC()}, TypeError, "with predict_proba"),
        ],
    )
    def test_unfit_parameters(self, parameters, error, message, iris):
        model = RejectOptionClassifier(PLKNNClassifier()).set_params(**parameters)
        with pytest.raises(error, match=message):
            model.fit(*iris[:2])


@pytest.mark.parametrize("model", WRAPPED, ids=lambda m: type(m).__name__)
class TestBoth:
    def test_score_is_the_covering_rate(self, model, iris):
        X, Y, _ = iris
        model = clone(model).fit(X, Y)
        assert model.score(X, Y) == Y[np.arange(150), model.predict(X)].mean()

    def test_serves_in_a_search(self, model, iris):
        X, Y, _ = iris
        cv = CandidateStratifiedKFold(3)
        pipeline = make_pipeline(StandardScaler(), model)
        assert cross_val_score(pipeline, X, Y, cv=cv).min() > 0.8
        search = GridSearchCV(model, {"estimator__n_neighbors": [5, 10]}, cv=cv)
        assert search.fit(X, Y).best_score_ > 0.8

    def test_pickles(self, model, iris):
        X, Y, _ = iris
        model = clone(model).fit(X, Y)
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))

    def test_estimator_that_was_given_stays_unfitted(self, model, iris):
        model = clone(model).fit(*iris[:2])
        assert not hasattr(model.estimator, "classes_")


def calibration_errors(X, Y, y, n_train, seed):
    """Errors of DDMP's probabilities before and after."""
    X, X_test, Y, _, _, y_test = train_test_split(
        X, Y, y, train_size=n_train, random_state=seed, stratify=y
    )
    inner = DDMPClassifier(random_state=seed)
    model = CandidateCalibratedClassifier(inner, cv=3).fit(X, Y)
    plain = model.estimator_.predict_proba(X_test)
    return [
        expected_calibration_error(y_test, proba)
        for proba in (plain, model.predict_proba(X_test))
    ]


class TestRealData:
    """Thresholds of the calibration table; `full` has its size and seeds."""

    def test_digits(self, full):
        X, y = load_digits(return_X_y=True)
        Y = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
        for seed in range(3 if full else 1):
            _, after = calibration_errors(X, Y, y, 898, seed)
            assert after < 0.05

    def test_pendigits(self, full, data_home):
        data = load_pll("pendigits", data_home)
        X, y = data.data, data.target
        Y = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
        for seed in range(3 if full else 1):
            _, after = calibration_errors(X, Y, y, 5000 if full else 1000, seed)
            assert after < 0.05

    def test_sets_that_depend_on_the_row(self, full, data_home):
        data = load_pll("birdsong", data_home)
        n_train = 2500 if full else 1000
        for seed in range(3 if full else 1):
            before, after = calibration_errors(
                data.data, data.candidates, data.target, n_train, seed
            )
            assert after < before - 0.03
