"""CADClassifier and DIRKClassifier end to end: checks 8 to 16 of the method page.

Accuracy thresholds are means over the seeds; the figures measured when they were set
stand beside them. The checks of the numerics are in ``tests/core``.
"""

import os
import pickle
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import CADClassifier, DiffusionEditor
from sklabeldiff.baselines import DIRKClassifier
from sklabeldiff.core import class_specific_training
from sklabeldiff.core.training import Trainer, n_batches
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import entangled_accuracy, entangled_subset
from sklabeldiff.utils._check_tools import global_states

FULL = os.environ.get("SKLABELDIFF_FULL") == "1"
SEEDS = range(5 if FULL else 3)
N_TRAIN = 1257 if FULL else 600  # of digits; the page has the former
FRACTION = 1e-3 if FULL else 1e-2  # of entangled pairs
SIDE = 8


# The checks fit some seventy times; the default's 200 updates would take minutes.
@parametrize_with_checks([CADClassifier(max_epochs="auto" if FULL else 12)])
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.4, random_state=0), y


@pytest.fixture(scope="module")
def squares():
    """Images (n, 8, 8) with a bright square in one of three corners, sets, truth."""
    rng = np.random.RandomState(0)
    y = np.arange(90) % 3
    images = 0.2 * rng.rand(90, SIDE, SIDE)
    for image, label in zip(images, y, strict=True):
        top, left = 4 * (label > 0), 4 * (label > 1)
        image[top : top + 4, left : left + 4] += 0.7
    return images, make_candidate_sets(y, rate=0.3, random_state=0), y


def quick(**params):
    return CADClassifier(**({"max_epochs": 6, "random_state": 0} | params))


def of_images(**params):
    """On images: whole ones in every view, no mirror: corners are the classes."""
    still = {"crop_scale": (1.0, 1.0), "flip": False, "color_jitter": 0.0}
    return quick(**({"image_shape": (SIDE, SIDE)} | still | params))


def proba(clf, X, *args):
    return clf.fit(X, *args).predict_proba(X)


# -- accuracy --------------------------------------------------------------------------


def digits(seed, labels="instance"):
    """Training rows, sets, truth; test rows and truth. Section 11's problem."""
    X, y = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(X))
    X, y = X[order], y[order]
    train, test = slice(N_TRAIN), slice(N_TRAIN, None)
    Y = y[train]
    if labels == "instance":
        Y = make_candidate_sets(Y, "instance", rate=0.4, X=X[train], random_state=seed)
    return X[train], Y, y[train], X[test], y[test]


# Fewer updates than the default's, and fewer versions: the order is the same.
BUDGET = {} if FULL else {"max_epochs": 24, "max_versions": 1}
PARTS = {
    "uniform": {"candidate_loss": "uniform", "beta": 0},
    "self-weighted": {"candidate_loss": "progressive", "beta": 0},
    "adjusted": {"beta": 0},
    "alignment": {"augmentation": "none", "candidate_loss": "uniform"},
    "no gate": {"augmentation": "none"},
    "full": {},
}


def test_parts_of_the_loss_on_ambiguous_digits():  # checks 15 and 16
    test = {name: [] for name in PARTS}
    entangled = {name: [] for name in PARTS}
    for seed in SEEDS:
        X, sets, y, X_test, y_test = digits(seed)
        F = StandardScaler().fit_transform(X)
        assert len(entangled_subset(F, sets, y, fraction=FRACTION)) >= 100
        for name, params in PARTS.items():
            clf = CADClassifier(random_state=seed, **(BUDGET | params)).fit(X, sets)
            test[name].append((clf.predict(X_test) == y_test).mean())
            entangled[name].append(
                entangled_accuracy(y, clf.predict(X), F, sets, fraction=FRACTION)
            )
    test = {name: np.mean(scores) for name, scores in test.items()}
    entangled = {name: np.mean(scores) for name, scores in entangled.items()}
    # Test: .459, alone aligned .523, self-weighted .712, adjusted .733, no gate .749,
    # full .739; entangled rows: .403, .481, .688, .708, .713, .729.
    assert test["adjusted"] > test["uniform"] + 0.1
    assert test["alignment"] > test["uniform"]
    assert test["adjusted"] > test["self-weighted"]
    assert entangled["adjusted"] > entangled["uniform"] + 0.1
    assert all(score < test[name] for name, score in entangled.items())


