"""Loader of CIFAR-10N: human labels of CIFAR-10, three answers an image.

Reads files that the user has: the labels as their authors published them or as npz,
and features of the images if there are any. It reads no image.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._loaders import _ENVIRONMENT_VARIABLE, _resolve_home
from sklabeldiff.targets import candidates_from_votes

_CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_N_TRAIN, _N_TEST = 50_000, 10_000
_CIFAR_FOLDERS = ("", "images", "data")
_CIFAR10N_REMEDY = (
    "CIFAR-10_human.pt is in the folder data of the repository "
    "UCSC-REAL/cifar-10-100n, linked at noisylabels.com."
)
_FEATURES_REMEDY = (
    "Encode the images of CIFAR-10, in their original order, with a frozen network of "
    "your choice, and save X_train, X_test, y_train and y_test with numpy.savez."
)
# Our name of each label: its key in the file of the authors.
_CIFAR10N_KEYS = {
    "clean": "clean_label",
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}


def load_cifar10n(
    data_home: str | os.PathLike[str] | None = None, *, features: bool = False
) -> Bunch:
    """Load CIFAR-10N: human labels of the 50,000 training images of CIFAR-10.

    No data comes with the package and nothing is downloaded; the error says which file
    is wanted and where it is to be had. The images are not read.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the labels: ``CIFAR-10_human.pt``, the file of the authors, or
        ``cifar10n_labels.npz`` with the same labels, which is preferred. The subfolders
        ``images`` and ``data`` are searched too. ``None`` stands for the environment
        variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.
    features : bool, default=False
        Whether to read ``cifar10_features.npz`` too: features of all images, made by a
        frozen network of your choice. It holds `X_train`, `X_test`, `y_train` and
        `y_test`, in the original order of CIFAR-10.

    Returns
    -------
    data : Bunch
        With the attributes

        target : ndarray of shape (50000,), dtype=int64
            The true classes, from 0 to 9. For scoring only.
        random1, random2, random3 : ndarray of shape (50000,), dtype=int64
            The answers of three annotators, in random order for each image.
        aggregate : ndarray of shape (50000,), dtype=int64
            Their majority; one of the three at random where all differ.
        worst : ndarray of shape (50000,), dtype=int64
            One of the wrong answers at random, or the true class if there is none.
        answers : ndarray of shape (50000, 3), dtype=int64
            `random1`, `random2` and `random3` side by side: what
            :func:`~sklabeldiff.targets.candidates_from_votes` takes.
        candidates : ndarray of shape (50000, 10), dtype=bool
            The candidate sets: all classes that were given at least once.
        target_names : list of str
            Names of the classes.
        X, X_test : ndarray of shape (50000, n_features) and (10000, n_features)
            The features as float32, if `features`.
        target_test : ndarray of shape (10000,), dtype=int64
            The true classes of the test images, if `features`.
        DESCR : str
            What was read, with source, licence and the share of wrong labels.
        filename : str
            The file of the labels.

    Raises
    ------
    FileNotFoundError
        If a file is not there. The message names it and says where to get it.
    ValueError
        If a file lacks an array, an array has another shape or a class that is not one
        of 0 to 9, or the features are of images in another order.

    See Also
    --------
    load_labelme : Fewer images, each annotator with a column of their own.
    make_noisy_labels : Wrong labels made from clean ones.

    Notes
    -----
    The shares of wrong labels are 9.01 % in `aggregate`, 17.23, 18.12 and 17.64 % in
    `random1` to `random3`, and 40.21 % in `worst`.

    The labels come from [1]_ and are published under CC BY-NC 4.0, so not for
    commercial use; their home is noisylabels.com. The images are those of [2]_.

    ``CIFAR-10_human.pt`` is read without executing code that it may hold.

    References
    ----------
    .. [1] J. Wei, Z. Zhu, H. Cheng, T. Liu, G. Niu, Y. Liu, "Learning with Noisy Labels
           Revisited: A Study Using Real-World Human Annotations", ICLR 2022,
           arXiv:2110.12088.
    .. [2] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
           technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from sklabeldiff.datasets import load_cifar10n
    >>> data = load_cifar10n(features=True)  # doctest: +SKIP
    >>> (data.worst != data.target).mean()  # doctest: +SKIP
    np.float64(0.40208)
    """
    home = _resolve_home(data_home)
    path = _find_file(
        home, ("cifar10n_labels.npz", "CIFAR-10_human.pt"), _CIFAR10N_REMEDY
    )
    labels = _read_cifar10n(path)
    answers = np.column_stack([labels[f"random{k}"] for k in (1, 2, 3)])
    classes = np.arange(len(_CIFAR10_CLASSES))
    candidates, _ = candidates_from_votes(answers, classes=classes)
    data = Bunch(
        target=labels.pop("clean"),
        **labels,
        answers=answers,
        candidates=candidates,
        target_names=list(_CIFAR10_CLASSES),
        filename=str(path),
    )
    if features:
        path = _find_file(home, ("cifar10_features.npz",), _FEATURES_REMEDY)
        data.update(_read_features(path, data.target))
    data.DESCR = _describe_cifar10n(data)
    return data


def _find_file(home: Path, names: tuple[str, ...], remedy: str) -> Path:
    """Path of the first of these files, or FileNotFoundError."""
    folders = [home / sub for sub in _CIFAR_FOLDERS]
    for name in names:
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    raise FileNotFoundError(
        f"No {' or '.join(names)} in {', '.join(map(str, folders))}. Nothing is "
        f"downloaded. {remedy} Put the file in one of these folders, or name yours in "
        f"data_home or the environment variable {_ENVIRONMENT_VARIABLE}."
    )


def _read_cifar10n(path: Path) -> dict[str, NDArray[np.int64]]:
    """Labels of either layout by our names, each (50000,)."""
    if path.suffix == ".pt":
        raw, keys = _read_arrays_of_torch(path), _CIFAR10N_KEYS
    else:
        raw, keys = _read_npz(path), {name: name for name in _CIFAR10N_KEYS}
    _check_keys(raw, tuple(keys.values()), path)
    return {name: _classes(raw[key], key, _N_TRAIN, path) for name, key in keys.items()}


def _read_arrays_of_torch(path: Path) -> dict[str, Any]:
    """Read a dict of numpy arrays that torch.save wrote; refuse all other objects."""
    rebuild = np.empty(0).__reduce__()[0]  # numpy's function that unpickles an array
    allowed: list[Any] = [
        # The file was written with numpy 1, where the module had the first name.
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
    ]
    with torch.serialization.safe_globals(allowed):
        try:
            raw = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise ValueError(
                f"{path} is damaged, or holds more than arrays of int64. Get it anew. "
                f"{_CIFAR10N_REMEDY}"
            ) from error
    if not isinstance(raw, dict):
        raise ValueError(
            f"{path} holds a {type(raw).__name__}, where a dict with the keys "
            f"{', '.join(_CIFAR10N_KEYS.values())} is expected. {_CIFAR10N_REMEDY}"
        )
    return raw


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _read_features(path: Path, target: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Features and test labels; the training labels show that the order is right."""
    raw = _read_npz(path)
    _check_keys(raw, ("X_train", "X_test", "y_train", "y_test"), path)
    n_features = np.shape(raw["X_train"])[1:]
    for key, n in (("X_train", _N_TRAIN), ("X_test", _N_TEST)):
        if np.shape(raw[key]) != (n, *n_features) or len(n_features) != 1:
            raise ValueError(
                f"{path}: {key} has shape {np.shape(raw[key])}. Expected ({n}, "
                "n_features): one row per image, as many columns for training as for "
                "testing."
            )
    y_train = _classes(raw["y_train"], "y_train", _N_TRAIN, path)
    differs = np.flatnonzero(y_train != target)
    if differs.size:
        row = differs[0]
        raise ValueError(
            f"{path}: y_train of row {row} is {y_train[row]}, but the true class of "
            f"that image is {target[row]} (and {differs.size} such rows in all). Bring "
            "the features into the original order of CIFAR-10."
        )
    return {
        "X": raw["X_train"].astype(np.float32),
        "X_test": raw["X_test"].astype(np.float32),
        "target_test": _classes(raw["y_test"], "y_test", _N_TEST, path),
    }


