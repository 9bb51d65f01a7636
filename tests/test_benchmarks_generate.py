"""The benchmark of generated rows: data, what is measured, tables and goals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import generate, noisy_cells
from benchmarks.frame import Split
from benchmarks.generate import CANDIDATES, GIVEN, OURS, TRUE, VANILLA, WRONG
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import frechet_distance

CELL = f"digits, {CANDIDATES}"
CENTRES = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])


def clusters(n_rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows around three centres, far apart."""
    rng = np.random.RandomState(seed)
    y = np.arange(n_rows) % 3
    X = CENTRES[y] + rng.standard_normal((n_rows, 2))
    return X.astype(np.float32), y


class Generator:
    """Draws the clusters. Where conditioning is "vanilla" classes are mixed up."""

    def __init__(self, conditioning: str, seed: int) -> None:
        self.conditioning, self.seed = conditioning, seed

    def fit(self, X: Any, y: Any) -> Self:
        return self

    def condense(self, n: int, select: str = "random") -> tuple[Any, Any]:
        X, y = clusters(3 * n, self.seed + 100)
        mixed = self.conditioning == "vanilla" and select == "random"
        return X, (y + 1) % 3 if mixed else y

    def predict(self, X: NDArray[Any]) -> NDArray[np.int64]:
        return np.zeros(len(X), dtype=np.int64)


@pytest.fixture
def data() -> Split:
    X, y = clusters(360, 0)
    Y = make_candidate_sets(y, "uniform", rate=0.3, random_state=0)
    return Split(X, Y, y, *clusters(90, 1))


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    noisy_cells.read_clean.cache_clear()
    yield
    noisy_cells.read_clean.cache_clear()


# -- data ------------------------------------------------------------------------------


def test_candidates_hold_the_true_label_and_three_tenths_of_the_others() -> None:
    data = generate.split("digits", CANDIDATES, 0)
    assert data.Y[np.arange(len(data.y)), data.y].all()
    assert data.Y.sum(axis=1).mean() == pytest.approx(1 + 9 * 0.3, abs=0.1)


def test_two_fifths_of_the_labels_are_wrong() -> None:
    data = generate.split("digits", WRONG, 0)
    assert (data.Y != data.y).mean() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize(("dataset", "n_rows"), [("digits", 1797), ("pendigits", 3000)])
def test_three_tenths_of_the_rows_are_for_the_test(
    dataset: str, n_rows: int, home: None
) -> None:
    data = generate.split(dataset, CANDIDATES, 0)
    assert len(data.X) + len(data.X_test) == n_rows
    assert len(data.X_test) == pytest.approx(0.3 * n_rows, abs=1)


