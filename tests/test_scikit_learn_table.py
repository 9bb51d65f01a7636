"""The table of scikit-learn's tools in the documentation says what these tools do."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "scikit_learn_table.py"


def load_script():
    """The script as a module, from its path: docs/ is no package."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = load_script()
OUTCOMES = {
    row.tool: [table.Outcome(status) for status in row.expected] for row in table.ROWS
}


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.tool)
def test_tool_does_what_the_table_says(row):
    changed = table.differences({row.tool: table.attempts(row)}, table.committed())
    assert not changed, "Revise the row in docs/scikit_learn_table.py, and run it."


def test_table_is_that_of_the_script():
    # The prose of a row speaks of the statuses expected in the script.
    assert table.committed() == {row.tool: list(row.expected) for row in table.ROWS}
    with table.TABLE.open(encoding="utf-8", newline="") as file:
        written = list(table.csv.reader(file))
    assert written[1:] == table.table_lines(OUTCOMES)[1:]


class TestEvidence:
    Evidence = table.tools.Evidence

    @pytest.mark.parametrize(
        ("found", "right"),
        [
            ([0.5, 0.25], [0.5, 0.25 + 1e-10]),
            (["cat", "dog"], ["cat", "dog"]),
            ([3, 1], [3, 1]),
        ],
    )
    def test_same_values_agree(self, found, right):
        assert self.Evidence([found], [right]).agrees()

    @pytest.mark.parametrize(
        ("found", "right"),
        [
            ([0.5, 0.25], [0.5, 0.26]),
            ([float("nan")], [0.5]),
            ([0.5, 0.5], [0.5]),
            (["cat", "dog"], ["cat", "owl"]),
            ([0, 1], ["cat", "dog"]),
        ],
    )
    def test_other_values_do_not_agree(self, found, right):
        assert not self.Evidence([[1], found], [[1], right]).agrees()

    def test_nearness_is_asked_for(self):
        assert self.Evidence([0.75], [0.7], within=0.1).agrees()
        assert not self.Evidence([0.75], [0.7], within=0.01).agrees()


class TestAttempt:
    def test_exception_is_a_refusal_with_its_message(self):
        def refuse(case):
            raise ValueError(f"Unfit labels: {case.y}")

        got = table.attempt(refuse, "frozensets")
        assert got == ("refuses", "Unfit labels")

    def test_other_result_is_a_wrong_answer(self):
        def err(case):
            return table.tools.Evidence([case.truth[::-1]], [case.truth])

        assert table.attempt(err, "DataFrame") == ("wrong answer", "")

    def test_missing_library_is_no_refusal(self):
        def miss(case):
            raise ImportError("no matplotlib")

        with pytest.raises(ImportError):
            table.attempt(miss, "0/1 matrix")


class TestCheck:
    @pytest.fixture
    def two_tools(self, monkeypatch):
        rows = [row for row in table.ROWS if row.tool in ("Pipeline", "FeatureUnion")]
        monkeypatch.setattr(table, "ROWS", rows)
        monkeypatch.setattr(table, "attempts", lambda row: OUTCOMES[row.tool])
        return OUTCOMES

    def test_unchanged_table_passes(self, two_tools, capsys):
        assert table.main(["--check"]) == 0
        assert capsys.readouterr().out == ""

    def test_changed_cell_is_named(self, two_tools, monkeypatch, capsys):
        now = [table.Outcome("refuses", "Unfit"), *two_tools["Pipeline"][1:]]
        monkeypatch.setitem(two_tools, "Pipeline", now)
        assert table.main(["--check"]) == 1
        said = capsys.readouterr().out
        assert said == "Pipeline, 0/1 matrix: refuses, not works. Unfit\n"

    def test_unexpected_cell_is_not_written(self, two_tools, monkeypatch, tmp_path):
        for name in ("TABLE", "REFUSALS"):
            monkeypatch.setattr(table, name, tmp_path / name)
        assert table.main([]) == 0
        assert table.committed()["Pipeline"] == ["works"] * 4
        (tmp_path / "TABLE").unlink()
        now = [table.Outcome("wrong answer"), *two_tools["Pipeline"][1:]]
        monkeypatch.setitem(two_tools, "Pipeline", now)
        assert table.main([]) == 1
        assert not (tmp_path / "TABLE").exists()
