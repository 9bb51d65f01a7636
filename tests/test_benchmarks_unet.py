"""The benchmark of U-Nets: its CPU twin, on textures in place of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import unet
from benchmarks.generate import OURS, VANILLA


def textures(n_rows: int, seed: int) -> unet.Images:
    """Noisy images of three classes: stripes across, stripes along, a chequerboard."""
    rng = np.random.RandomState(seed)
    y = np.arange(n_rows) % 3
    across = np.tile([0.0, 1.0], 4)[:, None] * np.ones(8)
    patterns = np.array([across, across.T, np.abs(across - across.T)])
    X = 40 + 160 * patterns[y] + rng.uniform(0, 40, (n_rows, 8, 8))
    return unet.Images(np.repeat(X[..., None], 3, axis=3).astype(np.uint8), y)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return [
        *("unet", "--size", "tiny", "--epochs", "12", "--batch-size", "16"),
        *("--samples", "4", "--device", "cpu", "--folder", str(tmp_path)),
    ]


def test_twin_on_the_cpu_fills_the_table(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = command_line.parser().parse_args(arguments)
    train, test = textures(60, 0), textures(30, 1)
    found = unet.measure(train, test, args)
    assert set(found) == {OURS, VANILLA}
    accuracy, distance, seconds = found[OURS]
    assert accuracy > 0.8  # textures are easy
    assert distance > 0
    assert seconds > 0
    (kept,) = args.folder.iterdir()  # fits that ended leave their figures alone
    assert kept.suffix == ".json"
    monkeypatch.delattr(unet.DMISClassifier, "fit")
    assert unet.measure(train, test, args) == found  # nothing is run again


def test_document_names_device_settings_and_goal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args = command_line.parser().parse_args(arguments)
    known = {OURS: [0.6, 1.0, 3.0], VANILLA: [0.7, 2.0, 3.0]}
    monkeypatch.setattr(unet, "measure", lambda *_: known)
    text = unet.make(textures(6, 0), textures(6, 1), args, "command")
    assert "on a CPU" in text
    assert "12 epochs of the 'tiny' U-Net" in text
    assert "**missed**: DMIS above ordinary conditioning in accuracy: -0.100" in text
