"""One fit by two processes: equal weights in both, and as good as alone."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from filelock import FileLock

pytest.importorskip("accelerate", reason="the extra `distributed` is not installed")

import fits

from sklabeldiff import distributed
from sklabeldiff.core.processes import Processes, current

SECONDS = 300  # for all jobs together


class Outcome(NamedTuple):
    """What the two processes of a job have come to."""

    codes: list
    said: list
    arrays: list


def loaded(folder, rank):
    found = {}
    for path in folder.glob(f"*.{rank}.npz"):
        with np.load(path) as arrays:
            found[path.name.partition(".")[0]] = dict(arrays)
    return found


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Outcomes of all jobs, by name; they run in the order given here.

    Workers of pytest share them: the first that comes runs the jobs, and others wait.
    """
    home = tmp_path_factory.getbasetemp()
    home = (home.parent if "PYTEST_XDIST_WORKER" in os.environ else home) / "jobs"
    wanted = {name: {"case": name} for name in ("methods", "accuracy", "no_seed")}
    wanted |= {name: {"case": name} for name in ("other_rows", "small_batches")}
    wanted |= {
        "whole": {"case": "resumed"},
        "killed": {"case": "resumed", "doom": 40},
        "part": {"case": "resumed"},
        "stopped": {"case": "methods", "doom": -5, "timeout": 3},
    }
    outcomes = {}
    for name, job in wanted.items():
        job["folder"] = str(home / name)
    home.mkdir(exist_ok=True)
    said = home / "codes"
    with FileLock(home / "lock"):
        if not said.exists():
            command = [sys.executable, fits.__file__, json.dumps([*wanted.values()])]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS
            )
            assert done.returncode == 0, done.stderr
            said.write_text(done.stdout)
    all_codes = json.loads(said.read_text())
    for (name, job), codes in zip(wanted.items(), all_codes, strict=True):
        folder = Path(job["folder"])
        said = [(folder / f"err.{rank}").read_text() for rank in range(2)]
        outcomes[name] = Outcome(codes, said, [loaded(folder, r) for r in range(2)])
    return outcomes


@pytest.fixture
def together(jobs):
    """What every method comes to in two processes."""
    return whole(jobs["methods"])


def whole(outcome):
    assert outcome.codes == [0, 0], outcome.said
    return outcome.arrays


@pytest.mark.parametrize("name", [*fits.METHODS, "simclr"])
def test_all_processes_end_with_the_same_bits(name, together):
    one, two = (found[name] for found in together)
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)


# Nothing is drawn in these losses but the order of the rows, which is the same.
@pytest.mark.parametrize("name", ["cc", "proden", "volmin"])
def test_an_update_of_two_is_an_update_of_one(name, together):
    clf = fits.METHODS[name].fit(fits.X[fits.FEW], fits.labels_for(name)[fits.FEW])
    alone = fits.arrays_of(clf, fits.X[fits.FEW])
    for key in ("proba", "label_distribution_", "history_"):
        np.testing.assert_allclose(together[0][name][key], alone[key], atol=1e-4)


def test_noise_is_drawn_by_each(together):
    seeds = [Processes(rank, 3).seeded(0) for rank in range(3)]
    assert len({0, *seeds}) == 4
    assert Processes().seeded(0) == 0
    clf = fits.METHODS["ddmp"].fit(fits.X[fits.FEW], fits.SETS[fits.FEW])
    alone = fits.arrays_of(clf, fits.X[fits.FEW])
    assert np.abs(together[0]["ddmp"]["proba"] - alone["proba"]).max() > 1e-4


def test_accuracy_is_that_of_one_process(jobs):
    alone = np.mean([found["accuracy"] for _, found in fits.accuracy()])
    found = whole(jobs["accuracy"])[0]
    together = np.mean([found[f"accuracy{seed}"]["accuracy"] for seed in fits.SEEDS])
    assert together > alone - 0.005


def test_one_process_fits_as_without():
    X, sets = fits.X[fits.FEW], fits.SETS[fits.FEW]
    alone = fits.arrays_of(fits.METHODS["ddmp"].fit(X, sets), X)
    with distributed.data_parallel() as processes:
        assert (processes.count, processes.is_main) == (1, True)
        within = fits.arrays_of(fits.METHODS["ddmp"].fit(X, sets), X)
    for key in alone:
        np.testing.assert_array_equal(within[key], alone[key])
    assert current().count == 1


def test_without_a_seed_all_have_that_of_the_main_process(jobs):
    one, two = whole(jobs["no_seed"])
    np.testing.assert_array_equal(one["no_seed"]["proba"], two["no_seed"]["proba"])


@pytest.mark.parametrize(
    "job, words",
    [
        ("other_rows", "have different rows or labels. Give all of them the same"),
        (
            "small_batches",
            "rows, too few for 2 processes: each needs at least 3. Raise",
        ),
    ],
)
def test_a_mistake_is_told_to_all(job, words, jobs):
    assert jobs[job].codes == [1, 1]
    assert all(words in said for said in jobs[job].said), jobs[job].said


def test_a_killed_process_is_missed_at_once(jobs):
    assert jobs["killed"].codes == [1, -signal.SIGKILL]
    assert "LostProcessError: One of the 2 processes" in jobs["killed"].said[0]


def test_after_a_kill_all_go_on_to_the_same_bits(jobs):
    for found, wanted in zip(whole(jobs["part"]), whole(jobs["whole"]), strict=True):
        for name in wanted:
            for key in wanted[name]:
                np.testing.assert_array_equal(found[name][key], wanted[name][key], key)


def test_a_process_that_stands_still_is_missed(jobs):
    assert jobs["stopped"].codes == [1, -signal.SIGKILL]
    assert "LostProcessError" in jobs["stopped"].said[0]
    assert "did not answer in time" in jobs["stopped"].said[0]


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"sklabeldiff\[distributed\]"):
        with distributed.data_parallel():
            pass
