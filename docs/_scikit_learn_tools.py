"""What the tools of scikit-learn make of candidate sets, beside the same by hand.

One trial a tool: it gives the tool a `Case` and returns `Evidence`, what the tool found
and what is right, from a loop written out or from the classifier itself. What the
evidence is called, and how it is shown, is decided in ``scikit_learn_table.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import DecisionBoundaryDisplay, permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import resample

from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold

# In order of the alphabet. The last is for `probabilities` alone.
NAMES = np.array(["setosa", "versicolor", "virginica", "wild cross"])
CLF = PLKNNClassifier()
NEIGHBORS = (2, 10, 40)
GRID = {"n_neighbors": list(NEIGHBORS)}
CV = CandidateStratifiedKFold(3)
TRAIN, CLEAN, TEST = np.split(np.arange(150), [75, 105])
EXACT = 1e-9
NEAR = 0.06  # in accuracy on the 45 rows of TEST: two of them


def _as_frozensets(mask: NDArray[np.bool_]) -> NDArray[np.object_]:
    y = np.empty(len(mask), dtype=object)
    y[:] = [frozenset(NAMES[np.flatnonzero(row)].tolist()) for row in mask]
    return y


FORMS: dict[str, Callable[[NDArray[np.bool_]], Any]] = {
    "0/1 matrix": lambda mask: mask.astype(int),
    "frozensets": _as_frozensets,
    "DataFrame": lambda mask: pd.DataFrame(mask, columns=NAMES[: mask.shape[1]]),
    "1-D labels": lambda mask: mask.argmax(axis=1),
}
NAMED = ("frozensets", "DataFrame")  # the others call the classes 0, 1, ...


@dataclass(frozen=True)
class Case:
    """Features, candidate sets and hidden truth; the sets in one form of `y`.

    ``X`` (n, d), ``mask`` (n, C) bool, ``true`` (n,) column of the true class.
    """

    form: str
    X: NDArray[np.float64]
    mask: NDArray[np.bool_]
    true: NDArray[np.intp]

    @property
    def y(self) -> Any:
        """The sets, in this form."""
        return FORMS[self.form](self.mask)

    @property
    def truth(self) -> NDArray[Any]:
        """The true labels, called as the form calls them."""
        return NAMES[self.true] if self.form in NAMED else self.true

    def rows(self, rows: NDArray[np.intp]) -> Case:
        """Take some of the rows."""
        return Case(self.form, self.X[rows], self.mask[rows], self.true[rows])

    def covered(self, predicted: NDArray[Any]) -> float:
        """Share of the predictions inside the sets, without the package's metrics."""
        columns = np.searchsorted(NAMES, predicted) if self.form in NAMED else predicted
        return float(self.mask[np.arange(len(self.mask)), columns].mean())


class Evidence(NamedTuple):
    """What a tool found and what is right, item by item."""

    found: list[ArrayLike]
    right: list[ArrayLike]
    within: float = EXACT

    def agrees(self) -> bool:
        """Whether all items have the same shape and values."""
        pairs = zip(self.found, self.right, strict=True)
        return all(self._agree(np.asarray(f), np.asarray(r)) for f, r in pairs)

    def _agree(self, found: NDArray[Any], right: NDArray[Any]) -> bool:
        if found.shape == right.shape and right.dtype.kind == "f":
            return np.allclose(found, right, rtol=0, atol=self.within)
        return np.array_equal(found, right)


def make_case(form: str) -> Case:
    """Iris in random order; each wrong class is a candidate with probability .4."""
    X, true = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    rate = 0 if form == "1-D labels" else 0.4
    mask = make_candidate_sets(true[order], rate=rate, random_state=0)
    return Case(form, X[order], mask, true[order])


# By hand


def _fitted(case: Case, model: Any = CLF) -> Any:
    return clone(model).fit(case.X, case.y)


def _folds(case: Case) -> list[tuple[Case, Case]]:
    return [(case.rows(a), case.rows(b)) for a, b in CV.split(case.X, case.y)]


def _score(train: Case, test: Case, model: Any = CLF) -> float:
    return test.covered(_fitted(train, model).predict(test.X))


def _scores(case: Case, model: Any = CLF) -> list[float]:
    return [_score(train, test, model) for train, test in _folds(case)]


def _out_of_fold(case: Case, method: str) -> NDArray[Any]:
    answers = [getattr(_fitted(a), method)(b.X) for a, b in _folds(case)]
    held_out = np.concatenate([rows for _, rows in CV.split(case.X, case.y)])
    return np.concatenate(answers)[np.argsort(held_out)]


def _grid_scores(case: Case) -> list[list[float]]:
    return [_scores(case, PLKNNClassifier(k)) for k in NEIGHBORS]


