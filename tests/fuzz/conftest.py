"""How many cases: a slice in every run of the tests, all of them with `make fuzz`.

``SKLABELDIFF_FUZZ=1`` draws the large number, other ones in every run.
"""

import os
from collections import Counter

from hypothesis import HealthCheck, settings

ALL = os.environ.get("SKLABELDIFF_FUZZ", "0") not in ("", "0")
CASES: Counter[str] = Counter()

common = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": True,
    "database": None,
}
settings.register_profile("slice", derandomize=True, **common)
settings.register_profile("all", derandomize=False, **common)
settings.load_profile("all" if ALL else "slice")


def n_cases(some, many):
    """Settings of a test: that many examples in a slice, and with all."""
    return settings(max_examples=many if ALL else some)


def pytest_sessionfinish(session):
    """Hand the counts of an xdist worker over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["fuzz"] = dict(CASES)


def pytest_configure(config):
    """Add up the counts of workers, where there are any."""
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Counts())


class Counts:
    """What only xdist asks for, whose hooks are unknown without it."""

    def pytest_testnodedown(self, node):
        """Take the counts of a worker that is done."""
        CASES.update(getattr(node, "workeroutput", {}).get("fuzz", {}))


def pytest_terminal_summary(terminalreporter):
    """Print how many cases there were."""
    for kind in ("function", "fit", "complete"):
        cases = {k: v for k, v in sorted(CASES.items()) if k.split()[0] == kind}
        if cases:
            parts = ", ".join(f"{k} {v}" for k, v in cases.items())
            terminalreporter.write_line(f"fuzz: {sum(cases.values())} cases: {parts}")
