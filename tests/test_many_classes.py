"""DDMP on candidate sets of very many classes, which are kept as lists."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_matrix, csr_array, issparse
from sklearn.model_selection import GridSearchCV

from sklabeldiff import DDMPClassifier, targets
from sklabeldiff.core import kernels, listed_kernels
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import covering_rate, disambiguation_accuracy
from sklabeldiff.plotting import (
    BeliefDisplay,
    CooccurrenceDisplay,
    TransitionMatrixDisplay,
)

C = 250
QUICK = {"max_epochs": 4, "hidden": 32, "random_state": 0}


def make_problem(n_classes, n, seed=0):
    """Rows near centres, three candidates each. -> X, Y (n, C) bool, y."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = 2 * rng.standard_normal((n_classes, 8))[y] + rng.standard_normal((n, 8))
    Y = np.zeros((n, n_classes), dtype=bool)
    rows = np.arange(n)
    Y[rows, y] = True
    for _ in range(2):
        Y[rows, rng.integers(n_classes, size=n)] = True
    return X.astype(np.float32), Y, y


@pytest.fixture(scope="module", autouse=True)
def short_search():
    """Choose kernels in a second: what they are does not matter here."""
    few = kernels.KERNELS[1:3]
    with pytest.MonkeyPatch.context() as patch:
        for module in (kernels, listed_kernels):
            patch.setattr(module, "KERNELS", few)
            patch.setattr(module, "SEARCH_ROWS", 300)
        yield


@pytest.fixture(scope="module")
def problem():
    return make_problem(C, 750)


@pytest.fixture(scope="module")
def fitted(problem):
    X, Y, _ = problem
    return DDMPClassifier(**QUICK).fit(X, Y)


# -- the same as with tables -----------------------------------------------------------


def both(X, Y, monkeypatch, **params):
    """Fits of the same sets, as tables and as lists."""
    table = DDMPClassifier(**QUICK | params).fit(X, Y)
    with monkeypatch.context() as patch:
        patch.setattr(targets, "SPARSE_CLASSES", 2)
        patch.setattr(targets, "SPARSE_SHARE", 1.0)
        found = DDMPClassifier(**QUICK | params).fit(X, Y)
    assert issparse(found.label_distribution_)
    assert not issparse(table.label_distribution_)
    return table, found


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_propagations": 0, "prior_mean": "zero", "target": "hard"},
        {"label_similarity": None, "target": "soft"},
        {"refresh": "inverse", "gate": 0.0},
        {"refresh": None, "target": "sample", "standardize": "rows"},
    ],
    ids=lambda params: "-".join(map(str, params.values())) or "default",
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # short
def test_lists_give_what_tables_give(params, monkeypatch):
    X, Y, _ = make_problem(100, 600)
    Y[:20] = True
    table, found = both(X, Y, monkeypatch, **params)
    assert found.kernels_ == table.kernels_
    assert_array_equal(found.candidate_sets_.toarray(), table.candidate_sets_)
    assert_allclose(
        found.initial_label_distribution_.toarray(),
        table.initial_label_distribution_,
        atol=1e-5,
    )
    assert_allclose(
        found.label_distribution_.toarray(), table.label_distribution_, atol=1e-3
    )
    seen = found.transition_matrix_.toarray() > 0
    assert_allclose(
        found.transition_matrix_.toarray()[seen],
        table.transition_matrix_[seen],
        atol=1e-3,
    )
    assert_allclose(found.predict_proba(X), table.predict_proba(X), atol=5e-3)
    told = [
        [h[k] for h in clf.history_ if k in h]
        for clf in (table, found)
        for k in ("loss", "entropy")
    ]
    assert_allclose(told[2], told[0], rtol=1e-3)
    assert_allclose(told[3], told[1], rtol=1e-2, atol=1e-4)


def test_weights_start_as_in_tables(monkeypatch):
    X, Y, _ = make_problem(40, 240)
    weights = Y * np.random.default_rng(1).uniform(0.2, 1.0, Y.shape)
    table, found = both(X, weights, monkeypatch)
    assert_allclose(
        found.initial_label_distribution_.toarray(),
        table.initial_label_distribution_,
        atol=1e-5,
    )
    plain = DDMPClassifier(**QUICK).fit(X, Y)
    difference = plain.initial_label_distribution_ - table.initial_label_distribution_
    assert np.abs(difference).max() > 0.01


