"""A fit that is killed, interrupted, out of room or refused loses nothing."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff._files import write_whole
from sklabeldiff.baselines import PRODENClassifier, VolMinNetClassifier
from sklabeldiff.core.training import Trainer
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import SimCLRFeatures

KILLER = Path(__file__).parent / "kill_fits.py"
QUICK = {"max_epochs": 20, "random_state": 0}
METHODS = [
    DDMPClassifier(hidden=16, **QUICK),
    DTMClassifier(hidden=(16,), **QUICK),
    CADClassifier(hidden=(16,), **QUICK),
    DMISClassifier(hidden=16, **QUICK),
]
by_name = {"ids": lambda estimator: type(estimator).__name__}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.4, random_state=0)


# -- killed ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["ddmp", "dtm", "cad", "dmis", "simclr", "features"])
def test_a_killed_fit_goes_on_to_the_same_bits(case, full):
    moments = "50" if full else "5"
    done = subprocess.run(
        [sys.executable, str(KILLER), case, "--moments", moments],
        capture_output=True,
        text=True,
    )
    assert f"{case}: killed" in done.stdout, done.stdout + done.stderr
    assert "equal bit by bit" in done.stdout


# -- interrupted -----------------------------------------------------------------------


def interrupt(monkeypatch, update):
    """Press Ctrl-C at so many updates from now."""
    average, count = Trainer.update_average, 0

    def counted(self):
        nonlocal count
        count += 1
        if count == update:
            raise KeyboardInterrupt
        average(self)

    monkeypatch.setattr(Trainer, "update_average", counted)


def n_updates(estimator, iris, monkeypatch):
    """How many updates a fit has."""
    average, updates = Trainer.update_average, []
    with monkeypatch.context() as patch:
        patch.setattr(
            Trainer, "update_average", lambda self: (updates.append(1), average(self))
        )
        clone(estimator).fit(*iris)
    return len(updates)


@pytest.mark.parametrize("estimator", [*METHODS, PRODENClassifier(**QUICK)], **by_name)
def test_ctrl_c_keeps_what_is_learnt(estimator, iris, monkeypatch):
    X, sets = iris
    estimator = clone(estimator)
    # Near the end: the classifier of DTM comes last, after other trainings.
    interrupt(monkeypatch, n_updates(estimator, iris, monkeypatch) - 8)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, sets)
    monkeypatch.undo()
    proba = estimator.predict_proba(X)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(estimator.label_distribution_.sum(1), 1, atol=1e-5)
    assert 0 < estimator.n_iter_ < 20
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict_proba(X), proba)
    assert "_kept" not in vars(estimator)


def test_what_ctrl_c_keeps_has_learnt(iris, monkeypatch):
    X, sets = iris
    clf = DDMPClassifier(max_epochs=60, random_state=0)
    interrupt(monkeypatch, 50)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, sets)
    assert clf.score(X, load_iris(return_X_y=True)[1]) > 0.9


def test_ctrl_c_keeps_features(monkeypatch):
    X = np.random.default_rng(0).random((40, 8, 8))
    encoder = SimCLRFeatures(image_size=8, max_epochs=8, batch_size=20, random_state=0)
    interrupt(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(X)
    monkeypatch.undo()
    assert encoder.n_iter_ == 4
    assert np.isfinite(encoder.transform(X)).all()


@pytest.mark.parametrize("estimator", [*METHODS, VolMinNetClassifier()], **by_name)
def test_ctrl_c_before_anything_is_learnt_leaves_no_half_fitted_estimator(
    estimator, iris, monkeypatch
):
    estimator = clone(estimator)
    before = dict(vars(estimator))
    interrupt(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*iris)
    assert vars(estimator) == before
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


@pytest.mark.parametrize("estimator", METHODS, **by_name)
@pytest.mark.parametrize(
    "how", ["interrupted", "bad rows", "bad sets", "bad parameter"]
)
def test_a_refit_that_fails_leaves_the_earlier_fit(estimator, how, iris, monkeypatch):
    X, sets = iris
    estimator = clone(estimator).fit(X[::2], sets[::2])
    proba = estimator.predict_proba(X)
    wrong, bad = X.copy(), sets.copy()
    error = ValueError
    if how == "interrupted":
        interrupt(monkeypatch, 1)
        error = KeyboardInterrupt
    elif how == "bad rows":
        wrong[3, 1] = np.nan
    elif how == "bad sets":
        bad[5] = False
    else:
        estimator.set_params(learning_rate=0.0)
    with pytest.raises(error):
        estimator.fit(wrong, bad)
    np.testing.assert_array_equal(estimator.predict_proba(X), proba)
    assert len(estimator.label_distribution_) == len(X[::2])


def test_a_real_ctrl_c_stops_a_fit_and_keeps_the_model(tmp_path):
    code = (
        "import sys, time\n"
        "from sklearn.datasets import load_iris\n"
        "from sklabeldiff import DDMPClassifier\n"
        "X, y = load_iris(return_X_y=True)\n"
        "clf = DDMPClassifier(max_epochs=100_000, random_state=0)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    clf.fit(X, y)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped', clf.score(X, y), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    word, score = process.communicate(timeout=60)[0].split()
    assert word == "stopped"
    assert float(score) > 0.9


# -- out of room -----------------------------------------------------------------------


@pytest.mark.parametrize("estimator", METHODS, **by_name)
def test_a_full_disk_leaves_the_last_state(estimator, iris, tmp_path, monkeypatch):
    estimator = clone(estimator).set_params(checkpoint_dir=tmp_path)
    whole = clone(estimator).fit(*iris).predict_proba(iris[0])
    save, count = torch.save, 0

    def fill(state, file):
        nonlocal count
        count += 1
        if count < 3:
            return save(state, file)
        Path(file).write_bytes(b"a part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(OSError, match=r"No space left.*make room and fit again"):
        estimator.fit(*iris)
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".pt"
    state = left.read_bytes()
    resumed = n_updates(estimator, iris, monkeypatch)
    left.write_bytes(state)
    np.testing.assert_array_equal(estimator.fit(*iris).predict_proba(iris[0]), whole)
    assert resumed < n_updates(estimator, iris, monkeypatch)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("estimator", METHODS, **by_name)
def test_a_folder_that_cannot_be_used_is_an_error_before_training(
    estimator, iris, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(Trainer, "run", lambda self, n: pytest.fail("it trains"))
    estimator = clone(estimator).set_params(checkpoint_dir=tmp_path / "file" / "states")
    with pytest.raises(OSError, match=r"checkpoint_dir=.*cannot be used"):
        estimator.fit(*iris)


def test_a_damaged_state_is_named(iris, tmp_path, monkeypatch):
    monkeypatch.setattr("sklabeldiff._checkpoint.Checkpoint.remove", lambda self: None)
    clf = DDMPClassifier(checkpoint_dir=tmp_path, **QUICK).fit(*iris)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"{path.name} is damaged .*Delete this file"):
        clf.fit(*iris)


def test_unfinished_files_of_killed_fits_are_cleared_up(iris, tmp_path):
    old, new = tmp_path / "fit-0.pt.1-1.part", tmp_path / "fit-1.pt.1-1.part"
    for path in (old, new):
        path.touch()
    stale = time.time() - 4000
    os.utime(old, (stale, stale))
    DDMPClassifier(checkpoint_dir=tmp_path, **QUICK).fit(*iris)
    assert [path.name for path in tmp_path.iterdir()] == [new.name]


def test_write_whole_leaves_nothing_behind(tmp_path):
    path = tmp_path / "file"
    write_whole(path, lambda f: f.write_text("one"))

    def fail(file):
        file.write_text("half of t")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# -- numbers that are none -------------------------------------------------------------


@pytest.mark.parametrize("estimator", [*METHODS, PRODENClassifier(**QUICK)], **by_name)
def test_a_loss_that_is_not_finite_is_an_error(estimator, iris):
    diverging = clone(estimator).set_params(learning_rate=1e18)
    with pytest.raises(ValueError, match=r"diverged.*Lower learning_rate"):
        diverging.fit(*iris)
    with pytest.raises(NotFittedError):
        check_is_fitted(diverging)


def short_of_memory(monkeypatch, module, limit):
    """Let the module run out of memory with more rows than `limit`."""
    forward = module.forward

    def limited(self, x, *rest, **more):
        if len(x) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return forward(self, x, *rest, **more)

    monkeypatch.setattr(module, "forward", limited)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    X, y = load_iris(return_X_y=True)
    clf = PRODENClassifier(hidden=(), max_epochs=100, random_state=0, learning_rate=0.1)
    whole = clone(clf).fit(X, y).predict_proba(X)
    with pytest.warns(UserWarning, match="ran out of memory") as told:
        short_of_memory(monkeypatch, torch.nn.Linear, 80)
        proba = clf.fit(X, y).predict_proba(X)
    assert told[0].filename.endswith("training.py")  # which asks for the halves
    first = str(told[0].message)
    assert "150 rows at a time; it goes on with 75" in first
    np.testing.assert_allclose(proba, whole, atol=1e-3)


@pytest.mark.filterwarnings("ignore:The device ran out of memory")
@pytest.mark.parametrize("estimator", METHODS, **by_name)
def test_every_method_goes_on_with_smaller_batches(estimator, iris, monkeypatch):
    X, sets = iris
    short_of_memory(monkeypatch, torch.nn.Linear, 60)
    clf = clone(estimator).set_params(max_epochs=60).fit(X, sets)
    assert clf.score(X, load_iris(return_X_y=True)[1]) > 0.7


def test_memory_for_no_batch_at_all_is_an_error(iris, monkeypatch):
    short_of_memory(monkeypatch, torch.nn.Linear, 0)
    with (
        pytest.warns(UserWarning, match="ran out of memory"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        PRODENClassifier(**QUICK).fit(*iris)
