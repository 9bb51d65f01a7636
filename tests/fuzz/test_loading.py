"""Files of strangers: sound ones with some bytes changed are read or refused."""

import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_matrix
from sklearn.datasets import load_iris

from sklabeldiff.baselines import PLKNNClassifier, PRODENClassifier
from sklabeldiff.datasets import load_pll

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome

pytestmark = pytest.mark.filterwarnings("ignore")

X = np.arange(12.0).reshape(6, 2)
SETS = np.eye(3)[[0, 1, 2, 0, 1, 2]] + np.eye(3)[[1, 1, 1, 1, 2, 2]] > 0


@cache
def sound(kind):
    """Bytes of a small sound file."""
    stream = io.BytesIO()
    if kind == "npz":
        np.savez(stream, X=X, candidates=SETS, y=np.array([0, 1, 2, 0, 1, 2]))
    else:
        truth = np.eye(3)[[0, 1, 2, 0, 1, 2]]
        tables = {"data": X, "target": truth.T, "partial_target": SETS.T.astype(float)}
        if kind == "sparse":
            tables["target"] = csc_matrix(truth.T)
        savemat(stream, tables, do_compression=kind == "compressed")
    return stream.getvalue()


def changed(data, raw):
    """Change some bytes, or cut the file."""
    raw = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(raw) - 1))
        raw[i] = data.draw(st.integers(0, 255))
    if data.draw(st.integers(0, 4)) == 0:
        del raw[data.draw(st.integers(0, len(raw))) :]
    return bytes(raw)


def check_table(kind, folder, data):
    CASES["function load_pll"] += 1
    name = "fuzzed.npz" if kind == "npz" else "fuzzed.mat"
    (folder / name).write_bytes(changed(data, sound(kind)))
    bunch = outcome(load_pll, name, folder)
    if bunch is not REFUSED:
        n, C = bunch.candidates.shape
        assert len(bunch.data) == len(bunch.target) == n
        assert bunch.candidates.any(axis=1).all()
        assert ((bunch.target >= 0) & (bunch.target < C)).all()


@n_cases(150, 12_000)
@given(st.data())
def test_our_tables(tmp_path_factory, data):
    check_table("npz", tmp_path_factory.getbasetemp(), data)


@n_cases(20, 600)  # each in a process of its own
@given(st.sampled_from(["mat", "sparse", "compressed"]), st.data())
def test_matlab_tables(tmp_path_factory, kind, data):
    check_table(kind, tmp_path_factory.getbasetemp(), data)


@cache
def fitted(cls):
    """Fit a small estimator."""
    X, y = load_iris(return_X_y=True)
    clf = cls(max_epochs=1) if cls is PRODENClassifier else cls()
    return clf.fit(X[::5], y[::5])


@n_cases(60, 8000)
@given(st.sampled_from([PLKNNClassifier, PRODENClassifier]), st.data())
def test_saved_estimators(tmp_path_factory, cls, data):
    CASES["function load"] += 1
    path = tmp_path_factory.getbasetemp() / cls.__name__
    fitted(cls).save(path)
    before = path.read_bytes()
    path.write_bytes(changed(data, before))
    if path.read_bytes() != before:
        assert outcome(cls.load, path) is REFUSED
