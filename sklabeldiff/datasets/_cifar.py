"""Fetchers of CIFAR-10 and CIFAR-100, and the reader of their pixels.

The labels that people gave to these images are read next door.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import (
    check_classes,
    check_keys,
    check_shape,
    damaged,
    finish,
)
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.datasets._packed import read_packed_labels, read_packed_pixels
from sklabeldiff.datasets._pickles import read_pickle

Subset = Literal["train", "test", "all"]

_PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}
_SIDE = 32
# Set: folder in the archive, its files by part, key of the classes.
_BATCHES = {
    "cifar10": (
        "cifar-10-batches-py",
        {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]},
        "labels",
    ),
    "cifar100": (
        "cifar-100-python",
        {"train": ["train"], "test": ["test"]},
        "fine_labels",
    ),
}


class Images(NamedTuple):
    """Pixels (n, 32, 32, 3) or None, classes (n,), and the file they are from."""

    pixels: NDArray[np.uint8] | None
    target: NDArray[np.int64]
    path: Path


def fetch_cifar10(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch CIFAR-10: 60,000 small photographs of ten kinds of things.

    The labels are clean, one a row: make imprecise ones of them, or take those that
    people gave from the fetchers below.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``cifar-10-python.tar.gz`` or its unpacked folder
        ``cifar-10-batches-py``, there or in the subfolders ``images`` and ``data``, is
        read and nothing is downloaded; otherwise the archive (170 MB) is downloaded to
        ``images``. ``None`` stands for the environment variable ``SKLABELDIFF_DATA``
        or, where that is not set, the folder ``sklabeldiff_data`` in the user's home.
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or both in this order.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame and `target` a Series of class names.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (n_samples, 3072), dtype=uint8
            The pixels, 0 to 255, in the order of `images`.
        images : ndarray of shape (n_samples, 32, 32, 3), dtype=uint8
            The same with rows, columns and red, green, blue.
        target : ndarray of shape (n_samples,), dtype=int64
            The classes, 0 to 9.
        target_names, feature_names : list of str
            Names of the classes and of the pixels.
        frame : DataFrame or None
            Pixels and class side by side, if `as_frame`.
        DESCR : str
            Size, licence, citation and home page.
        filenames : list of str
            The files that were read.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `subset` is none of the three, or a file is damaged.
    OSError
        If the archive is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar10n : Three answers to each training image.
    fetch_plcifar10 : Candidate sets of the training images.
    fetch_cifar10h : Some fifty answers to each test image.
    make_candidate_sets : Candidate sets made from clean labels.

    Notes
    -----
    The images of [1]_ are in their original order, which labels made elsewhere rely on.
    The archive holds pickles; they are read without running code that they may hold.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
           technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_cifar10
    >>> data = fetch_cifar10(subset="test")  # doctest: +SKIP
    >>> data.images.shape  # doctest: +SKIP
    (10000, 32, 32, 3)
    """
    store = open_store("cifar10", data_home, download_if_missing, verbose)
    return _fetch("cifar10", store, subset, return_X_y, as_frame)


