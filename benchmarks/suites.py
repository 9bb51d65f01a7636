"""The suites, by the name of their command."""

from __future__ import annotations

from benchmarks import (
    cells,
    measures,
    methods,
    noisy_cells,
    noisy_methods,
    noisy_report,
    report,
)
from benchmarks.frame import Suite

SUITES = {
    "accuracy": Suite(
        title="Accuracy",
        help="every method on every cell of candidate sets (31 cells)",
        cells=cells.CELLS,
        methods=methods.accuracy_methods,
        split=cells.split,
        measure=measures.accuracy,
        body=report.accuracy_body,
        folder="candidates",
        n_folds=cells.N_FOLDS,
    ),
    "ablation": Suite(
        title="Ablation and controls",
        help="DDMP with parts changed or taken out (5 cells)",
        cells=cells.ABLATION_CELLS,
        methods=methods.ablation_methods,
        split=cells.split,
        measure=measures.accuracy,
        body=report.ablation_body,
        folder="candidates",
        n_folds=cells.N_FOLDS,
    ),
    "noisy": Suite(
        title="Accuracy with wrong labels",
        help="every method on every cell of wrong labels (16 cells)",
        cells=noisy_cells.CELLS,
        methods=noisy_methods.noisy_methods,
        split=noisy_cells.split,
        measure=measures.accuracy,
        body=noisy_report.noisy_body,
        folder="noisy",
        packages=("cleanlab",),
    ),
    "noisy-ablation": Suite(
        title="DTM with parts changed or taken out",
        help="DTM with parts changed or taken out (5 cells)",
        cells=noisy_cells.ABLATION_CELLS,
        methods=noisy_methods.ablation_methods,
        split=noisy_cells.split,
        measure=measures.accuracy,
        body=report.ablation_body,
        folder="noisy",
    ),
    "issues": Suite(
        title="Finding wrong labels",
        help="average precision of finding the wrong labels (5 cells)",
        cells=noisy_cells.ISSUE_CELLS,
        methods=noisy_methods.issue_methods,
        split=noisy_cells.split,
        measure=measures.issue_precision,
        body=noisy_report.issues_body,
        folder="issues",
        packages=("cleanlab",),
    ),
}