def test_singletons_are_learnt_as_by_a_supervised_network():  # check 11
    scores = []
    for seed in SEEDS:
        X, labels, _, X_test, y_test = digits(seed, labels="single")
        ours = CADClassifier(random_state=seed, max_epochs=30).fit(X, labels)
        plain = make_pipeline(
            StandardScaler(), MLPClassifier((256,), random_state=seed)
        ).fit(X, labels)
        scores.append([clf.score(X_test, y_test) for clf in (ours, plain)])
    ours, plain = np.mean(scores, axis=0)
    assert ours > plain - 0.01  # .969, .972


@pytest.mark.parametrize("kind", [CADClassifier, DIRKClassifier])
def test_full_sets_alone_teach_nothing(kind):  # check 12
    clear = []
    for seed in SEEDS:
        rng = np.random.RandomState(seed)
        X = rng.randn(200, 5)
        clf = kind(random_state=seed, max_epochs=10).fit(X, np.ones((200, 4)))
        P = clf.predict_proba(X)
        assert np.isfinite(P).all()
        clear.append(P.max(1).mean())
    assert np.mean(clear) < 0.5  # .39, .37


def test_images_are_resolved(squares):
    images, sets, y = squares
    clf = of_images(max_epochs=30).fit(images, sets)
    assert (clf.predict(images) == y).mean() > 0.9
    assert (clf.label_distribution_.argmax(1) == y).mean() > 0.95


# -- versions --------------------------------------------------------------------------

PROMPTS = {0: "top left", 1: "bottom left", 2: "bottom right"}


class Darker(DiffusionEditor):
    """An editor without its model: each class has its brightness."""

    asked = False

    def __call__(self, X, rows, labels):
        assert [self.class_prompts[label] for label in labels]
        assert X.shape[1:] == (SIDE, SIDE)
        self.asked = True
        self._loaded = "a model"
        return X[rows] * (0.5 + 0.2 * labels)[:, None, None].astype(X.dtype)


def copies(X, sets):
    return np.repeat(X, np.asarray(sets).sum(1), axis=0)


