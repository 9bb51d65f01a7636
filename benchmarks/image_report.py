"""What the report on images says: two tables, the goals, and what papers claim."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.image_cells import N_TRAIN, NOISY_CELLS, SET_CELLS, ImageCell
from benchmarks.noisy_report import cell_facts
from benchmarks.report import (
    gap_table,
    goal,
    markdown,
    method_table,
    over_runs,
    plus_minus,
    rivals,
    row_gaps,
    score_tables,
    short,
)
from benchmarks.scores import Scores

SET_OURS = "DDMP"
SET_RIVALS = ("PL-kNN", "kNN vote", "kNN vote, unscaled", "PRODEN")
NOISY_OURS = "DTM"
NOISY_RIVALS = ("cross-entropy", "CleanLearning")
WORST = "CIFAR-10N worst"

TEXT = (
    "Accuracy on true test labels, mean ± standard deviation over seeds, in brackets "
    "the rank in its row. All methods get the same features, raw, and scale by "
    "themselves: 128 principal components of a frozen MobileNetV2, trained on ImageNet "
    f"(supervised), at 128 x 128 pixels. A seed decides which {N_TRAIN} images are for "
    "training, the made labels and the estimator's own draws. Test images are the "
    "10,000 of CIFAR-10 and 5000 of Fashion-MNIST; for the labels of people, other "
    "images of those that people labelled: 10,000 of CIFAR-10N, 7000 of CIFAR-10H. "
    "All settings are defaults, but for the 40 epochs of MLPClassifier, whose 200 "
    "overfit, and one vote of neighbours without scaled columns: scaling gives small "
    "components the weight of large ones, which harms neighbours most. "
    'Ceilings ("truth") learn from the true labels and take no part in ranks.'
)
SETS_TEXT = (
    "Uniform: every wrong label enters with that probability, so 1.9, 3.7 and 5.5 "
    "candidates a row on average. Instance: the labels that a network trained on the "
    "true ones confuses, about 4.4 a row. CIFAR-10N three answers: the labels of three "
    "annotators as a set, 1.5 a row; the true class is missing in 2 % of the rows. "
    "CIFAR-10H shares: what part of about 51 people gave each label, as soft weights."
)
NOISY_TEXT = (
    "One human label a row. Cross-entropy and CleanLearning want such labels and are "
    "not run on sets; methods for sets take them as sets of one, which they trust."
)


class Claim(NamedTuple):
    """A paper's figure, and the cells here that come nearest."""

    method: str
    figure: str
    setting: str
    encoder: str
    source: str
    cells: tuple[str, ...]


DDMP_PAPER = "Fan et al., arXiv:2507.00411, as a summary of it quotes"
DDMP_SETTING = "CIFAR-10; the summary does not say with which candidates"
DTM_PAPER = "anonymous, OpenReview zeNwOAcb4q, 2024"
DMIS_PAPER = "Wu et al., arXiv:2510.03016"
UNIFORM, FASHION_UNIFORM = (
    tuple(f"{name} uniform .{k}" for k in (1, 3, 5))
    for name in ("CIFAR-10", "Fashion-MNIST")
)
CLAIMS = (
    Claim("DDMP", "94.37 %", DDMP_SETTING, "CLIP, frozen", DDMP_PAPER, UNIFORM),
    Claim("DDMP", "93.43 %", DDMP_SETTING, "SimCLR, frozen", DDMP_PAPER, UNIFORM),
    Claim(
        *(
            "DTM",
            "96.4 %",
            "CIFAR-10, made wrong labels; our notes do not say how many",
        ),
        *("SimCLR for the matrices, ResNet-18 to classify", DTM_PAPER, ()),
    ),
    Claim(
        *("DMIS", "93.21 %", "CIFAR-10N; which of its labels, our notes do not say"),
        *("none: a diffusion of the images", DMIS_PAPER, ()),
    ),
    Claim(
        *("DMIS", "94.27 %", "Fashion-MNIST, random candidates"),
        *("none: a diffusion of the images", DMIS_PAPER, FASHION_UNIFORM),
    ),
)


