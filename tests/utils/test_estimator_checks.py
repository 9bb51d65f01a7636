"""The exported checks: right estimators pass, and each check has some it catches."""

import builtins
import os

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import EstimatorCheckFailedWarning
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils.validation import check_consistent_length, validate_data

from sklabeldiff import (
    CADClassifier,
    DDMPClassifier,
    DMISClassifier,
    DTMClassifier,
    baselines,
)
from sklabeldiff.metrics import covering_rate_scorer
from sklabeldiff.targets import encode_candidates
from sklabeldiff.utils import estimator_checks
from sklabeldiff.utils._check_tools import global_states
from sklabeldiff.utils.estimator_checks import (
    check_candidate_estimator,
    check_same_seed_same_result,
    parametrize_with_candidate_checks,
)

CHECKS = {name for name in estimator_checks.__all__ if name.startswith("check_")}
CHECKS -= {"check_candidate_estimator"}

# -- estimators of the package ---------------------------------------------------------

FULL = os.environ.get("SKLABELDIFF_FULL") == "1"  # the default's budget
ESTIMATORS = [
    DDMPClassifier(max_epochs="auto" if FULL else 5),
    DTMClassifier(max_epochs="auto" if FULL else 40),
    DMISClassifier(max_epochs="auto" if FULL else 20),
    CADClassifier(max_epochs="auto" if FULL else 20),
    *[
        kind(max_epochs=20) if kind is baselines.DIRKClassifier and not FULL else kind()
        for kind in (getattr(baselines, name) for name in baselines.__all__)
    ],
    baselines.CandidateWeightedClassifier(labels="propagated"),
]


@parametrize_with_candidate_checks(ESTIMATORS)
def test_estimators_of_the_package(estimator, check):
    check(estimator)


# -- right estimators ------------------------------------------------------------------


class KernelVotes(ClassifierMixin, BaseEstimator):
    """A right estimator: every training row votes for its candidates, near rows most.

    The wrong ones below override one of its steps.
    """

    def __init__(self, gamma=0.1, random_state=None):
        self.gamma = gamma
        self.random_state = random_state

    def fit(self, X, y):
        Y = self.encode(y)
        self.X_ = validate_data(self, X)
        check_consistent_length(X, Y)
        self.votes_ = self.vote(Y / Y.sum(axis=1, keepdims=True))
        self.label_distribution_ = self.believe(Y)
        return self

    def encode(self, y):
        Y, self.classes_ = encode_candidates(y)
        return Y

    def vote(self, V):
        return V

    def believe(self, Y):
        S = self.predict_proba(self.X_) * (Y > 0)
        return S / S.sum(axis=1, keepdims=True)

    def predict_proba(self, X):
        X = validate_data(self, X, reset=False)
        P = rbf_kernel(X, self.X_, self.gamma) @ self.votes_
        return P / P.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def score(self, X, y):
        return covering_rate_scorer(self, X, y)


class WithoutBeliefs(KernelVotes):
    def fit(self, X, y):
        super().fit(X, y)
        del self.label_distribution_
        return self


class DoubtsLabels(KernelVotes):
    candidate_sets_may_lack_truth = True

    def believe(self, Y):
        return self.predict_proba(self.X_)


class TakesClasses(KernelVotes):
    def __init__(self, gamma=0.1, random_state=None, classes=None):
        super().__init__(gamma, random_state)
        self.classes = classes

    def encode(self, y):
        Y, self.classes_ = encode_candidates(y, self.classes)
        return Y


class RefusesAbsentClasses(TakesClasses):
    def encode(self, y):
        Y = super().encode(y)
        if not Y.any(axis=0).all():
            absent = self.classes_[Y.any(axis=0).argmin()]
            raise ValueError(f"no row may be {absent}.")
        return Y


class DrawsFromOwnSeed(KernelVotes):
    def vote(self, V):
        rng = np.random.default_rng(self.random_state)
        return V * rng.uniform(0.9, 1, size=(len(V), 1))


RIGHT = [
    KernelVotes,
    WithoutBeliefs,
    DoubtsLabels,
    TakesClasses,
    RefusesAbsentClasses,
    DrawsFromOwnSeed,
]


