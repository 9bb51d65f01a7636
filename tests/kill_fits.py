"""Kill fits at random moments, go on, and compare with what nobody disturbed.

    python tests/kill_fits.py [--moments 50] [--seed 0] [NAME ...]

Each case runs in a process of its own that is stopped by SIGKILL at a moment drawn
evenly from the time that the whole run takes; the next process finds what the killed
one left. Every third is killed again. What comes out must equal the undisturbed result
bit by bit. Children are forked from this process, which has imported everything: a
moment costs two short fits, not two imports.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a pool of threads survives no fork

import numpy as np
import torch
from sklearn.datasets import load_iris

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff._backbones import ResNetEncoder
from sklabeldiff._files import write_whole
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.features import SimCLRFeatures, TorchFeatures

X, TRUE = load_iris(return_X_y=True)
SETS = make_candidate_sets(TRUE, rate=0.4, random_state=0)
NOISY = make_noisy_labels(X, TRUE, rate=0.3, random_state=0)
IMAGES = np.random.default_rng(0).random((600, 8, 8))


def ddmp(folder: Path) -> dict[str, Any]:
    """Candidate sets disambiguated, with refreshes."""
    clf = DDMPClassifier(max_epochs=150, random_state=0, checkpoint_dir=folder)
    return state_of(clf.fit(X, SETS))


def dtm(folder: Path) -> dict[str, Any]:
    """Four stages, each with a state of its own."""
    clf = DTMClassifier(
        max_epochs=25, hidden=(64,), random_state=0, checkpoint_dir=folder
    )
    return state_of(clf.fit(X, NOISY))


def cad(folder: Path) -> dict[str, Any]:
    """A student, a teacher and a queue."""
    clf = CADClassifier(max_epochs=40, random_state=0, checkpoint_dir=folder)
    return state_of(clf.fit(X, SETS))


def dmis(folder: Path) -> dict[str, Any]:
    """A prior that moves with the training."""
    clf = DMISClassifier(max_epochs=60, random_state=0, checkpoint_dir=folder)
    return state_of(clf.fit(X, SETS))


def simclr(folder: Path) -> dict[str, Any]:
    """A network trained on images."""
    encoder = SimCLRFeatures(
        image_size=8, max_epochs=6, batch_size=64, random_state=0, checkpoint_dir=folder
    )
    return encoder.fit(IMAGES[:200]).weights_


class Slow(torch.nn.Module):
    """A network that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(3 * 64, 16, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, 3, 8, 8) -> (b, 16)."""
        time.sleep(0.02)
        return x.flatten(1) @ self.weight


def features(folder: Path) -> dict[str, Any]:
    """Features that are kept as they are computed."""
    encoder = TorchFeatures(Slow(), cache_dir=folder, batch_size=16)
    encoder._claim_rows = 32  # a file each: many moments to be killed at
    return {"features": encoder.fit_transform(IMAGES)}


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    case.__name__: case for case in (ddmp, dtm, cad, dmis, simclr, features)
}


def state_of(clf: Any) -> dict[str, Any]:
    """All that a fit leaves, as arrays by name."""
    state = {**clf.model_state_, "proba": clf.predict_proba(X)}
    state["beliefs"] = clf.label_distribution_
    state["losses"] = np.array([log.get("loss", np.nan) for log in clf.history_])
    return state


def run(case: str, folder: Path, result: Path) -> int:
    """Start a case in a child process; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        state = CASES[case](folder)
        write_whole(result, lambda file: save(file, state))
        code = 0
    except BaseException as error:
        print(f"{case}: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def finished(child: int) -> bool:
    """Wait for a child: whether it ended of itself, and well."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        raise SystemExit("a fit failed")
    return True


def save(path: Path, state: dict[str, Any]) -> None:
    """Write arrays to a file of this very name."""
    with path.open("wb") as stream:
        np.savez(stream, **state)


def load(path: Path) -> dict[str, Any]:
    """Arrays of a result."""
    with np.load(path) as arrays:
        return dict(arrays)


def kill(case: str, moments: int, rng: np.random.Generator) -> tuple[int, int]:
    """Disturb a case so many times; returns how many kills and resumes there were."""
    kills = resumes = 0
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        finished(run(case, Path(home) / "whole", Path(home) / "whole.npz"))
        seconds = time.perf_counter() - start
        whole = load(Path(home) / "whole.npz")
        while kills < moments:
            folder, result = Path(home) / f"part{kills}", Path(home) / "part.npz"
            result.unlink(missing_ok=True)
            again = True
            while again:
                child = run(case, folder, result)
                time.sleep(seconds * rng.random())
                os.kill(child, signal.SIGKILL)
                again = not finished(child) and kills % 3 == 2
                kills += 1
            resumes += folder.exists() and any(folder.rglob("*.*"))
            if not result.exists():
                finished(run(case, folder, result))
            part = load(result)
            assert part.keys() == whole.keys()
            for name, array in whole.items():
                if not np.array_equal(part[name], array, equal_nan=True):
                    raise SystemExit(f"{case}: {name} differs after kill {kills}")
            left = [p.name for p in folder.glob("fit-*") if p.suffix != ".part"]
            assert not left, left
    return kills, resumes


def main() -> None:
    """Run the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    import kornia.augmentation  # noqa: F401  # not in every child anew

    ResNetEncoder("small")
    for case in args.names or CASES:
        start = time.perf_counter()
        kills, resumes = kill(case, args.moments, rng)
        seconds = time.perf_counter() - start
        print(
            f"{case}: killed {kills} times, {resumes} left something to go on from, "
            f"every result equal bit by bit ({seconds:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
