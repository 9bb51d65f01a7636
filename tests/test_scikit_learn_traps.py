"""Each trap of scikit-learn with candidate sets, and the way round it.

A test that shows a trap turns red when scikit-learn mends it: then the trap, and what
docs/scikit_learn.rst says of it, can go.
"""

import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    check_cv,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import covering_rate_scorer
from sklabeldiff.model_selection import CandidateStratifiedKFold, cross_val_proba
from sklabeldiff.targets import encode_candidates

MENDED = "scikit-learn has mended this trap: shorten docs/scikit_learn.rst"
NAMES = np.array(["setosa", "versicolor", "virginica"])
CLF = PLKNNClassifier()
CV = CandidateStratifiedKFold(3)
GRID = {"n_neighbors": [100, 10]}  # the worse one first


def refusal(call, *args, **kwargs):
    """What an exception says, which is expected."""
    try:
        call(*args, **kwargs)
    except (ValueError, TypeError, NotImplementedError) as error:
        return str(error)
    pytest.fail(MENDED)


def as_frozensets(mask):
    y = np.empty(len(mask), dtype=object)
    y[:] = [frozenset(NAMES[row].tolist()) for row in mask]
    return y


@pytest.fixture(scope="module")
def iris():
    """Features, true classes, candidate sets; in random order."""
    X, true = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    Y = make_candidate_sets(true[order], rate=0.4, random_state=0)
    return X[order], true[order], Y


@pytest.fixture(scope="module")
def sorted_digits():
    """Features, true classes, candidate sets; sorted by class."""
    X, true = load_digits(return_X_y=True)
    order = np.argsort(true, kind="stable")
    Y = make_candidate_sets(true[order], rate=0.2, random_state=0)
    return X[order], true[order], Y


class Witness(ClassifierMixin, BaseEstimator):
    """Keeps the targets that it was given."""

    def __init__(self, seen):
        self.seen = seen

    def __sklearn_clone__(self):
        return Witness(self.seen)  # not a copy: it is looked at from outside

    def fit(self, X, y):
        self.seen.append(y)
        self.classes_ = np.arange(np.shape(y)[1] if np.ndim(y) == 2 else np.max(y) + 1)
        return self

    def predict_proba(self, X):
        n_classes = len(self.classes_)
        return np.full((len(X), n_classes), 1 / n_classes)

    def predict_log_proba(self, X):
        return np.log(self.predict_proba(X))

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def shown(predict, y):
    """What the estimator of each fold is trained on."""
    seen = []
    predict(Witness(seen), np.zeros((len(y), 1)), y, cv=KFold(2))
    return seen


theirs = partial(cross_val_predict, method="predict_proba")


class TestProbabilitiesOfAMatrix:
    EVERYWHERE = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1]])
    WEIGHTS = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]] * 2)

    def test_trap_class_possible_everywhere_becomes_impossible(self):
        for target in shown(theirs, self.EVERYWHERE):
            assert not target[:, 0].any(), MENDED

    def test_trap_weights_become_ranks(self):
        for target in shown(theirs, self.WEIGHTS):
            assert target.tolist() == [[1, 0, 1], [0, 1, 0]], MENDED

    def test_trap_frame_loses_its_names(self, iris):
        frame = pd.DataFrame(iris[2], columns=NAMES)
        assert all(isinstance(y, np.ndarray) for y in shown(theirs, frame)), MENDED

    def test_trap_lies_in_logarithms_too(self):
        predict = partial(cross_val_predict, method="predict_log_proba")
        for target in shown(predict, self.EVERYWHERE):
            assert not target[:, 0].any(), MENDED

    @pytest.mark.parametrize("y", [EVERYWHERE, WEIGHTS], ids=["sets", "weights"])
    def test_way_round_passes_the_target_on(self, y):
        for target in shown(cross_val_proba, y):
            np.testing.assert_allclose(target, y[:2], rtol=1e-6)

    def test_way_round_has_the_columns_of_the_frame(self, iris):
        X, true, Y = iris
        frame = pd.DataFrame(Y, columns=NAMES)[NAMES[::-1]]
        proba = cross_val_proba(CLF, X, frame, cv=CV)
        assert (NAMES[::-1][proba.argmax(axis=1)] == NAMES[true]).mean() > 0.9

    def test_default_method_needs_no_way_round(self, iris):
        X, _, Y = iris
        expected = np.empty(len(X), dtype=int)
        for train, test in CV.split(X, Y):
            expected[test] = clone(CLF).fit(X[train], Y[train]).predict(X[test])
        got = cross_val_predict(CLF, X, Y, cv=CV)
        np.testing.assert_array_equal(got, expected)


