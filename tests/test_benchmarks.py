"""The data and the cache of the benchmarks; no accuracy is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import cells, controls, methods, runner, sources
from benchmarks.cells import ABLATION_CELLS, CELLS, Cell
from benchmarks.suites import SUITES
from sklabeldiff import DDMPClassifier, ddmp
from sklabeldiff.baselines import CandidateWeightedClassifier
from sklabeldiff.core import kernels

CONTROLS = [m.name for m in methods.ablation_methods() if m.name.startswith("control")]
GLASS = Cell("glass", "uniform", 0.7)


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    return data_home


@pytest.fixture
def results_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    return tmp_path


# -- cells -----------------------------------------------------------------------------


def test_there_are_33_cells_with_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS) == 33
    assert sum(len(cell.seeds) for cell in CELLS) == 3 * 3 + 30
    assert {cell.name for cell in ABLATION_CELLS} < {cell.name for cell in CELLS}


@pytest.mark.parametrize("kind", ["uniform", "pair"])
def test_candidates_hold_the_truth_and_repeat(home: Path, kind: str) -> None:
    cell = Cell("glass", kind, 0.7)
    first = cells.load_cell(cell)
    assert first.X.shape == (214, 9)
    assert first.Y.shape == (214, 6)
    assert first.Y[np.arange(214), first.y].all()
    assert first.Y.sum() > 214
    cells.load_cell.cache_clear()
    assert (cells.load_cell(cell).Y == first.Y).all()


def test_pendigits_is_cut_to_seeded_rows(home: Path) -> None:
    data = cells.load_cell(Cell("pendigits", "pair", 0.9))
    assert data.X.shape == (3000, 16)
    assert len(np.unique(data.y)) == data.Y.shape[1] == 10
    assert data.Y[np.arange(3000), data.y].all()


@pytest.mark.parametrize("kind", ["uniform", "instance"])
def test_digits_are_whole_and_hold_their_truth(kind: str) -> None:
    data = cells.load_cell(Cell("digits", kind, 0.3))
    assert data.X.shape == (1797, 64)
    assert data.Y[np.arange(1797), data.y].all()
    assert 1.5 < data.Y.sum(1).mean() < 5


def test_digits_without_a_kind_have_their_true_class_alone() -> None:
    data = cells.load_cell(Cell("digits"))
    assert np.array_equal(data.Y, np.eye(10, dtype=bool)[data.y])


def test_real_sets_keep_their_candidates(home: Path) -> None:
    data = cells.load_cell(Cell("lost", seeds=(0, 1, 2)))
    assert data.Y.shape == (1122, 16)
    assert data.Y.sum(1).mean() == pytest.approx(2.232, abs=1e-3)


def test_folds_cut_all_rows_and_differ_between_seeds() -> None:
    tests = [cells.fold(23, 0, k)[1] for k in range(5)]
    assert sorted(np.concatenate(tests)) == list(range(23))
    assert set(cells.fold(23, 1, 0)[1]) != set(tests[0])


def test_an_unknown_cell_or_method_is_refused() -> None:
    with pytest.raises(ValueError, match="No cell starts with 'moon'"):
        runner.make_tasks("accuracy", cells=["moon"])
    with pytest.raises(ValueError, match="No method 'moon'"):
        runner.make_tasks("accuracy", methods=["moon"])


# -- runner ----------------------------------------------------------------------------


def test_a_finished_task_is_not_run_again(
    home: Path, results_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[runner.Task] = []
    measure = runner.measure

    def counted(task: runner.Task) -> runner.Result:
        calls.append(task)
        return measure(task)

    monkeypatch.setattr(runner, "measure", counted)
    tasks = runner.make_tasks("accuracy", ["PL-kNN"], [GLASS.name])
    assert runner.run(tasks[:2], jobs=1) == []
    assert runner.run(tasks, jobs=1) == []
    assert sorted(task.fold for task in calls) == [0, 1, 2, 3, 4]
    found = runner.finished(tasks)
    assert [r["fold"] for r in found] == [0, 1, 2, 3, 4]
    assert all(r["score"] <= r["covering"] <= 1 for r in found)
    assert not list(results_dir.rglob("*.tmp"))


def test_a_failed_task_is_told_and_leaves_no_result(
    home: Path, results_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: runner.Task) -> runner.Result:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(runner, "measure", broken)
    tasks = runner.make_tasks("accuracy", ["PL-kNN"], [GLASS.name])[:1]
    (failure,) = runner.run(tasks, jobs=1)
    assert "PL-kNN on glass uniform .7" in failure
    assert "out of luck" in failure
    assert runner.finished(tasks) == []


def test_no_task_starts_after_the_time_limit(home: Path, results_dir: Path) -> None:
    tasks = runner.make_tasks("accuracy", ["PL-kNN"], [GLASS.name])
    assert runner.run(tasks, jobs=1, time_limit=0.0) == []
    assert runner.finished(tasks) == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of four modules: `a` imports `b`, the package passes `A` and `C` on."""
    texts = {
        "__init__.py": "from pack.a import A\nfrom pack.c import C\n",
        "a.py": "from .b import helper\nimport numpy\n\nclass A: pass\n",
        "b.py": "def helper():\n    from pack.deep import d\n",
        "c.py": "from pack import A\n\nclass C: pass\n",
        "deep/__init__.py": "from . import d\n",
        "deep/d.py": "x = 1\n",
    }
    for name, text in texts.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    _forget()
    yield tmp_path / "pack"
    _forget()