@parametrize_with_candidate_checks(right() for right in RIGHT)
def test_right_estimators_pass(estimator, check):
    check(estimator)


def test_nested_estimators_are_seeded_too():
    forest = RandomForestClassifier(5)
    estimator = baselines.CandidateWeightedClassifier(forest, labels="propagated")
    check_same_seed_same_result("wrapped forest", estimator)


def test_pandas_is_not_needed(monkeypatch):
    def import_without(name, *args, **kwargs):
        if name == "pandas":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", import_without)
    check_candidate_estimator(KernelVotes())


# -- wrong estimators ------------------------------------------------------------------


class SmoothsPlainLabels(KernelVotes):
    def encode(self, y):
        Y = super().encode(y)
        is_plain = isinstance(y, np.ndarray) and y.ndim == 1 and Y.sum() == len(Y)
        return Y + 0.1 if is_plain else Y


class LearnsNothing(KernelVotes):
    def predict_proba(self, X):
        return np.full((len(X), self.votes_.shape[1]), 1 / self.votes_.shape[1])


class ReadsFloatsAsWeights(KernelVotes):
    def encode(self, y):
        Y = super().encode(y)
        is_float = np.ndim(y) == 2 and getattr(y, "dtype", None) == np.float64
        return Y + 0.1 if is_float else Y


class ReadsListsInOrder(KernelVotes):
    """Trusts the label that is listed first."""

    def encode(self, y):
        Y = super().encode(y).astype(float)
        if isinstance(y, list) and isinstance(y[0], list):
            Y[np.arange(len(Y)), [labels[0] for labels in y]] += 1
        return Y


class ReadsMemoryInOrder(KernelVotes):
    def encode(self, y):
        if isinstance(y, np.ndarray) and y.ndim == 2:
            y = y.ravel(order="K").reshape(y.shape)
        return super().encode(y)


class RefusesSparseMasks(KernelVotes):
    def encode(self, y):
        return super().encode(np.asarray(y) if hasattr(y, "tocsr") else y)


class RefusesFrames(KernelVotes):
    def encode(self, y):
        if hasattr(y, "columns"):
            raise TypeError("y is a DataFrame")
        return super().encode(y)


class DropsNames(KernelVotes):
    def encode(self, y):
        Y = super().encode(y)
        self.classes_ = np.arange(Y.shape[1])
        return Y


class SortsColumns(KernelVotes):
    def encode(self, y):
        Y = super().encode(y)
        self.classes_ = np.sort(self.classes_)
        return Y


class PredictsColumns(KernelVotes):
    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


class MendsEmptySets(KernelVotes):
    def encode(self, y):
        if isinstance(y, np.ndarray) and y.ndim == 2:
            y = np.where(y.any(axis=1, keepdims=True), y, 1)
        return super().encode(y)


class KeepsRowsToItself(KernelVotes):
    def encode(self, y):
        try:
            return super().encode(y)
        except ValueError:
            raise ValueError("y is bad.") from None


class RaisesTypeErrors(KernelVotes):
    def encode(self, y):
        try:
            return super().encode(y)
        except ValueError as error:
            raise TypeError(str(error)) from None


class TakesEmptySetsForFull(KernelVotes):
    def encode(self, y):
        if isinstance(y, list) and isinstance(y[0], frozenset):
            y = [labels or frozenset().union(*y) for labels in y]
        return super().encode(y)


class CutsRowsToSets(KernelVotes):
    def fit(self, X, y):
        return super().fit(X[: len(y)] if isinstance(y, np.ndarray) else X, y)


class IgnoresSigns(KernelVotes):
    def encode(self, y):
        is_mask = isinstance(y, np.ndarray) and y.ndim == 2
        return super().encode(np.abs(y) if is_mask else y)


class TakesNaNForZero(KernelVotes):
    def encode(self, y):
        is_mask = isinstance(y, np.ndarray) and y.ndim == 2
        return super().encode(np.nan_to_num(y) if is_mask else y)


class TakesFirstCandidate(KernelVotes):
    def vote(self, V):
        return np.eye(V.shape[1])[V.argmax(axis=1)]