class TestVersions:
    def test_copies_are_no_augmentation(self, iris):  # check 13
        X, sets, _ = iris
        none = proba(quick(augmentation="none"), X, sets)
        given = quick(augmentation="precomputed")
        np.testing.assert_array_equal(proba(given, X, sets, copies(X, sets)), none)

    def test_copies_of_images_are_no_augmentation(self, squares):  # check 13
        images, sets, _ = squares
        none = proba(of_images(max_epochs=2, augmentation="none"), images, sets)
        given = of_images(max_epochs=2, augmentation="precomputed")
        same = proba(given, images, sets, copies(images, sets))
        np.testing.assert_array_equal(same, none)

    def test_versions_belong_to_their_row_and_class(self, iris):
        X, sets, y = iris
        asked = []

        def far_from_others(X, rows, labels):
            asked.append((rows, labels))
            return X[rows] + 3 * (labels == y[rows])[:, None]

        names = np.array(["a", "b", "c"])
        y, sets = names[y], [set(names[row]) for row in sets]
        clf = quick(augmentation=far_from_others).fit(X, sets)
        ((rows, labels),) = asked
        assert [set(labels[rows == i]) for i in range(len(X))] == sets
        assert (np.diff(rows) >= 0).all()
        made = far_from_others(X, rows, labels)
        given = quick(augmentation="precomputed").fit(X, sets, made)
        np.testing.assert_array_equal(clf.predict_proba(X), given.predict_proba(X))
        wrong = quick(augmentation="precomputed").fit(X, sets, made[::-1])
        assert not np.array_equal(clf.predict_proba(X), wrong.predict_proba(X))

    def test_callable_sees_images_as_they_were_given(self, squares):
        images, sets, _ = squares
        seen = []

        def keep(X, rows, labels):
            seen.append(X)
            return X[rows]

        whole = (255 * images.clip(0, 1)).astype(np.uint8)
        flat = whole.reshape(len(whole), -1)
        for X in (whole, flat):
            of_images(max_epochs=2, augmentation=keep).fit(X, sets)
            assert seen[-1].dtype == np.uint8
            np.testing.assert_array_equal(seen[-1], whole)

    def test_callable_is_not_asked_where_nothing_is_compared(self, iris):
        X, sets, _ = iris
        quick(augmentation=lambda *_: 1 / 0, beta=0).fit(X, sets)

    def test_callable_cannot_change_the_rows(self, iris):
        X, sets, _ = iris

        def greedy(X, rows, labels):
            X[:] = 0

        with pytest.raises(ValueError, match="read-only"):
            quick(augmentation=greedy).fit(X.copy(), sets)

    def test_frames_of_numbers_and_bools_reach_the_callable_as_numbers(self, iris):
        X, sets, _ = iris
        frame = pd.DataFrame(X).assign(large=X[:, 0] > 6)
        frame.columns = list("abcde")
        seen = []
        clf = quick(augmentation=lambda X, rows, _: (seen.append(X), X[rows])[1])
        clf.fit(frame, sets)
        assert seen[0].dtype == np.float64

    @pytest.mark.parametrize("augmentation", ["none", "precomputed"])
    def test_some_versions_of_a_row_are_drawn(self, iris, augmentation):
        X, sets, _ = iris
        clf = quick(augmentation=augmentation, max_versions=1)
        args = (copies(X, sets),) if augmentation == "precomputed" else ()
        some = proba(clf, X, sets, *args)
        every = proba(quick(augmentation="none"), X, sets)
        assert not np.array_equal(some, every)
        same = proba(quick(augmentation="none", max_versions=1), X, sets)
        np.testing.assert_array_equal(some, same)

    def test_versions_of_8_bits_are_those_of_their_floats(self, squares):
        images, sets, _ = squares
        whole = (255 * images.clip(0, 1)).astype(np.uint8)
        made = copies(whole, sets)[:, ::-1]
        clf = of_images(max_epochs=2, augmentation="precomputed")
        a, b = (proba(clf, whole, sets, v) for v in (made, made.astype(float)))
        np.testing.assert_array_equal(a, b)

    def test_editor_makes_them(self, squares):
        images, sets, _ = squares
        images = images.clip(0, 1)
        clf = of_images(max_epochs=2, augmentation=Darker(class_prompts=PROMPTS))
        P = proba(clf, images, sets)
        assert clf.augmentation._loaded is None  # room for what is trained
        plain = of_images(max_epochs=2, augmentation="none")
        assert not np.array_equal(P, proba(plain, images, sets))
        search = GridSearchCV(clf, {"augmentation__guidance_scale": [1, 5]}, cv=2)
        search.fit(images, sets)
        assert search.best_estimator_.augmentation.asked  # on all rows, in the end
        again = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(again.predict_proba(images), P)

    def test_open_gates_are_no_augmentation(self, squares):  # check 8
        images, sets, _ = squares
        none = of_images(max_epochs=3, augmentation="none")
        open_gates = of_images(max_epochs=3, cam_eps=1)
        gates = of_images(max_epochs=3)
        P = [proba(clf, images, sets) for clf in (none, open_gates, gates)]
        np.testing.assert_array_equal(P[0], P[1])
        assert not np.array_equal(P[0], P[2])

    @pytest.mark.parametrize("augmentation", ["none", "cam"])
    def test_without_contrast_versions_do_not_matter(self, iris, augmentation):  # 8
        X, sets, _ = iris
        a = proba(quick(beta=0, augmentation=augmentation), X, sets)
        b = proba(quick(beta=0, augmentation="none", tau=0.5, queue_size=9), X, sets)
        np.testing.assert_array_equal(a, b)


