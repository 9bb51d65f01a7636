"""Fetchers of MNIST and Fashion-MNIST, and the reader of their format, IDX."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_classes, check_shape, finish
from sklabeldiff.datasets._cifar import Subset, image_attributes, parts_of
from sklabeldiff.datasets._download import Store, open_store

_PREFIXES = {"train": "train", "test": "t10k"}
_BYTES = 8  # IDX's code of the data type; the only one in these sets


def fetch_mnist(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch MNIST: 70,000 handwritten digits.

    The labels are clean, one a row: make candidate sets or wrong labels of them.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. The four IDX files in its subfolders ``images/mnist``,
        ``mnist`` or ``MNIST/raw``, with or without ``.gz``, are read and nothing is
        downloaded; what is missing is downloaded to ``images/mnist`` (12 MB). ``None``
        stands for the environment variable ``SKLABELDIFF_DATA`` or, where that is not
        set, the folder ``sklabeldiff_data`` in the user's home.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or both in this order.
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

        data : ndarray of shape (n_samples, 784), dtype=uint8
            The pixels, 0 (background) to 255, row by row.
        images : ndarray of shape (n_samples, 28, 28), dtype=uint8
            The same as images.
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
        If `subset` is none of the three, or a file is damaged or not IDX.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_fashion_mnist : Clothes in the same format; harder.
    make_candidate_sets : Candidate sets made from clean labels.

    Notes
    -----
    The set of [1]_ in its original order.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied
           to Document Recognition", Proceedings of the IEEE 86, 1998.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_mnist
    >>> X, y = fetch_mnist(subset="test", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (10000, 784)
    """
    store = open_store("mnist", data_home, download_if_missing, verbose)
    return _fetch(store, subset, return_X_y, as_frame)


def fetch_fashion_mnist(
    data_home: str | os.PathLike[str] | None = None,
    *,
    subset: Subset = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch Fashion-MNIST: 70,000 pictures of clothes, shoes and bags.

    The labels are clean, one a row: make candidate sets or wrong labels of them.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. The four IDX files in its subfolders
        ``images/fashion-mnist``, ``fashion-mnist`` or ``FashionMNIST/raw``, with or
        without ``.gz``, are read and nothing is downloaded; what is missing is
        downloaded to ``images/fashion-mnist`` (31 MB). ``None`` stands for the
        environment variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or both in this order.
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
        With the attributes of :func:`fetch_mnist`.
    (data, target) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `subset` is none of the three, or a file is damaged or not IDX.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_mnist : Digits in the same format; easier.
    make_candidate_sets : Candidate sets made from clean labels.

    Notes
    -----
    The set of [1]_ in its original order.

    References
    ----------
    .. [1] H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
           Benchmarking Machine Learning Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_fashion_mnist
    >>> data = fetch_fashion_mnist(subset="test")  # doctest: +SKIP
    >>> data.target_names[:2]  # doctest: +SKIP
    ['T-shirt/top', 'Trouser']
    """
    store = open_store("fashion_mnist", data_home, download_if_missing, verbose)
    return _fetch(store, subset, return_X_y, as_frame)


def _fetch(
    store: Store, subset: Subset, return_X_y: bool, as_frame: bool
) -> Bunch | tuple[Any, Any]:
    """Read the parts of a set and stack them."""
    images, target, paths = [], [], []
    for part in parts_of(subset):
        pixels_path = _locate(store, f"{_PREFIXES[part]}-images-idx3-ubyte.gz")
        classes_path = _locate(store, f"{_PREFIXES[part]}-labels-idx1-ubyte.gz")
        pixels = _read_idx(pixels_path, 3)
        flat = pixels.reshape(len(pixels), -1)
        check_shape(flat, store.facts, part, pixels_path, store.by_hand)
        classes = _read_idx(classes_path, 1)
        images.append(pixels)
        target.append(
            check_classes(
                classes, "class", len(pixels), store.facts.n_classes, classes_path
            )
        )
        paths += [str(pixels_path), str(classes_path)]
    bunch = Bunch(
        **image_attributes(np.concatenate(images)),
        target=np.concatenate(target),
        filenames=paths,
    )
    return finish(
        bunch,
        store.facts,
        fit_target="target",
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _locate(store: Store, name: str) -> Path:
    """Path of a file, packed or unpacked, downloaded where it is missing."""
    return store.find(name, name.removesuffix(".gz")) or store.get(name)


def _read_idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    """Array of bytes with that many axes: header, then the values."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        magic, *shape = np.frombuffer(content, ">u4", count=1 + n_axes).tolist()
        if magic != _BYTES * 256 + n_axes:
            raise ValueError(f"it starts with {magic}, not {_BYTES * 256 + n_axes}")
        values = np.frombuffer(content, np.uint8, offset=4 * (1 + n_axes))
        return values.reshape(shape)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or not an IDX file of {n_axes} axes ({error}). Delete "
            "it and try again."
        ) from error