class PrefersHighColumns(KernelVotes):
    """Its predictions are right: only the beliefs show it."""

    def believe(self, Y):
        S = super().believe(Y) * (1 + np.arange(Y.shape[1])) ** 3
        return S / S.sum(axis=1, keepdims=True)


class SmoothsProbabilities(KernelVotes):
    def predict_proba(self, X):
        P = super().predict_proba(X)
        return 0.9 * P + 0.1 / P.shape[1]


class RefusesUnnamedClasses(TakesClasses):
    def encode(self, y):
        Y = super().encode(y)
        if not Y.any(axis=0).all():
            raise ValueError("a class is missing.")
        return Y


class DropsAbsentClasses(KernelVotes):
    def encode(self, y):
        Y = super().encode(y)
        self.classes_ = self.classes_[Y.any(axis=0)]
        return Y[:, Y.any(axis=0)]


class CountsFullSetsForFirst(KernelVotes):
    def encode(self, y):
        Y = super().encode(y).copy()
        Y[Y.all(axis=1), 1:] = False
        return Y


class CountsThemAndHasNoBeliefs(CountsFullSetsForFirst, WithoutBeliefs):
    pass


class DropsUnlabelledRows(KernelVotes):
    def fit(self, X, y):
        super().fit(X, y)
        keep = ~(self.votes_ > 0).all(axis=1)
        self.X_, self.votes_ = self.X_[keep], self.votes_[keep]
        self.label_distribution_ = self.label_distribution_[keep]
        return self


class SmoothsFromFirstFullSetOn(KernelVotes):
    def vote(self, V):
        return V + (0.1 if (V > 0).all(axis=1).any() else 0)

    def believe(self, Y):
        return Y / Y.sum(axis=1, keepdims=True)


class RefusesMissingLabels(KernelVotes):
    def encode(self, y):
        if any(label is None or label != label for label in y if np.ndim(label) == 0):
            raise ValueError("y holds missing values.")
        return super().encode(y)


class ReadsMissingAsFirst(KernelVotes):
    def encode(self, y):
        Y = super().encode(y).astype(float)
        if isinstance(y, np.ndarray) and y.ndim == 1:
            Y[(Y > 0).all(axis=1), 0] = 2
        return Y


class HasNoBeliefWithoutLabel(KernelVotes):
    def believe(self, Y):
        return np.where(Y.all(axis=1, keepdims=True), np.nan, super().believe(Y))


class BelievesInNoneOfThem(KernelVotes):
    """Has a further column, for a class that is not known."""

    def believe(self, Y):
        return np.pad(super().believe(Y) * 0.9, ((0, 0), (0, 1)), constant_values=0.1)


class BelievesNegatively(KernelVotes):
    def believe(self, Y):
        return 1.5 * super().believe(Y) - 0.5 * Y / Y.sum(axis=1, keepdims=True)


class LeaksBelief(KernelVotes):
    def believe(self, Y):
        return self.predict_proba(self.X_)


class BelievesWithoutSum(KernelVotes):
    def believe(self, Y):
        return self.predict_proba(self.X_) * (Y > 0)


class DoubtsAllLabels(DoubtsLabels):
    def believe(self, Y):
        return (1 - self.predict_proba(self.X_)) / (Y.shape[1] - 1)


class CentresEachBatch(KernelVotes):
    def predict_proba(self, X):
        return super().predict_proba(X - np.mean(X, axis=0) + self.X_.mean(axis=0))


class DrawsNoisePerRow(KernelVotes):
    def predict_proba(self, X):
        P = super().predict_proba(X)
        noise = np.random.default_rng(0).uniform(0.9, 1, P.shape)
        return P * noise / (P * noise).sum(axis=1, keepdims=True)


class ShufflesGlobally(KernelVotes):
    def fit(self, X, y):
        np.random.shuffle(np.arange(len(X)))  # noqa: NPY002
        return super().fit(X, y)


class DrawsFromTorch(KernelVotes):
    def predict(self, X):
        torch.rand(1)
        return super().predict(X)