# -- contract --------------------------------------------------------------------------


class TestContract:  # check 14
    @pytest.mark.parametrize("kind", [CADClassifier, DIRKClassifier])
    def test_same_seed_same_model(self, kind, iris):
        X, sets, _ = iris
        a, b, other = (
            kind(max_epochs=4, random_state=seed).fit(X, sets) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
        assert not np.array_equal(a.predict_proba(X), other.predict_proba(X))

    def test_global_random_states_are_left_alone(self, squares):
        before = global_states()
        of_images(max_epochs=2, color_jitter=0.5, flip=True).fit(*squares[:2])
        assert global_states() == before

    def test_forms_of_the_same_sets_give_equal_fits(self, iris):
        X, sets, _ = iris
        as_sets = [frozenset(np.flatnonzero(row)) for row in sets]
        masks = [sets, sets.astype(float), as_sets, pd.DataFrame(sets)]
        first, *others = (quick().fit(X, y).predict_proba(X) for y in masks)
        for other in others:
            np.testing.assert_array_equal(first, other)

    def test_labels_and_singletons_give_equal_fits(self, iris):
        X, _, y = iris
        a, b = (proba(quick(), X, labels) for labels in (y, np.eye(3)[y]))
        np.testing.assert_array_equal(a, b)

    def test_weights_of_candidates_count(self, iris):
        X, sets, y = iris
        tilted = sets * (1 + 9 * np.eye(3)[y])
        even, better = (quick(max_epochs=3).fit(X, Y) for Y in (sets, tilted))
        right = [clf.label_distribution_[np.arange(150), y].mean()
                 for clf in (even, better)]  # fmt: skip
        assert right[1] > right[0] + 0.05

    @pytest.mark.parametrize("kind", ["rows", "images"])
    def test_copies_predict_alike(self, kind, iris, squares, tmp_path):
        X, sets, _ = iris if kind == "rows" else squares
        clf = quick() if kind == "rows" else of_images(max_epochs=2)
        P = proba(clf, X, sets)
        clf.save(tmp_path / "clf.safetensors")
        joblib.dump(clf, tmp_path / "clf.joblib")
        for again in (
            pickle.loads(pickle.dumps(clf)),
            joblib.load(tmp_path / "clf.joblib", mmap_mode="r"),
            CADClassifier.load(tmp_path / "clf.safetensors"),
            clone(clf).fit(X, sets),
        ):
            np.testing.assert_array_equal(again.predict_proba(X), P)

    def test_projection_head_is_not_kept(self, iris):
        arrays = quick().fit(*iris[:2]).model_state_
        assert not any("projection" in name for name in arrays)

    @pytest.mark.parametrize("shape", [(90, SIDE, SIDE), (90, SIDE * SIDE)])
    def test_images_and_rows_of_pixels_are_the_same(self, squares, shape):
        images, sets, _ = squares
        a = proba(of_images(max_epochs=2), images, sets)
        X = images.reshape(shape)
        np.testing.assert_array_equal(proba(of_images(max_epochs=2), X, sets), a)

    def test_split_of_the_rows_does_not_matter(self, squares):
        images, sets, _ = squares
        clf = of_images(max_epochs=2).fit(images, sets)
        P = clf.predict_proba(images)
        parts = [clf.predict_proba(part) for part in (images[:7], images[7:])]
        np.testing.assert_array_equal(np.concatenate(parts), P)

    def test_coloured_images_and_the_large_network(self, squares):
        images, sets, _ = squares
        X = np.stack([images, images[::-1], images], axis=-1)
        clf = of_images(
            max_epochs=2, backbone="resnet18", image_shape=(SIDE, SIDE, 3)
        ).fit(X[:6], sets[:6])
        assert clf.model_state_["network.classes.weight"].shape == (3, 512)
        assert clf.predict_proba(X).shape == (90, 3)

    def test_scores_agree_with_probabilities(self, iris):
        X, sets, _ = iris
        clf = quick(classes=[0, 1, 2, 3]).fit(
            X, np.column_stack([sets, sets[:, 0] < 0])
        )
        scores = clf.decision_function(X)
        np.testing.assert_allclose(np.exp(scores), clf.predict_proba(X), atol=1e-6)
        assert (scores[:, 3] == -np.inf).all()
        two = quick().fit(X[:100], sets[:100, :2])
        p = two.predict_proba(X)
        np.testing.assert_allclose(
            two.decision_function(X), np.log(p[:, 1] / p[:, 0]), rtol=1e-3, atol=1e-5
        )

    def test_searches_and_pipelines_take_it(self, iris):
        X, sets, _ = iris
        pipeline = make_pipeline(StandardScaler(), quick(max_epochs=2))
        assert np.isfinite(cross_val_score(pipeline, X, sets, cv=2)).all()
        grid = {"beta": [0, 1.5], "augmentation": ["cam", "none"]}
        search = GridSearchCV(quick(max_epochs=2), grid, cv=2).fit(X, sets)
        assert search.best_params_.keys() == grid.keys()

    def test_progress_is_shown_when_verbose(self, iris, capsys):
        quick(verbose=1, max_epochs=2).fit(*iris[:2])
        assert "CADClassifier" in capsys.readouterr().err


# -- resuming --------------------------------------------------------------------------


class Stop(Exception):
    pass


def fit_until(monkeypatch, n_batches, clf, X, sets):
    """Fit, and fail after so many batches."""
    training = class_specific_training.ClassSpecificTraining
    whole, done = training.batch_loss, []

    def batch_loss(self, student, rows):
        done.append(1)
        if len(done) > n_batches:
            raise Stop
        return whole(self, student, rows)

    with monkeypatch.context() as patched:
        patched.setattr(training, "batch_loss", batch_loss)
        with pytest.raises(Stop):
            clf.fit(X, sets)


@pytest.mark.parametrize("n_batches", [15, 35])  # 40 in all, the rate falls from 32 on
def test_stopped_fit_goes_on_to_the_same_model(iris, tmp_path, monkeypatch, n_batches):
    X, sets, _ = iris
    whole = quick(max_epochs=20).fit(X, sets)
    stopped = quick(max_epochs=20, checkpoint_dir=tmp_path)
    fit_until(monkeypatch, n_batches, stopped, X, sets)
    assert len(list(tmp_path.iterdir())) == 1
    resumed = clone(stopped).fit(X, sets)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert [h["loss"] for h in resumed.history_] == [h["loss"] for h in whole.history_]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "other", [{"beta": 1.0}, {"tau": 0.3}, {"cam_eps": 0.5}, {"random_state": 1}]
)
def test_checkpoint_of_other_parameters_is_not_used(iris, tmp_path, monkeypatch, other):
    X, sets, _ = iris
    clf = quick(checkpoint_dir=tmp_path)
    fit_until(monkeypatch, 8, clf, X, sets)
    resumed = clone(clf).set_params(**other).fit(X, sets)
    np.testing.assert_array_equal(
        resumed.predict_proba(X), proba(quick(**other), X, sets)
    )