class TestProbabilitiesOfSets:
    def test_trap_sets_are_classes(self, iris):
        X, _, Y = iris
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it is silent
            proba = theirs(CLF, X, as_frozensets(Y), cv=CV)
        assert proba.shape == (150, len(np.unique(Y, axis=0))), MENDED

    def test_trap_springs_loudly_if_the_classes_are_given(self, iris):
        X, _, Y = iris
        clf = PLKNNClassifier(classes=NAMES)
        said = refusal(theirs, clf, X, as_frozensets(Y), cv=CV)
        assert "not among the classes" in said

    def test_way_round_has_a_column_for_each_class(self, iris):
        X, _, Y = iris
        got = cross_val_proba(CLF, X, as_frozensets(Y), cv=CV)
        np.testing.assert_array_equal(got, cross_val_proba(CLF, X, Y, cv=CV))


class TestFolds:
    @staticmethod
    def missing(splitter, true, Y):
        """Classes that no row of each training fold has."""
        return [
            sorted(set(range(10)) - set(true[train].tolist()))
            for train, _ in splitter.split(Y, Y)
        ]

    def test_trap_default_neither_shuffles_nor_stratifies(self, sorted_digits):
        _, true, Y = sorted_digits
        chosen = check_cv(5, Y, classifier=True)
        assert type(chosen) is KFold, MENDED
        lost = self.missing(chosen, true, Y)
        assert lost == [[0, 1], [2, 3], [4], [6], [8, 9]], MENDED

    def test_trap_sets_get_the_same_splitter(self, iris):
        chosen = check_cv(5, as_frozensets(iris[2]), classifier=True)
        assert type(chosen) is KFold, MENDED
        assert not chosen.shuffle, MENDED

    def test_trap_their_stratification_is_for_plain_labels(self, iris):
        X, _, Y = iris
        said = refusal(lambda: list(StratifiedKFold(5).split(X, Y)))
        assert "Supported target types are" in said

    def test_way_round_keeps_every_class_in_training(self, sorted_digits):
        _, true, Y = sorted_digits
        assert self.missing(CandidateStratifiedKFold(5), true, Y) == [[]] * 5

    def test_way_round_by_true_labels_where_they_are_known(self, sorted_digits):
        X, true, Y = sorted_digits
        splits = list(StratifiedKFold(3).split(X, true))
        assert cross_val_score(CLF, X, Y, cv=splits).min() > 0.9

    def test_way_round_scores_sorted_rows_rightly(self):
        X, true = load_iris(return_X_y=True)  # sorted
        Y = make_candidate_sets(true, rate=0.4, random_state=0)
        assert cross_val_score(CLF, X, Y, cv=3).max() < 0.6, MENDED
        assert cross_val_score(CLF, X, Y, cv=CV).min() > 0.9


class TestScoring:
    @pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", "balanced_accuracy"])
    def test_trap_scores_are_nan_with_a_warning(self, scoring, iris):
        X, _, Y = iris
        with pytest.warns(UserWarning, match="Scoring failed"):
            scores = cross_val_score(CLF, X, Y, cv=CV, scoring=scoring)
        assert np.isnan(scores).all(), MENDED

    def test_trap_search_takes_the_first_of_the_grid(self, iris):
        X, _, Y = iris
        search = GridSearchCV(CLF, GRID, cv=CV, scoring="accuracy")
        with pytest.warns(UserWarning, match="Scoring failed|non-finite"):
            search.fit(X, Y)
        assert search.best_params_ == {"n_neighbors": 100}, MENDED

    @pytest.mark.parametrize("scoring", [None, covering_rate_scorer])
    def test_way_round_finds_the_better_one(self, scoring, iris):
        X, _, Y = iris
        search = GridSearchCV(CLF, GRID, cv=CV, scoring=scoring).fit(X, Y)
        assert search.best_params_ == {"n_neighbors": 10}


