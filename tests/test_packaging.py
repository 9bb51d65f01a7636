"""The wheel holds the package, all of it and nothing else, under one version."""

import subprocess
import sys
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest

import sklabeldiff

ROOT = Path(__file__).parents[1]
PACKAGE = Path(sklabeldiff.__file__).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*build, "--outdir", str(folder), str(ROOT)], check=True, capture_output=True
    )
    (path,) = folder.iterdir()
    with ZipFile(path) as archive:
        yield archive


def test_every_file_of_the_package_is_there(wheel):
    ours = {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"sklabeldiff/py.typed", "sklabeldiff/_report/page.html"} < ours
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_version_is_that_of_the_package(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(name).decode())
    assert metadata["Version"] == sklabeldiff.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload().startswith("# sklabeldiff")  # the README


def test_changelog_begins_with_what_is_to_come():
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    headings = [line for line in lines if line.startswith("## ")]
    assert headings[0] == "## [Unreleased]"
    kinds = {line for line in lines if line.startswith("### ")}
    allowed = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    assert kinds <= {f"### {kind}" for kind in allowed}
