"""Runs tasks, one process a core, and keeps every finished one as a small JSON file.

A task is one method on one fold of one cell of a suite. Its file is named after it and
after a hash of the source that decides its result, so that a run goes on where the last
one stopped, and runs again only what a change of the code has touched.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from benchmarks.frame import Cell, Method
from benchmarks.sources import code_of, modules_behind, reached
from benchmarks.suites import SUITES

RESULTS = Path(__file__).parent / "results"

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One method on one fold."""

    what: str  # name of the suite
    cell: Cell
    seed: int
    fold: int
    method: str

    @property
    def path(self) -> Path:
        """File of the result, whether or not it is there."""
        name = f"{_slug(self.cell.name)}-s{self.seed}-f{self.fold}"
        version = method_hash(self.what, self.method)
        folder = RESULTS / SUITES[self.what].folder / _slug(self.method)
        return folder / f"{name}-{version}.json"

    @property
    def cost(self) -> float:
        """Rough duration, to run the longest first."""
        y = SUITES[self.what].split(self.cell, self.seed, self.fold).y
        return _methods(self.what)[self.method].cost * len(y) * (y.max() + 1)


def make_tasks(
    what: str,
    methods: list[str] | None = None,
    cells: list[str] | None = None,
    seeds: list[int] | None = None,
    folds: int | None = None,
) -> list[Task]:
    """All tasks of a table, or those asked for; of the folds the first ``folds``.

    Raises
    ------
    ValueError
        If a method, cell or seed does not exist.
    """
    suite, known = SUITES[what], _methods(what)
    for name in methods or ():
        if name not in known:
            raise ValueError(f"No method {name!r}. There are: {', '.join(known)}.")
    tasks = [
        Task(what, cell, seed, k, name)
        for cell in suite.matching_cells(cells)
        for name in methods or known
        for seed in cell.seeds
        if seeds is None or seed in seeds
        for k in range(min(folds or suite.n_folds, suite.n_folds))
    ]
    if not tasks:
        raise ValueError(f"No cell has one of the seeds {seeds}.")
    return tasks


def finished(tasks: list[Task]) -> list[Result]:
    """Results that are there."""
    paths = [task.path for task in tasks]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def run(tasks: list[Task], jobs: int, time_limit: float | None = None) -> list[str]:
    """Run the tasks that are not finished; returns what failed, as text.

    After ``time_limit`` minutes no further task is started.
    """
    pending = [task for task in tasks if not task.path.exists()]
    pending.sort(key=lambda task: -task.cost)
    deadline = time.monotonic() + 60 * (np.inf if time_limit is None else time_limit)
    work = (task for task in pending if time.monotonic() < deadline)
    failures: list[str] = []
    with tqdm(total=len(tasks), initial=len(tasks) - len(pending), unit="fit") as bar:
        for failure in _serial(work) if jobs == 1 else _pooled(work, jobs):
            bar.update()
            if failure:
                failures.append(failure)
    return failures


def _serial(work: Iterator[Task]) -> Iterator[str]:
    _one_thread()
    for task in work:
        yield attempt(task)


def _pooled(work: Iterator[Task], jobs: int) -> Iterator[str]:
    """Keep ``jobs`` processes busy; on Ctrl-C or an error stop them at once."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker)
    running: set[Future[str]] = set()
    try:
        while True:
            for task in islice(work, jobs + 1 - len(running)):
                running.add(pool.submit(attempt, task))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    _one_thread()


def _one_thread() -> None:
    """One thread a process; `__main__` does the same for BLAS and OpenMP."""
    torch.set_num_threads(1)


def attempt(task: Task) -> str:
    """Run a task and write its result; returns the error as text, or nothing."""
    try:
        result = measure(task)
    except Exception:
        return f"FAILED {task.method} on {task.cell.name}: {traceback.format_exc()}"
    write(task.path, result)
    return ""


def measure(task: Task) -> Result:
    """Take the figures of the suite, and note whose they are and what warned."""
    suite, method = SUITES[task.what], _methods(task.what)[task.method]
    split = suite.split(task.cell, task.seed, task.fold)
    estimator = method.make(task.seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if method.kind in ("baseline", "ceiling"):
            warnings.simplefilter("ignore", ConvergenceWarning)
        figures = suite.measure(estimator, split, method.kind == "ceiling")
    return {
        "method": task.method,
        "kind": method.kind,
        "cell": task.cell.name,
        "seed": task.seed,
        "fold": task.fold,
        **figures,
        "warnings": sorted({f"{w.category.__name__}: {w.message}" for w in caught}),
    }


def write(path: Path, result: Result) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(path)


@cache
def _methods(what: str) -> dict[str, Method]:
    return {method.name: method for method in SUITES[what].methods()}


@cache
def method_hash(what: str, name: str) -> str:
    """Hash of a method's parameters and of the code that decides its results."""
    suite, estimator = SUITES[what], _methods(what)[name].make(0)
    digest = hashlib.sha256(repr(estimator).encode())
    modules = modules_behind(estimator)
    for function in (suite.split, suite.measure):
        modules |= reached(function.__module__)
    for module in sorted(modules):
        digest.update(module.encode())
        digest.update(code_of(module).encode())
    return digest.hexdigest()[:12]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
