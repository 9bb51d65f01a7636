"""The benchmark of large tables: its rows, its recall, and what its report says."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks import scaling
from benchmarks._large_fit import peak_bytes


def figures(n_rows: int, seconds: float, megabytes: float) -> dict[str, float]:
    data = 336.0 * n_rows
    return {
        **{"search": seconds, "index": 1e6, "recall": 0.98, "fit": 10.0},
        **{"memory": megabytes * 1e6, "data": data, "accuracy": 0.9},
    }


def test_exponent_is_the_slope_over_all_sizes() -> None:
    assert scaling.exponent({n: 3e-6 * n**1.5 for n in scaling.SIZES}) == pytest.approx(
        1.5
    )


@pytest.mark.parametrize(
    "power, megabytes, missed", [(1.1, 1000, 0), (1.3, 1000, 1), (1.1, 1010, 1)]
)
def test_report_names_the_goals_that_are_missed(
    power: float, megabytes: float, missed: int
) -> None:
    found = {n: figures(n, 1e-5 * n**power, megabytes) for n in (1000, 1_000_000)}
    text = scaling.table(found, "python -m benchmarks scaling")
    assert text.count("**missed**") == missed
    assert f"| 1000000 | 10.0 | 10 | {found[1_000_000]['search']:.2f} | 0.980 |" in text


def test_recall_is_the_share_of_true_neighbours() -> None:
    X, y = scaling.make_rows(500)
    assert X.dtype == np.float32
    assert len(np.unique(y)) == scaling.N_CLASSES
    rows = np.arange(3)
    distances = np.linalg.norm(X[:, None] - X[rows], axis=-1)
    true = distances.argsort(axis=0)[:5].T
    assert scaling.recall(X, rows, true) == 1
    true[:, 0] = 499 - true[:, 0]
    assert scaling.recall(X, rows, true) == pytest.approx(0.8)


def test_parts_run_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scaling.child("search", 1000)
    assert found["recall"] > 0.95
    assert found["index"] > 1000 * scaling.D * 4


def test_curves_are_drawn(tmp_path: Path) -> None:
    found = {n: figures(n, 1e-5 * n, 1000) for n in scaling.SIZES}
    scaling.plot(found, tmp_path / "scaling.png")
    height, width, _ = imread(tmp_path / "scaling.png").shape
    assert (height, width) == (384, 960)


def test_a_fit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "N_UPDATES", 1)  # one epoch
    found = scaling.fit_once(2000)
    assert found["data"] == 2000 * 4 * (scaling.D + scaling.N_CLASSES)
    assert found["memory"] >= 0
    assert 0 < scaling.WatchedNeighbors.peak < peak_bytes()
    assert found["accuracy"] > 0.9