def test_a_seed_decides_rows_and_labels() -> None:
    first, again, other = (
        generate.split("digits", CANDIDATES, seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.Y, again.Y)
    np.testing.assert_array_equal(first.X, again.X)
    assert (first.X != other.X).any()
    assert (first.Y != other.Y).any()


def test_classes_are_drawn_equally_often_and_no_row_twice() -> None:
    y = np.repeat([0, 1, 2], (40, 30, 5))
    rows = generate.of_each_class(y, 10, np.random.RandomState(0))
    np.testing.assert_array_equal(np.bincount(y[rows]), [10, 10, 5])
    assert len(set(rows)) == len(rows)


# -- measures --------------------------------------------------------------------------


def test_right_rows_are_told_from_rows_of_mixed_up_classes(data: Split) -> None:
    found = generate.measure(Generator, data, 0)
    assert list(found) == [OURS, VANILLA, TRUE, GIVEN]
    for row in (OURS, TRUE):
        assert found[row]["many"] > 0.95
        assert found[row]["few"] > 0.95
        assert found[row]["coverage"] > 0.8
        assert found[row]["frechet"] < 0.1
    assert found[VANILLA]["many"] < 0.05
    assert found[VANILLA]["coverage"] < 0.05
    assert found[VANILLA]["frechet"] > 1
    assert found[VANILLA]["few_confident"] > 0.95
    assert found[OURS]["own"] == pytest.approx(1 / 3)


def test_distances_are_in_one_unit_for_all_columns(data: Split) -> None:
    X, y = clusters(300, 2)
    unit = np.sqrt(data.X.var(axis=0).mean())
    expected = frechet_distance(
        data.X_test / unit, X / unit, y=data.y_test, y_generated=y
    )
    found = generate.Judge(data).likeness(X, y)
    assert found["frechet"] == pytest.approx(expected, rel=1e-3)
    column = data.X.std(axis=0)
    data.X[:, 0] *= 1e-3 / column[0]  # hardly varies in training
    assert generate.Judge(data).likeness(X, y)["frechet"] < 10


def test_given_labels_are_those_of_as_many_rows_drawn_from_all(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        generate.Judge, "accuracy", lambda self, X, y: seen.append(np.array(y)) or 0.5
    )
    generate.measure(Generator, data, 0)
    many, few = seen[-2:]
    assert (many.shape, few.shape) == ((300, 3), (30, 3))
    assert few.sum() > len(few)


def test_labels_that_say_nothing_teach_nothing(data: Split) -> None:
    judge = generate.Judge(data)
    assert judge.accuracy(data.X, data.Y) > 0.95
    assert judge.accuracy(data.X, np.ones_like(data.Y)) < 0.5


# -- report ----------------------------------------------------------------------------


def results(many: float, few: float, cell: str = CELL) -> generate.Results:
    """Figures of two seeds."""
    return {
        (cell, OURS): {"frechet": [12.0, 10.0], "many": [many] * 2, "few": [few] * 2},
        (cell, GIVEN): {"many": [0.8, 0.8], "few": [0.5, 0.6]},
    }


def test_table_has_means_spreads_and_dashes() -> None:
    lines = generate.report(results(0.93, 0.6))
    assert f"## {CELL}" in lines
    ours = next(line for line in lines if line.startswith(f"| {OURS} "))
    assert ours.startswith(f"| {OURS} | 11.00 ± 1.41 | - | - | 0.930 ± 0.000 |")
    given = next(line for line in lines if line.startswith(f"| {GIVEN} "))
    assert "| 0.550 ± 0.071 |" in given


def test_each_cell_has_its_table() -> None:
    other = "pendigits, 40 % wrong"
    both = results(0.93, 0.6) | results(0.5, 0.7, other)
    lines = generate.report(both)
    assert [line[3:] for line in lines if line.startswith("## ")] == [
        CELL,
        other,
        "Against the goals",
    ]
    assert sum(line.startswith(f"| {OURS} ") for line in lines) == 2


def test_goals_met() -> None:
    assert generate.goals(results(0.93, 0.61)) == [
        f"- met: {CELL}: 100 generated rows a class give at least 0.93: 0.9300",
        f"- met: {CELL}: 10 generated rows a class beat as many real rows with the "
        "given labels by at least 0.05: +0.0600; by seed +0.110, +0.010",
    ]


def test_goals_missed() -> None:
    lines = generate.goals(results(0.929, 0.59))
    assert [line.split(":")[0] for line in lines] == ["- **missed**"] * 2


def test_only_digits_with_candidates_have_a_goal_for_many_rows() -> None:
    lines = generate.goals(results(0.1, 0.7, "pendigits, uniform .3"))
    assert len(lines) == 1
    assert lines[0].startswith("- met: pendigits, uniform .3: 10 generated")


@pytest.mark.parametrize(("few", "status"), [(0.7, 0), (0.5, 1)])
def test_command_saves_the_report_and_fails_on_a_missed_goal(
    few: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "run", lambda *args: results(0.95, few))
    path = tmp_path / "generate.md"
    args = SimpleNamespace(datasets=["digits"], seeds=[0, 1], save=path)
    assert generate.main(args, "the command") == status
    text = path.read_text()
    assert "    the command\n" in text
    assert "seeds 0, 1" in text
    assert ("**missed**" in text) == bool(status)


def test_all_cells_and_seeds_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measured(make: Any, data: Any, seed: int) -> dict[str, dict[str, float]]:
        seen.append((*data, seed))
        return {OURS: {"few": float(seed)}}

    monkeypatch.setattr(generate, "split", lambda *args: args[:2])
    monkeypatch.setattr(generate, "measure", measured)
    found = generate.run(Generator, ["digits", "pendigits"], [3, 4])
    assert seen == [
        (dataset, labels, seed)
        for dataset in ("digits", "pendigits")
        for labels in (CANDIDATES, WRONG)
        for seed in (3, 4)
    ]
    assert found[f"pendigits, {WRONG}", OURS] == {"few": [3.0, 4.0]}