# -- forms -----------------------------------------------------------------------------


def test_all_forms_of_the_sets_give_the_same_fit(problem, fitted):
    X, Y, _ = problem
    sets = [frozenset(np.flatnonzero(row).tolist()) for row in Y]
    shuffled = csr_array(Y.astype(float))
    for a, b in zip(shuffled.indptr, shuffled.indptr[1:], strict=False):
        shuffled.indices[a:b] = shuffled.indices[a:b][::-1].copy()
    shuffled.has_sorted_indices = False
    for y in (sets, shuffled):
        again = DDMPClassifier(**QUICK).fit(X, y)
        assert_array_equal(
            again.label_distribution_.data, fitted.label_distribution_.data
        )
        assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_sets_of_the_user_are_left_alone(problem):
    X, Y, _ = problem
    y = csr_array(Y.astype(float))
    indices = y.indices.copy()
    clf = DDMPClassifier(**QUICK).fit(X, y)
    clf.candidate_sets_.indices[:] = 0
    assert_array_equal(y.indices, indices)
    assert_array_equal(clf.label_distribution_.indices, indices)


def test_beliefs_are_on_the_candidates_and_sum_to_one(problem, fitted):
    _, Y, y = problem
    for name in ("label_distribution_", "initial_label_distribution_"):
        S = getattr(fitted, name)
        assert isinstance(S, csr_array)
        assert S.nnz == Y.sum()
        assert S.dtype == np.float32
        assert not S.toarray()[~Y].any()
        assert_allclose(S.sum(axis=1), 1, atol=1e-5)
    found = disambiguation_accuracy(y, fitted.label_distribution_)
    assert found > 0.85


def test_few_classes_or_large_sets_stay_tables(problem):
    X, Y, y = problem
    few = DDMPClassifier(**QUICK).fit(
        X, Y[:, :200] | (np.arange(200) == y[:, None] % 200)
    )
    assert not issparse(few.label_distribution_)
    large = make_candidate_sets(y, rate=0.3, random_state=0)
    assert not issparse(DDMPClassifier(**QUICK).fit(X, large).label_distribution_)


def test_other_estimators_get_tables(problem):
    from sklabeldiff.baselines import PLKNNClassifier

    X, Y, _ = problem
    clf = PLKNNClassifier().fit(X, csr_array(Y))
    assert_array_equal(clf.candidate_sets_, Y)


# -- what comes after a fit ------------------------------------------------------------


def test_class_that_never_was_a_candidate_has_no_probability(problem):
    X, Y, _ = problem
    wide = np.hstack([np.zeros((len(Y), 1), bool), Y])
    P = DDMPClassifier(**QUICK).fit(X, wide).predict_proba(X[:5])
    assert not P[:, 0].any()
    assert_allclose(P.sum(axis=1), 1, atol=1e-5)


