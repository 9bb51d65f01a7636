"""The benchmarks' own arithmetic, data and cache; no accuracy is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import cells, controls, methods, report, runner, sources, speed
from benchmarks.cells import ABLATION_CELLS, CELLS, Cell
from benchmarks.scores import Scores
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


# Two cells of two folds. In cell "a" DDMP is ahead by .02 and .06, in "b" it is behind
# "knn" by .00 and .02 and behind "svc" by .05 and .05.
ACCURACY = {
    "a": {
        "DDMP": (0.82, 0.86),
        "knn": (0.80, 0.80),
        "svc": (0.70, 0.70),
        "truth: svc": (0.99, 0.99),
    },
    "b": {
        "DDMP": (0.50, 0.50),
        "knn": (0.50, 0.52),
        "svc": (0.55, 0.55),
        "truth: svc": (0.99, 0.99),
    },
}
KINDS = {"DDMP": "ours", "DMIS": "ours", "truth: svc": "ceiling"}


def _results(
    table: dict[str, dict[str, tuple[float, ...]]],
) -> list[dict[str, object]]:
    return [
        {
            "method": method,
            "kind": KINDS.get(method, "baseline"),
            "cell": cell,
            "seed": 0,
            "fold": k,
            "score": accuracy,
            "covering": 1.0,
            "transductive": None,
            "fit_seconds": 1.0 + k,
            "predict_seconds": 0.1,
            "warnings": [],
        }
        for cell, row in table.items()
        for method, folds in row.items()
        for k, accuracy in enumerate(folds)
    ]


@pytest.fixture
def scores() -> Scores:
    return Scores.of(_results(ACCURACY), ["a", "b"], list(ACCURACY["a"]))


# -- arithmetic ------------------------------------------------------------------------


def test_mean_and_spread_are_those_of_the_folds(scores: Scores) -> None:
    assert scores.mean("a", "DDMP") == pytest.approx(0.84)
    assert scores.spread("a", "DDMP") == pytest.approx(0.02 * 2**0.5)  # ddof = 1
    assert scores.average("fit_seconds", method="svc") == pytest.approx(1.5)


def test_ranks_leave_ceilings_out(scores: Scores) -> None:
    ranks = {m: r.tolist() for m, r in scores.ranks().items()}
    assert ranks == {"DDMP": [1, 3], "knn": [2, 2], "svc": [3, 1]}


def test_equal_means_share_their_rank() -> None:
    table = {"a": {"DDMP": (0.7, 0.5), "knn": (0.5, 0.7), "svc": (0.9, 0.9)}}
    ranks = Scores.of(_results(table), ["a"], list(table["a"])).ranks()
    assert [r[0] for r in ranks.values()] == [2.5, 2.5, 1.0]


def test_a_method_with_a_missing_fold_has_no_rank() -> None:
    table = {"a": {"DDMP": (0.7, 0.5), "knn": (0.9,)}}
    scores = Scores.of(_results(table), ["a"], list(table["a"]))
    assert scores.ranked() == ["DDMP"]


def test_paired_error_is_that_of_the_fold_differences(scores: Scores) -> None:
    one = scores.paired("DDMP", "knn", ["a"])
    assert one.n == 2
    assert one.mean == pytest.approx(0.04)  # of .02 and .06
    assert one.error == pytest.approx(0.02)  # sd .02 * sqrt(2), over sqrt(2)
    both = scores.paired("DDMP", "knn", ["a", "b"])  # .02, .06, .00, -.02
    assert both.mean == pytest.approx(0.015)
    squares = 0.005**2 + 0.045**2 + 0.015**2 + 0.035**2
    assert both.error == pytest.approx((squares / 3 / 4) ** 0.5)


def test_only_folds_that_both_have_are_paired() -> None:
    table = {"a": {"DDMP": (0.7, 0.5), "knn": (0.6,)}}
    scores = Scores.of(_results(table), ["a"], list(table["a"]))
    assert scores.differences("a", "DDMP", "knn") == pytest.approx([0.1])


def test_best_of_each_row_and_who_is_near_it(scores: Scores) -> None:
    a, b = report.row_gaps(scores, "DDMP")
    assert (a.best, a.near, a.far) == ("knn", True, False)
    assert (b.best, b.near, b.far) == ("svc", False, True)
    assert b.gap.mean == pytest.approx(-0.05)
    assert b.gap.error == pytest.approx(0)


@pytest.mark.parametrize(
    ("ours", "near", "far"),
    [
        ((0.59, 0.592), True, False),  # -.009: within .01
        ((0.585, 0.585), False, False),  # -.015, without spread
        ((0.54, 0.62), True, False),  # -.02 with an error of .04
        ((0.50, 0.63), True, True),  # -.035 with an error of .065: near, yet far
    ],
)
def test_near_is_one_error_or_one_hundredth(
    ours: tuple[float, float], near: bool, far: bool
) -> None:
    table = {"a": {"DDMP": ours, "knn": (0.6, 0.6)}}
    scores = Scores.of(_results(table), ["a"], ["DDMP", "knn"])
    row = report.row_gaps(scores, "DDMP")[0]
    assert (row.near, row.far) == (near, far)


def test_acceptance_names_what_was_missed(scores: Scores) -> None:
    text = "\n".join(report.acceptance(scores, "DDMP"))
    assert "**missed**: ahead of every baseline in mean rank: 2.00" in text
    assert "next baseline knn, 2.00" in text
    assert "met: above the best single baseline by mean rank: knn: +0.0150" in text
    assert "**missed**: at least 2 of 2 cells" in text
    assert "1; misses: b (-0.050)" in text


def test_another_of_ours_is_no_baseline() -> None:
    # DMIS is the best of each row, and takes a rank, but no goal is about it.
    table = {cell: row | {"DMIS": (0.98, 0.98)} for cell, row in ACCURACY.items()}
    scores = Scores.of(_results(table), ["a", "b"], list(table["a"]))
    assert report.baselines(scores) == ["knn", "svc"]
    assert [gap.best for gap in report.row_gaps(scores, "DDMP")] == ["knn", "svc"]
    text = "\n".join(report.acceptance(scores, "DDMP"))
    assert "ahead of every baseline in mean rank: 3.00; next baseline knn, 3.00" in text
    assert "DMIS" not in text


def test_each_of_ours_has_goals_of_its_own() -> None:
    table = {"segment uniform .3": ACCURACY["a"] | {"DMIS": (0.7, 0.7)}}
    scores = Scores.of(_results(table), list(table), [*ACCURACY["a"], "DMIS"])
    text = "\n".join(report.accuracy_body(scores))
    ours, other = text.split("## DMIS against its goal\n")
    assert ours.count("## DDMP against its goals\n") == 1
    assert "at least 1 of 1 cells within" in ours
    assert other.count("- ") == 1


# Mean ranks over the first two: svc 1.5, DDMP 2, DMIS 2.5 and knn 4. Over all three,
# DMIS and svc would have 2 and be first.
DMIS_TABLE = {
    "segment uniform .3": {"DDMP": 0.9, "svc": 0.8, "DMIS": 0.7, "knn": 0.6},
    "digits instance .3": {"DDMP": 0.7, "svc": 0.8, "DMIS": 0.75, "knn": 0.6},
    "segment pair .9": {"DDMP": 0.1, "svc": 0.1, "DMIS": 0.9, "knn": 0.1},
}


def _dmis_goals(table: dict[str, dict[str, float]]) -> list[str]:
    folds = {c: {m: (v, v) for m, v in row.items()} for c, row in table.items()}
    names = list(next(iter(table.values())))
    return report.dmis_goals(Scores.of(_results(folds), list(table), names))


def test_dmis_is_ranked_on_its_cells_and_whoever_is_ahead_is_named() -> None:
    assert _dmis_goals(DMIS_TABLE) == [
        "- **missed**: first or second in mean rank over 2 cells (segment uniform .3, "
        "digits instance .3): 2.50; ahead of it: svc (1.50), DDMP (2.00)"
    ]


def test_dmis_may_be_second() -> None:
    rows = {
        c: {m: v for m, v in row.items() if m != "svc"} for c, row in DMIS_TABLE.items()
    }
    (line,) = _dmis_goals({"digits uniform .3": rows["segment uniform .3"]})
    assert line.startswith("- met: ")
    assert line.endswith(
        "over 1 cells (digits uniform .3): 2.00; ahead of it: DDMP (1.00)"
    )


def test_dmis_has_no_goal_without_its_cells_or_itself() -> None:
    assert _dmis_goals({"segment pair .9": DMIS_TABLE["segment pair .9"]}) == []
    assert _dmis_goals({"lost": {"DDMP": 0.7, "knn": 0.6}}) == []


def test_cells_of_dmis_are_among_the_cells() -> None:
    assert len(report.DMIS_CELLS) == 11
    assert set(report.DMIS_CELLS) < {cell.name for cell in CELLS}


def test_thresholds_apply_to_the_real_sets() -> None:
    table = {"lost": {"DDMP": (0.75, 0.75)}, "msrcv2": {"DDMP": (0.5, 0.5)}}
    scores = Scores.of(_results(table), ["lost", "msrcv2"], ["DDMP"])
    assert report.acceptance(scores, "DDMP") == [
        "- met: lost at least .740: 0.7500",
        "- **missed**: msrcv2 at least .540: 0.5000",
    ]


def test_report_names_no_path_and_says_what_is_missing() -> None:
    tasks = [
        runner.Task("accuracy", GLASS, 0, k, "PL-kNN") for k in range(cells.N_FOLDS)
    ]
    table = {GLASS.name: {"PL-kNN": (0.5, 0.6)}}
    results = _results(table)
    text = report.make(SUITES["accuracy"], tasks, results, "python -m benchmarks show")
    assert "Incomplete: 2 of 5 fits are done" in text
    assert ".550 ± .071 (1)" in text
    assert str(Path.cwd()) not in text


def test_ablation_shows_the_default_minus_the_row(scores: Scores) -> None:
    rows = report.ablation_body(scores)
    knn = next(line for line in rows if line.startswith("| knn"))
    assert "| .800 ± .000 (+0.040) | .510 ± .014 (-0.010) | +0.0150 ±" in knn


def test_a_missed_target_shows_in_the_speed_table() -> None:
    missed = speed.Figure("epoch", 1.3, 1.25, "x")
    assert not missed.met
    assert "| epoch | 1.3 x | 1.25 x | **no** |" in speed.table([missed], "")


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