def _best(case: Case) -> PLKNNClassifier:
    best = np.argmax(np.mean(_grid_scores(case), axis=1))
    return PLKNNClassifier(NEIGHBORS[best])


def _accuracy(model: Any, case: Case) -> float:
    found = model.predict(case.X)
    # A matrix of answers, as to a multi-label problem, names no class.
    return float(np.mean(found == case.truth)) if np.ndim(found) == 1 else 0.0


# Tools that cross-validate


def cross_validation(case: Case) -> Evidence:
    found = cross_validate(CLF, case.X, case.y, cv=CV)
    return Evidence([found["test_score"]], [_scores(case)])


def score(case: Case) -> Evidence:
    return Evidence([cross_val_score(CLF, case.X, case.y, cv=CV)], [_scores(case)])


def predictions(case: Case) -> Evidence:
    found = cross_val_predict(CLF, case.X, case.y, cv=CV)
    return Evidence([found], [_out_of_fold(case, "predict")])


def probabilities(case: Case) -> Evidence:
    if case.form != "1-D labels":
        # A fourth class, which no row rules out.
        case = replace(case, mask=np.column_stack([case.mask, np.ones(150, bool)]))
    found = cross_val_predict(CLF, case.X, case.y, cv=CV, method="predict_proba")
    return Evidence([found], [_out_of_fold(case, "predict_proba")])


def learning(case: Case) -> Evidence:
    found = learning_curve(CLF, case.X, case.y, cv=CV, train_sizes=[50, 100])[2]
    right = [
        [_score(train.rows(np.arange(n)), test) for train, test in _folds(case)]
        for n in (50, 100)
    ]
    return Evidence([found], [right])


def validation(case: Case) -> Evidence:
    _, found = validation_curve(
        CLF, case.X, case.y, param_name="n_neighbors", param_range=NEIGHBORS, cv=CV
    )
    return Evidence([found], [_grid_scores(case)])


def permutation_test(case: Case) -> Evidence:
    found, _, p_value = permutation_test_score(
        CLF, case.X, case.y, cv=CV, n_permutations=9, random_state=0
    )
    # No shuffled labels can be learnt as well as these.
    return Evidence([found, p_value], [np.mean(_scores(case)), 1 / 10])


def sequential_selection(case: Case) -> Evidence:
    selector = SequentialFeatureSelector(CLF, n_features_to_select=2, cv=CV)
    found = selector.fit(case.X, case.y).get_support(indices=True)
    chosen: list[int] = []
    while len(chosen) < 2:
        tried = {
            j: np.mean(_scores(replace(case, X=case.X[:, [*chosen, j]])))
            for j in range(4)
            if j not in chosen
        }
        chosen.append(max(tried, key=tried.__getitem__))
    return Evidence([found], [sorted(chosen)])


# Searches


def _searched(search: Any, case: Case) -> Evidence:
    """Mean scores in the order of the grid, and what the chosen model predicts."""
    search = _fitted(case, search)
    order = np.argsort(np.asarray(search.cv_results_["param_n_neighbors"], dtype=int))
    return Evidence(
        [search.cv_results_["mean_test_score"][order], search.predict(case.X)],
        [
            np.mean(_grid_scores(case), axis=1),
            _fitted(case, _best(case)).predict(case.X),
        ],
    )


GRID_SEARCH = GridSearchCV(CLF, GRID, cv=CV)

grid_search = partial(_searched, GRID_SEARCH)
grid_search_in_processes = partial(_searched, clone(GRID_SEARCH).set_params(n_jobs=2))
random_search = partial(
    _searched, RandomizedSearchCV(CLF, GRID, n_iter=3, cv=CV, random_state=0)
)


def nested_search(case: Case) -> Evidence:
    found = cross_val_score(GRID_SEARCH, case.X, case.y, cv=CV)
    right = [_score(train, test, _best(train)) for train, test in _folds(case)]
    return Evidence([found], [right])