def test_saved_and_pickled_models_are_the_same(problem, fitted, tmp_path):
    X, _, _ = problem
    fitted.save(tmp_path / "model")
    for again in (
        DDMPClassifier.load(tmp_path / "model"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
        for name in ("candidate_sets_", "label_distribution_", "transition_matrix_"):
            ours, theirs = getattr(again, name), getattr(fitted, name)
            assert isinstance(ours, csr_array)
            assert ours.dtype == theirs.dtype
            assert (ours != theirs).nnz == 0


def test_fit_goes_on_where_it_was_killed(problem, fitted, tmp_path, monkeypatch):
    from sklabeldiff.core.listed_diffusion import ListedDiffusionTraining

    X, Y, _ = problem
    train, calls = ListedDiffusionTraining.train, []

    def killed(self, name, epochs):
        calls.append(name)
        if len(calls) == 3:
            raise RuntimeError("killed")
        train(self, name, epochs)

    clf = DDMPClassifier(**QUICK, checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ListedDiffusionTraining, "train", killed)
        with pytest.raises(RuntimeError, match="killed"):
            clf.fit(X, Y)
    assert list(tmp_path.iterdir())
    clf.fit(X, csr_array(Y))
    assert_array_equal(clf.predict_proba(X), fitted.predict_proba(X))
    assert not list(tmp_path.iterdir())


def test_issues_of_training_rows(fitted, problem):
    _, Y, _ = problem
    frame = fitted.label_issues().set_index("row").loc[np.arange(len(Y))]
    S = fitted.label_distribution_.toarray()
    assert_array_equal(frame["believed"], S.argmax(axis=1))
    assert_allclose(frame["confidence"], S.max(axis=1), rtol=1e-6)
    assert_allclose(frame["score"], 1)
    assert frame["given"].iloc[3] == frozenset(np.flatnonzero(Y[3]).tolist())


def test_search_and_score_take_sparse_sets(problem):
    X, Y, _ = problem
    y = csr_array(Y)
    search = GridSearchCV(DDMPClassifier(**QUICK), {"gamma": [0.3]}, cv=2)
    search.fit(X, y)
    score = search.best_estimator_.score(X, y)
    predicted = search.predict(X)
    assert score == pytest.approx(Y[np.arange(len(Y)), predicted].mean())
    assert covering_rate(y, predicted) == pytest.approx(score)


def test_disambiguation_asks_candidates_only(problem):
    _, Y, y = problem
    rng = np.random.default_rng(0)
    S = rng.uniform(size=Y.shape) * (rng.uniform(size=Y.shape) < 0.1)
    for given in (None, Y):
        expected = disambiguation_accuracy(y, S, given)
        found = disambiguation_accuracy(y, csr_array(S), given)
        assert found == expected


def test_pictures_are_drawn_or_say_how(fitted, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    TransitionMatrixDisplay.from_estimator(fitted)
    CooccurrenceDisplay.from_estimator(fitted)
    BeliefDisplay.from_estimator(fitted, n_rows=3)
    monkeypatch.setattr("sklabeldiff.plotting._style.MAX_DENSE", 1000)
    with pytest.raises(ValueError, match=r"sparse array of 750 x 250.*from_predict"):
        BeliefDisplay.from_estimator(fitted, n_rows=3)


# -- encoding --------------------------------------------------------------------------


def rows_of_all_forms():
    rng = np.random.default_rng(0)
    Y = rng.uniform(size=(30, 7)) < 0.3
    Y[np.arange(30), np.arange(30) % 7] = True
    sets = [frozenset(np.flatnonzero(row).tolist()) for row in Y]
    return {
        "mask": Y,
        "csr": csr_array(Y),
        "csc": csc_matrix(3 * Y),
        "sets": sets,
        "unlabelled": [*sets[:3], None, *sets[4:]],
        "weights": Y * rng.uniform(size=Y.shape),
        "sparse weights": csr_array(Y * rng.uniform(size=Y.shape)),
        "stored zeros": csr_array(
            (Y.ravel(), np.tile(np.arange(7), 30), range(0, 217, 7))
        ),
        "labels": np.arange(30) % 7,
    }


@pytest.mark.parametrize("form", rows_of_all_forms())
def test_sparse_output_is_the_dense_one(form):
    y = rows_of_all_forms()[form]
    dense, classes = targets.encode_candidates(y)
    sparse, same = targets.encode_candidates(y, sparse_output=True)
    assert isinstance(sparse, csr_array)
    assert sparse.has_canonical_format
    assert sparse.data.all()
    assert sparse.dtype == dense.dtype
    assert_array_equal(sparse.toarray(), dense)
    assert_array_equal(same, classes)
    auto, _ = targets.encode_candidates(y, sparse_output="auto")
    assert isinstance(auto, np.ndarray)


@pytest.mark.parametrize(
    ("entry", "message"),
    [(-1.0, "entry -1.0"), (np.nan, "entry nan"), (np.inf, "entry inf")],
)
def test_odd_entries_of_sparse_sets_are_named(entry, message):
    y = csr_array(np.eye(4) + 0.5)
    y.data[6] = entry
    with pytest.raises(ValueError, match=f"row 1 has the {message} for class 2"):
        targets.encode_candidates(y)


def test_empty_rows_of_sparse_sets_are_named():
    y = csr_array(np.eye(4))
    y.data[2] = 0  # kept as an entry
    with pytest.raises(ValueError, match="row 2 has no candidate"):
        targets.encode_candidates(y)
    with pytest.raises(ValueError, match="sparse_output must be False, True or 'auto'"):
        targets.encode_candidates(np.eye(4), sparse_output="yes")
