"""What the README shows, run as a reader would; and that its numbers have commands."""

import re
import runpy
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from benchmarks.__main__ import MEASUREMENTS
from benchmarks.suites import SUITES
from sklabeldiff import CADClassifier, DMISClassifier, DTMClassifier

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs" / "benchmarks").glob("*.md"))
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst")), *PAGES]
NAMES = {*MEASUREMENTS, *SUITES, "show"}
COMMAND = re.compile(r"python -m benchmarks ([\w-]+)")


@pytest.fixture(scope="module")
def blocks():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def ran(blocks, tmp_path_factory):
    """Names after all blocks were run one after the other, and what was printed."""
    folder, space, printed = tmp_path_factory.mktemp("readme"), {}, []
    space["print"] = lambda *values: printed.extend(values)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            exec(block, space)
            seen.append(dict(space))
    return seen, printed, folder


class TestBlocks:
    def test_first_one_prints_the_number_beside_it(self, blocks, ran):
        (printed,) = ran[1]
        shown = re.search(r"print\(.*\)  # ([\d.]+)", blocks[0])
        assert printed == pytest.approx(float(shown[1]), abs=0.01)

    def test_first_one_is_short(self, blocks):
        assert len([line for line in blocks[0].splitlines() if line]) <= 12

    def test_wrong_labels_are_found_and_reported(self, ran):
        seen, _, folder = ran
        space = seen[1]
        model, wrong = space["clf"], space["labels"] != space["y"]
        assert isinstance(model, DTMClassifier)
        first = model.label_issues()["row"][: wrong.sum()]
        assert wrong[first].mean() > 0.8
        assert "<html" in (folder / "report.html").read_text()[:500]

    def test_new_rows_have_ten_of_each_class(self, ran):
        space = ran[0][2]
        assert isinstance(space["clf"], DMISClassifier)
        assert space["X_new"].shape == (100, 64)
        assert sorted(space["y_new"]) == [k for k in range(10) for _ in range(10)]

    def test_network_for_images_learns(self, ran):
        space = ran[0][3]
        assert isinstance(space["clf"], CADClassifier)
        assert space["clf"].score(space["images"], space["Y"]) > 0.9

    def test_there_are_no_others(self, blocks):
        assert len(blocks) == 4


def test_table_of_the_demo_is_what_the_demo_prints(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where it saves its picture
    runpy.run_path(str(ROOT / "examples" / "plot_digits_demo.py"))
    plt.close("all")
    printed = dict(
        re.findall(r"(.+?) +test accuracy ([\d.]+)", capsys.readouterr().out)
    )
    section = README.split("What `make demo` prints")[1].split("\n\nOne seed")[0]
    shown = dict(re.findall(r"\| (.+?) \| (\.\d+) \|", section))
    assert shown.keys() == printed.keys() and len(shown) == 5
    for name, value in shown.items():
        assert float(printed[name]) == pytest.approx(float(value), abs=0.01), name
    assert (tmp_path / "demo_beliefs.png").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_table_stands_under_its_command(page):
    command, _, date = page.read_text().split("\n", 5)[2:5]
    assert command.startswith("    python -m benchmarks ")
    assert COMMAND.search(command)[1] in NAMES
    assert re.match(r"20\d\d-\d\d-\d\d; .*sklabeldiff [0-9a-f]{7}", date)


@pytest.mark.parametrize("text", TEXTS, ids=lambda p: p.stem)
def test_commands_that_are_named_exist(text):
    assert set(COMMAND.findall(text.read_text())) <= NAMES
