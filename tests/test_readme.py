"""The README's first example, run as a reader would."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_first_example_resolves_digits(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    exec(code[1], {})
    # Measured: .942.
    assert float(capsys.readouterr().out) > 0.9