def _forget() -> None:
    for function in (sources.reached, sources.code_of, runner.method_hash):
        function.cache_clear()


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("pack.deep.d", {"pack.deep.d"}),
        ("pack.a", {"pack.a", "pack.b", "pack.deep.d"}),
        ("pack.c", {"pack.c", "pack.a", "pack.b", "pack.deep.d"}),
        ("numpy", set()),
    ],
)
@pytest.mark.usefixtures("package")
def test_imports_are_followed_past_the_package(module: str, found: set[str]) -> None:
    assert sources.reached(module) == found


def test_comments_do_not_change_the_code_and_statements_do(package: Path) -> None:
    def code(text: str) -> str:
        _forget()
        (package / "deep" / "d.py").write_text(text)
        return sources.code_of("pack.deep.d")

    first = code("x = 1\n")
    assert code('"""Told."""\nx = 1  # and remarked\n') == first
    assert code("x = 2\n") != first


def test_the_result_of_changed_code_has_another_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(changed: str) -> str:
        _forget()
        code_of = sources.code_of
        monkeypatch.setattr(
            runner, "code_of", lambda m: "changed" if m == changed else code_of(m)
        )
        return runner.method_hash("accuracy", "PL-kNN")

    try:
        first = version("none")
        assert version("sklabeldiff.baselines._kernel") == first
        assert version("sklabeldiff.baselines._neighbors") != first
        assert version("benchmarks.cells") != first
    finally:
        _forget()


def test_an_estimator_depends_on_what_it_imports_and_on_its_parameters() -> None:
    ours = sources.modules_behind(DDMPClassifier())
    assert {"sklabeldiff.ddmp", "sklabeldiff.base", "sklabeldiff.core.graph"} < ours
    others = ("benchmarks", "sklabeldiff.baselines", "sklabeldiff.metrics")
    assert not [module for module in ours if module.startswith(others)]
    wrapped = sources.modules_behind(CandidateWeightedClassifier(DDMPClassifier()))
    assert wrapped > ours


def test_tasks_of_one_run_have_files_of_their_own() -> None:
    tasks = runner.make_tasks("accuracy") + runner.make_tasks("ablation")
    ours = {(t.method, t.cell.name, t.seed, t.fold) for t in tasks}
    assert len({task.path for task in tasks}) == len(ours)


@pytest.mark.parametrize("what", ["accuracy", "ablation"])
def test_methods_make_estimators_that_show_their_settings(what: str) -> None:
    made = [method.make(0) for method in SUITES[what].methods()]
    assert len({repr(estimator) for estimator in made}) == len(made)
    assert not any(" at 0x" in repr(estimator) for estimator in made)


@pytest.fixture
def small_ddmp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the fits inside the controls short."""
    small = partial(DDMPClassifier, hidden=32)
    monkeypatch.setattr(controls, "DDMPClassifier", small)
    monkeypatch.setattr(ddmp, "MIN_UPDATES", 60)
    monkeypatch.setattr(kernels, "KERNELS", kernels.KERNELS[:1])


@pytest.mark.usefixtures("small_ddmp")
@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_learns_something(name: str) -> None:
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=120)
    X = (np.eye(3)[y] * 4 + rng.standard_normal((120, 3))).astype(np.float32)
    Y = np.eye(3, dtype=bool)[y] | (rng.uniform(size=(120, 3)) < 0.3)
    method = next(m for m in methods.ablation_methods() if m.name == name)
    control = method.make(0).fit(X, Y)
    assert (control.predict(X) == y).mean() > 0.8


@pytest.mark.usefixtures("small_ddmp")
def test_a_scaled_budget_is_a_multiple_of_the_default() -> None:
    rng = np.random.RandomState(0)
    X = rng.standard_normal((600, 3)).astype(np.float32)
    Y = np.eye(3, dtype=bool)[rng.randint(3, size=600)]
    assert (
        controls.default_epochs(DDMPClassifier(), len(X)) == 60
    )  # 120 updates / 2 batches
    fitted = controls.ScaledBudget(0.02, 0).fit(X, Y)
    assert fitted.clf_.max_epochs == 1


def test_the_first_folds_alone() -> None:
    tasks = runner.make_tasks("ablation", folds=2)
    assert {task.fold for task in tasks} == {0, 1}
    assert len(tasks) * 5 == len(runner.make_tasks("ablation")) * 2


def test_result_files_are_json(home: Path, results_dir: Path) -> None:
    tasks = runner.make_tasks("accuracy", ["truth: SVC"], [GLASS.name])[:1]
    runner.run(tasks, jobs=1)
    result = json.loads(tasks[0].path.read_text())
    assert result["kind"] == "ceiling"
    assert result["transductive"] is None


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_has_its_command(name: str) -> None:
    assert command_line.parser().parse_args([name]).command == name
    assert command_line.parser().parse_args(["show", name]).what == name
