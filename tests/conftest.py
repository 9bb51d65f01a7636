"""What all tests share: how large to run, where the real data is, how many threads.

Two environment variables steer a run. ``SKLABELDIFF_FULL=1`` widens the tests that ask
for the `full` fixture to many seeds and large sizes. ``SKLABELDIFF_DATA`` names the
folder of the real data sets; ``none`` skips the tests that need them.
"""

import os
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest

# Each xdist worker gets one core. The variables count only if they are set before
# numpy and torch are loaded, hence here and not in a fixture.
IS_XDIST_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if IS_XDIST_WORKER:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
# Pictures are drawn to files: no display is needed.
os.environ.setdefault("MPLBACKEND", "Agg")

import torch  # noqa: E402
from torch import is_tensor  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

VERSIONED = ("scikit-learn", "torch", "numpy", "scipy", "joblib", "skorch", "pandas")
DEFAULT_DATA_HOME = Path(__file__).parents[2] / "shared" / "data"
NO_DATA = "none"


def pytest_configure(config: pytest.Config) -> None:
    """Keep torch to one thread where several workers share the machine."""
    if IS_XDIST_WORKER:
        torch.set_num_threads(1)


def pytest_report_header(config: pytest.Config) -> str:
    """Say in the header how large this run is, on which data and with what."""
    size = "full" if _is_full() else "smallest honest"
    data = "none" if _data_setting() == NO_DATA else "real"
    versions = ", ".join(f"{name} {version(name)}" for name in VERSIONED)
    return f"sklabeldiff: size {size}, data {data}; {versions}"


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to run many seeds and large sizes (``make test-full``)."""
    return _is_full()


@pytest.fixture(scope="session")
def data_home() -> Path:
    """Folder of the real data sets."""
    setting = _data_setting()
    if setting == NO_DATA:
        pytest.skip(f"SKLABELDIFF_DATA={NO_DATA}: no real data sets in this run")
    home = Path(setting).expanduser() if setting else DEFAULT_DATA_HOME
    if not (home / "pll").is_dir():
        pytest.fail(
            f"No real data sets: {home / 'pll'} is not a folder. Set SKLABELDIFF_DATA "
            "to the folder that holds pll/lost.npz and its neighbours, or to "
            f"{NO_DATA!r} to skip the tests that need them.",
            pytrace=False,
        )
    return home


def _is_full() -> bool:
    return os.environ.get("SKLABELDIFF_FULL", "0") not in ("", "0")


def _data_setting() -> str:
    return os.environ.get("SKLABELDIFF_DATA", "")


class _Watch(TorchDispatchMode):
    """Counts what torch does: operations, and shapes of new arrays, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.shapes = Counter(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operations[func] += 1
        known = {_storage(a) for a in tree_leaves((args, kwargs)) if is_tensor(a)}
        made = (a for a in tree_leaves(out) if is_tensor(a))
        self.shapes += [a.shape for a in made if _storage(a) not in known]
        return out


def _storage(array):
    return array.untyped_storage().data_ptr()


@pytest.fixture
def watch():
    """Context manager with ``operations`` and ``shapes`` of what torch did inside."""
    return _Watch