class DependsOnGlobalState(KernelVotes):
    def vote(self, V):
        state = np.random.get_state()  # noqa: NPY002
        noise = np.random.random(V.shape) / 10  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        return V + noise * (V > 0)


class ChangesParams(KernelVotes):
    def fit(self, X, y):
        self.gamma = 0.1 / np.shape(X)[1]
        return super().fit(X, y)


class ScalesInPlace(KernelVotes):
    def fit(self, X, y):
        if isinstance(X, np.ndarray) and X.flags.writeable:
            X /= 2
        return super().fit(X, y)


class WritesIntoSets(KernelVotes):
    """On a copy of y this would do no harm, nor does it to arrays that it can write."""

    def encode(self, y):
        if isinstance(y, np.ndarray) and y.ndim == 2:
            y[:1] = y[:1]
        return super().encode(y)


class ClonesToItself(KernelVotes):
    def __sklearn_clone__(self):
        return self


class ClonesInexactly(KernelVotes):
    def __sklearn_clone__(self):
        return type(self)(self.gamma + 0.001)


class ReadsMapsInSinglePrecision(KernelVotes):
    def fit(self, X, y):
        return super().fit(X.astype("f4") if isinstance(X, np.memmap) else X, y)


class KeepsLambda(KernelVotes):
    def fit(self, X, y):
        self.kernel_ = lambda a, b: rbf_kernel(a, b, self.gamma)
        return super().fit(X, y)


class ForgetsVotesInPickles(KernelVotes):
    def __getstate__(self):
        state = super().__getstate__()
        return state | {"votes_": np.ones_like(self.votes_)}


class RemembersPredictions(KernelVotes):
    def predict(self, X):
        self.last_ = super().predict(X)
        return self.last_


class ScoresFirstCandidate(KernelVotes):
    def score(self, X, y):
        Y, classes = encode_candidates(y, self.classes_)
        return float(np.mean(self.predict(X) == classes[Y.argmax(axis=1)]))


class InheritsScore(KernelVotes):
    score = ClassifierMixin.score


class RefusesObjectArrays(KernelVotes):
    def encode(self, y):
        if isinstance(y, np.ndarray) and isinstance(y[0], frozenset):
            raise TypeError("y is an object array.")
        return super().encode(y)


class GuessesForNewRows(KernelVotes):
    def predict_proba(self, X):
        P = super().predict_proba(X)
        is_new = ~np.isin(np.asarray(X)[:, 0], self.X_[:, 0])
        P[is_new] = np.roll(P[is_new], 1, axis=1)
        return P


