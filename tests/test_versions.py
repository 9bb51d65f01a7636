"""The oldest versions that are tested are the oldest that are promised."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Held at one version everywhere; or tools whose version changes no result of a test.
OTHERS = {
    "torch",
    "build",
    "hatchling",
    "mypy",
    "pre-commit",
    "ruff",
    "selenium",
    "twine",
}


def promised():
    """Lower bounds of pyproject.toml, by package; what only the docs need aside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [
        line for name in extras.keys() - {"docs"} for line in extras[name]
    ]
    floors = dict(line.split(">=") for line in lines)
    return {name: floor for name, floor in floors.items() if name not in OTHERS}


def pinned(name):
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and line[0] != "#")


def test_floor_environment_has_the_promised_floors():
    pins = {k: v.removesuffix(".*") for k, v in pinned("constraints-floor.txt").items()}
    floors = {k: v.removesuffix(".0") for k, v in promised().items()}
    assert {k: v.removesuffix(".0") for k, v in pins.items() if k != "torch"} == floors


def test_torch_is_the_same_everywhere():
    files = ("constraints.txt", "constraints-floor.txt", "constraints-latest.txt")
    assert len({pinned(name)["torch"] for name in files}) == 1


def test_pinned_versions_are_no_older_than_promised():
    def key(version):
        return [int(part) for part in re.findall(r"\d+", version)]

    pins = pinned("constraints.txt")
    for name, floor in promised().items():
        assert key(pins[name]) >= key(floor), name
