"""Child process of `speed`: peak memory of one large fit, as JSON on stdout."""

from __future__ import annotations

import json
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets

N_ROWS, N_FEATURES, N_CLASSES = 50_000, 32, 50
RATE = 0.05
PREDICTED_ROWS = 1000


def peak_bytes() -> int:
    """Largest resident size of this program so far.

    On Linux from /proc: ru_maxrss also counts the parent at the moment of the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    torch.set_num_threads(1)
    imports = peak_bytes()
    rng = np.random.RandomState(0)
    centres = 2 * rng.standard_normal((N_CLASSES, N_FEATURES))
    y = rng.randint(N_CLASSES, size=N_ROWS)
    X = (centres[y] + rng.standard_normal((N_ROWS, N_FEATURES))).astype(np.float32)
    Y = make_candidate_sets(y, "uniform", rate=RATE, random_state=0)
    data = peak_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is not meant to converge
        clf = DDMPClassifier(max_epochs=1, random_state=0).fit(X, Y)
    clf.predict(X[:PREDICTED_ROWS])
    print(json.dumps({"imports": imports, "data": data, "fit": peak_bytes()}))


if __name__ == "__main__":
    main()