def test_checkpoint_is_found_by_the_versions_of_a_callable(iris, tmp_path, monkeypatch):
    X, sets, _ = iris
    clf = quick(augmentation=lambda X, i, s: X[i], checkpoint_dir=tmp_path)
    fit_until(monkeypatch, 8, clf, X, sets)
    (left,) = tmp_path.iterdir()
    # Another function, as in another process, which makes the same.
    again = quick(augmentation=lambda X, i, s: X[i] + 0, checkpoint_dir=tmp_path)
    fit_until(monkeypatch, 2, again, X, sets)
    assert list(tmp_path.iterdir()) == [left]


def test_checkpoint_of_other_versions_is_not_used(iris, tmp_path, monkeypatch):
    X, sets, _ = iris
    first, second = copies(X, sets), copies(X, sets)[::-1]
    given = {"augmentation": "precomputed", "max_epochs": 20}
    clf = quick(**given, checkpoint_dir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(CADClassifier, "_learnt", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            clf.fit(X, sets, first)
    whole = quick(**given).fit(X, sets, second)
    resumed = clf.fit(X, sets, second)
    np.testing.assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"augmentation": "crop"}, ValueError, "augmentation must be one of"),
        ({"candidate_loss": "dirk"}, ValueError, "candidate_loss must be one of"),
        ({"pair_average": "all"}, ValueError, "pair_average must be one of"),
        ({"backbone": "vgg"}, ValueError, "backbone must be one of"),
        ({"backbone": "small"}, ValueError, "needs image_shape"),
        ({"image_shape": (2, 3)}, ValueError, "X has 4 columns"),
        ({"image_shape": (1, 2, 2)}, ValueError, "1 or 3 channels"),
        ({"image_shape": (2, 2), "crop_scale": (0, 1)}, ValueError, "crop_scale"),
        ({"image_shape": (-2, -2), "backbone": "mlp"}, ValueError, "height"),
        ({"image_shape": 4, "backbone": "mlp"}, TypeError, "image_shape must be"),
        ({"augmentation": DiffusionEditor}, TypeError, r"DiffusionEditor\(\)"),
        ({"batch_size": 2}, ValueError, "batch_size must be at least 3"),
        ({"hidden": ()}, ValueError, "one layer at least"),
        ({"beta": -1}, ValueError, "beta must be at least 0"),
        ({"tau": 0}, ValueError, "tau must be above 0"),
        ({"tau_w": "low"}, TypeError, "tau_w must be a number"),
        ({"cam_eps": 1.5}, ValueError, "cam_eps must be"),
        ({"momentum": 1.1}, ValueError, "momentum must be"),
        ({"max_versions": 0}, ValueError, "max_versions must be at least 1"),
        ({"queue_size": 0}, ValueError, "queue_size must be at least 1"),
        ({"hidden": (8, 0)}, ValueError, "hidden must be at least 1"),
        ({"max_epochs": "all"}, TypeError, "max_epochs must be"),
        ({"warmup_epochs": -1}, ValueError, "warmup_epochs must be at least 0"),
        ({"color_jitter": 2}, ValueError, "color_jitter must be"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be above 0"),
    ],
)
def test_bad_parameters_are_refused(params, error, message, iris):
    with pytest.raises(error, match=message):
        quick(**params).fit(*iris[:2])


