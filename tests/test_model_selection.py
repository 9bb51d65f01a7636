"""Out-of-fold probabilities of candidate sets."""

from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from sklabeldiff.baselines import CandidateWeightedClassifier, PLKNNClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold, cross_val_proba
from sklabeldiff.targets import encode_candidates

NAMES = np.array(["setosa", "versicolor", "virginica"])


def as_frozensets(mask, names):
    y = np.empty(len(mask), dtype=object)
    y[:] = [frozenset(names[row].tolist()) for row in mask]
    return y


FORMS = {
    "mask": lambda Y: Y,
    "numbers": lambda Y: Y.astype(float),
    "frame": lambda Y: pd.DataFrame(Y, columns=NAMES),
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


class Witness(ClassifierMixin, BaseEstimator):
    """Answers with the column means of the target that it was given."""

    seen: ClassVar[list] = []

    def fit(self, X, y):
        self.seen.append(y)
        Y, self.classes_ = encode_candidates(y)
        self.means_ = (Y / Y.sum(axis=1, keepdims=True)).mean(axis=0)
        return self

    def predict_proba(self, X):
        return np.tile(self.means_, (len(X), 1))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


@pytest.fixture
def witness():
    Witness.seen.clear()
    return Witness()


class TestCrossValProba:
    FOLDS = KFold(3, shuffle=True, random_state=0)

    def test_is_the_loop_written_out(self, iris):
        X, _, Y = iris
        expected = np.empty(Y.shape)
        for train, test in self.FOLDS.split(X):
            model = PLKNNClassifier().fit(X[train], Y[train])
            expected[test] = model.predict_proba(X[test])
        got = cross_val_proba(PLKNNClassifier(), X, Y, cv=self.FOLDS)
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, expected)

    def test_plain_labels_agree_with_scikit_learn(self, iris):
        X, y, _ = iris
        expected = cross_val_predict(
            GaussianNB(), X, NAMES[y], cv=self.FOLDS, method="predict_proba"
        )
        got = cross_val_proba(GaussianNB(), X, NAMES[y], cv=self.FOLDS)
        np.testing.assert_array_equal(got, expected)

    def test_class_possible_everywhere_stays_possible(self, witness):
        # scikit-learn recodes each column by itself: the 1s of column 0 become 0s.
        Y = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 1]])
        X = np.zeros((4, 1))
        cross_val_predict(witness, X, Y, cv=KFold(2), method="predict_proba")
        assert not witness.seen[0][:, 0].any()
        witness.seen.clear()
        got = cross_val_proba(witness, X, Y, cv=KFold(2))
        assert all(target[:, 0].all() for target in witness.seen)
        np.testing.assert_allclose(got, np.tile([0.5, 0.25, 0.25], (4, 1)))

    def test_weights_stay_weights(self, witness):
        # scikit-learn makes ranks of them.
        Y = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.2, 0.8]])
        X = np.zeros((4, 1))
        cross_val_predict(witness, X, Y, cv=KFold(2), method="predict_proba")
        assert witness.seen[0].tolist() == [[1, 0], [0, 1]]
        got = cross_val_proba(witness, X, Y, cv=KFold(2))
        np.testing.assert_allclose(got, np.tile([0.55, 0.45], (4, 1)), rtol=1e-6)

    def test_sets_are_no_classes(self, witness):
        # scikit-learn numbers the distinct sets and has a column for each of the four.
        Y = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]] * 2, dtype=bool)
        y = as_frozensets(Y, NAMES)
        X = np.zeros((8, 1))
        theirs = cross_val_predict(witness, X, y, cv=KFold(2), method="predict_proba")
        assert theirs.shape == (8, 4)
        got = cross_val_proba(witness, X, y, cv=KFold(2))
        np.testing.assert_allclose(got, np.tile([3 / 8, 2 / 8, 3 / 8], (8, 1)))

    @pytest.mark.parametrize("form", FORMS)
    def test_forms_of_y_agree(self, form, iris):
        X, _, Y = iris
        clf = CandidateWeightedClassifier(classes=NAMES)
        expected = cross_val_proba(clf, X, Y)
        got = cross_val_proba(clf, X, FORMS[form](Y))
        np.testing.assert_array_equal(got, expected)

    def test_columns_are_those_of_encode_candidates(self, iris):
        X, _, Y = iris
        y = as_frozensets(Y, NAMES[[2, 0, 1]])  # columns are sorted by name
        got = cross_val_proba(PLKNNClassifier(), X, y, cv=self.FOLDS)
        masked = cross_val_proba(PLKNNClassifier(), X, Y, cv=self.FOLDS)
        np.testing.assert_array_equal(got, masked[:, [1, 2, 0]])

    @pytest.mark.parametrize("labels", ["plain", "sets"])
    def test_classes_order_the_columns(self, labels, iris):
        X, y, Y = iris
        y = NAMES[y] if labels == "plain" else as_frozensets(Y, NAMES)
        clf = PLKNNClassifier()
        expected = cross_val_proba(clf, X, y, cv=self.FOLDS)[:, ::-1]
        turned = cross_val_proba(clf, X, y, cv=self.FOLDS, classes=NAMES[::-1])
        np.testing.assert_allclose(turned, expected, rtol=1e-6)
        clf.set_params(classes=NAMES[::-1])
        own = cross_val_proba(clf, X, y, cv=self.FOLDS)
        np.testing.assert_array_equal(own, turned)

    def test_class_that_a_fold_lacks_has_probability_zero(self):
        X, y = np.arange(6.0)[:, None], ["a", "c", "a", "c", "a", "b"]
        got = cross_val_proba(PLKNNClassifier(), X, y, cv=KFold(2))
        assert (got[:3] > 0).all()
        np.testing.assert_array_equal(got[3:, 1] > 0, False)  # no b in rows 0 to 2
        assert (got[3:, [0, 2]] > 0).all()

    @pytest.mark.parametrize(
        "y",
        [
            np.eye(3, dtype=bool)[np.arange(12) % 3],
            [{n} for n in NAMES[np.arange(12) % 3].tolist()],
        ],
        ids=["one-hot", "sets"],
    )
    def test_one_candidate_each_will_do_for_every_classifier(self, y):
        X = np.arange(12.0)[:, None] % 3
        got = cross_val_proba(GaussianNB(), X, y, cv=3)
        np.testing.assert_allclose(got, np.eye(3)[np.arange(12) % 3], atol=1e-6)

    def test_missing_label_of_the_estimator_is_obeyed(self, iris):
        X, y, _ = iris
        y = np.where(np.arange(len(y)) % 3, y, -1)
        clf = PLKNNClassifier()
        expected = cross_val_proba(clf, X, y, missing_label=-1)
        assert expected.shape == (150, 3)
        pipeline = make_pipeline(StandardScaler(), PLKNNClassifier(missing_label=-1))
        got = cross_val_proba(pipeline, X, y)
        np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_pipeline_on_rows_that_are_no_table(self, iris):
        X, _, Y = iris
        texts = [" ".join(map(str, row)) for row in X]
        read = FunctionTransformer(lambda rows: [r.split() for r in rows])
        pipeline = make_pipeline(read, StandardScaler(), PLKNNClassifier())
        got = cross_val_proba(pipeline, texts, Y)
        expected = cross_val_proba(
            make_pipeline(StandardScaler(), PLKNNClassifier()), X, Y
        )
        np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_sorted_rows_are_no_trap(self, iris):
        X, y, Y = iris  # sorted by class
        unshuffled = cross_val_proba(PLKNNClassifier(), X, Y, cv=KFold(3))
        assert (unshuffled.argmax(axis=1) == y).mean() < 0.2
        for cv in (3, None):
            got = cross_val_proba(PLKNNClassifier(), X, Y, cv=cv)
            assert (got.argmax(axis=1) == y).mean() > 0.9

    def test_integer_is_shuffled_stratified_folds(self, iris):
        X, _, Y = iris
        splitter = CandidateStratifiedKFold(4, shuffle=True, random_state=0)
        np.testing.assert_array_equal(
            cross_val_proba(PLKNNClassifier(), X, Y, cv=4),
            cross_val_proba(PLKNNClassifier(), X, Y, cv=splitter),
        )

    def test_iterable_of_splits(self, iris):
        X, y, _ = iris
        groups = np.arange(len(y)) // 7
        splits = GroupKFold(3).split(X, y, groups)
        got = cross_val_proba(GaussianNB(), X, y, cv=splits)
        assert (got.argmax(axis=1) == y).mean() > 0.9

    def test_stratified_splitter_is_given_plain_labels(self, iris):
        X, y, _ = iris
        got = cross_val_proba(GaussianNB(), X, y, cv=StratifiedKFold(3))
        assert (got.argmax(axis=1) == y).mean() > 0.9

    def test_params_reach_fit_and_are_cut_with_the_rows(self, iris):
        X, y, _ = iris
        weight = np.where(y == 2, 0.0, 1.0)
        clf = LogisticRegression(max_iter=1000)
        got = cross_val_proba(clf, X, y, params={"sample_weight": weight})
        assert got[:, 2].max() < 0.01
        in_step = cross_val_proba(
            make_pipeline(StandardScaler(), clf),
            X,
            y,
            params={"logisticregression__sample_weight": weight},
        )
        assert in_step[:, 2].max() < 0.01

    def test_estimator_stays_unfitted(self, iris):
        X, _, Y = iris
        clf = PLKNNClassifier()
        cross_val_proba(clf, X, Y)
        assert not hasattr(clf, "classes_")

    def test_jobs_change_nothing(self, iris):
        X, _, Y = iris
        with joblib.parallel_config(backend="threading"):
            got = cross_val_proba(PLKNNClassifier(), X, Y, n_jobs=2)
        np.testing.assert_array_equal(got, cross_val_proba(PLKNNClassifier(), X, Y))

    @pytest.mark.parametrize(
        "estimator",
        [
            RandomForestClassifier(3, random_state=0),
            OneVsRestClassifier(GaussianNB()),
            MLPClassifier(solver="lbfgs", max_iter=2000, random_state=0),
        ],
        ids=lambda e: type(e).__name__,
    )
    def test_multi_label_answers_are_refused(self, estimator, iris):
        X, _, Y = iris
        message = f"{type(estimator).__name__} .*multi-label.*CandidateWeighted"
        with pytest.raises(ValueError, match=message):
            cross_val_proba(estimator, X, Y)

    def test_tables_of_unequal_width_are_refused_alike(self, iris):
        # One table a class, of one column where a class is always possible.
        X, _, Y = iris
        Y = Y.copy()
        Y[:, 0] = True
        with pytest.raises(ValueError, match=r"KNeighbors.* multi-label"):
            cross_val_proba(KNeighborsClassifier(), X, Y)

    def test_estimator_without_probabilities(self, iris):
        with pytest.raises(TypeError, match=r"LinearSVC has no predict_proba\. Choose"):
            cross_val_proba(LinearSVC(), *iris[:2])

    @pytest.mark.parametrize(
        ("cv", "message"),
        [
            (ShuffleSplit(4, random_state=0), r"cv holds row \d+ out \d times"),
            (
                [([0, 1], [2, 3])],
                "cv holds row 0 out 0 times.*CandidateStratifiedKFold",
            ),
            ([(range(150), range(150))] * 2, "cv holds row 0 out 2 times"),
            (1, "n_splits=2 or more"),
            (151, "n_splits=151 folds need as many rows, but there are 150"),
        ],
    )
    def test_splits_that_are_no_partition(self, cv, message, iris):
        with pytest.raises(ValueError, match=message):
            cross_val_proba(PLKNNClassifier(), iris[0], iris[2], cv=cv)

    def test_lengths_must_agree(self, iris):
        X, y, _ = iris
        for cv in (3, [(range(9), range(9, 150)), (range(9, 150), range(9))]):
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                cross_val_proba(GaussianNB(), X[:9], y, cv=cv)

    def test_class_of_the_estimator_that_y_has_not(self, iris):
        class Inventive(GaussianNB):
            def fit(self, X, y):
                super().fit(X, y)
                self.classes_ = self.classes_ + 1
                return self

        with pytest.raises(ValueError, match="classes_ of the estimator is 3 in row 2"):
            cross_val_proba(Inventive(), *iris[:2])
