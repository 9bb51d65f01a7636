"""Features of Fashion-MNIST, encoded once and kept beside the results.

Those of CIFAR-10 lie ready among the data, made in the same way: a frozen MobileNetV2,
trained on ImageNet, sees the images at 128 x 128 pixels, and 128 principal components
of its 1280 features are kept.
"""

from __future__ import annotations

import gzip
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.frame import ROOT, data_home
from sklabeldiff.features import TorchFeatures

FILE = ROOT / "benchmarks" / "results" / "features" / "fashion-mnist.npz"
N_TRAIN, N_TEST = 12_000, 5000  # of 60,000 and 10,000: six minutes on one slow core
N_COMPONENTS = 128
SIZE = 128  # pixels a side
ROWS_SEED = 0


def fashion_mnist() -> dict[str, NDArray[np.generic]]:
    """Read the features, made first where they are not there.

    The arrays have the names of those of CIFAR-10: ``X_train`` of shape (12000, 128)
    and ``X_test`` (5000, 128), float32, and ``y_train`` and ``y_test``, int64.
    """
    if not FILE.exists():
        FILE.parent.mkdir(parents=True, exist_ok=True)
        np.savez(FILE, **make())
    with np.load(FILE) as file:
        return dict(file)


def make() -> dict[str, NDArray[np.generic]]:
    """Encode seeded rows of both parts; components are those of the training rows."""
    images, y_train = read("train", N_TRAIN)
    images_test, y_test = read("t10k", N_TEST)
    pca = PCA(N_COMPONENTS, random_state=ROWS_SEED)
    X_train = pca.fit_transform(encode(images)).astype(np.float32)
    X_test = pca.transform(encode(images_test)).astype(np.float32)
    return {"X_train": X_train, "X_test": X_test, "y_train": y_train, "y_test": y_test}


def read(part: str, n_rows: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Seeded rows of one part: images (n, 28, 28) and classes (n,)."""
    folder = data_home() / "images" / "fashion-mnist"
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    rows = RandomState(ROWS_SEED).permutation(len(y))[:n_rows]
    return images[rows], y[rows]


def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of grey images. (n, 28, 28) -> (n, 1280)."""
    # On the CPU, so that features are the same everywhere.
    features = TorchFeatures(Encoder(), device="cpu", batch_size=16, verbose=1)
    return features.fit_transform(images)


class Encoder(nn.Module):
    """The encoder of the data, which wants larger images with values from -1 to 1."""

    def __init__(self) -> None:
        super().__init__()
        folder = data_home() / "encoders"
        code = _load_module(folder / "mobilenet_v2_encoder.py")
        self.net = code.load_encoder(folder / "mobilenet_v2_1.0_224_imagenet_int8.npz")

    def forward(self, images: Tensor) -> Tensor:
        """Encode images with values from 0 to 1. (b, 3, h, w) -> (b, 1280)."""
        large = functional.interpolate(
            images, (SIZE, SIZE), mode="bilinear", align_corners=False
        )
        return self.net(2 * large - 1)


def _load_module(path: Path) -> ModuleType:
    """Import a file that lies among the data."""
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None  # a path that ends in .py always has one
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
