"""Results as markdown: the tables, and the summary against "It is done when"."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sklearn
import torch

from benchmarks.frame import ROOT, Suite
from benchmarks.scores import Difference, Scores

if TYPE_CHECKING:
    from benchmarks.runner import Task

OURS = "DDMP"  # whose goals are judged
THRESHOLDS = {"lost": 0.74, "msrcv2": 0.54, "birdsong": 0.74}
NEAR = 0.01  # within this, or one paired standard error, of the best of the row
FAR = 0.02  # no cell may be worse than this
SHARE_NEAR = 26 / 31
# Where DMIS, which learns how inputs look, should be first or second.
DMIS = "DMIS"
DMIS_CELLS = (
    *("lost", "msrcv2", "birdsong"),
    *(
        f"{name} {kind} .3"
        for name in ("digits", "vehicle", "segment", "pendigits")
        for kind in ("uniform", "instance")
    ),
)
COLUMNS = 7  # methods side by side
# Columns of the table by method, each with its heading, where a suite measures it.
HEADINGS = {
    "covering": "covering rate",
    "transductive": "accuracy on training rows",
    "entangled_0.001": "accuracy on entangled rows",
    "fit_seconds": "fit seconds",
    "predict_seconds": "predict seconds",
}
DECIMALS = {"fit_seconds": 2, "predict_seconds": 3}


class RowGap(NamedTuple):
    """Our distance to the best baseline of one cell."""

    cell: str
    best: str
    gap: Difference

    @property
    def near(self) -> bool:
        """Within max(one paired standard error, .01) of it, or better."""
        return self.gap.mean >= -max(np.nan_to_num(self.gap.error), NEAR)

    @property
    def far(self) -> bool:
        """Worse by more than .02."""
        return self.gap.mean < -FAR


def make(
    suite: Suite, tasks: list[Task], results: list[dict[str, Any]], command: str
) -> str:
    """Write the whole document."""
    cells = list(dict.fromkeys(task.cell.name for task in tasks))
    methods = list(dict.fromkeys(task.method for task in tasks))
    scores = Scores.of(results, cells, methods)
    seeds = sorted({task.seed for task in tasks})
    lines = [
        f"# {suite.title}",
        "",
        *provenance(command, ", ".join(map(str, seeds)), suite.packages),
    ]
    if len(results) < len(tasks):
        lines += ["", f"**Incomplete: {len(results)} of {len(tasks)} fits are done.**"]
    if results:
        lines += ["", *suite.body(scores), *warning_lines(results)]
    return "\n".join(lines)


def publish(text: str, path: Path | None) -> None:
    """Print a report, and keep it where a file is given."""
    print(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def provenance(command: str, seeds: str, packages: tuple[str, ...] = ()) -> list[str]:
    """Command, versions, seeds and date."""
    further = "".join(f"{name} {installed(name)}, " for name in packages)
    return [
        f"    {command}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}; seeds {seeds}; sklabeldiff {commit()}, "
        f"scikit-learn {sklearn.__version__}, torch {torch.__version__}, "
        f"numpy {np.__version__}, {further}Python {platform.python_version()}.",
    ]


def installed(package: str) -> str:
    """Version of a package that may not be there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """Hash of the checkout, marked where the package differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--", "sklabeldiff", "benchmarks")
    return (git("rev-parse", "--short", "HEAD") or "no commit") + (
        " with changes" if changed else ""
    )


# -- accuracy --------------------------------------------------------------------------


def accuracy_body(scores: Scores) -> list[str]:
    lines = [
        "Test accuracy, mean ± standard deviation over folds and seeds, in brackets "
        "the rank in its row. X is passed raw, every method scales by itself. Ceilings "
        '("truth") learn from the true labels and take no part in ranks.',
        "",
        *score_tables(scores),
        "## By method",
        "",
        *method_table(scores),
        "",
    ]
    if OURS in scores.ranked():
        lines += [f"## {OURS} against its goals", "", *acceptance(scores, OURS), ""]
    goals = dmis_goals(scores)
    return [*lines, f"## {DMIS} against its goal", "", *goals] if goals else lines


def score_tables(scores: Scores) -> list[str]:
    """Rows cells, columns methods, some columns at a time."""
    ranks = scores.ranks()
    lines: list[str] = []
    for start in range(0, len(scores.methods), COLUMNS):
        methods = scores.methods[start : start + COLUMNS]
        rows = []
        for i, cell in enumerate(scores.cells):
            row = [cell]
            for m in methods:
                rank = f" ({ranks[m][i]:g})" if m in ranks else ""
                mean, spread = scores.mean(cell, m), scores.spread(cell, m)
                row.append(f"{short(mean)} ± {short(spread)}{rank}")
            rows.append(row)
        lines += [*markdown(["cell", *methods], rows), ""]
    return lines


def method_table(scores: Scores) -> list[str]:
    """Mean rank, score and what else was measured, best rank first."""
    mean_rank = {m: float(ranks.mean()) for m, ranks in scores.ranks().items()}
    order = sorted(scores.methods, key=lambda m: mean_rank.get(m, np.inf))
    columns = [name for name in HEADINGS if not np.isnan(scores.average(name))]
    rows = [
        [
            m,
            f"{mean_rank[m]:.2f}" if m in mean_rank else why_unranked(scores, m),
            short(scores.total(m)),
            *(figure(name, scores.average(name, method=m)) for name in columns),
        ]
        for m in order
    ]
    head = ["method", "mean rank", "mean over cells"]
    return markdown([*head, *(HEADINGS[name] for name in columns)], rows)


def figure(name: str, value: float) -> str:
    """Format seconds with their decimals, shares as `short` does."""
    return f"{value:.{DECIMALS[name]}f}" if name in DECIMALS else short(value)


def why_unranked(scores: Scores, method: str) -> str:
    return "ceiling" if scores.kinds[method] == "ceiling" else "incomplete"


def baselines(scores: Scores) -> list[str]:
    """Methods of others that take part in ranks."""
    return [m for m in scores.ranked() if scores.kinds[m] == "baseline"]


def row_gaps(scores: Scores, ours: str) -> list[RowGap]:
    """For every cell the best baseline of its row, and our paired difference to it."""
    others = baselines(scores)
    gaps = []
    for cell in scores.cells:
        best = max(others, key=lambda m: scores.mean(cell, m))
        gaps.append(RowGap(cell, best, scores.paired(ours, best, [cell])))
    return gaps


def acceptance(scores: Scores, ours: str) -> list[str]:
    """Every goal with what was reached; misses are named."""
    lines = [
        goal(
            f"{cell} at least {short(least)}",
            scores.mean(cell, ours) >= least,
            f"{scores.mean(cell, ours):.4f}",
        )
        for cell, least in THRESHOLDS.items()
        if cell in scores.cells
    ]
    if not baselines(scores):
        return lines
    lines += against_best(scores, ours)
    gaps = row_gaps(scores, ours)
    near = [row for row in gaps if row.near]
    far = [row for row in gaps if row.far]
    needed = int(np.ceil(SHARE_NEAR * len(gaps) - 1e-9))
    lines += [
        goal(
            f"at least {needed} of {len(gaps)} cells within max(one paired standard "
            f"error, {short(NEAR)}) of the best of the row",
            len(near) >= needed,
            f"{len(near)}; misses: {names(r for r in gaps if not r.near)}",
        ),
        goal(
            f"no cell more than {short(FAR)} below the best of its row",
            not far,
            f"{len(far)}; misses: {names(far)}",
        ),
        "",
        f"Differences are {ours} minus baseline, ± one standard error of paired folds. "
        "Folds share training rows, and those of different seeds test rows: the errors "
        "are rather too small.",
        "",
        *gap_table(scores, ours, gaps),
    ]
    return lines


def against_best(scores: Scores, ours: str) -> list[str]:
    """Goals: ahead of all baselines in mean rank, and above the best single one."""
    ranks = {m: float(r.mean()) for m, r in scores.ranks().items()}
    others = baselines(scores)
    if not others:
        return []
    by_rank = min(others, key=lambda m: ranks[m])
    by_mean = max(others, key=scores.total)
    lines = [
        goal(
            "ahead of every baseline in mean rank",
            ranks[ours] < ranks[by_rank],
            f"{ranks[ours]:.2f}; next baseline {by_rank}, {ranks[by_rank]:.2f}",
        )
    ]
    for text, other in (("mean rank", by_rank), ("mean accuracy", by_mean)):
        folds = scores.paired(ours, other, scores.cells)
        cells = scores.paired_cells(ours, other)
        lines.append(
            goal(
                f"above the best single baseline by {text}",
                folds.mean > 0,
                f"{other}: {plus_minus(folds)} over {folds.n} folds, "
                f"{plus_minus(cells)} over {cells.n} cells",
            )
        )
    return lines


def dmis_goals(scores: Scores) -> list[str]:
    """Whether DMIS is first or second where it should be; none before it is complete.

    Ranks are among all methods, ours included.
    """
    held = [i for i, cell in enumerate(scores.cells) if cell in DMIS_CELLS]
    ranks = {m: float(r[held].mean()) for m, r in scores.ranks().items() if held}
    if len(ranks) < 2 or DMIS not in ranks:
        return []
    own = ranks.pop(DMIS)
    ahead = sorted((rank, m) for m, rank in ranks.items() if rank < own)
    named = ", ".join(f"{m} ({rank:.2f})" for rank, m in ahead) or "none"
    cells = ", ".join(scores.cells[i] for i in held)
    return [
        goal(
            f"first or second in mean rank over {len(held)} cells ({cells})",
            len(ahead) < 2,
            f"{own:.2f}; ahead of it: {named}",
        )
    ]


def rivals(scores: Scores, ours: str, others: tuple[str, ...]) -> list[str]:
    """Those that can be compared: they and ours are complete."""
    ranked = scores.ranked()
    return [other for other in others if ours in ranked and other in ranked]


def over_runs(gap: Difference) -> str:
    return f"{plus_minus(gap)} over {gap.n} runs"


def gap_table(scores: Scores, ours: str, gaps: list[RowGap]) -> list[str]:
    rows = [
        [
            row.cell,
            short(scores.mean(row.cell, ours)),
            row.best,
            short(scores.mean(row.cell, row.best)),
            f"{row.gap.mean:+.4f}",
            f"{row.gap.error:.4f}",
            "**far below**" if row.far else "yes" if row.near else "**no**",
        ]
        for row in gaps
    ]
    head = ["cell", ours, "best baseline", "accuracy", "difference", "error", "near"]
    return markdown(head, rows)


def goal(text: str, met: bool, found: str) -> str:
    return f"- {'met' if met else '**missed**'}: {text}: {found}"


def names(rows: Iterable[RowGap]) -> str:
    return ", ".join(f"{r.cell} ({r.gap.mean:+.3f})" for r in rows) or "none"


# -- ablation --------------------------------------------------------------------------


def ablation_body(scores: Scores) -> list[str]:
    """Rows methods, columns cells: accuracy and the difference to the default."""
    ours = next(iter(scores.ours), None)
    rows = []
    for m in scores.methods:
        row = [m]
        for cell in scores.cells:
            text = f"{short(scores.mean(cell, m))} ± {short(scores.spread(cell, m))}"
            if ours not in (None, m):
                text += f" ({scores.paired(ours, m, [cell]).mean:+.3f})"
            row.append(text)
        if ours is not None:
            paired = scores.paired(ours, m, scores.cells)
            row.append("" if m == ours else plus_minus(paired))
        row.append(f"{scores.average('fit_seconds', method=m):.2f}")
        rows.append(row)
    head = ["method", *scores.cells]
    if ours is not None:
        head.append(f"{ours} minus this, all folds")
    return [
        "Test accuracy, mean ± standard deviation over folds and seeds; in brackets "
        "the default minus this row on the same folds: above zero, the change does "
        "harm. The last but one column adds one standard error of paired folds.",
        "",
        *markdown([*head, "fit seconds"], rows),
    ]


# -- parts -----------------------------------------------------------------------------


def warning_lines(results: list[dict[str, Any]]) -> list[str]:
    """How many fits warned, by method and kind of warning."""
    counts: dict[str, int] = {}
    for r in results:
        for text in r.get("warnings", ()):
            key = f"{r['method']}: {text.split(':')[0]}"
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return []
    listed = [f"- {key}, {n} fits" for key, n in sorted(counts.items())]
    return ["", "Warnings (non-convergence of baselines aside):", "", *listed]


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """Format a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def short(value: float) -> str:
    """.734 for 0.734; a dash for what is not there."""
    if np.isnan(value):
        return "-"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def plus_minus(difference: Difference) -> str:
    error = "-" if np.isnan(difference.error) else f"{difference.error:.4f}"
    return f"{difference.mean:+.4f} ± {error}"