def _third(case: Case) -> Case:
    """Draw the rows of one fold as the first round of halving does."""
    n = len(case.X)
    return case.rows(
        resample(np.arange(n), n_samples=n // 3, replace=False, random_state=0)
    )


def halving_search(case: Case, **resources: Any) -> Evidence:
    """Rows and scores of both rounds, and the choice."""
    search = HalvingGridSearchCV(CLF, GRID, cv=CV, random_state=0, **resources)
    search.fit(case.X, case.y)
    thirds = [(_third(train), _third(test)) for train, test in _folds(case)]
    first = [
        np.mean([_score(train, test, PLKNNClassifier(k)) for train, test in thirds])
        for k in NEIGHBORS
    ]
    best = PLKNNClassifier(NEIGHBORS[np.argmax(first)])
    scores, chosen = search.cv_results_["mean_test_score"], search.best_params_
    return Evidence(
        [search.n_resources_, scores, chosen["n_neighbors"]],
        [[50, 150], [*first, np.mean(_scores(case, best))], best.n_neighbors],
    )


halving_search_with_a_number = partial(halving_search, min_resources=50)


# Tools around one classifier


def _piped(transformer: Any, case: Case) -> Evidence:
    train, test = case.rows(TRAIN), case.rows(TEST)
    found = _fitted(train, make_pipeline(transformer, CLF)).predict_proba(test.X)
    by_hand = clone(transformer).fit(train.X)
    model = _fitted(replace(train, X=by_hand.transform(train.X)))
    return Evidence([found], [model.predict_proba(by_hand.transform(test.X))])


pipeline = partial(_piped, StandardScaler())
column_transformer = partial(
    _piped, make_column_transformer((StandardScaler(), [0, 1]), (PCA(1), [2, 3]))
)
feature_union = partial(_piped, make_union(MinMaxScaler(), PCA(2)))


def importance(case: Case) -> Evidence:
    train, test = case.rows(TRAIN), case.rows(TEST)
    model, rng = _fitted(train), np.random.default_rng(0)
    found = permutation_importance(model, test.X, test.y, n_repeats=10, random_state=0)
    right = np.full(4, test.covered(model.predict(test.X)))
    for j in range(4):
        for _ in range(10):
            X = test.X.copy()
            X[:, j] = rng.permutation(X[:, j])
            right[j] -= test.covered(model.predict(X)) / 10
    return Evidence([found.importances_mean], [right], NEAR)


def split(case: Case) -> Evidence:
    rows = np.arange(len(case.X))
    parts = train_test_split(case.y, rows, random_state=0)
    y_train, y_test, train, test = parts
    return Evidence([y_train, y_test], [case.rows(train).y, case.rows(test).y])


def boundary(case: Case) -> Evidence:
    from matplotlib.figure import Figure

    case = replace(case, X=case.X[:, 2:])
    model = _fitted(case)
    found = DecisionBoundaryDisplay.from_estimator(
        model,
        case.X,
        response_method="predict",
        grid_resolution=20,
        ax=Figure().subplots(),
    )
    points = np.column_stack([found.xx0.ravel(), found.xx1.ravel()])
    right = model.predict_proba(points).argmax(axis=1)
    return Evidence([np.ravel(found.response)], [right])


# Classifiers around a classifier


def _wrapped(wrapper: Any, case: Case) -> Evidence:
    """Accuracy on the hidden truth of new rows, beside that of the classifier alone."""
    train, test = case.rows(TRAIN), case.rows(TEST)
    found, right = _fitted(train, wrapper), _fitted(train)
    return Evidence([_accuracy(found, test)], [_accuracy(right, test)], NEAR)


def calibration(case: Case) -> Evidence:
    model, clean, test = _fitted(case.rows(TRAIN)), case.rows(CLEAN), case.rows(TEST)
    found = CalibratedClassifierCV(FrozenEstimator(model)).fit(clean.X, clean.truth)
    return Evidence([_accuracy(found, test)], [_accuracy(model, test)], NEAR)


PAIR = [("near", PLKNNClassifier(5)), ("far", PLKNNClassifier(15))]

calibration_by_folds = partial(_wrapped, CalibratedClassifierCV(CLF, cv=CV))
voting = partial(_wrapped, VotingClassifier(PAIR, voting="soft"))
stacking = partial(_wrapped, StackingClassifier(PAIR, cv=CV))
bagging = partial(_wrapped, BaggingClassifier(CLF, 5, random_state=0))
boosting = partial(_wrapped, AdaBoostClassifier(CLF, n_estimators=5))
self_training = partial(_wrapped, SelfTrainingClassifier(CLF))
one_versus_rest = partial(_wrapped, OneVsRestClassifier(CLF))
one_versus_one = partial(_wrapped, OneVsOneClassifier(CLF))


def best_features(case: Case) -> Evidence:
    # A column that tells how large the set is, and nothing about the class.
    sizes = case.mask.sum(axis=1, keepdims=True)
    case = replace(case, X=np.hstack([case.X, sizes]))
    return _wrapped(make_pipeline(SelectKBest(k=1), CLF), case)


def threshold(case: Case) -> Evidence:
    # Two classes: setosa or not.
    mask = np.column_stack([case.mask[:, 0], case.mask[:, 1:].any(axis=1)])
    case = replace(case, mask=mask, true=(case.true > 0).astype(int))
    return _wrapped(TunedThresholdClassifierCV(CLF, cv=CV), case)