FOREST = BaggingClassifier(GaussianNB(), 5, random_state=0)
PAIR = [("lr", LogisticRegression(max_iter=1000)), ("nb", GaussianNB())]
OURS = [("near", PLKNNClassifier(5)), ("far", PLKNNClassifier(15))]
BOOSTED = AdaBoostClassifier(GaussianNB(), random_state=0)


class TestOneLabelARow:
    """What needs one label a row: refused, or worse."""

    @pytest.mark.parametrize("form", ["matrix", "frozensets"])
    @pytest.mark.parametrize(
        "wrapper",
        [
            BaggingClassifier(CLF, 3),
            VotingClassifier(OURS, voting="soft"),
            StackingClassifier(OURS, cv=CV),
            AdaBoostClassifier(CLF),
            CalibratedClassifierCV(CLF, cv=CV),
            OneVsOneClassifier(CLF),
            TunedThresholdClassifierCV(CLF),
        ],
        ids=lambda w: type(w).__name__,
    )
    def test_trap_wrapper_refuses(self, wrapper, form, iris):
        X, _, Y = iris
        said = refusal(
            clone(wrapper).fit, X, Y if form == "matrix" else as_frozensets(Y)
        )
        assert re.search(
            "1d array|[Uu]nknown label type|Multilabel|support sample_weight", said
        )

    def test_trap_self_training_refuses_a_matrix(self, iris):
        X, _, Y = iris
        assert "1d array" in refusal(SelfTrainingClassifier(CLF).fit, X, Y)

    def test_trap_one_versus_rest_answers_another_question(self, iris):
        X, true, Y = iris
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it is silent
            found = OneVsRestClassifier(CLF).fit(X, Y).predict(X)
        assert found.shape == Y.shape, MENDED  # several classes of a row at once
        assert (found.sum(axis=1) > 1).any(), MENDED
        assert (CLF.fit(X, Y).predict(X) == true).mean() > 0.9

    def test_trap_selection_refuses_a_matrix(self, iris):
        X, _, Y = iris
        assert "1d array" in refusal(SelectKBest(k=1).fit, X, Y)

    def test_trap_selection_tells_sets_apart_instead_of_classes(self, iris):
        X, true, Y = iris
        # A column that tells how large the set is, and one that tells the class a bit.
        F = np.column_stack([Y.sum(axis=1) + 0.01 * X[:, 0], X[:, 3]])
        chosen = SelectKBest(k=1).fit(F, as_frozensets(Y)).get_support(indices=True)
        assert chosen.tolist() == [0], MENDED
        assert SelectKBest(k=1).fit(F, true).get_support(indices=True) == [1]
        ours = SequentialFeatureSelector(CLF, n_features_to_select=1, cv=CV)
        assert ours.fit(F, Y).get_support(indices=True).tolist() == [1]

    def test_trap_stratify_goes_by_whole_sets(self, iris):
        X, _, Y = iris
        Y = Y.copy()
        Y[Y[:, 1] & ~Y[:, 0]] = [False, True, True]
        Y[0] = [False, True, False]  # the only such set
        assert "only 1 member" in refusal(train_test_split, X, Y, stratify=Y)

    @pytest.mark.parametrize(
        "classifier",
        [
            FOREST,
            VotingClassifier(PAIR, voting="soft"),
            StackingClassifier(PAIR, cv=3),
            BOOSTED,
            CalibratedClassifierCV(GaussianNB(), cv=3),
            OneVsOneClassifier(GaussianNB()),
            OneVsRestClassifier(GaussianNB()),
            make_pipeline(SelectKBest(k=2), GaussianNB()),
        ],
        ids=lambda c: type(c).__name__,
    )
    def test_way_round_wraps_the_other_way(self, classifier, iris):
        X, true, Y = iris
        clf = CandidateWeightedClassifier(classifier, labels="propagated")
        clf.fit(X[:100], Y[:100])
        assert (clf.predict(X[100:]) == true[100:]).mean() > 0.85

    def test_way_round_calibrates_on_a_clean_set(self, iris):
        X, true, Y = iris
        model = CandidateWeightedClassifier().fit(X[:75], Y[:75])
        calibrated = CalibratedClassifierCV(FrozenEstimator(model))
        calibrated.fit(X[75:105], true[75:105])
        losses = [
            log_loss(true[105:], clf.predict_proba(X[105:]), labels=[0, 1, 2])
            for clf in (model, calibrated)
        ]
        assert losses[1] < 0.8 * losses[0]


