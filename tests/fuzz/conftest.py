"""How many cases: a slice in every run of the tests, all of them with `make fuzz`.

``SKLABELDIFF_FUZZ=1`` draws the large number, other ones in every run.
"""

import os
from collections import Counter

import pytest
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


@pytest.fixture(autouse=True)
def _count(request):
    """Let tests count what they draw; the sums are printed at the end."""
    yield


def pytest_terminal_summary(terminalreporter):
    """Print how many cases there were."""
    if CASES:
        total = {
            k: sum(v for n, v in CASES.items() if n.startswith(k))
            for k in ("function", "fit")
        }
        terminalreporter.write_line(
            f"fuzz: {total['function']} cases of functions, {total['fit']} fits; "
            + ", ".join(f"{name} {count}" for name, count in sorted(CASES.items()))
        )
