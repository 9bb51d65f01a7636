"""One fit by several processes, on the GPUs or processors of one or many machines.

What the processes do together is the business of `core.processes` and `core.training`;
starting them is that of ``accelerate launch`` or ``torchrun``.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
from torch import distributed

from sklabeldiff._optional import require
from sklabeldiff._parameters import check_number
from sklabeldiff.core.processes import LostProcessError, Processes, share_fits

__all__ = ["LostProcessError", "Processes", "data_parallel"]


@contextmanager
def data_parallel(*, timeout: float = 600.0) -> Iterator[Processes]:
    """Share every fit within between the processes that run this program.

    Start the program with ``torchrun``, or on GPUs ``accelerate launch``: each process
    runs all of it, on the same data and with the same parameters, and within this
    context they train one network together. Every batch is cut between the processes,
    and their gradients are added up; `batch_size` counts the rows of all of them.
    Started as usual, as one process, the program fits as without the context, bit by
    bit.

    Parameters
    ----------
    timeout : float, default=600.0
        Seconds to wait for a process that does not answer. One that ends is noticed at
        once.

    Yields
    ------
    processes : Processes
        ``is_main`` says whether this process is the first, which shall write results;
        ``rank`` and ``count`` which it is of how many, and ``wait()`` goes on when all
        are there.

    Raises
    ------
    ImportError
        If accelerate is not installed.
    LostProcessError
        From a fit within, if another process has ended or does not answer.
    ValueError
        From a fit within, if the processes have different data or parameters, or if a
        batch is too small to be cut.

    Notes
    -----
    Shared are the fits of the classifiers that train networks and of
    :class:`~sklabeldiff.features.SimCLRFeatures`. Neighbours, group matrices and
    whatever else is not trained each process computes for itself, from all rows. When a
    fit is done, all processes hold the same fitted estimator. Gradients travel by
    ``torch.distributed``.

    The order of the rows is the same in all processes, and another one than in a fit
    alone. Noise each process draws by itself. Batch statistics are of the part of a
    batch that a process has, and so are the contrast of `CADClassifier` and its queue.

    The main process alone shows progress, tells callbacks, writes checkpoints and
    saves. A checkpoint is resumed by the same number of processes.

    Leave ``device="auto"``: each process has a GPU of its own, where there are any.

    Examples
    --------
    In a file ``fit.py``, started by ``torchrun --nproc-per-node 2 fit.py``:

    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DDMPClassifier
    >>> from sklabeldiff.distributed import data_parallel
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DDMPClassifier(random_state=0)
    >>> with data_parallel() as processes:  # doctest: +SKIP
    ...     clf.fit(X, y)
    ...     if processes.is_main:
    ...         clf.save("clf.safetensors")
    """
    check_number("timeout", timeout, 0, open_low=True)
    processes = _start(timeout)
    end = share_fits(processes)
    try:
        yield processes
    finally:
        end()
    processes.wait()  # what the main process wrote is there for all


def _start(timeout: float) -> Processes:
    """Meet the other processes, at the first call."""
    accelerate = require("accelerate", "distributed")
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    began = distributed.is_available() and distributed.is_initialized()
    options = accelerate.InitProcessGroupKwargs(timeout=timedelta(seconds=timeout))
    state = accelerate.PartialState(
        cpu=on_cpu or not torch.accelerator.is_available(), **options.to_kwargs()
    )
    if state.num_processes == 1:
        return Processes()
    processes = Processes(state.process_index, state.num_processes, state.device)
    if not began:
        atexit.register(_end, processes)
    return processes


def _end(processes: Processes) -> None:
    """Leave the group together: one that the interpreter ends may abort it."""
    if distributed.is_initialized():
        with suppress(LostProcessError):
            processes.wait()
        distributed.destroy_process_group()