class TestBadVersions:
    def test_they_want_their_parameter(self, iris):
        X, sets, _ = iris
        with pytest.raises(ValueError, match="go together"):
            quick().fit(X, sets, copies(X, sets))
        with pytest.raises(ValueError, match="go together"):
            quick(augmentation="precomputed").fit(X, sets)

    def test_their_number_is_told(self, iris):
        X, sets, _ = iris
        clf = quick(augmentation="precomputed")
        with pytest.raises(ValueError, match=rf"{sets.sum()} candidates in all"):
            clf.fit(X, sets, X)

    @pytest.mark.parametrize("answer", [None, 3.0, np.zeros(5), np.zeros((5, 4))])
    def test_what_a_callable_returned_is_told(self, iris, answer):
        with pytest.raises(ValueError, match=r"augmentation returned .* 4 columns"):
            quick(augmentation=lambda *_: answer).fit(*iris[:2])

    def test_images_of_another_shape_are_told(self, squares):
        images, sets, _ = squares
        with pytest.raises(ValueError, match="augmentation returned holds images"):
            of_images(augmentation=lambda X, i, s: X[i][:, 1:]).fit(images, sets)

    @pytest.mark.parametrize(
        "params", [{"device": "bogus"}, {"hidden": ()}, {"batch_size": 1}]
    )
    def test_nothing_is_made_under_bad_settings(self, iris, params):
        def never(*_):
            pytest.fail("was asked")

        with pytest.raises((ValueError, RuntimeError)):
            quick(augmentation=never, **params).fit(*iris[:2])

    def test_nothing_is_made_without_the_extra(self, squares, monkeypatch):
        monkeypatch.setitem(sys.modules, "kornia.enhance", None)

        def never(*_):
            pytest.fail("was asked")

        with pytest.raises(ImportError, match=r"sklabeldiff\[images\]"):
            of_images(augmentation=never, color_jitter=0.5).fit(*squares[:2])

    def test_nan_is_told_by_its_name(self, iris):
        X, sets, _ = iris
        bad = copies(X, sets)
        bad[3, 1] = np.nan
        with pytest.raises(ValueError, match="X_aug contains NaN"):
            quick(augmentation="precomputed").fit(X, sets, bad)


