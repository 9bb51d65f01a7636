"""Seconds and memory of DDMP from ten classes to ten thousand, three candidates a row.

Each line is a process of its own. The rows are the same in number, so what grows is the
number of classes, not that of candidates; half the rows at the most classes show what
grows with the table rows x classes, and at a hundred classes both forms are fitted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from benchmarks._large_fit import forget_peak, peak_bytes
from benchmarks.frame import ROOT
from benchmarks.report import goal, markdown, provenance
from sklabeldiff import DDMPClassifier, targets

CLASSES, N_ROWS, D = (10, 100, 1_000, 10_000), 50_000, 64
N_CANDIDATES, TEST_ROWS = 3, 5_000
BOTH_FORMS = 100  # classes
WARM_UP = (2_000, 300)  # rows and classes
MAX_DIFFERENCE = 1e-5  # of first beliefs in both forms: rounding
MB = 1e6
# Tables of a batch differ by a few rows, and glibc's heap does not use the room of one
# for another. Told to, it gives back what is freed: the peak is that of live arrays.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
Figures = dict[str, float]


def make_rows(
    n_rows: int, n_classes: int
) -> tuple[NDArray[np.float32], csr_array, NDArray[np.int64]]:
    """Clouds, a class each; sets of the class and two others. -> X, Y (n, C), y."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((n_classes, D), dtype=np.float32)
    y = np.arange(n_rows) % n_classes
    X = centres[y] + rng.standard_normal((n_rows, D), dtype=np.float32)
    # Two steps to other classes, never the same.
    first = rng.integers(n_classes - 1, size=n_rows)
    second = (first + rng.integers(1, n_classes - 1, size=n_rows)) % (n_classes - 1)
    steps = 1 + np.column_stack([first, second])
    classes = np.column_stack([y, (y[:, None] + steps) % n_classes])
    rows = np.arange(n_rows).repeat(N_CANDIDATES)
    entries = np.ones(classes.size, dtype=bool), (rows, classes.ravel())
    Y = csr_array(entries, shape=(n_rows, n_classes))
    Y.sum_duplicates()
    return X, Y, y


def fit_once(n_rows: int, n_classes: int) -> Figures:
    """Seconds, peak memory and accuracy of one fit, and of predictions of all rows."""
    DDMPClassifier(max_epochs=1, random_state=0).fit(*make_rows(*WARM_UP)[:2])
    X, Y, y = make_rows(n_rows + TEST_ROWS, n_classes)
    test, train = slice(n_rows, None), slice(n_rows)
    forget_peak()
    before = peak_bytes()
    start = time.perf_counter()
    clf = DDMPClassifier(random_state=0).fit(X[train], Y[train])
    seconds = time.perf_counter() - start
    fit_peak = peak_bytes()
    forget_peak()
    held = peak_bytes()
    start = time.perf_counter()
    right = np.mean(clf.predict(X[test]) == y[test])
    S = clf.label_distribution_
    return {
        "listed": float(issparse(S)),
        "fit": seconds,
        "memory": fit_peak - before,
        "predict": 1e6 * (time.perf_counter() - start) / TEST_ROWS,
        "predict memory": peak_bytes() - held,
        "candidates": Y[train].nnz,
        "table": 4.0 * n_rows * n_classes,
        "resolved": float((np.asarray(S.argmax(axis=1)).ravel() == y[train]).mean()),
        "accuracy": float(right),
    }


def compare_once(n_rows: int, n_classes: int) -> Figures:
    """Differences between fits of the same sets as tables and as lists."""
    X, Y, _ = make_rows(n_rows, n_classes)
    found = []
    for most in (n_classes, n_classes - 1):
        targets.SPARSE_CLASSES = most
        start = time.perf_counter()
        clf = DDMPClassifier(random_state=0).fit(X, Y)
        seconds = time.perf_counter() - start
        S = [clf.initial_label_distribution_, clf.label_distribution_]
        is_listed = issparse(S[0])
        S = [s.toarray() if is_listed else s for s in S]
        found.append((is_listed, seconds, *S, clf.predict_proba(X[:TEST_ROWS])))
    table, lists = found
    if table[0] or not lists[0]:
        raise RuntimeError("the forms are not the two that were wanted")
    names = ("first beliefs", "beliefs", "probabilities")
    pairs = zip(names, table[2:], lists[2:], strict=True)
    largest = {name: float(np.abs(a - b).max()) for name, a, b in pairs}
    best = (a.argmax(axis=1) for a in (table[4], lists[4]))
    return largest | {
        "table fit": table[1],
        "lists fit": lists[1],
        "same": float(np.mean(np.equal(*best))),
    }


PARTS = {"fit": fit_once, "compare": compare_once}