class TestFormsThatAreRefused:
    @pytest.fixture(params=["lists", "tuples", "series"])
    def ragged(self, request, iris):
        lists = [NAMES[row].tolist() for row in iris[2]]
        forms = {
            "lists": lists,
            "tuples": [tuple(row) for row in lists],
            "series": pd.Series(lists),
        }
        return forms[request.param]

    def test_trap_ragged_lists_are_legacy(self, ragged, iris):
        for cv in (None, 3):
            said = refusal(cross_val_score, CLF, iris[0], ragged, cv=cv)
            assert "legacy multi-label data representation" in said

    def test_way_round_encodes_first(self, ragged, iris):
        X, _, Y = iris
        encoded, classes = encode_candidates(ragged)
        assert classes.tolist() == NAMES.tolist()
        got = cross_val_score(CLF, X, encoded, cv=3)
        np.testing.assert_array_equal(got, cross_val_score(CLF, X, Y, cv=3))

    def test_splitter_lets_ragged_lists_through(self, ragged, iris):
        X, _, Y = iris
        got = cross_val_score(CLF, X, ragged, cv=CV)
        np.testing.assert_array_equal(got, cross_val_score(CLF, X, Y, cv=CV))

    def test_trap_few_lists_of_zeros_and_ones_are_a_matrix(self):
        # Why to encode before a splitter cuts: rows 0 and 1 alone mean the set {1}.
        lists = [[0, 1], [0, 1], [0, 2]]
        assert encode_candidates(lists)[0][:2].tolist() == [[True, True, False]] * 2
        assert encode_candidates(lists[:2])[0].tolist() == [[False, True]] * 2

    def test_trap_sparse_matrix_is_refused_by_some(self, iris):
        X, _, Y = iris
        said = refusal(cross_val_score, CLF, X, csr_array(Y), cv=CV)
        assert "must be an array-like" in said
        search = GridSearchCV(CLF, GRID, cv=CV).fit(X, csr_array(Y))
        assert search.best_params_ == {"n_neighbors": 10}

    def test_way_round_encodes_a_sparse_matrix_too(self, iris):
        X, _, Y = iris
        encoded, _ = encode_candidates(csr_array(Y))
        got = cross_val_score(CLF, X, encoded, cv=CV)
        np.testing.assert_array_equal(got, cross_val_score(CLF, X, Y, cv=CV))


def accuracy_by_y_true(y, y_pred, y_true):
    return accuracy_score(y_true, y_pred)


def accuracy_by_true_labels(y, y_pred, true_labels):
    return accuracy_score(true_labels, y_pred)


class TestMetadata:
    @pytest.fixture(autouse=True)
    def routing(self):
        with config_context(enable_metadata_routing=True):
            yield

    def test_trap_y_true_is_taken(self, iris):
        X, true, Y = iris
        scorer = make_scorer(accuracy_by_y_true).set_score_request(y_true=True)
        said = refusal(
            cross_validate,
            CLF,
            X,
            Y,
            cv=CV,
            scoring=scorer,
            params={"y_true": true},
            error_score="raise",
        )
        assert "multiple values for argument 'y_true'" in said

    def test_trap_is_nan_with_a_warning_by_default(self, iris):
        X, true, Y = iris
        scorer = make_scorer(accuracy_by_y_true).set_score_request(y_true=True)
        search = GridSearchCV(CLF, GRID, cv=CV, scoring=scorer)
        with pytest.warns(UserWarning, match="Scoring failed|non-finite"):
            search.fit(X, Y, y_true=true)
        assert np.isnan(search.best_score_), MENDED

    def test_way_round_is_another_name(self, iris):
        X, true, Y = iris
        scorer = make_scorer(accuracy_by_true_labels).set_score_request(
            true_labels=True
        )
        found = cross_validate(
            CLF, X, Y, cv=CV, scoring=scorer, params={"true_labels": true}
        )
        expected = [
            (clone(CLF).fit(X[a], Y[a]).predict(X[b]) == true[b]).mean()
            for a, b in CV.split(X, Y)
        ]
        np.testing.assert_allclose(found["test_score"], expected)
        search = GridSearchCV(CLF, GRID, cv=CV, scoring=scorer)
        search.fit(X, Y, true_labels=true)
        assert search.best_score_ == pytest.approx(np.mean(expected))


