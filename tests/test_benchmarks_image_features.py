"""The features of Fashion-MNIST for the benchmarks: rows, components, encoder."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import image_features


@pytest.fixture
def tiny_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty images whose first pixel is their number, encoded as their pixels."""
    folder = tmp_path / "images" / "fashion-mnist"
    folder.mkdir(parents=True)
    images = np.random.RandomState(0).randint(256, size=(40, 28, 28)).astype(np.uint8)
    images[:, 0, 0] = np.arange(40)
    for part in ("train", "t10k"):
        pixels, labels = (
            folder / f"{part}-{name}-ubyte.gz"
            for name in ("images-idx3", "labels-idx1")
        )
        pixels.write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        labels.write_bytes(gzip.compress(bytes(8) + bytes(range(40))))
    monkeypatch.setenv("SKLABELDIFF_DATA", str(tmp_path))
    monkeypatch.setattr(image_features, "FILE", tmp_path / "made" / "features.npz")
    monkeypatch.setattr(image_features, "N_TRAIN", 30)
    monkeypatch.setattr(image_features, "N_TEST", 20)
    monkeypatch.setattr(image_features, "N_COMPONENTS", 8)
    monkeypatch.setattr(
        image_features, "encode", lambda images: images.reshape(len(images), -1) / 255
    )
    return folder


def test_rows_keep_their_labels(tiny_fashion: Path) -> None:
    images, y = image_features.read("train", 30)
    assert images.shape == (30, 28, 28)
    assert np.array_equal(images[:, 0, 0], y)
    assert len(set(y)) == 30


def test_components_are_those_of_the_training_images(tiny_fashion: Path) -> None:
    made = image_features.fashion_mnist()
    assert made["X_train"].shape == (30, 8)
    assert made["X_test"].shape == (20, 8)
    assert made["X_train"].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert np.abs(made["X_test"].mean(axis=0)).max() > 0.01


def test_images_are_encoded_once(
    tiny_fashion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = image_features.fashion_mnist()
    monkeypatch.delattr(image_features, "encode")
    again = image_features.fashion_mnist()
    assert all(np.array_equal(made[key], again[key]) for key in made)


def test_the_real_encoder_tells_shirts_from_shoes(
    data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    images, y = image_features.read("train", 200)
    rows = np.isin(y, [0, 9]).nonzero()[0][:30]  # T-shirts and ankle boots
    E, y = image_features.encode(images[rows]), y[rows]
    assert E.shape == (30, 1280)
    near = KNeighborsClassifier(3).fit(E[:20], y[:20])
    assert (near.predict(E[20:]) == y[20:]).mean() >= 0.9
