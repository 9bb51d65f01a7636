"""The suites, by the name of their command."""

from __future__ import annotations

from benchmarks import cells, measures, methods, report
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
}