# The check meant for each, and what its message says.
WRONG = [
    (SmoothsPlainLabels, "single_candidates_are_plain_labels", "one label per row"),
    (LearnsNothing, "single_candidates_are_plain_labels", "learns 33% of the true"),
    (ReadsFloatsAsWeights, "equal_forms_give_equal_fits", "else from a float mask"),
    (ReadsListsInOrder, "equal_forms_give_equal_fits", "else from a list of lists"),
    (ReadsMemoryInOrder, "equal_forms_give_equal_fits", "mask in Fortran order than"),
    (RefusesSparseMasks, "equal_forms_give_equal_fits", "fails on a sparse mask"),
    (RefusesFrames, "equal_forms_give_equal_fits", "fails on a DataFrame"),
    (DropsNames, "string_classes", r"classes_ of DropsNames are \[0, 1, 2\]"),
    (SortsColumns, "string_classes", r"are \['ant', .* \['owl', .* frame in order"),
    (PredictsColumns, "string_classes", "0% of the predictions .* 'owl'"),
    (MendsEmptySets, "refuses_bad_sets", "accepts the empty row 17"),
    (KeepsRowsToItself, "refuses_bad_sets", "the empty row 17 does not have its num"),
    (RaisesTypeErrors, "refuses_bad_sets", "but raises TypeError"),
    (TakesEmptySetsForFull, "refuses_bad_sets", "accepts the empty set in row 17"),
    (CutsRowsToSets, "refuses_bad_sets", "accepts a mask of one row less"),
    (IgnoresSigns, "refuses_bad_sets", "accepts a negative weight"),
    (TakesNaNForZero, "refuses_bad_sets", "accepts a weight of NaN"),
    (TakesFirstCandidate, "class_permutation_equivariance", "another class for"),
    (PrefersHighColumns, "class_permutation_equivariance", "the beliefs of Prefers"),
    (SmoothsProbabilities, "absent_class", "0.025 to a class that is never"),
    (RefusesUnnamedClasses, "absent_class", "refuses yak, .* without naming it"),
    (DropsAbsentClasses, "absent_class", r"shape \(39, 3\) where .* 4 classes"),
    (CountsFullSetsForFirst, "unlabelled_row_changes_little", "0 in class 2"),
    (DropsUnlabelledRows, "unlabelled_row_changes_little", "removes no row"),
    (SmoothsFromFirstFullSetOn, "unlabelled_row_changes_little", "moves the prob"),
    (RefusesMissingLabels, "unlabelled_rows_allowed", "fails on labels with None"),
    (CountsThemAndHasNoBeliefs, "unlabelled_rows_allowed", "38% of the unlabelled"),
    (ReadsMissingAsFirst, "unlabelled_rows_allowed", "else from labels with None"),
    (HasNoBeliefWithoutLabel, "unlabelled_rows_allowed", "no finite belief"),
    (LeaksBelief, "beliefs_stay_on_candidates", "a class that is no candidate"),
    (BelievesWithoutSum, "beliefs_stay_on_candidates", "misses the sum 1 by"),
    (BelievesInNoneOfThem, "beliefs_stay_on_candidates", r"not \(39, 3\)"),
    (BelievesNegatively, "beliefs_stay_on_candidates", "negative or not finite"),
    (DoubtsAllLabels, "beliefs_stay_on_candidates", "believes only .* clean labels"),
    (CentresEachBatch, "rows_are_predicted_alone", "rows come in two parts"),
    (DrawsNoisePerRow, "rows_are_predicted_alone", "rows come in reverse order"),
    (ShufflesGlobally, "same_seed_same_result", "global generator of numpy"),
    (DrawsFromTorch, "same_seed_same_result", "global generator of torch"),
    (DependsOnGlobalState, "same_seed_same_result", "same random_state differ"),
    (ChangesParams, "clone_fits_alike", "changes the parameter gamma"),
    (ScalesInPlace, "clone_fits_alike", "changes X or y in place"),
    (WritesIntoSets, "clone_fits_alike", "memory-mapped and read-only"),
    (ClonesToItself, "clone_fits_alike", "a clone of a fitted .* is fitted"),
    (ClonesInexactly, "clone_fits_alike", "another parameter gamma"),
    (ReadsMapsInSinglePrecision, "clone_fits_alike", "mapped into memory, predicts"),
    (KeepsLambda, "pickling", "fails on pickling"),
    (ForgetsVotesInPickles, "pickling", "comes out of a pickle"),
    (RemembersPredictions, "pickling", "prediction changes the state"),
    (ScoresFirstCandidate, "score_is_covering_rate", "the share inside the sets is"),
    (InheritsScore, "score_is_covering_rate", "fails on score with a mask"),
    (RefusesObjectArrays, "cross_validation", "an array of frozensets"),
    (GuessesForNewRows, "cross_validation", "no better than a guess"),
]
# Where a mistake has more than one consequence: the other checks that see it.
ALSO = {
    LearnsNothing: {
        "absent_class",
        "class_permutation_equivariance",
        "string_classes",
        "unlabelled_rows_allowed",
        "cross_validation",
    },
    TakesFirstCandidate: {"unlabelled_rows_allowed"},
    CountsFullSetsForFirst: {
        "class_permutation_equivariance",
        "unlabelled_rows_allowed",
    },
    CountsThemAndHasNoBeliefs: {"class_permutation_equivariance"},
    RefusesFrames: {"string_classes"},
    HasNoBeliefWithoutLabel: {
        "class_permutation_equivariance",
        "unlabelled_row_changes_little",
        "beliefs_stay_on_candidates",
    },
    BelievesInNoneOfThem: {
        "class_permutation_equivariance",
        "unlabelled_rows_allowed",
    },
    DropsUnlabelledRows: {"unlabelled_rows_allowed", "beliefs_stay_on_candidates"},
    DoubtsAllLabels: {"unlabelled_row_changes_little"},
    ClonesToItself: {  # what was fitted first is fitted again
        "class_permutation_equivariance",
        "unlabelled_row_changes_little",
    },
    InheritsScore: {"cross_validation"},
}


