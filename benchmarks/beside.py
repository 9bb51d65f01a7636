"""What measurements beside a peer's own code share: their options, and their clock."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def add_arguments(
    sub: argparse.ArgumentParser, repository: str, datasets: Sequence[str]
) -> None:
    """Declare where the peer's code lies, and the data sets to compare on."""
    sub.add_argument(
        "--checkout",
        type=Path,
        required=True,
        metavar="FOLDER",
        help=f"a clone of {repository}",
    )
    sub.add_argument("--datasets", nargs="+", choices=datasets, default=datasets)


def cpu_seconds(task: Callable[[], object]) -> float:
    """Least CPU seconds of three runs."""
    found = []
    for _ in range(3):
        start = time.process_time()
        task()
        found.append(time.process_time() - start)
    return min(found)