def images_body(scores: Scores) -> list[str]:
    """Tables of sets and of wrong labels, the goals, and the claims of papers."""
    sets, noisy = part(scores, SET_CELLS), part(scores, NOISY_CELLS)
    lines = [TEXT, ""]
    if sets.cells:
        lines += ["## Candidate sets", "", SETS_TEXT, "", *score_tables(sets)]
        lines += [*method_table(sets), ""]
    if noisy.cells:
        lines += ["## Wrong labels", "", NOISY_TEXT, "", *score_tables(noisy)]
        lines += [*cell_facts(noisy), "", *method_table(noisy), ""]
    goals = [*set_goals(sets), *noisy_goals(noisy)]
    if goals:
        lines += ["## Against the goals", "", *goals, ""]
    lines += distances(sets)
    return lines + claims(scores)


def part(scores: Scores, cells: tuple[ImageCell, ...]) -> Scores:
    """Scores of some cells, without the methods that were not tried there."""
    names = {cell.name for cell in cells}
    found = [cell for cell in scores.cells if cell in names]
    tried = [
        method
        for method in scores.methods
        if any(np.isfinite(scores.values(cell, method)).any() for cell in found)
    ]
    other = {key: figures for key, figures in scores.other.items() if key[0] in names}
    return replace(scores, cells=found, methods=tried, other=other)


def set_goals(scores: Scores) -> list[str]:
    """DDMP above each of its rivals: on average, and in every cell."""
    lines = []
    for other in rivals(scores, SET_OURS, SET_RIVALS):
        gap = scores.paired(SET_OURS, other, scores.cells)
        gaps = {c: scores.paired(SET_OURS, other, [c]).mean for c in scores.cells}
        lost = [f"{cell} ({gap:+.4f})" for cell, gap in gaps.items() if gap <= 0]
        lines += [
            goal(f"{SET_OURS} above {other} on average", gap.mean > 0, over_runs(gap)),
            goal(
                f"{SET_OURS} above {other} in each of {len(gaps)} cells",
                not lost,
                f"{len(gaps) - len(lost)}; misses: {', '.join(lost) or 'none'}",
            ),
        ]
    return lines


def noisy_goals(scores: Scores) -> list[str]:
    """DTM above each of its rivals on the worst labels."""
    if WORST not in scores.cells:
        return []
    gaps = {
        other: scores.paired(NOISY_OURS, other, [WORST])
        for other in rivals(scores, NOISY_OURS, NOISY_RIVALS)
    }
    return [
        goal(f"{NOISY_OURS} above {other} on {WORST}", gap.mean > 0, over_runs(gap))
        for other, gap in gaps.items()
    ]


def distances(scores: Scores) -> list[str]:
    """DDMP minus its rivals in each cell, and minus the best of the row."""
    others = rivals(scores, SET_OURS, SET_RIVALS)
    if not others:
        return []
    rows = [
        [cell, *(plus_minus(scores.paired(SET_OURS, m, [cell])) for m in others)]
        for cell in scores.cells
    ]
    gaps = row_gaps(scores, SET_OURS)
    near = sum(row.near for row in gaps)
    return [
        f"{SET_OURS} minus its rivals, ± one standard error of paired seeds. Seeds "
        "share test images and some training images: the errors are rather too small.",
        "",
        *markdown(["cell", *(f"minus {m}" for m in others)], rows),
        "",
        f"{SET_OURS} minus the best baseline of each row, which is chosen by the "
        f"test labels. Near it, within max(one standard error, .01), in {near} of "
        f"{len(gaps)} rows.",
        "",
        *gap_table(scores, SET_OURS, gaps),
        "",
    ]


def claims(scores: Scores) -> list[str]:
    """Tell what papers report; only the last column was measured here."""
    rows = [
        [
            *(claim.method, claim.figure, claim.setting, claim.encoder, claim.source),
            " / ".join(short(scores.mean(c, claim.method)) for c in claim.cells) or "-",
        ]
        for claim in CLAIMS
    ]
    head = ["method", "claimed accuracy", "data", "encoder", "source", "measured here"]
    return [
        "## What papers claim, with other encoders",
        "",
        f"Claims, not results of this run: with other encoders and more than {N_TRAIN} "
        "training images. What can be reached on the features here, the ceilings tell. "
        "The last column repeats our results with uniform candidates of .1, .3 and .5.",
        "",
        *markdown(head, rows),
    ]
