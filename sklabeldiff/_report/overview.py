"""Sums over the rows of a report: tiles, confusions, calibration, classes.

What a single row says is in `rows`. Unlabelled rows may be any class, so they count
where it is said how many there are and what is believed, and not where labels are
judged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Judged, blocks

MAX_CONFUSED = 30  # classes in the table of confusions: what fits on a screen
TOP_PAIRS = 10
N_BINS = 10


def summary(judged: Judged, truth: NDArray[np.intp] | None) -> dict[str, Any]:
    """Totals; shares are over labelled rows, None where there is none."""
    labelled = ~judged.unlabelled
    sizes = judged.mask[labelled].sum(axis=1)
    totals = {
        "rows": len(judged.mask),
        "classes": judged.mask.shape[1],
        "candidates": _mean(sizes),
        "unlabelled": int(judged.unlabelled.sum()),
        "suspects": int((~judged.agrees).sum()),
        "wrong": _mean(1 - judged.score[labelled]),
    }
    if truth is not None:
        known = truth >= 0  # a true label that is no class is among no candidates
        held = judged.mask[np.arange(len(truth)), truth] & known
        totals["givenRight"] = _mean(held[labelled])
        totals["believedRight"] = _mean(truth == judged.believed)
    return totals


def confusions(judged: Judged) -> dict[str, Any]:
    """Count rows by given and by believed class.

    Expected numbers: a row counts as one, shared evenly among its candidates and, by
    belief, among the classes. Only the most confused classes are returned.
    """
    counts = _expected_counts(judged)
    off = counts.copy()
    np.fill_diagonal(off, 0)
    worst = np.argsort(-(off.sum(0) + off.sum(1)), kind="stable")[:MAX_CONFUSED]
    chosen = np.sort(worst)
    pairs = np.argsort(-off, axis=None, kind="stable")[:TOP_PAIRS]
    given, believed = np.unravel_index(pairs, off.shape)
    return {
        "classes": chosen.tolist(),
        "counts": np.round(counts[np.ix_(chosen, chosen)], 2).tolist(),
        "totals": np.round(counts.sum(1)[chosen], 2).tolist(),
        "pairs": [
            [int(j), int(k), round(float(off[j, k]), 2)]
            for j, k in zip(given, believed, strict=True)
            if off[j, k] >= 0.01
        ],
    }


def calibration(judged: Judged, truth: NDArray[np.intp] | None) -> dict[str, Any]:
    """Rows, mean confidence and share that holds, in bins of equal width.

    What holds is that the believed label is true or, without truth, that it is given.
    """
    if truth is None:
        holds, counted = judged.agrees, ~judged.unlabelled
    else:
        holds, counted = truth == judged.believed, np.ones(len(truth), dtype=bool)
    confidence = judged.confidence[counted]
    bins = np.minimum((confidence * N_BINS).astype(np.intp), N_BINS - 1)
    n_rows = np.bincount(bins, minlength=N_BINS)
    return {
        "againstTruth": truth is not None,
        "rows": n_rows.tolist(),
        "confidence": _shares(np.bincount(bins, confidence, N_BINS), n_rows),
        "holds": _shares(np.bincount(bins, holds[counted], N_BINS), n_rows),
    }


def class_quality(judged: Judged) -> dict[str, Any]:
    """Numbers of each class, as columns of C entries."""
    labelled = ~judged.unlabelled
    n_classes = judged.mask.shape[1]
    given = judged.mask[labelled].sum(axis=0)
    believed = np.bincount(judged.believed, minlength=n_classes)
    kept = np.bincount(judged.believed[labelled & judged.agrees], minlength=n_classes)
    sureness = np.bincount(judged.believed, judged.confidence, n_classes)
    return {
        "given": given.tolist(),
        "believed": believed.tolist(),
        "suspects": judged.mask[~judged.agrees].sum(axis=0).tolist(),
        "confidence": _shares(sureness, believed),
        "kept": _shares(kept, given),
    }


def _expected_counts(judged: Judged) -> NDArray[np.float64]:
    """Given by believed class, over labelled rows. -> (C, C)."""
    n_classes = judged.mask.shape[1]
    counts = np.zeros((n_classes, n_classes))
    for some in blocks(judged.mask.shape):
        labelled = ~judged.unlabelled[some]
        mask = judged.mask[some][labelled]
        shares = mask / mask.sum(axis=1, keepdims=True)
        counts += shares.T @ judged.posterior[some][labelled]
    return counts


def _mean(values: NDArray[Any]) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None


def _shares(sums: NDArray[Any], counts: NDArray[Any]) -> list[float | None]:
    """Divide sums by counts, None where nothing was counted. (m,), (m,) -> m."""
    pairs = zip(sums.tolist(), counts.tolist(), strict=True)
    return [round(s / c, 4) if c else None for s, c in pairs]
