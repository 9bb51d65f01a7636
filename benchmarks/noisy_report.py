"""What the reports on wrong labels say, and their goals; misses are named."""

from __future__ import annotations

import numpy as np

from benchmarks.noisy_cells import CELLS
from benchmarks.report import (
    against_best,
    baselines,
    goal,
    markdown,
    method_table,
    plus_minus,
    score_tables,
    short,
)
from benchmarks.scores import Scores

OURS = "DTM"  # whose goals are judged
CROSS_ENTROPY = "cross-entropy"
OUTDONE = ("VolMinNet", "CleanLearning")  # where many labels are wrong
MARGIN = 0.02  # by so much
TOLERANCE = 0.01  # what a cell may lose
HEAVY_CELLS = tuple(cell.name for cell in CELLS if cell.heavy)


def noisy_body(scores: Scores) -> list[str]:
    """Tables of accuracies, and the goals."""
    text = (
        "Accuracy on clean test labels, mean ± standard deviation over seeds, in "
        "brackets the rank in its row. A seed decides the split, the wrong labels and "
        "the estimator's own draws. X is passed raw, every method standardises by "
        "itself; all networks are perceptrons of layers 256 and 256, trained for 500 "
        "updates, from 20 to 100 epochs; the network of LRA is its own, "
        'with that budget. The ceiling ("truth") learns from the true labels and takes '
        "no part in ranks."
    )
    return _body(text, scores, f"{OURS} against its goals", noisy_goals(scores))


def issues_body(scores: Scores) -> list[str]:
    """Tables of average precision, and the goals."""
    text = (
        "Average precision of finding the training rows whose label is wrong, mean ± "
        "standard deviation over seeds, in brackets the rank in its row. A random "
        "order reaches the share of wrong labels."
    )
    return _body(text, scores, "Against the goals", issue_goals(scores))


def _body(text: str, scores: Scores, heading: str, goals: list[str]) -> list[str]:
    lines = [text, "", *score_tables(scores), *cell_facts(scores), ""]
    lines += ["## By method", "", *method_table(scores)]
    return [*lines, "", f"## {heading}", "", *goals] if goals else lines


def cell_facts(scores: Scores) -> list[str]:
    """Training rows and wrong labels of each cell."""
    rows = [
        [
            cell,
            f"{scores.average('rows', cell=cell):.0f}",
            short(scores.average("wrong", cell=cell)),
        ]
        for cell in scores.cells
    ]
    return markdown(["cell", "training rows", "wrong labels"], rows)


def noisy_goals(scores: Scores) -> list[str]:
    """Every goal of DTM with what was reached; none before it is complete."""
    if OURS not in scores.ranked():
        return []
    peers = baselines(scores)
    lines = against_best(scores, OURS)
    if CROSS_ENTROPY in peers:
        text = f"no cell more than {short(TOLERANCE)} below {CROSS_ENTROPY}"
        lines.append(losses_goal(text, losses(scores, OURS, [CROSS_ENTROPY])))
    heavy = [cell for cell in scores.cells if cell in HEAVY_CELLS]
    for other in OUTDONE:
        if other in peers and heavy:
            gap = scores.paired(OURS, other, heavy)
            lines.append(
                goal(
                    f"at least {short(MARGIN)} above {other} where 30 % of the labels "
                    "or more are wrong, by the nominal rate",
                    gap.mean >= MARGIN,
                    f"{plus_minus(gap)} over {gap.n} runs of {len(heavy)} cells",
                )
            )
    return lines


def issue_goals(scores: Scores) -> list[str]:
    """Each of ours against the best of the others in each cell."""
    others = baselines(scores)
    lines = []
    for ours in scores.ours:
        if not others or ours not in scores.ranked():
            continue
        gaps = [best_gap(scores, ours, others, cell) for cell in scores.cells]
        mean = float(np.mean(gaps))
        lines += [
            goal(
                f"{ours}: higher on average than the best of cleanlab in each cell",
                mean > 0,
                f"{mean:+.4f} over {len(gaps)} cells",
            ),
            losses_goal(
                f"{ours}: never lower by more than {short(TOLERANCE)}",
                losses(scores, ours, others),
            ),
        ]
    return lines


def best_gap(scores: Scores, ours: str, others: list[str], cell: str) -> float:
    """Ours minus the best of the others in a cell."""
    best = max(others, key=lambda m: scores.mean(cell, m))
    return scores.paired(ours, best, [cell]).mean


def losses(scores: Scores, ours: str, others: list[str]) -> dict[str, float]:
    """Cells where ours is lower by more than the tolerance."""
    gaps = {cell: best_gap(scores, ours, others, cell) for cell in scores.cells}
    return {cell: gap for cell, gap in gaps.items() if gap < -TOLERANCE}


def losses_goal(text: str, lost: dict[str, float]) -> str:
    named = ", ".join(f"{cell} ({gap:+.3f})" for cell, gap in lost.items())
    return goal(text, not lost, f"{len(lost)}; misses: {named or 'none'}")