@pytest.mark.parametrize(
    "wrong, check, message", WRONG, ids=[wrong.__name__ for wrong, *_ in WRONG]
)
def test_wrong_estimators_fail_the_check_meant_for_them(wrong, check, message):
    results = check_candidate_estimator(wrong(), on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["exception"]}
    expected = {check} | ALSO.get(wrong, set())
    assert set(failed) == {f"check_{name}" for name in expected}
    with pytest.raises(AssertionError, match=message):
        raise failed[f"check_{check}"]


def test_each_check_has_a_wrong_estimator():
    assert {f"check_{check}" for _, check, _ in WRONG} == CHECKS


# -- how the checks are run ------------------------------------------------------------


def test_results_name_every_check_once_with_its_outcome():
    results = check_candidate_estimator(KeepsLambda(), on_fail=None)
    names = [result["check_name"] for result in results]
    assert len(names) == len(CHECKS) and set(names) == CHECKS
    for result in results:
        assert set(result) == {"check_name", "status", "exception"}
        is_failed = result["check_name"] == "check_pickling"
        assert result["status"] == ("failed" if is_failed else "passed")
        assert isinstance(result["exception"], AssertionError) == is_failed


def test_first_failure_is_raised():
    with pytest.raises(AssertionError, match="KeepsLambda fails on pickling"):
        check_candidate_estimator(KeepsLambda())


def test_failures_can_be_warned_of():
    with pytest.warns(EstimatorCheckFailedWarning, match="check_pickling") as record:
        check_candidate_estimator(KeepsLambda(), on_fail="warn")
    assert len(record) == 1


def test_estimator_itself_is_not_fitted():
    estimator = KernelVotes(0.2)
    check_candidate_estimator(estimator)
    assert vars(estimator) == vars(KernelVotes(0.2))


def test_checks_leave_global_generators_alone():
    before = global_states()
    check_candidate_estimator(KernelVotes())
    assert global_states() == before


@pytest.mark.parametrize("wrong", [ShufflesGlobally, DrawsFromTorch])
def test_global_generators_are_put_back_after_an_estimator_drew_from_them(wrong):
    before = global_states()
    with pytest.raises(AssertionError):
        check_same_seed_same_result(wrong.__name__, wrong())
    assert global_states() == before


def test_classes_and_unknown_options_are_refused():
    with pytest.raises(TypeError, match=r"Give an instance: KernelVotes\(\)"):
        check_candidate_estimator(KernelVotes)
    with pytest.raises(TypeError, match="is a class"):
        parametrize_with_candidate_checks([KernelVotes])
    with pytest.raises(ValueError, match=r"on_fail must be .* got 'ignore'"):
        check_candidate_estimator(KernelVotes(), on_fail="ignore")


def test_parametrize_gives_readable_ids_and_marks_what_may_fail():
    reasons = {"check_pickling": "keeps a lambda"}
    decorator = parametrize_with_candidate_checks(
        [KernelVotes(gamma=0.5), KeepsLambda()],
        expected_failed_checks=lambda est: reasons if type(est) is KeepsLambda else {},
    )
    names, params = decorator.args
    make_id = decorator.kwargs["ids"]
    ids = ["-".join(map(make_id, param.values)) for param in params]
    assert names == "estimator, check"
    assert len(ids) == 2 * len(CHECKS)
    assert "KernelVotes(gamma=0.5)-check_pickling" in ids
    marked = {id_: param.marks for id_, param in zip(ids, params, strict=True)}
    (mark,) = marked.pop("KeepsLambda()-check_pickling")
    assert mark.name == "xfail" and mark.kwargs == {"reason": "keeps a lambda"}
    assert not any(marked.values())