def _classes(values: Any, key: str, n: int, path: Path) -> NDArray[np.int64]:
    """Check n classes of CIFAR-10. -> (n,)."""
    values = np.asarray(values)
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: {key} has shape {values.shape} and dtype {values.dtype}. "
            f"Expected integers of shape ({n},), one per image."
        )
    outside = np.flatnonzero((values < 0) | (values >= len(_CIFAR10_CLASSES)))
    if outside.size:
        raise ValueError(
            f"{path}: {key} of row {outside[0]} is {values[outside[0]]}. The classes "
            f"of CIFAR-10 are 0 to {len(_CIFAR10_CLASSES) - 1}."
        )
    return values.astype(np.int64)


def _check_keys(raw: dict[str, Any], keys: tuple[str, ...], path: Path) -> None:
    """Refuse a file that lacks one of the keys."""
    if missing := [key for key in keys if key not in raw]:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(raw))}."
        )


def _describe_cifar10n(data: Bunch) -> str:
    """Text for DESCR."""
    wrong = ", ".join(
        f"{name} {(data[name] != data.target).mean():.2%}"
        for name in _CIFAR10N_KEYS
        if name != "clean"
    )
    inside = data.candidates[np.arange(_N_TRAIN), data.target].mean()
    lines = [
        f"CIFAR-10N: {_N_TRAIN} training images of CIFAR-10, three answers each.",
        f"Wrong labels: {wrong}.",
        f"{data.candidates.sum(axis=1).mean():.3f} candidates a row on average; the "
        f"true class is among them in {inside:.1%} of the rows.",
    ]
    if "X" in data:
        lines.append(f"{data.X.shape[1]} features of every image.")
    lines.append("Home page: noisylabels.com. CC BY-NC 4.0: no commercial use.")
    return "\n".join(lines)
