"""What is equal bit by bit, what nearly, and what a fit leaves untouched."""

import os
import random
import subprocess
import sys
import tempfile
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff.baselines import PLKNNClassifier, PRODENClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import SimCLRFeatures
from sklabeldiff.model_selection import cross_val_proba

QUICK = {"max_epochs": 20, "random_state": 0}
METHODS = [
    DDMPClassifier(hidden=32, **QUICK),
    DTMClassifier(hidden=(32,), **QUICK),
    CADClassifier(hidden=(32,), **QUICK),
    DMISClassifier(hidden=32, **QUICK),
]
by_name = {"ids": lambda estimator: type(estimator).__name__}
every_method = pytest.mark.parametrize("estimator", METHODS, **by_name)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.4, random_state=0)


@pytest.fixture(scope="module")
def serial(iris):
    """Probabilities of each method, fitted on its own."""
    X, _ = iris
    return {type(e): clone(e).fit(*iris).predict_proba(X) for e in METHODS}


@every_method
def test_a_refit_gives_the_same_bits(estimator, iris, serial):
    X, sets = iris
    clf = clone(estimator).fit(X[:90], sets[:90])
    again = clf.fit(X, sets).predict_proba(X)
    np.testing.assert_array_equal(again, serial[type(estimator)])


@every_method
def test_any_split_into_batches_gives_the_same_bits(estimator, iris, serial):
    X, sets = iris
    clf = clone(estimator).fit(X, sets)
    for size in (1, 7, 149):
        parts = [clf.predict_proba(X[i : i + size]) for i in range(0, len(X), size)]
        np.testing.assert_array_equal(np.concatenate(parts), serial[type(estimator)])


@every_method
def test_another_process_gives_the_same_bits(estimator, iris, serial, tmp_path):
    joblib.dump((clone(estimator), *iris), tmp_path / "task")
    code = (
        "import joblib, sys, torch\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "estimator, X, sets = joblib.load(sys.argv[1])\n"
        "joblib.dump(estimator.fit(X, sets).predict_proba(X), sys.argv[2])\n"
    )
    paths = [str(tmp_path / "task"), str(tmp_path / "result")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "result"), serial[type(estimator)]
    )


@pytest.mark.parametrize(
    "estimator", [*METHODS, DDMPClassifier(hidden=32, refresh=None, **QUICK)], **by_name
)
def test_no_attribute_is_the_memory_of_another(estimator, iris):
    """Or what somebody writes into one would be read from the other."""
    clf = clone(estimator).set_params(max_epochs=2)
    arrays = [a for a in vars(clf.fit(*iris)).values() if isinstance(a, np.ndarray)]
    assert len(arrays) > 2
    for i, a in enumerate(arrays):
        for b in (*arrays[:i], *iris):
            assert not np.shares_memory(a, b)


@every_method
def test_workers_give_the_same_bits(estimator, iris):
    one, two = (
        cross_val_proba(clone(estimator), *iris, cv=2, n_jobs=n) for n in (1, 2)
    )
    if torch.get_num_threads() == 1:  # workers have one each
        np.testing.assert_array_equal(one, two)
    else:
        assert (one.argmax(1) == two.argmax(1)).mean() > 0.97


@every_method
def test_another_number_of_threads_gives_nearly_the_same(estimator, iris):
    X, sets = iris
    clf = clone(estimator).set_params(max_epochs=5)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            found.append(clone(clf).fit(X, sets).predict_proba(X))
    finally:
        torch.set_num_threads(before)
    one, two = found
    # Rounding differs, and training carries it on: labels agree, digits do not.
    assert (one.argmax(1) == two.argmax(1)).mean() > 0.97


def global_state():
    return {
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002  # that one
        "python": random.getstate(),
        "torch": torch.get_rng_state().tolist(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "errors": np.geterr(),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize(
    "estimator", [*METHODS, PRODENClassifier(**QUICK), PLKNNClassifier()], **by_name
)
def test_global_state_is_left_as_it_was(estimator, iris, tmp_path):
    X, sets = iris
    before = global_state()
    clf = clone(estimator).fit(X, sets)
    clf.predict_proba(X)
    clf.label_issues()
    clf.save(tmp_path / "model")
    type(clf).load(tmp_path / "model").predict(X)
    if hasattr(clf, "sample"):
        clf.sample(0, 2)
    assert global_state() == before


def test_features_leave_global_state_as_it_was():
    before = global_state()
    X = np.random.default_rng(0).random((40, 8, 8))
    SimCLRFeatures(image_size=8, max_epochs=1, random_state=0).fit(X).transform(X)
    assert global_state() == before


def test_threads_do_not_disturb_each_other(iris, serial, full):
    """16 threads fit and predict at once; every result is that of one alone."""
    X, _ = iris
    shared = {type(e): clone(e).fit(*iris) for e in METHODS}
    for clf in shared.values():
        clf._built = None  # the first to predict builds
    until = time.monotonic() + (120 if full else 8)
    wrong, done = [], []

    def work(k):
        own = METHODS[k % len(METHODS)]
        while True:
            if k < 8:
                proba = clone(own).fit(*iris).predict_proba(X)
            else:
                proba = shared[type(own)].predict_proba(X)
            if not np.array_equal(proba, serial[type(own)]):
                wrong.append((k, type(own).__name__))
            done.append(k)
            if time.monotonic() > until:
                return

    threads = [threading.Thread(target=work, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert set(done) == set(range(16))


@pytest.mark.parametrize("estimator", METHODS, **by_name)
def test_memory_does_not_grow_with_fits(estimator, full):
    """After a warm-up, cycles of fit and predict leave the process as it is."""
    cycles, warm_up = (200, 40) if full else (20, 8)
    code = (
        "import joblib, resource, sys, torch\n"
        "import numpy as np\n"
        "torch.set_num_threads(1)\n"
        "from sklearn.base import clone\n"
        "from sklearn.datasets import load_iris\n"
        "estimator = joblib.load(sys.argv[1])\n"
        "X, y = load_iris(return_X_y=True)\n"
        "sizes = []\n"
        f"for _ in range({cycles}):\n"
        "    clone(estimator).set_params(max_epochs=2).fit(X, y).predict(X)\n"
        "    with open('/proc/self/statm') as file:\n"
        "        pages = int(file.read().split()[1])\n"
        "    sizes.append(pages * resource.getpagesize())\n"
        f"print(np.median(sizes[-5:]) / np.median(sizes[{warm_up}:{warm_up} + 5]))\n"
    )
    with tempfile.NamedTemporaryFile() as file:
        joblib.dump(estimator, file.name)
        done = subprocess.run(
            [sys.executable, "-c", code, file.name], capture_output=True, text=True
        )
    assert float(done.stdout) < 1.05, done.stderr
