"""`label_issues`: which given labels are wrong, asked in three ways."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold

from sklabeldiff import DDMPClassifier
from sklabeldiff._issues import issues_frame, self_consistency
from sklabeldiff.base import CandidateClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.metrics import label_issues_average_precision
from sklabeldiff.model_selection import CandidateStratifiedKFold, cross_val_proba

COLUMNS = ["row", "given", "believed", "confidence", "score"]
NAMES = np.array(["setosa", "versicolor", "virginica"])
FOLDS = KFold(3, shuffle=True, random_state=0)


@pytest.fixture(scope="module")
def iris():
    """Features, labels of which every tenth is wrong, true labels; as strings."""
    X, y = load_iris(return_X_y=True)
    given = y.copy()
    given[::10] = (given[::10] + 1) % 3
    return X, NAMES[given], NAMES[y]


@pytest.fixture(scope="module")
def sets(iris):
    """Candidate sets of iris as a mask; every tenth row may be any class."""
    _, _, truth = iris
    Y = make_candidate_sets(truth, rate=0.3, random_state=0)
    Y[::10] = True
    return Y


class TestFrame:
    ABC = np.array(["a", "b", "c"])

    def test_hand_worked(self):
        mask = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=bool)
        P = np.array([[0.2, 0.7, 0.1], [0.1, 0.5, 0.4], [0, 1, 0], [0.4, 0.3, 0.3]])
        frame = issues_frame(mask, P, self.ABC)
        assert frame.columns.tolist() == COLUMNS
        assert frame.index.tolist() == [0, 1, 2, 3]
        assert frame["row"].tolist() == [2, 0, 1, 3]
        assert frame["given"].tolist() == [{"c"}, {"a"}, {"a", "b"}, None]
        assert frame["believed"].tolist() == ["b", "b", "b", "a"]
        np.testing.assert_allclose(frame["confidence"], [1, 0.7, 0.5, 0.4])
        np.testing.assert_allclose(frame["score"], [0, 0.2, 0.6, 1])

    def test_score_is_exact_at_both_ends(self):
        mask = np.array([[1, 1, 0], [0, 0, 1]], dtype=bool)
        P = np.array([[0.1, 0.6, 0], [0.3, 0.7, 1e-20]], dtype=np.float32)
        assert self_consistency(mask, P)[0] == 1
        assert self_consistency(mask, P)[1] == pytest.approx(1e-20, rel=1e-6, abs=0)

    def test_equal_scores(self):
        ab, abc = [True, True, False], [True, True, True]
        mask = np.array([abc, ab, ab, abc, ab, ab])
        P = [
            *([0.9, 0.1, 0.0], [0.6, 0.4, 0.0]),  # any class; a
            *([0.3, 0.3, 0.4], [0.4, 0.3, 0.3]),  # c; any class
            *([0.9, 0.1, 0.0], [0.2, 0.4, 0.4]),  # a; b, which is as likely as c
        ]
        frame = issues_frame(mask, np.array(P), self.ABC)
        np.testing.assert_allclose(frame["score"], [0.6, 0.6, 1, 1, 1, 1])
        # Doubted by belief in c, then by lack of belief in b; of the others the less
        # sure first, and last those that cannot be wrong.
        assert frame["row"].tolist() == [2, 5, 1, 4, 3, 0]

    def test_surest_contradiction_comes_first(self):
        mask = np.array([[1, 0, 0]] * 3, dtype=bool)
        P = np.array([[0, 0.6, 0.4], [0, 0.2, 0.8], [0, 0.9, 0.1]])
        assert issues_frame(mask, P, self.ABC)["row"].tolist() == [2, 1, 0]

    def test_ties_keep_the_order_of_the_rows(self):
        mask = np.eye(2, dtype=bool)[np.arange(50) % 2]
        frame = issues_frame(mask, np.full((50, 2), 0.5), np.array([0, 1]))
        # Class 0 is believed, so what is given as 1 comes first.
        assert frame["row"].tolist() == [*range(1, 50, 2), *range(0, 50, 2)]

    @pytest.mark.parametrize(
        ("mask", "classes", "given", "dtype"),
        [
            ([[1, 0, 0], [0, 0, 1]], [3, 5, 7], [3, 7], np.int64),
            ([[1, 0, 0], [1, 1, 1]], [3, 5, 7], [3, None], object),
            ([[1, 0, 0], [1, 1, 1]], ["a", "b", "c"], ["a", None], object),
            ([[1, 0, 0], [0, 1, 1]], ["a", "b", "c"], [{"a"}, {"b", "c"}], object),
            ([[1, 1, 1], [0, 1, 1]], [3, 5, 7], [None, {5, 7}], object),
        ],
    )
    def test_given_is_what_the_user_has(self, mask, classes, given, dtype):
        mask = np.array(mask, dtype=bool)
        frame = issues_frame(mask, np.full((2, 3), 1 / 3), np.array(classes))
        found = frame.sort_values("row")["given"]
        assert found.dtype == dtype
        assert found.tolist() == given
        assert not any(isinstance(v, (set, float)) for v in found)  # frozen, not NaN

    def test_without_pandas_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match=r'pip install "sklabeldiff\[pandas\]"'):
            issues_frame(np.eye(2, dtype=bool), np.eye(2), np.arange(2))


class TestOutOfFold:
    def test_is_the_score_of_out_of_fold_probabilities(self, iris):
        X, given, _ = iris
        frame = PLKNNClassifier().label_issues(X, given, cv=FOLDS).sort_values("row")
        P = cross_val_proba(PLKNNClassifier(), X, given, cv=FOLDS)
        own = P[np.arange(150), np.searchsorted(NAMES, given)]
        np.testing.assert_allclose(frame["score"], own, rtol=1e-6)
        np.testing.assert_array_equal(frame["believed"], NAMES[P.argmax(axis=1)])
        np.testing.assert_array_equal(frame["confidence"], P.max(axis=1))
        np.testing.assert_array_equal(frame["given"], given)

    def test_finds_wrong_labels_of_digits(self):
        X, y = load_digits(return_X_y=True)
        given = make_noisy_labels(X, y, "symmetric", rate=0.2, random_state=0)
        issues = CandidateWeightedClassifier().label_issues(X, given, cv=5)
        score = issues.sort_values("row")["score"]
        assert (given != y).mean() < 0.25
        # Seeds 0 to 2: .95, .94, .91.
        assert label_issues_average_precision(given, y, score) > 0.85

    def test_finds_sets_that_lack_the_truth(self):
        X, y = (array[:600] for array in load_digits(return_X_y=True))
        Y = make_candidate_sets(y, rate=0.3, random_state=0)
        lacking = np.arange(5, 600, 10)
        Y[lacking, y[lacking]] = False
        Y[lacking, (y[lacking] + 1) % 10] = True
        clf = KernelPropagationClassifier(random_state=0)
        score = clf.label_issues(X, Y, cv=5).sort_values("row")["score"]
        # .73 when this was written, where a tenth of the rows is to be found.
        assert label_issues_average_precision(Y, y, score) > 0.6
        # The training beliefs lie on the candidates and find none.
        assert (clf.fit(X, Y).label_issues()["score"] == 1).all()

    def test_forms_of_y_agree(self, iris, sets):
        X, _, _ = iris
        clf = PLKNNClassifier(classes=NAMES)
        expected = clf.label_issues(X, sets, cv=3)
        assert expected["given"].isna().sum() == sets.all(axis=1).sum() > 0
        lists = [NAMES[row].tolist() for row in sets]
        frame = pd.DataFrame(sets, columns=NAMES)
        unknown = [None if row.all() else frozenset(NAMES[row]) for row in sets]
        for form in (lists, frame, unknown):
            pd.testing.assert_frame_equal(clf.label_issues(X, form, cv=3), expected)

    def test_weights_are_what_the_clones_are_fitted_to(self, iris, sets):
        X, _, _ = iris
        soft = sets * [3.0, 2.0, 1.0]
        got = CandidateWeightedClassifier().label_issues(X, soft, cv=FOLDS)
        P = cross_val_proba(CandidateWeightedClassifier(), X, soft, cv=FOLDS)
        np.testing.assert_array_equal(
            got.sort_values("row")["confidence"], P.max(axis=1)
        )
        plain = CandidateWeightedClassifier().label_issues(X, sets, cv=FOLDS)
        assert abs(np.sort(got["score"]) - np.sort(plain["score"])).max() > 0.01

    def test_missing_label_is_unlabelled(self, iris):
        X, given, _ = iris
        given = np.where(np.arange(150) % 4, given, "?")
        issues = PLKNNClassifier(missing_label="?").label_issues(X, given, cv=3)
        unlabelled = issues["given"].isna()
        assert set(issues["row"][unlabelled]) == set(range(0, 150, 4))
        assert (issues["score"][unlabelled] == 1).all()
        assert (issues["believed"] != "?").all()
        assert unlabelled[-38:].all()

    def test_integer_is_shuffled_stratified_folds(self, iris):
        X, given, _ = iris
        splitter = CandidateStratifiedKFold(4, shuffle=True, random_state=0)
        pd.testing.assert_frame_equal(
            PLKNNClassifier().label_issues(X, given, cv=4),
            PLKNNClassifier().label_issues(X, given, cv=splitter),
        )

    def test_leaves_the_estimator_as_it_is(self, iris):
        X, given, _ = iris
        clf = PLKNNClassifier()
        clf.label_issues(X, given, cv=3)
        assert not hasattr(clf, "classes_")
        clf.fit(X, given)
        before = pickle.dumps(clf)
        clf.label_issues(X[:90], given[:90], cv=3)
        assert pickle.dumps(clf) == before


class TestOtherRows:
    def test_asks_the_fitted_estimator(self, iris):
        X, given, _ = iris
        clf = PLKNNClassifier().fit(X[::2], given[::2])
        issues = clf.label_issues(X[1::2], given[1::2]).sort_values("row")
        P = clf.predict_proba(X[1::2])
        own = P[np.arange(75), np.searchsorted(NAMES, given[1::2])]
        np.testing.assert_allclose(issues["score"], own, rtol=1e-6)
        np.testing.assert_array_equal(issues["believed"], clf.predict(X[1::2]))

    def test_labels_that_these_rows_lack_keep_their_columns(self, iris):
        X, given, truth = iris
        clf = PLKNNClassifier().fit(X, given)
        last = truth == "virginica"
        issues = clf.label_issues(X[last], truth[last])
        assert set(issues["given"]) == {"virginica"}
        assert issues["score"].median() > 0.8

    def test_unknown_label_is_named(self, iris):
        X, given, _ = iris
        clf = PLKNNClassifier().fit(X, given)
        with pytest.raises(
            ValueError, match="row 1 has the label 'rose', which is not"
        ):
            clf.label_issues(X[:2], ["setosa", "rose"])


class TestTrainingRows:
    def test_confined_beliefs_rank_by_confidence(self, iris, sets):
        X, _, _ = iris
        clf = KernelPropagationClassifier(random_state=0).fit(X, sets)
        issues = clf.label_issues()
        assert (issues["score"] == 1).all()
        labelled = issues["given"].notna()
        assert labelled[: labelled.sum()].all()
        assert issues["confidence"][labelled].is_monotonic_increasing
        believed = clf.classes_[clf.label_distribution_.argmax(axis=1)]
        np.testing.assert_array_equal(issues.sort_values("row")["believed"], believed)

    @pytest.mark.parametrize(
        "estimator",
        [
            PLKNNClassifier(),
            PRODENClassifier(max_epochs=2, random_state=0),
            CandidateWeightedClassifier(),
            KernelPropagationClassifier(random_state=0),
            DDMPClassifier(max_epochs=1, random_state=0),
        ],
        ids=lambda e: type(e).__name__,
    )
    def test_sets_trained_on_are_kept(self, estimator, iris, sets, tmp_path):
        X, _, _ = iris
        clf = clone(estimator).fit(X, pd.DataFrame(sets * 0.5, columns=NAMES))
        assert clf.candidate_sets_.dtype == bool
        np.testing.assert_array_equal(clf.candidate_sets_, sets)
        again = pickle.loads(pickle.dumps(clf))
        if not isinstance(clf, CandidateWeightedClassifier):
            path = tmp_path / "model.safetensors"
            clf.save(path)
            again = type(clf).load(path)
        pd.testing.assert_frame_equal(again.label_issues(), clf.label_issues())


class Corrected(PLKNNClassifier):
    """Believes in the label after the one given; of training rows in class 0."""

    def _label_posterior(self, X, Y):
        assert len(X) == len(Y)
        assert Y.shape[1] == len(self.classes_)
        return np.roll(Y, 1, axis=1).astype(float)

    def _training_posterior(self):
        return np.eye(3)[np.zeros(len(self.candidate_sets_), dtype=int)]


class TestHooks:
    def test_posterior_hook_is_given_the_encoded_sets(self, iris):
        X, given, _ = iris
        following = dict(zip(NAMES, np.roll(NAMES, -1), strict=True))
        for issues in (
            Corrected().label_issues(X, given, cv=4),
            Corrected().fit(X, given).label_issues(X[:40], given[:40]),
        ):
            assert (issues["score"] == 0).all()
            assert (issues["believed"] == issues["given"].map(following)).all()

    def test_held_out_rows_and_sets_belong_together(self, iris):
        class Seer(PLKNNClassifier):
            def _label_posterior(self, X, Y):
                return np.eye(3)[X[:, 0].astype(int)]  # the class is in the features

        _, given, _ = iris
        codes = np.searchsorted(NAMES, given)
        X = np.column_stack([codes, np.random.default_rng(0).normal(size=150)])
        issues = Seer().label_issues(X, given, cv=5)
        assert (issues["score"] == 1).all()
        assert (issues["believed"] == issues["given"]).all()

    def test_training_hook(self, iris):
        X, given, _ = iris
        issues = Corrected().fit(X, given).label_issues()
        assert (issues["believed"] == "setosa").all()
        np.testing.assert_array_equal(issues["score"], issues["given"] == "setosa")

    def test_hooks_have_defaults(self):
        assert not {"_label_posterior", "_training_posterior"} & set(
            CandidateClassifier.__abstractmethods__
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ("X", "given X only. Give X, y and cv"),
            ("y", "given y only"),
            (("cv",), "given cv only"),
            (("X", "cv"), "given X and cv only"),
            (("y", "cv"), "given y and cv only"),
        ],
    )
    def test_arguments_that_do_not_go_together(self, names, message, iris):
        values = {"X": iris[0], "y": iris[1], "cv": 3}
        clf = PLKNNClassifier().fit(*iris[:2])
        with pytest.raises(ValueError, match=message):
            clf.label_issues(**{name: values[name] for name in names})

    def test_unfitted_estimator_needs_cv(self, iris):
        X, given, _ = iris
        with pytest.raises(NotFittedError, match="or give X, y and cv=5"):
            PLKNNClassifier().label_issues()
        with pytest.raises(NotFittedError, match="or give X, y and cv=5"):
            PLKNNClassifier().label_issues(X, given)

    def test_lengths_must_agree(self, iris):
        X, given, _ = iris
        clf = PLKNNClassifier().fit(X, given)
        for cv in (None, 3):
            with pytest.raises(ValueError, match="inconsistent numbers of samples"):
                clf.label_issues(X[:9], given, cv=cv)

    def test_row_without_candidates(self, iris, sets):
        Y = sets.copy()
        Y[17] = False
        with pytest.raises(ValueError, match="row 17 has no candidate"):
            PLKNNClassifier().label_issues(iris[0], Y, cv=3)

    def test_splits_that_are_no_partition(self, iris):
        X, given, _ = iris
        with pytest.raises(ValueError, match="cv holds row 0 out 0 times"):
            PLKNNClassifier().label_issues(X, given, cv=[(range(9), range(9, 150))])
