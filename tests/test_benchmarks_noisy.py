"""The benchmarks on wrong labels: data, peers, measures and goals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import measures, noisy_cells, noisy_methods, noisy_report, peers, runner
from benchmarks.frame import Method, Split
from benchmarks.noisy_cells import CELLS, NoisyCell
from benchmarks.peers import (
    CleanlabIssues,
    CleanLearningClassifier,
    OwnIssues,
    RetrievalDiffusionClassifier,
)
from benchmarks.scores import Scores
from benchmarks.suites import SUITES
from sklabeldiff.core.noisy_training import WatchedTraining

DIGITS = NoisyCell("digits", 0.3)


@pytest.fixture(autouse=True)
def forget_splits() -> Iterator[None]:
    noisy_cells.split.cache_clear()
    yield
    noisy_cells.split.cache_clear()


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    return data_home


def _blobs(n_rows: int, rate: float) -> Split:
    """Three far clusters named 3, 5 and 9; wrong labels drawn at random."""
    rng = np.random.RandomState(0)
    codes = rng.randint(3, size=2 * n_rows)
    X = (4 * np.eye(3)[codes] + rng.standard_normal((len(codes), 3))).astype(np.float32)
    moved = (rng.uniform(size=n_rows) < rate) * rng.randint(1, 3, size=n_rows)
    names = np.array([3, 5, 9])
    y, Y = names[codes], names[(codes[:n_rows] + moved) % 3]
    return Split(X[:n_rows], Y, y[:n_rows], X[n_rows:], y[n_rows:])


# -- cells -----------------------------------------------------------------------------


def test_there_are_16_cells_with_names_of_their_own() -> None:
    names = {cell.name for cell in CELLS}
    assert len(names) == len(CELLS) == 16
    assert {"clusters .45", "digits .3", "LabelMe random", "CIFAR-10N worst"} < names
    assert all(cell.seeds == (0, 1, 2) for cell in CELLS)
    for cells in (noisy_cells.ABLATION_CELLS, noisy_cells.ISSUE_CELLS):
        assert len(cells) == 5
        assert {cell.name for cell in cells} < names


def test_cells_with_many_wrong_labels() -> None:
    sets = [
        f"{name} {rate}"
        for name in ("digits", "pendigits", "satimage")
        for rate in (".3", ".4")
    ]
    heavy = {"clusters .3", "clusters .45", *sets, "CIFAR-10N worst"}
    assert set(noisy_report.HEAVY_CELLS) == heavy


@pytest.mark.parametrize("rate", [0.3, 0.45])
def test_clusters_have_the_size_of_the_method_page(rate: float) -> None:
    split = noisy_cells.split(NoisyCell("clusters", rate), 0)
    assert split.X.shape == (4000, 20)
    assert split.X_test.shape == (2000, 20)
    assert (split.Y != split.y).mean() == pytest.approx(rate, abs=0.03)
    within = [split.X[split.y == c].std(0).mean() for c in range(10)]
    assert 1 < np.mean(within) < split.X.std(0).mean()  # three clusters a class


def test_a_seed_decides_split_and_noise() -> None:
    first, other = noisy_cells.split(DIGITS, 0), noisy_cells.split(DIGITS, 1)
    assert not np.array_equal(first.X, other.X)
    assert not np.array_equal(first.Y != first.y, other.Y != other.y)
    noisy_cells.split.cache_clear()
    again = noisy_cells.split(DIGITS, 0)
    assert np.array_equal(first.X, again.X)
    assert np.array_equal(first.Y, again.Y)


def test_rates_share_their_split_and_only_training_labels_are_wrong() -> None:
    low = noisy_cells.split(NoisyCell("digits", 0.2), 0)
    high = noisy_cells.split(NoisyCell("digits", 0.4), 0)
    assert np.array_equal(low.X, high.X)
    assert np.array_equal(low.y_test, high.y_test)
    assert (low.Y != low.y).mean() == pytest.approx(0.2, abs=0.03)
    assert (high.Y != high.y).mean() == pytest.approx(0.4, abs=0.03)
    shares = np.bincount(high.y_test) / len(high.y_test)
    assert shares == pytest.approx(np.bincount(high.y) / len(high.y), abs=0.01)


def test_pendigits_is_thinned_before_the_cut(home: Path) -> None:
    split = noisy_cells.split(NoisyCell("pendigits", 0.2), 0)
    n_rows = noisy_cells.MAX_ROWS["pendigits"]
    assert (len(split.X), len(split.X_test)) == (0.8 * n_rows, 0.2 * n_rows)


def test_a_random_annotator_and_the_majority_of_labelme(home: Path) -> None:
    answers = np.load(home / "pll" / "labelme_crowd.npz")["answers"]
    cell = NoisyCell("LabelMe", 0.26, "random")
    random = [noisy_cells.split(cell, seed) for seed in (0, 1)]
    for split in random:
        assert (answers == split.Y[:, None]).any(1).all()
        assert (split.Y != split.y).mean() == pytest.approx(0.26, abs=0.03)
        assert split.X_test.shape == (1188, 512)
    assert (random[0].Y != random[1].Y).any()

    majority = noisy_cells.split(NoisyCell("LabelMe", 0.23, "majority"), 0).Y
    votes = (answers[..., None] == np.arange(8)).sum(1)
    assert (votes[np.arange(len(votes)), majority] == votes.max(1)).all()


def test_human_labels_of_cifar_stay_with_their_rows(home: Path) -> None:
    split = noisy_cells.split(NoisyCell("CIFAR-10N", 0.4, "worst"), 0)
    assert split.X.shape == (20_000, 128)
    assert split.X_test.shape == (10_000, 128)
    # Rows and labels out of step would be wrong nine times out of ten.
    assert (split.Y != split.y).mean() == pytest.approx(0.402, abs=0.01)


# -- peers -----------------------------------------------------------------------------


@pytest.fixture
def short_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "MAX_EPOCHS", 30)


@pytest.mark.usefixtures("short_budget")
def test_retrieved_labels_outvote_wrong_ones() -> None:
    split = _blobs(600, rate=0.35)
    clf = RetrievalDiffusionClassifier().fit(split.X, split.Y)
    assert (clf.predict(split.X_test) == split.y_test).mean() > 0.9


def test_a_row_counts_itself_and_its_neighbours() -> None:
    Z = np.array([[0.0], [1.0], [10.0], [11.0]], dtype=np.float32)
    clf = RetrievalDiffusionClassifier()
    clf.encoder_ = peers.LabelEncoder().fit([0, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "FEW_NEIGHBORS", 1)
        votes = clf._votes(Z, np.array([0, 1, 1, 1]))
    assert votes.tolist() == [[1, 1], [1, 1], [0, 2], [0, 2]]


def test_clean_learning_drops_wrong_labels_of_any_name() -> None:
    split = _blobs(300, rate=0.3)
    near = KNeighborsClassifier(1)  # repeats every wrong label it has seen
    alone = near.fit(split.X, split.Y).predict(split.X_test)
    smooth = KNeighborsClassifier(15)
    clf = CleanLearningClassifier(smooth).fit(split.X, split.Y)
    assert set(clf.predict(split.X_test)) == {3, 5, 9}
    dropped = clf.learning_.get_label_issues()["is_label_issue"].to_numpy()
    assert (split.Y != split.y)[dropped].mean() > 0.9
    assert dropped.sum() > 30
    assert (alone == split.y_test).mean() < 0.85


def test_without_cleanlab_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("cleanlab", "cleanlab.classification"):
        monkeypatch.setitem(sys.modules, module, None)
    split = _blobs(30, rate=0.0)
    with pytest.raises(ImportError, match=r"sklabeldiff\[bench\]"):
        CleanLearningClassifier(LogisticRegression()).fit(split.X, split.Y)


@pytest.mark.parametrize("suite", ["noisy", "issues"])
def test_methods_show_their_settings(suite: str) -> None:
    made = [repr(method.make(0)) for method in SUITES[suite].methods()]
    ceilings = [m for m in SUITES[suite].methods() if m.kind == "ceiling"]
    assert len(set(made)) == len(made) - len(ceilings)  # which repeat their network
    assert not any(" at 0x" in text for text in made)


def test_networks_share_their_widths_and_seed() -> None:
    clf = noisy_methods.clean_learning(7)
    assert clf.classifier.get_params() == noisy_methods.cross_entropy(7).get_params()
    assert clf.classifier.hidden == (256, 256)
    assert clf.random_state == clf.classifier.random_state == 7
    assert (
        noisy_methods.volminnet(7).hidden == noisy_methods.dtm(7).hidden == (256, 256)
    )


@pytest.mark.parametrize("n_rows", [200, 4000, 20_000])
def test_peers_have_the_budget_of_dtm(n_rows: int) -> None:
    rows = torch.arange(n_rows)
    training = WatchedTraining(rows, rows[:0], "auto", 256, 1e-3, seed=0)
    assert peers.budget(n_rows) == training.n_epochs()


# -- measures --------------------------------------------------------------------------


class _Constant(ClassifierMixin, BaseEstimator):
    """Answers with the most frequent training label."""

    def fit(self, X: NDArray[np.float32], y: NDArray[np.int64]) -> _Constant:
        self.answer_ = np.bincount(y).argmax()
        return self

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.full(len(X), self.answer_)


class _Order:
    def __init__(self, order: list[int]) -> None:
        self.order = np.array(order)

    def rank(self, X: object, y: object) -> NDArray[np.int64]:
        return self.order


TINY = Split(
    X=np.zeros((4, 1), dtype=np.float32),
    Y=np.array([1, 1, 1, 0]),
    y=np.array([1, 0, 0, 0]),
    X_test=np.zeros((4, 1), dtype=np.float32),
    y_test=np.array([0, 0, 0, 1]),
)


@pytest.mark.parametrize(("ceiling", "score"), [(False, 0.25), (True, 0.75)])
def test_only_a_ceiling_sees_the_true_labels(ceiling: bool, score: float) -> None:
    figures = measures.accuracy(_Constant(), TINY, ceiling)
    assert figures["score"] == score
    assert figures["wrong"] == 0.5
    assert figures["rows"] == 4
    assert "covering" not in figures


@pytest.mark.parametrize(
    ("order", "precision"),
    [
        ([1, 2, 0, 3], 1.0),
        ([0, 1, 3, 2], (1 / 2 + 2 / 4) / 2),
        ([3, 0, 1, 2], (1 / 3 + 2 / 4) / 2),
    ],
)
def test_average_precision_by_hand(order: list[int], precision: float) -> None:
    figures = measures.issue_precision(_Order(order), TINY, False)
    assert figures["score"] == pytest.approx(precision)


@pytest.mark.parametrize("quality", noisy_methods.QUALITIES)
def test_cleanlab_finds_wrong_labels(quality: str) -> None:
    finder = CleanlabIssues(KNeighborsClassifier(15), quality)
    figures = measures.issue_precision(finder, _blobs(300, rate=0.2), False)
    assert figures["score"] > 0.9


@pytest.mark.parametrize("cv", [None, 5])
def test_our_order_is_that_of_label_issues(cv: int | None) -> None:
    class Doubtful(_Constant):
        def label_issues(self, X=None, y=None, cv=None):  # type: ignore[no-untyped-def]
            assert (X is None) == (cv is None)
            assert (cv is None) == hasattr(self, "answer_")
            return pd.DataFrame({"row": [2, 1, 0, 3], "score": [0.1, 0.2, 0.3, 0.4]})

    assert OwnIssues(Doubtful(), cv).rank(TINY.X, TINY.Y).tolist() == [2, 1, 0, 3]


# -- runner ----------------------------------------------------------------------------


def test_a_suite_runs_resumes_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def split(cell: NoisyCell, seed: int, k: int) -> Split:
        seen.append(cell.name)
        return _blobs(40, cell.rate)

    methods = [Method("near", lambda seed: KNeighborsClassifier(5), "baseline")]
    small = replace(
        SUITES["noisy"], cells=(DIGITS,), methods=lambda: methods, split=split
    )
    monkeypatch.setitem(SUITES, "small", small)
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    tasks = runner.make_tasks("small")
    assert [(task.seed, task.fold) for task in tasks] == [(0, 0), (1, 0), (2, 0)]
    assert runner.run(tasks, jobs=1) == []
    found = runner.finished(tasks)
    assert [r["score"] > 0.8 for r in found] == [True] * 3
    assert all(
        path.is_relative_to(tmp_path / "noisy")
        for path in (task.path for task in tasks)
    )
    seen.clear()
    assert runner.run(tasks, jobs=1) == []
    assert seen == []


# -- goals -----------------------------------------------------------------------------

# "clusters .3" counts among the cells with many wrong labels, "digits .2" does not.
SCORES = {
    "clusters .3": {
        "DTM": 0.90,
        "VolMinNet": 0.85,
        "cross-entropy": 0.80,
        "CleanLearning": 0.89,
    },
    "digits .2": {
        "DTM": 0.90,
        "VolMinNet": 0.90,
        "cross-entropy": 0.92,
        "CleanLearning": 0.80,
    },
}


def _scores(table: dict[str, dict[str, float]]) -> Scores:
    results = [
        {
            "method": method,
            "kind": "ours" if method.startswith("D") else "baseline",
            "cell": cell,
            "seed": seed,
            "fold": 0,
            "score": score + (seed - 1) / 100,
            "rows": 100,
            "wrong": 0.3,
            "fit_seconds": 1.0,
        }
        for cell, row in table.items()
        for method, score in row.items()
        for seed in (0, 1, 2)
    ]
    return Scores.of(results, list(table), list(next(iter(table.values()))))


def test_goals_name_what_was_missed() -> None:
    lines = noisy_report.noisy_goals(_scores(SCORES))
    text = "\n".join(lines)
    assert "met: ahead of every baseline in mean rank: 1.75; next baseline" in text
    assert "**missed**: no cell more than .010 below cross-entropy: 1" in text
    assert "misses: digits .2 (-0.020)" in text
    assert "met: at least .020 above VolMinNet" in text
    assert "+0.0500 ± 0.0000 over 3 runs of 1 cells" in text
    assert "**missed**: at least .020 above CleanLearning" in text


def test_another_of_ours_is_no_rival_of_dtm() -> None:
    table = {cell: row | {"DMIS": 0.99} for cell, row in SCORES.items()}
    ahead = {cell: {"DMIS": 0.99} | row for cell, row in SCORES.items()}
    alone, *others = (noisy_report.noisy_goals(_scores(t)) for t in (table, ahead))
    assert others == [alone]  # whichever of ours stands first
    text = "\n".join(alone)
    assert "DMIS" not in text
    assert "ahead of every baseline in mean rank: 2.75" in text  # a rank it takes


def test_there_are_no_goals_without_ours() -> None:
    table = {cell: {"VolMinNet": row["VolMinNet"]} for cell, row in SCORES.items()}
    assert noisy_report.noisy_goals(_scores(table)) == []


def test_each_of_ours_meets_the_best_of_cleanlab_in_every_cell() -> None:
    table = {
        "digits .2": {"DTM, a": 0.80, "DTM, b": 0.705, "x": 0.60, "y": 0.71},
        "digits .3": {"DTM, a": 0.69, "DTM, b": 0.705, "x": 0.71, "y": 0.60},
    }
    lines = noisy_report.issue_goals(_scores(table))
    assert lines == [
        "- met: DTM, a: higher on average than the best of cleanlab in each cell: "
        "+0.0350 over 2 cells",
        "- **missed**: DTM, a: never lower by more than .010: 1; misses: "
        "digits .3 (-0.020)",
        "- **missed**: DTM, b: higher on average than the best of cleanlab in each "
        "cell: -0.0050 over 2 cells",
        "- met: DTM, b: never lower by more than .010: 0; misses: none",
    ]


@pytest.mark.parametrize(
    ("body", "heading"),
    [
        (noisy_report.noisy_body, "## DTM against its goals"),
        (noisy_report.issues_body, "## Against the goals"),
    ],
)
def test_reports_tell_rows_and_wrong_labels(
    body: Callable[[Scores], list[str]], heading: str
) -> None:
    text = "\n".join(body(_scores(SCORES)))
    assert "| clusters .3 | 100 | .300 |" in text
    assert "| clusters .3 | .900 ± .010 (1) |" in text
    assert heading in text
