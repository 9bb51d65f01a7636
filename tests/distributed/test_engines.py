"""Searches, cross-validation and features on real workers of Dask and Ray."""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import searches

from sklabeldiff import DDMPClassifier

HERE = Path(searches.__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "cluster"
BIN = Path(sys.executable).parent
SECONDS = 240  # for any one of these processes
# Whatever is imported from here, workers import too. Ray's tokens are for strangers.
PLACES = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
ENV = os.environ | {
    "PYTHONPATH": PLACES,
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def run(*command, **more):
    """Run a program to its end. -> what it printed, whatever went wrong."""
    done = subprocess.run(
        [*map(str, command)], env=ENV, text=True, timeout=SECONDS, **more
    )
    return done


def python(*command):
    return run(sys.executable, "-W", "error", *command, capture_output=True)


def wait_for(found):
    until = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < until, "the engine did not start"
        time.sleep(0.1)


def closed_port():
    """Return a port that nobody has, and that no connection is given by the system.

    One that asks for a closed port of its own range may be connected to itself.
    """
    for port in np.random.default_rng().permutation(np.arange(20_000, 30_000)):
        with socket.socket() as found, suppress(OSError):
            found.bind(("127.0.0.1", int(port)))
            return int(port)
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """Address of a scheduler with two workers, each a process."""
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    folder = tmp_path_factory.mktemp("dask")
    said = (folder / "said").open("w")
    where = folder / "address"
    started = []

    def start(*command):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, command)],
                env=ENV,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        )

    start("scheduler", "--port", 0, "--no-dashboard", "--scheduler-file", where)
    wait_for(where.exists)
    workers = ("--nworkers", 2, "--nthreads", 1, "--no-dashboard")
    start("worker", "--scheduler-file", where, "--local-directory", folder, *workers)
    wait_for(lambda: (folder / "said").read_text().count("Registered to") >= 2)
    yield json.loads(where.read_text())["address"]
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said.close()


@pytest.fixture
def ray():
    """Address of a head with two workers. For one test: it takes seconds to start."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    port = closed_port()
    folder = tempfile.mkdtemp(prefix="ray")  # pytest's is too long to name sockets
    head = ("start", "--head", "--port", port, "--num-cpus", 2, "--temp-dir", folder)
    done = run(BIN / "ray", *head, "--include-dashboard", "false", capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    yield f"127.0.0.1:{port}"
    run(BIN / "ray", "stop", "--force", capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def check_mortal(engine, error, address, folder):
    """Let a worker be killed within a search: it must end, in these words."""
    died = folder / "died"
    script = (searches.__file__, engine, address, folder / "found.npz", "mortal", died)
    done = python(*script)
    assert died.exists()
    assert done.returncode == 1
    assert re.search(error, done.stderr), done.stderr
    return script, died


def check_recipe(engine, address):
    """Scores are those of one process, on an engine of its own and on ours."""
    script = EXAMPLES / f"search_on_{engine}.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    search, X, sets = recipe.make_search(80, 2)
    search.fit(X, sets)
    small = (sys.executable, script, "--rows", "80", "--max-epochs", "2")
    for where in ((), ("--address", address)):
        done = run(*small, *where, capture_output=True)
        assert done.returncode == 0, done.stderr
        parameters, scores = done.stdout.splitlines()[-2:]
        assert ast.literal_eval(parameters) == search.best_params_
        found = np.array(scores.split(), dtype=float)
        np.testing.assert_array_equal(found, search.cv_results_["mean_test_score"])


def test_results_of_dask_are_those_of_one_process(dask, tmp_path):
    file = tmp_path / "found.npz"
    done = python(searches.__file__, "dask", dask, file, "results")
    assert done.returncode == 0, done.stderr
    wanted = searches.results()
    with np.load(file) as found:
        assert set(found) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_a_killed_worker_of_dask_ends_a_search_and_not_the_cluster(dask, tmp_path):
    words = "FutureCancelledError|KilledWorker"
    script, died = check_mortal("dask", words, dask, tmp_path)
    done = python(*script)  # the file is there now: nobody dies
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["scores"], searches.mortal(died)["scores"])


def test_recipe_for_dask_takes_an_address(dask):
    check_recipe("dask", dask)


def test_ray(ray, tmp_path):
    """All of Ray in one: a second one on this machine would be in its way."""
    check_recipe("ray", ray)
    check_mortal("ray", "ActorDiedError", ray, tmp_path)


@pytest.mark.parametrize(
    "launcher, count",
    [
        # Which starts several processes on GPUs only: the others are torchrun's.
        (["-m", "accelerate.commands.launch", "--cpu"], 1),
        (["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"], 2),
    ],
    ids=["accelerate", "torchrun"],
)
def test_recipe_for_a_fit(launcher, count, tmp_path):
    pytest.importorskip("accelerate", reason="`distributed` is not installed")
    script = EXAMPLES / "fit_data_parallel.py"
    file = tmp_path / "clf.safetensors"
    done = run(
        *(sys.executable, *launcher, script, "--max-epochs", 20, "--save", file),
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"processes: {count}" in done.stdout
    accuracy = float(done.stdout.split("accuracy: ")[1].split()[0])
    assert accuracy > 0.9
    assert DDMPClassifier.load(file).n_iter_ > 0


def test_two_machines_meet_at_an_address(tmp_path):
    pytest.importorskip("accelerate", reason="`distributed` is not installed")
    endpoint = f"127.0.0.1:{closed_port()}"
    nodes = ("--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1")
    launch = [sys.executable, "-m", "torch.distributed.run", *nodes]
    launch += ["--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
    # On one machine both would take the address for their own.
    launch.append("--rdzv-conf")
    script = [str(EXAMPLES / "fit_data_parallel.py"), "--max-epochs", "3"]
    machines = [
        subprocess.Popen(
            [*launch, f"is_host={host}", *script],
            env=ENV,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in (1, 0)
    ]
    try:
        said = [machine.communicate(timeout=SECONDS) for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert "processes: 2" in said[0][0] + said[1][0]
