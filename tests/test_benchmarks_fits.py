"""Whole fits beside peers', around a stand-in for robust-pll's checkout."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import fits
from benchmarks.fits import Line, PeerPRODEN

# The names and calls that the original has; it remembers the candidates it has seen.
METHOD = """
import numpy as np
import torchvision


class Proden:
    def __init__(self, rng):
        assert isinstance(rng, np.random.Generator)

    def fit(self, inputs, partial_targets):
        assert abs(inputs.mean()) < 1e-6 and partial_targets.dtype == float
        self.best = partial_targets.sum(0).argmax()

    def predict(self, inputs):
        return type("Result", (), {"pred": np.full(len(inputs), self.best)})
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Files of the checkout that are needed."""
    methods = tmp_path / "partial_label_learning" / "methods"
    methods.mkdir(parents=True)
    (methods / "proden_2020.py").write_text(METHOD)
    return tmp_path


def test_peer_is_fitted_as_it_is(checkout: Path) -> None:
    X = np.arange(12.0).reshape(6, 2)
    Y = np.eye(3, dtype=bool)[[0, 1, 2, 2, 2, 1]]
    assert (PeerPRODEN(checkout).fit(X, Y).predict(X[:4]) == 2).all()


def test_another_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkout of mathefuchs/robust"):
        PeerPRODEN(tmp_path)


def test_all_methods_are_measured(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.RandomState(0)
    y = np.arange(300) % 3
    X = rng.standard_normal((300, 4)) + 3 * np.eye(3, 4)[y]
    monkeypatch.setattr(fits, "read_clean", lambda name: (X, y))
    monkeypatch.setattr(fits, "N_PREDICTED", 100)
    found = fits.lines("clouds", checkout)
    accuracy = {line.method: line.accuracy for line in found}
    assert accuracy.pop("PRODEN of robust-pll") == pytest.approx(1 / 3, abs=0.1)
    assert len(accuracy) == 3 and min(accuracy.values()) > 0.9
    assert all(line.fit > 0 and line.prediction > 0 for line in found)


def test_the_page_does_not_name_the_folder_of_the_checkout(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "lines", lambda dataset, checkout: [])
    page = tmp_path / "fits.md"
    call = ["fits", "--checkout", str(checkout), "--save", str(page)]
    assert command_line.main(call) == 0
    assert "python -m benchmarks fits --checkout FOLDER --save" in page.read_text()


def test_table_has_a_line_a_method() -> None:
    text = fits.table([Line("digits", "DDMP", 4.125, 0.5, 0.98)], "python")
    assert "| digits | DDMP | 4.12 | 0.500 | 0.980 |" in text