class TestMinusOne:
    X = np.array([[0.0], [0.1], [1.0], [1.1], [0.5]])
    Y = np.array([0, 0, 1, 1, -1])

    def test_trap_scikit_learn_takes_it_for_unlabelled(self):
        model = LabelSpreading(kernel="knn", n_neighbors=2).fit(self.X, self.Y)
        assert model.classes_.tolist() == [0, 1]

    def test_here_it_is_a_class(self):
        assert CLF.fit(self.X, self.Y).classes_.tolist() == [-1, 0, 1]

    def test_way_round_says_what_it_means(self):
        model = PLKNNClassifier(missing_label=-1).fit(self.X, self.Y)
        assert model.classes_.tolist() == [0, 1]
        assert model.candidate_sets_[4].all()


class TestClassThatAFoldLacks:
    SETS = np.array([{"cat"}, {"dog"}, {"cat", "dog"}, {"cat", "owl"}])
    X = np.arange(4.0)[:, None]

    def test_trap_fold_of_sets_has_fewer_classes(self):
        model = clone(CLF).fit(self.X[:3], self.SETS[:3])
        assert model.classes_.tolist() == ["cat", "dog"]

    @pytest.mark.parametrize("form", ["classes", "matrix", "frame"])
    def test_way_round_knows_all_classes(self, form):
        Y, names = encode_candidates(self.SETS)
        clf = PLKNNClassifier(classes=names if form == "classes" else None)
        y = {"classes": self.SETS, "matrix": Y, "frame": pd.DataFrame(Y, columns=names)}
        proba = clf.fit(self.X[:3], y[form][:3]).predict_proba(self.X[3:])
        assert proba.shape == (1, 3)
        assert proba[0, 2] == 0


class TestHalving:
    def test_trap_counting_classes_refuses_sets(self, iris):
        X, _, Y = iris
        search = HalvingGridSearchCV(CLF, GRID, cv=CV)
        assert "1d array" in refusal(search.fit, X, Y)
        assert "Unknown label type" in refusal(search.fit, X, as_frozensets(Y))

    def test_way_round_is_a_number_of_rows(self, iris):
        X, true, Y = iris
        grid = {"n_neighbors": [2, 5, 10]}
        plain = HalvingGridSearchCV(CLF, grid, cv=CV).fit(X, true)
        assert plain.n_resources_ == [50, 150]  # what it chooses if it can
        for y in (Y, as_frozensets(Y), pd.DataFrame(Y)):
            search = HalvingGridSearchCV(CLF, grid, cv=CV, min_resources=len(X) // 3)
            assert search.fit(X, y).n_resources_ == plain.n_resources_
            assert search.best_score_ > 0.9

    def test_way_round_by_epochs_counts_no_classes(self, iris):
        X, true, Y = iris
        search = HalvingGridSearchCV(
            PRODENClassifier(random_state=0),
            {"learning_rate": [1e-5, 1e-2]},
            resource="max_epochs",
            max_resources=12,
            factor=2,
            cv=CandidateStratifiedKFold(2),
        )
        search.fit(X, Y)
        assert search.n_resources_ == [6, 12]
        assert search.best_params_ == {"learning_rate": 1e-2, "max_epochs": 12}
        assert (search.predict(X) == true).mean() > 0.85
