"""The benchmarks on few labels: data, methods and goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import measures, semi_cells, semi_methods, semi_report
from benchmarks.frame import Split
from benchmarks.scores import Scores
from benchmarks.semi_cells import CELLS, UNLABELLED, SemiCell
from benchmarks.suites import SUITES

DIGITS = SemiCell("digits", 0.1)


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    return data_home


@pytest.fixture(scope="module")
def split() -> Split:
    return semi_cells.split(DIGITS, 0)


# -- cells -----------------------------------------------------------------------------


def test_there_are_6_cells_with_names_of_their_own() -> None:
    names = {cell.name for cell in CELLS}
    assert len(names) == len(CELLS) == 6
    assert {"digits .1", "digits .03", "pendigits .03", "satimage .1"} < names
    assert all(cell.seeds == (0, 1, 2) for cell in CELLS)


@pytest.mark.parametrize("share", [0.1, 0.03])
def test_the_stated_share_of_every_class_keeps_its_label(share: float) -> None:
    split = semi_cells.split(SemiCell("digits", share), 0)
    given = split.Y != UNLABELLED
    assert given.mean() == pytest.approx(share, abs=1 / len(given))
    assert np.array_equal(split.Y[given], split.y[given])
    counts = np.bincount(split.y[given], minlength=10)
    assert counts == pytest.approx(share * np.bincount(split.y), abs=1)


def test_a_fifth_of_the_rows_is_for_the_test(split: Split) -> None:
    assert (len(split.X), len(split.X_test)) == (1437, 360)
    known = {row.tobytes() for row in split.X}
    assert np.mean([row.tobytes() in known for row in split.X_test]) < 0.01
    shares = np.bincount(split.y_test) / len(split.y_test)
    assert shares == pytest.approx(np.bincount(split.y) / len(split.y), abs=0.01)


def test_a_seed_decides_rows_and_labels(split: Split) -> None:
    again, other = (semi_cells.split(DIGITS, seed) for seed in (0, 1))
    assert np.array_equal(split.X, again.X)
    assert np.array_equal(split.Y, again.Y)
    assert not np.array_equal(split.X, other.X)
    assert not np.array_equal(split.Y, other.Y)
    kept, moved = (semi_cells.keep_labels(split.y, 0.1, seed) for seed in (0, 1))
    assert not np.array_equal(kept, moved)


def test_shares_share_their_split(split: Split) -> None:
    fewer = semi_cells.split(SemiCell("digits", 0.03), 0)
    assert np.array_equal(split.X_test, fewer.X_test)


def test_pendigits_is_cut_to_3000_rows(home: Path) -> None:
    split = semi_cells.split(SemiCell("pendigits", 0.03), 0)
    assert (len(split.X), len(split.X_test)) == (2400, 600)
    assert (split.Y != UNLABELLED).sum() == 72


# -- methods ---------------------------------------------------------------------------


def _made(name: str) -> object:
    method = next(m for m in semi_methods.semi_methods() if m.name == name)
    return method.make(0)


def test_methods_show_their_settings() -> None:
    made = [repr(method.make(0)) for method in SUITES["semi"].methods()]
    assert len(set(made)) == len(made)
    assert not any(" at 0x" in text for text in made)


def test_every_rival_is_among_the_methods() -> None:
    kinds = {m.name: m.kind for m in semi_methods.semi_methods()}
    assert {kinds[name] for name in semi_report.RIVALS} == {"baseline"}
    assert kinds[semi_report.OURS] == "ours"


def test_labelled_rows_alone_are_a_fit_on_them(split: Split) -> None:
    few = split.Y != UNLABELLED
    alone = make_pipeline(StandardScaler(), semi_methods.linear(0))
    alone.fit(split.X[few], split.Y[few])
    found = _made("LogisticRegression, labelled rows").fit(split.X, split.Y)
    assert np.array_equal(found.predict(split.X_test), alone.predict(split.X_test))


@pytest.mark.parametrize("name", ["LabelSpreading", "SelfTraining, LogisticRegression"])
def test_rows_without_a_label_are_made_use_of(split: Split, name: str) -> None:
    learnt = _made(name).fit(split.X, split.Y)[-1].transduction_
    others = (split.Y == UNLABELLED) & (learnt != UNLABELLED)
    assert others.mean() > 0.8
    assert (learnt == split.y)[others].mean() > 0.9


@pytest.mark.parametrize("name", ["DMIS", "DDMP"])
def test_ours_take_the_mark_for_a_missing_label(name: str) -> None:
    rng = np.random.RandomState(0)
    y = np.arange(60) % 3
    X = (4 * np.eye(3)[y] + rng.standard_normal((60, 3))).astype(np.float32)
    clf = _made(name).set_params(max_epochs=1)
    clf.fit(X, semi_cells.keep_labels(y, 0.2, seed=0))
    assert list(clf.classes_) == [0, 1, 2]
    assert clf.candidate_sets_.all(axis=1).sum() == 48


# -- report ----------------------------------------------------------------------------


def _scores(table: dict[str, dict[str, tuple[float, ...]]], figures: dict) -> Scores:  # type: ignore[type-arg]
    results = [
        {
            "method": method,
            "kind": "ours" if method.startswith("D") else "baseline",
            "cell": cell,
            "seed": seed,
            "fold": 0,
            "score": score,
            **figures,
        }
        for cell, row in table.items()
        for method, runs in row.items()
        for seed, score in enumerate(runs)
    ]
    return Scores.of(results, list(table), list(next(iter(table.values()))))


def test_goals_are_paired_and_name_what_was_missed(split: Split) -> None:
    table = {
        "digits .1": {
            "DMIS": (0.90, 0.92),
            "DDMP": (0.99, 0.99),
            "LabelSpreading": (0.90, 0.90),
            "SelfTraining, SVC": (0.95, 0.97),
        }
    }
    assert semi_report.semi_goals(_scores(table, {})) == [
        "- met: above LabelSpreading in mean: +0.0100 ± 0.0100 over 2 runs",
        "- **missed**: above SelfTraining, SVC in mean: -0.0500 ± 0.0000 over 2 runs",
    ]


def test_there_are_no_goals_before_ours_is_complete() -> None:
    table = {"digits .1": {"DMIS": (0.9,), "LabelSpreading": (0.9, 0.9)}}
    assert semi_report.semi_goals(_scores(table, {})) == []


class _Constant:
    def fit(self, X: object, y: object) -> None: ...

    def predict(self, X: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.zeros(len(X))


def test_the_report_counts_labelled_rows(split: Split) -> None:
    figures = measures.accuracy(_Constant(), split, ceiling=False)
    scores = _scores({"digits .1": {"DMIS": (0.9,)}}, figures | {"score": 0.9})
    text = "\n".join(semi_report.semi_body(scores))
    labelled = (split.Y != UNLABELLED).sum()
    assert f"| digits .1 | 1437 | {labelled} |" in text
