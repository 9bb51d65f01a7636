"""The arithmetic of the benchmarks, the report on accuracies, and its goals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cells, report, runner, speed, training_speed
from benchmarks.cells import CELLS, Cell
from benchmarks.scores import Scores
from benchmarks.suites import SUITES

GLASS = Cell("glass", "uniform", 0.7)

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
    assert ours.count("against its goal") == 1
    assert "## DDMP against its goals\n" in ours
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


@pytest.mark.parametrize("epoch", ["our_epoch", "bare_epoch"])
def test_both_epochs_are_of_the_same_updates(
    epoch: str, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"N_FEATURES": 6, "WIDTH": 8, "N_TIMESTEPS": 5}.items():
        monkeypatch.setattr(training_speed, name, value)
    run = getattr(training_speed, epoch)(training_speed.tables(60), 20)
    with watch() as seen:
        run()
    adamw = seen.operations[torch.ops.aten._fused_adamw_.default]
    assert adamw == 2 * 3  # biases apart from the rest, in three batches
    products = sum(seen.operations[product] for product in training_speed.PRODUCTS)
    # Seven layers or parts of them: forward, to the weights, and to four inputs.
    assert products == (7 + 7 + 4) * 3


def test_products_of_an_update_run_alone(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_speed, "WIDTH", 8)
    alone = training_speed.products(20)
    with watch() as seen:
        alone()
    assert sum(seen.operations.values()) == 7 + 7 + 4
    assert set(seen.operations) == set(training_speed.PRODUCTS)


def test_profile_names_what_takes_longest() -> None:
    a = torch.randn((500, 500))
    (first, share), *rest = training_speed.profiled(lambda: (a @ a).sum())
    assert first == "aten::mm" and share > 0.5
    assert share + sum(p for _, p in rest) <= 1 + 1e-9


def test_a_missed_target_shows_in_the_speed_table() -> None:
    missed = speed.Figure("epoch", 1.3, 1.25, "x")
    assert not missed.met
    assert "| epoch | 1.3 x | 1.25 x | **no** |" in speed.table([missed], "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7342, ".734"),
        (-0.02, "-.020"),
        (1.0, "1.000"),
        (10.25, "10.250"),
        (float("nan"), "-"),
    ],
)
def test_numbers_are_short(value, text):
    assert report.short(value) == text
