"""Fits an estimator to a file of rows, in a process whose memory may be limited.

    python tests/large_fit.py FOLDER [--megabytes N] [--mapped]

FOLDER holds ``X.npy``, ``sets.npy`` and ``graph.npz``, and gets the answers: beliefs,
and probabilities of the first rows. The limit is RLIMIT_DATA, on everything that a
process can write to; unlike RLIMIT_AS it leaves out files mapped for reading, which
take no memory that the system could not have back.
"""

from __future__ import annotations

import argparse
import json
import resource
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import load_npz
from sklearn.exceptions import ConvergenceWarning

from sklabeldiff import DDMPClassifier

PREDICTED = 5000


def written_bytes() -> int:
    """Size of what this process can write to, that is what the limit is on."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmData")


def main() -> None:
    """Fit, and write what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int)
    parser.add_argument("--mapped", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    Y = np.load(args.folder / "sets.npy")
    graph = load_npz(args.folder / "graph.npz")
    before = written_bytes()
    if args.megabytes:
        limit = args.megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    X = np.load(args.folder / "X.npy", mmap_mode="r" if args.mapped else None)
    clf = DDMPClassifier(
        n_neighbors=5,
        neighbors=graph,
        refresh=None,
        standardize="standard",
        max_epochs=1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch
        clf.fit(X, Y)
    name = "mapped" if args.mapped else "loaded"
    np.savez(
        args.folder / f"{name}.npz",
        beliefs=clf.label_distribution_,
        proba=clf.predict_proba(X[:PREDICTED]),
        labels=clf.predict(X[:PREDICTED]),
    )
    print(json.dumps({"before": before, "X": X.nbytes, "after": written_bytes()}))


if __name__ == "__main__":
    main()
