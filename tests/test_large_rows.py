"""Rows of a file that is larger than memory: streamed, never loaded as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import save_npz
from sklearn.neighbors import KNeighborsTransformer

from sklabeldiff import DDMPClassifier, _standardize
from sklabeldiff._standardize import is_memory_mapped, scaled_rows
from sklabeldiff.core import rows as core_rows
from sklabeldiff.core.rows import StreamedRows
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.datasets import make_candidate_sets

ROOT = Path(__file__).parents[1]
MIB = 2**20
QUICK = {"max_epochs": 3, "hidden": 32, "random_state": 0}


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((50, 6)) * 3 + 1


@pytest.fixture
def mapped(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


# -- streamed rows ---------------------------------------------------------------------


@pytest.mark.parametrize("equal_norm", [False, True])
@pytest.mark.parametrize("entries", [2**20, 13])
def test_streamed_rows_are_those_of_a_tensor(X, equal_norm, entries, monkeypatch):
    monkeypatch.setattr(core_rows, "SCALED_ENTRIES", entries)
    scaler = Standardizer.fit(X, equal_norm)
    whole = torch.as_tensor(scaler(X))
    found = StreamedRows(X, scaler, torch.device("cpu"))
    assert found.shape == whole.shape
    assert len(found) == len(whole)
    assert found.device == whole.device
    numbers = torch.tensor([7, 0, 7, 49])
    for rows in (slice(3, 9), slice(None), slice(None, None, 7), numbers, numbers > 5):
        if isinstance(rows, torch.Tensor) and rows.dtype == torch.bool:
            rows = torch.arange(50) % 3 == 0
        assert torch.equal(found[rows], whole[rows])
    assert torch.equal(found.index_select(0, numbers), whole[numbers])
    pairs = zip(found.split(20), whole.split(20), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_arrays_of_a_file_are_known(X, mapped, tmp_path):
    assert is_memory_mapped(mapped)
    assert is_memory_mapped(np.asarray(mapped)[::2, 1:])
    assert not is_memory_mapped(X)
    assert not is_memory_mapped(np.array(mapped))
    joblib.dump(X, tmp_path / "X.joblib")
    assert is_memory_mapped(joblib.load(tmp_path / "X.joblib", mmap_mode="r"))


def test_small_files_are_read_and_large_ones_streamed(X, mapped, monkeypatch):
    scaler, device = Standardizer.fit(X), torch.device("cpu")
    assert isinstance(scaled_rows(mapped, scaler, device), torch.Tensor)
    monkeypatch.setattr(_standardize, "STREAMED_BYTES", mapped.nbytes)
    assert isinstance(scaled_rows(mapped, scaler, device), StreamedRows)
    assert isinstance(scaled_rows(X, scaler, device), torch.Tensor)


def test_rows_that_the_device_cannot_hold_are_streamed(X, monkeypatch):
    scaler = Standardizer.fit(X)
    gpu = SimpleNamespace(type="cuda")
    free = 4 * X.size * 2
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    assert not _standardize.is_too_large(X, gpu)
    free -= 1
    assert _standardize.is_too_large(X, gpu)
    monkeypatch.setattr(_standardize, "is_too_large", lambda X, device: True)
    assert isinstance(scaled_rows(X, scaler, torch.device("cpu")), StreamedRows)


# -- fits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    y = np.arange(700) % 4
    X = 3 * rng.standard_normal((4, 5))[y] + rng.standard_normal((700, 5))
    return X, make_candidate_sets(y, rate=0.4, random_state=0)


def fits_of_both(clouds, tmp_path, monkeypatch, **params):
    """Fits of the same rows, in memory and in a file."""
    X, Y = clouds
    loaded = DDMPClassifier(**QUICK | params).fit(X, Y)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr(_standardize, "STREAMED_BYTES", 0)
    made = []
    init = StreamedRows.__init__

    def noted(self, *args):
        made.append(self)
        init(self, *args)

    monkeypatch.setattr(StreamedRows, "__init__", noted)
    streamed = DDMPClassifier(**QUICK | params).fit(mapped, Y)
    assert made
    return loaded, streamed, mapped


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"prior_mean": "zero", "standardize": "rows"},
        {"neighbors": KNeighborsTransformer(mode="distance")},
    ],
    ids=["default", "rows", "transformer"],
)
def test_streamed_fit_is_the_one_in_memory(clouds, params, tmp_path, monkeypatch):
    loaded, streamed, mapped = fits_of_both(clouds, tmp_path, monkeypatch, **params)
    assert_array_equal(streamed.label_distribution_, loaded.label_distribution_)
    assert_array_equal(streamed.predict_proba(mapped), loaded.predict_proba(mapped))
    assert streamed.history_ == loaded.history_


def test_neighbours_of_very_many_streamed_rows(clouds, tmp_path, monkeypatch):
    monkeypatch.setattr("sklabeldiff.neighbors.EXACT_ROWS", 500)
    monkeypatch.setattr("sklabeldiff.neighbors.FILE_BYTES", 4 * 5 * 200)
    loaded, streamed, _ = fits_of_both(clouds, tmp_path, monkeypatch)
    assert_allclose(
        streamed.initial_label_distribution_,
        loaded.initial_label_distribution_,
        atol=1e-5,
    )


def test_predictions_do_not_depend_on_the_blocks(clouds, monkeypatch):
    X, Y = clouds
    clf = DDMPClassifier(**QUICK).fit(X, Y)
    P, labels = clf.predict_proba(X), clf.predict(X)
    monkeypatch.setattr("sklabeldiff.base.PREDICTED_ENTRIES", 1)
    assert_array_equal(clf.predict_proba(X), P)
    assert_array_equal(clf.predict(X), labels)
    bad = X.copy()
    bad[600] = 1e25
    with pytest.raises(ValueError, match="Row 600 of X gets no probabilities"):
        clf.predict(bad)


# -- memory ----------------------------------------------------------------------------


def write_problem(folder, n, p):
    """Rows in a file, their sets, and a graph that the user has."""
    rng = np.random.default_rng(0)
    y = rng.integers(5, size=n)
    centres = 0.3 * rng.standard_normal((5, p))
    X = np.lib.format.open_memmap(
        folder / "X.npy", "w+", dtype=np.float64, shape=(n, p)
    )
    for rows in np.array_split(np.arange(n), max(1, n * p // 2**23)):
        noise = rng.standard_normal((len(rows), p), dtype=np.float32)
        X[rows] = noise + centres[y[rows]]
    X.flush()
    near = rng.standard_normal((n, 2)) + 9 * y[:, None]
    search = KNeighborsTransformer(mode="distance", n_neighbors=5)
    np.save(folder / "sets.npy", make_candidate_sets(y, rate=0.3, random_state=0))
    save_npz(folder / "graph.npz", search.fit_transform(near))
    return X.nbytes


def run(folder, *options):
    """Start the fit in a process of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "large_fit.py"), str(folder), *options],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of Linux")
def test_fit_of_a_file_four_times_larger_than_memory(tmp_path):
    limit = 600  # MiB, of which an interpreter with torch takes 360
    n_bytes = write_problem(tmp_path, 78_700, 4000)
    assert n_bytes >= 4 * limit * MIB
    done = run(tmp_path, "--mapped", "--megabytes", str(limit))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["X"] == n_bytes
    # The limit holds: what reads the file cannot do with it.
    failed = run(tmp_path, "--megabytes", str(limit))
    assert failed.returncode != 0
    assert "MemoryError" in failed.stderr
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    mapped, loaded = (np.load(tmp_path / f"{k}.npz") for k in ("mapped", "loaded"))
    for name in ("beliefs", "proba"):
        assert_allclose(mapped[name], loaded[name], atol=1e-5)
    assert_array_equal(mapped["labels"], loaded["labels"])
