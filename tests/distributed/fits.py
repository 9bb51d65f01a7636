"""Fits shared by two processes, for `test_data_parallel`.

``python fits.py JOBS``, JOBS being a JSON list, starts two processes for each job and
prints the list of their exit codes. A process leaves what it has come to in the folder
of the job, one file for each case and rank, and what it complains of in ``err.RANK``.
The processes are forked from this one: a job costs fits, not imports.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a pool of threads survives no fork

import accelerate.state  # noqa: F401  # not in every child anew
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from sklabeldiff import CADClassifier, DDMPClassifier, DMISClassifier, DTMClassifier
from sklabeldiff.baselines import (
    CCClassifier,
    DIRKClassifier,
    PRODENClassifier,
    VolMinNetClassifier,
)
from sklabeldiff.core.training import Trainer
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.distributed import data_parallel
from sklabeldiff.features import SimCLRFeatures

X, TRUE = load_digits(return_X_y=True)
SETS = make_candidate_sets(TRUE, rate=0.3, random_state=0)
NOISY = make_noisy_labels(X, TRUE, rate=0.3, random_state=0)
FEW = slice(0, 300)
QUICK = {"max_epochs": 4, "batch_size": 64, "random_state": 0}
METHODS = {
    "ddmp": DDMPClassifier(hidden=16, **QUICK),
    "dtm": DTMClassifier(hidden=(16,), **QUICK),
    "dmis": DMISClassifier(hidden=16, class_prior="estimate", **QUICK),
    "cad": CADClassifier(hidden=(16,), **QUICK),
    "dirk": DIRKClassifier(hidden=(16,), **QUICK),
    "proden": PRODENClassifier(hidden=(16,), **QUICK),
    "cc": CCClassifier(hidden=(16,), **QUICK),
    "volmin": VolMinNetClassifier(hidden=(16,), **QUICK),
}
SEEDS = range(3)


def labels_for(name):
    return NOISY if name in ("dtm", "volmin") else SETS


def arrays_of(estimator, X):
    """All that a fit leaves, as arrays by name."""
    found = {"proba": estimator.predict_proba(X)}
    for name, value in vars(estimator).items():
        if name.endswith("_") and not name.endswith("__"):
            if isinstance(value, dict):
                found |= {f"{name}.{k}": np.asarray(v) for k, v in value.items()}
            elif name == "history_":
                found[name] = np.array([log.get("loss", np.nan) for log in value])
            elif isinstance(value, np.ndarray):
                found[name] = value
    return found


def methods():
    """Every estimator that trains a network, for a few epochs."""
    for name, estimator in METHODS.items():
        yield (
            name,
            arrays_of(clone(estimator).fit(X[FEW], labels_for(name)[FEW]), X[FEW]),
        )
    images = X[FEW].reshape(-1, 8, 8) / 16
    encoder = SimCLRFeatures(image_size=8, max_epochs=1, batch_size=64, random_state=0)
    yield "simclr", encoder.fit(images).weights_


def no_seed():
    """Processes that draw a seed each would train on other batches."""
    np.random.seed(int(os.environ["RANK"]))  # noqa: NPY002  # what None stands for
    clf = DDMPClassifier(hidden=16, max_epochs=2).fit(X[FEW], SETS[FEW])
    yield "no_seed", arrays_of(clf, X[FEW])


def accuracy():
    """Test accuracy of whole fits, one for each seed."""
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = order[:600], order[600:]
        clf = DDMPClassifier(random_state=seed).fit(X[train], SETS[train])
        share = (clf.predict(X[test]) == TRUE[test]).mean()
        yield f"accuracy{seed}", {"accuracy": share}


def other_rows():
    """Each process its own part of the rows, as a program by hand would have it."""
    rank = int(os.environ["RANK"])
    CCClassifier(random_state=0).fit(X[rank::2], SETS[rank::2])
    yield "other_rows", {}


def small_batches():
    """Nothing to cut."""
    CCClassifier(batch_size=4, random_state=0).fit(X[FEW], SETS[FEW])
    yield "small_batches", {}


def resumed(folder):
    """Fits that one process does not survive the first time; see `doomed`."""
    for name in ("cad", "dmis"):
        clf = clone(METHODS[name])
        clf.set_params(max_epochs=6, checkpoint_dir=Path(folder).with_name("states"))
        clf.fit(X[FEW], labels_for(name)[FEW])
        yield name, arrays_of(clf, X[FEW])


def doomed(update):
    """Let process 1 end at this update, or stand still if it is negative."""
    average, count = Trainer.update_average, 0

    def counted(self):
        nonlocal count
        count += 1
        if count == abs(update) and os.environ["RANK"] == "1":
            sign = signal.SIGKILL if update > 0 else signal.SIGSTOP
            os.kill(os.getpid(), sign)
        average(self)

    Trainer.update_average = counted


def take_part(rank, case, folder, doom=None, timeout=60.0):
    """Be one of the processes of a job, to the end."""
    code = 1
    sys.stderr = open(Path(folder) / f"err.{rank}", "w")
    try:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # of so few epochs
        if doom is not None:
            doomed(doom)
        with data_parallel(timeout=timeout) as processes:
            cases = globals()[case]
            for name, arrays in cases(folder) if case == "resumed" else cases():
                np.savez(Path(folder) / f"{name}.{processes.rank}.npz", **arrays)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(job, seconds=60):
    """Start the processes of a job. -> exit codes, minus the signal if there is one."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        os.environ["MASTER_PORT"] = str(found.getsockname()[1])
    Path(job["folder"]).mkdir(parents=True, exist_ok=True)
    children = []
    for rank in range(2):
        children.append(os.fork())
        if not children[-1]:
            take_part(rank, **job)
    codes, until = {}, time.monotonic() + seconds
    while len(codes) < 2:
        for child in set(children) - set(codes):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        # One that stands still is ended once the other has.
        if time.monotonic() > until or (codes and "timeout" in job):
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[child] for child in children]


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.environ.update(WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", ACCELERATE_USE_CPU="1")
    print(json.dumps([run(job) for job in json.loads(sys.argv[1])]))