def fetch_cifar100(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch CIFAR-100: 60,000 small photographs of a hundred kinds of things.

    The labels are clean, one a row, of the hundred fine classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``cifar-100-python.tar.gz`` or its unpacked folder
        ``cifar-100-python``, there or in the subfolders ``images`` and ``data``, is
        read and nothing is downloaded; otherwise the archive (169 MB) is downloaded to
        ``images``. ``None`` stands for the environment variable ``SKLABELDIFF_DATA``
        or, where that is not set, the folder ``sklabeldiff_data`` in the user's home.
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or both in this order.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame and `target` a Series of class names.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes of :func:`fetch_cifar10`; `target` goes from 0 to 99.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `subset` is none of the three, or a file is damaged.
    OSError
        If the archive is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar100n : A noisy label for each training image.
    fetch_cifar10 : Ten classes.

    Notes
    -----
    As for :func:`fetch_cifar10`. The images are those of [1]_.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
           technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_cifar100
    >>> X, y = fetch_cifar100(subset="test", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (10000, 3072)
    """
    store = open_store("cifar100", data_home, download_if_missing, verbose)
    return _fetch("cifar100", store, subset, return_X_y, as_frame)


def _fetch(
    name: str, store: Store, subset: Subset, return_X_y: bool, as_frame: bool
) -> Bunch | tuple[Any, Any]:
    """Read the parts of a set and stack them."""
    read = [read_part(name, store, part) for part in parts_of(subset)]
    pixels = np.concatenate([part.pixels for part in read])
    bunch = Bunch(
        **image_attributes(pixels),
        target=np.concatenate([part.target for part in read]),
        filenames=[str(part.path) for part in read],
    )
    return finish(
        bunch,
        store.facts,
        fit_target="target",
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def parts_of(subset: str) -> tuple[str, ...]:
    """Names of the parts that a subset holds."""
    if subset not in _PARTS:
        raise ValueError(f"subset={subset!r} is not one of 'train', 'test', 'all'.")
    return _PARTS[subset]


def image_attributes(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Pixels (n, h, w) or (n, h, w, 3), the same flat, and names of the columns."""
    height, width = pixels.shape[1:3]
    places = [f"pixel_{i}_{j}" for i in range(height) for j in range(width)]
    if pixels.ndim == 4:
        places = [f"{place}_{colour}" for place in places for colour in "rgb"]
    return {
        "data": pixels.reshape(len(pixels), -1),
        "images": pixels,
        "feature_names": places,
    }


def read_part(name: str, store: Store, part: str, *, pixels: bool = True) -> Images:
    """Read the images and classes of one part, or the classes alone."""
    packed = store.find(f"{name}_{part}.npz")
    if packed is not None:
        target = read_packed_labels(packed)
        images = read_packed_pixels(packed) if pixels else None
        path = packed
    else:
        path, batches = _read_batches(name, store, part)
        images, target = _stack(name, batches, path)
    n_rows = len(target)
    if images is not None:
        check_shape(images.reshape(n_rows, -1), store.facts, part, path, store.by_hand)
    target = check_classes(target, "class", n_rows, store.facts.n_classes, path)
    return Images(images if pixels else None, target, path)


def _read_batches(
    name: str, store: Store, part: str
) -> tuple[Path, list[dict[str, Any]]]:
    """Batches of a part, from the unpacked folder or the archive, in their order."""
    folder, files, _ = _BATCHES[name]
    unpacked = store.find(folder)
    found: dict[str, dict[str, Any]] = {}
    if unpacked is not None:
        for file in files[part]:
            with (unpacked / file).open("rb") as stream:
                found[file] = read_pickle(stream, unpacked / file, store.by_hand)
        return unpacked, [found[file] for file in files[part]]
    path = store.get(store.facts.files[0].name)
    wanted = {f"{folder}/{file}": file for file in files[part]}
    try:
        with tarfile.open(path) as archive:
            for member in archive:  # one pass: to go back is to unpack again
                content = archive.extractfile(member) if member.name in wanted else None
                if content is not None:
                    file = wanted[member.name]
                    found[file] = read_pickle(content, path, store.by_hand)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise damaged(path, error) from error
    check_keys(found, files[part], path)
    return path, [found[file] for file in files[part]]


def _stack(
    name: str, batches: list[dict[str, Any]], path: Path
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Batches with pixels (m, 3 * 32 * 32) -> (n, 32, 32, 3), classes (n,)."""
    key = _BATCHES[name][2]
    for batch in batches:
        check_keys(batch, ("data", key), path)
    flat = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
    planes = flat.reshape(-1, 3, _SIDE, _SIDE)  # red, green, blue
    classes = np.concatenate([np.asarray(batch[key]) for batch in batches])
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), classes