def child(part: str, n_rows: int, n_classes: int) -> Figures:
    """Run a part in a process of its own."""
    words = [part, str(n_rows), str(n_classes)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.class_scaling", *words],
        cwd=ROOT,
        env=os.environ | GIVE_BACK,
        check=True,
        capture_output=True,
        text=True,
    )
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(n_rows: int, classes: list[int]) -> dict[str, Figures]:
    """Measure all sizes; keys name rows and classes."""
    sizes = [(n_rows, C) for C in classes] + [(n_rows // 2, max(classes))]
    found = {}
    for n, C in sizes:
        found[f"{n} x {C}"] = child("fit", n, C)
        print(n, C, found[f"{n} x {C}"], file=sys.stderr, flush=True)
    found["compared"] = child("compare", n_rows, BOTH_FORMS)
    print(found["compared"], file=sys.stderr, flush=True)
    return found


def table(found: dict[str, Figures], command: str) -> str:
    """Figures of all sizes, as markdown."""
    sizes = {tuple(map(int, k.split(" x "))): v for k, v in found.items() if " x " in k}
    rows = [
        [
            *(f"{C}", f"{n}", "lists" if figures["listed"] else "table"),
            *(f"{figures['fit']:.0f}", f"{figures['memory'] / MB:.0f}"),
            *(f"{figures['predict']:.0f}", f"{figures['predict memory'] / MB:.0f}"),
            *(f"{figures['candidates']:.0f}", f"{figures['table'] / MB:.0f}"),
            *(f"{figures['resolved']:.3f}", f"{figures['accuracy']:.3f}"),
        ]
        for (n, C), figures in sizes.items()
    ]
    head = [
        *("classes", "rows", "sets", "fit, s", "peak, MB", "predict, us a row"),
        *("peak, MB", "candidates", "a table n x C, MB", "sets resolved", "accuracy"),
    ]
    most = max(C for _, C in sizes)
    (n, _), (fewer, _) = sorted((k for k in sizes if k[1] == most), reverse=True)
    all_rows, half = sizes[n, most], sizes[fewer, most]
    growth = all_rows["memory"] - half["memory"]
    more = all_rows["table"] - half["table"]
    both = found["compared"]
    given = " ".join(f"{k}={v}" for k, v in GIVE_BACK.items())
    return "\n".join(
        [
            "# Many classes",
            "",
            *provenance(command, "0, one thread"),
            "",
            f"DDMP, d = {D}, {N_CANDIDATES} candidates a row, a cloud a class. Each "
            f"line is a process of its own, one fit; accuracy is of {TEST_ROWS} rows "
            "that were held out. Peaks are above what the same process holds before, "
            f"after a fit of {WARM_UP[0]} rows; X and the sets are not within. "
            f"The allocator gives back what is freed ({given}). With 200 classes or "
            "fewer the sets are a dense table.",
            "",
            *markdown(head, rows),
            "",
            f"With {BOTH_FORMS} classes and both forms forced: the largest difference "
            f"of first beliefs is {both['first beliefs']:.0e}, before any training; "
            f"after it {both['beliefs']:.0e} of beliefs and "
            f"{both['probabilities']:.0e} of probabilities (rounding grows in "
            f"training), and {both['same']:.2%} of predictions are the same. Tables "
            f"take {both['table fit']:.0f} s, lists {both['lists fit']:.0f} s.",
            "",
            "## Against the goals",
            "",
            goal(
                f"from {fewer} to {n} rows of {most} classes the peak grows by less "
                f"than a tenth of a table rows x classes ({more / MB:.0f} MB)",
                growth < 0.1 * more,
                f"{growth / MB:.0f} MB",
            ),
            goal(
                f"the peak of {most} classes is below one such table "
                f"({all_rows['table'] / MB:.0f} MB)",
                all_rows["memory"] < all_rows["table"],
                f"{all_rows['memory'] / MB:.0f} MB",
            ),
            goal(
                f"lists give the first beliefs of tables to {MAX_DIFFERENCE:.0e}",
                both["first beliefs"] < MAX_DIFFERENCE,
                f"{both['first beliefs']:.0e}",
            ),
        ]
    )


def plot(found: dict[str, Figures], path: Path) -> None:
    """Seconds and memory over classes, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    sizes = [tuple(map(int, k.split(" x "))) for k in found if " x " in k]
    n = max(n for n, _ in sizes)
    classes = [C for m, C in sizes if m == n]
    curves = {
        "seconds": {"fit": "fit"},
        "bytes": {"peak of the fit": "memory", "a table rows x classes": "table"},
    }
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, (unit, lines) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        for marker, (label, key) in zip("os", lines.items(), strict=False):
            values = [found[f"{n} x {C}"][key] for C in classes]
            axes.loglog(classes, values, marker=marker, label=label)
        axes.set(xlabel="classes", ylabel=unit)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[sys.argv[1]](*map(int, sys.argv[2:]))))
