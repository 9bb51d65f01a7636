"""Child process of `speed`: one large fit; peak memory and seconds as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sklabeldiff import DDMPClassifier, DTMClassifier
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels

PREDICTED_ROWS = 1000


@dataclass(frozen=True)
class Case:
    """One fit on Gaussian classes.

    Parameters
    ----------
    estimator : estimator
    n_rows, n_features, n_classes : int
    megabytes : float
        What the whole process may take.
    minutes : float or None
        What the fit may take, where that is asked for.
    """

    estimator: Any
    n_rows: int
    n_features: int
    n_classes: int
    megabytes: float
    minutes: float | None = None

    @property
    def size(self) -> str:
        return f"n = {self.n_rows}, d = {self.n_features}, C = {self.n_classes}"


CASES = {
    "DDMP": Case(DDMPClassifier(max_epochs=1, random_state=0), 50_000, 32, 50, 1000),
    "DTM, many rows": Case(DTMClassifier(random_state=0), 50_000, 256, 10, 1500, 10),
    "DTM, many classes": Case(DTMClassifier(random_state=0), 20_000, 64, 100, 1500, 10),
}


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


def forget_peak() -> None:
    """Let `peak_bytes` begin anew, where the system can: on Linux."""
    references = Path("/proc/self/clear_refs")
    if references.exists():
        references.write_text("5")


def main(name: str) -> None:
    """Run one case; print what it took."""
    torch.set_num_threads(1)
    case = CASES[name]
    imports = peak_bytes()
    rng = np.random.RandomState(0)
    centres = 2 * rng.standard_normal((case.n_classes, case.n_features))
    y = rng.randint(case.n_classes, size=case.n_rows)
    X = centres[y] + rng.standard_normal((case.n_rows, case.n_features))
    X = X.astype(np.float32)
    if isinstance(case.estimator, DDMPClassifier):
        target = make_candidate_sets(y, "uniform", rate=0.05, random_state=0)
    else:
        target = make_noisy_labels(X, y, "symmetric", rate=0.3, random_state=0)
    data = peak_bytes()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one epoch is not meant to converge
        clf = case.estimator.fit(X, target)
    seconds = time.perf_counter() - start
    right = np.mean(clf.predict(X[:PREDICTED_ROWS]) == y[:PREDICTED_ROWS])
    found = {"imports": imports, "data": data, "fit": peak_bytes()}
    print(json.dumps(found | {"seconds": seconds, "accuracy": float(right)}))


if __name__ == "__main__":
    main(sys.argv[1])
