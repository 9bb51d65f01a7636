"""What the report on few labels says, and its goals; misses are named."""

from __future__ import annotations

from benchmarks.report import (
    goal,
    markdown,
    method_table,
    over_runs,
    rivals,
    score_tables,
)
from benchmarks.scores import Scores

OURS = "DMIS"
RIVALS = (
    *("LabelSpreading", "SelfTraining, LogisticRegression"),
    "SelfTraining, SVC",
)


def semi_body(scores: Scores) -> list[str]:
    """Tables of accuracies, and the goals."""
    text = (
        "Accuracy on test rows, mean ± standard deviation over seeds, in brackets the "
        "rank in its row. The name of a cell ends with the share of training rows that "
        "keep their label, equal in all classes; the others have none. A seed decides "
        "the split, the labelled rows and the estimator's own draws. X is passed raw, "
        "every method scales by itself. LabelSpreading asks 7 neighbours; SelfTraining "
        "has the probabilities of SVC from a temperature, by 3 folds; all else are "
        "defaults, but for the iterations of LogisticRegression. "
        'Ceilings ("truth") learn from the labels of all training rows and take no '
        "part in ranks."
    )
    lines = [text, "", *score_tables(scores), *cell_facts(scores), ""]
    lines += ["## By method", "", *method_table(scores)]
    goals = semi_goals(scores)
    return [*lines, "", f"## {OURS} against its goals", "", *goals] if goals else lines


def cell_facts(scores: Scores) -> list[str]:
    """Training rows of each cell, and how many of them are labelled."""
    rows = []
    for cell in scores.cells:
        n_rows = scores.average("rows", cell=cell)
        # The mark of an unlabelled row is not its class: counted as wrong.
        n_labelled = n_rows * (1 - scores.average("wrong", cell=cell))
        rows.append([cell, f"{n_rows:.0f}", f"{n_labelled:.0f}"])
    return markdown(["cell", "training rows", "labelled"], rows)


def semi_goals(scores: Scores) -> list[str]:
    """DMIS above each of scikit-learn's methods, by the mean over cells and seeds."""
    gaps = {
        other: scores.paired(OURS, other, scores.cells)
        for other in rivals(scores, OURS, RIVALS)
    }
    return [
        goal(f"above {other} in mean", gap.mean > 0, over_runs(gap))
        for other, gap in gaps.items()
    ]