def test_divergence_is_an_error_at_once(iris, monkeypatch):
    epochs = []
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda *a: (epochs.append(1), run(*a))[1])
    with pytest.raises(ValueError, match="Lower learning_rate"):
        quick(learning_rate=1e18, max_epochs=60).fit(*iris[:2])
    assert len(epochs) < 5  # stages of three epochs


def test_training_that_is_all_warm_up_warns(iris):
    with pytest.warns(UserWarning, match="All of 1 epochs are warm-up") as caught:
        quick(max_epochs=1).fit(*iris[:2])
    assert caught[0].filename == __file__
    quick(max_epochs=1, warmup_epochs=0).fit(*iris[:2])
    quick(max_epochs=1, beta=0).fit(*iris[:2])


@pytest.mark.parametrize(
    "other",
    [
        *({"beta": 0.6}, {"tau": 0.2}, {"tau_w": 0.4}, {"cam_eps": 0.5}),
        *({"candidate_loss": "progressive"}, {"pair_average": "instances"}),
        *({"momentum": 0.8}, {"queue_size": 20}, {"warmup_epochs": 0}),
        *({"max_versions": 1}, {"hidden": 32}, {"max_epochs": 5}, {"batch_size": 32}),
        *({"learning_rate": 1e-3}, {"weight_decay": 0.5}, {"standardize": None}),
    ],
    ids=str,
)
def test_every_parameter_changes_the_model(iris, other):
    X, sets, _ = iris
    assert not np.array_equal(proba(quick(), X, sets), proba(quick(**other), X, sets))


def test_default_budget_grows_with_the_rows():
    clf = CADClassifier()
    updates = {n: clf._n_epochs(n) * n_batches(n, 64) for n in (100, 1000, 10_000)}
    assert 150 <= updates[100] < 160
    assert 600 <= updates[1000] < 620
    assert 1000 <= updates[10_000] < 1200
    assert [clf._n_keys(n) for n in (100, 10_000)] == [200, 512]
    images = CADClassifier(image_shape=(8, 8))
    assert [images._n_keys(n) for n in (100, 10_000)] == [200, 4096]


def test_images_without_their_shape_are_told_what_to_say():
    X, Y = np.zeros((4, 8, 8, 3)), np.eye(4)
    with pytest.raises(ValueError, match=r"say so: image_shape=\(8, 8, 3\)"):
        CADClassifier().fit(X, Y)


def test_images_of_another_shape_are_refused(squares):
    images, sets, _ = squares
    with pytest.raises(
        ValueError, match=r"shape \(7, 8\), but image_shape is \(8, 8\)"
    ):
        of_images().fit(images[:, 1:], sets)
