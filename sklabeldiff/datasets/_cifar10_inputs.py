"""Inputs that go with the labels people gave to CIFAR-10: pixels, or features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklabeldiff.datasets._bunch import check_classes, read_npz
from sklabeldiff.datasets._cifar import image_attributes, read_part
from sklabeldiff.datasets._download import ENVIRONMENT_VARIABLE, Store

_FEATURES = "cifar10_features.npz"
_PARTS = ("train", "test")


def read_inputs(store: Store, part: str, *, features: bool) -> dict[str, Any]:
    """Read data, classes and file names of a part; images, or the test features."""
    if features:
        path, arrays = _read_features(store)
        inputs = {
            "data": arrays[f"X_{part}"],
            "target": arrays[f"y_{part}"],
            "filenames": [str(path)],
        }
        if part == "train":
            inputs["data_test"] = arrays["X_test"]
            inputs["target_test"] = arrays["y_test"]
        return inputs
    read = read_part("cifar10", store, part)
    assert read.pixels is not None  # asked for
    return {
        **image_attributes(read.pixels),
        "target": read.target,
        "filenames": [str(read.path)],
    }


def _read_features(store: Store) -> tuple[Path, dict[str, NDArray[Any]]]:
    """Features and classes of both parts, which the user has made."""
    path = store.find(_FEATURES)
    if path is None:
        raise FileNotFoundError(
            f"No {_FEATURES} in {', '.join(map(str, store.folders))}. It is not for "
            "download: encode the images of CIFAR-10, in their original order, with a "
            "frozen network of your choice, and save X_train, X_test, y_train and "
            "y_test with numpy.savez. Put it in one of these folders, or name yours in "
            f"data_home or the environment variable {ENVIRONMENT_VARIABLE}."
        )
    raw = read_npz(path, [f"{kind}_{part}" for kind in "Xy" for part in _PARTS])
    n_features = np.shape(raw["X_train"])[1:]
    for part in _PARTS:
        key, n_rows = f"X_{part}", store.facts.rows[part]
        if np.shape(raw[key]) != (n_rows, *n_features) or len(n_features) != 1:
            raise ValueError(
                f"{path}: {key} has shape {np.shape(raw[key])}. Expected ({n_rows}, "
                "n_features): one row per image, as many columns for training as for "
                "testing."
            )
        raw[key] = raw[key].astype(np.float32)
        raw[f"y_{part}"] = check_classes(
            raw[f"y_{part}"], f"y_{part}", n_rows, store.facts.n_classes, path
        )
    return path, raw


def check_same_order(
    of_inputs: NDArray[np.int64], of_labels: NDArray[np.int64], inputs: str, labels: str
) -> None:
    """Refuse inputs and labels whose true classes differ: the order is another one."""
    if of_inputs.shape != of_labels.shape:
        raise ValueError(
            f"{inputs} has {len(of_inputs)} rows, but {labels} has {len(of_labels)}. "
            "They do not belong together."
        )
    differs = np.flatnonzero(of_inputs != of_labels)
    if differs.size:
        row = differs[0]
        raise ValueError(
            f"{inputs}: the class of row {row} is {of_inputs[row]}, but the true class "
            f"of that image is {of_labels[row]} in {labels} (and {differs.size} such "
            "rows in all). Bring both into the original order of CIFAR."
        )
