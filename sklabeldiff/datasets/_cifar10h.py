"""Fetcher of CIFAR-10H: some fifty human answers to each test image of CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import finish, read_npy, read_npz
from sklabeldiff.datasets._cifar10_inputs import read_inputs
from sklabeldiff.datasets._download import Store, open_store


def fetch_cifar10h(
    data_home: str | os.PathLike[str] | None = None,
    *,
    features: bool = False,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch CIFAR-10H: how many people gave which class to each test image.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``cifar10h-counts.npy``, the file of the authors, or
        ``cifar10h_counts.npz`` with the same `counts`, there or in the subfolders
        ``images`` and ``data``, is read; where both are missing, the former is
        downloaded to ``images`` (1 MB). The images are those of :func:`fetch_cifar10`.
        ``None`` stands for the environment variable ``SKLABELDIFF_DATA`` or, where that
        is not set, the folder ``sklabeldiff_data`` in the user's home.
    features : bool, default=False
        Whether `data` are features of your own making in place of the pixels, as in
        :func:`fetch_cifar10n`.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data` and `candidates` are pandas DataFrames. The columns of
        `candidates` are the classes, and `target` is a Series of their names.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (10000, 3072), dtype=uint8
            The pixels of the test images; with `features` those, of shape
            (10000, n_features) and float32.
        images : ndarray of shape (10000, 32, 32, 3), dtype=uint8
            The pixels as images, unless `features`.
        counts : ndarray of shape (10000, 10), dtype=int64
            How many people gave each class. ``fit`` takes them as soft weights.
        candidates : ndarray of shape (10000, 10), dtype=bool
            The candidate sets: all classes that were given at least once.
        target : ndarray of shape (10000,), dtype=int64
            The true classes, from 0 to 9. For scoring only.
        target_names, feature_names : list of str
            Names of the classes and of the columns of `data`.
        frame : DataFrame or None
            `data`, `candidates` and `target` side by side, if `as_frame`.
        DESCR : str
            What was read, with licence and citation.
        filenames : list of str
            The files that were read, that of the answers first.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a file is damaged, or the counts are of other images.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar10n : Three answers to each training image.

    Notes
    -----
    An image has about 51 answers and 1.94 candidates on average; the true class is
    among them for 99.96 % of the images. A rule that asks for more than one vote is in
    ``counts >= 2``.

    The answers come from [1]_ and are published under CC BY-NC-SA 4.0, so not for
    commercial use.

    References
    ----------
    .. [1] J. C. Peterson, R. M. Battleday, T. L. Griffiths, O. Russakovsky, "Human
           Uncertainty Makes Classification More Robust", ICCV 2019, arXiv:1908.07086.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_cifar10h
    >>> X, candidates = fetch_cifar10h(return_X_y=True)  # doctest: +SKIP
    >>> candidates.sum(axis=1).mean()  # doctest: +SKIP
    np.float64(1.9397)
    """
    store = open_store("cifar10h", data_home, download_if_missing, verbose)
    path = store.find("cifar10h_counts.npz") or store.get("cifar10h-counts.npy")
    inputs = open_store("cifar10", data_home, download_if_missing, verbose)
    read = read_inputs(inputs, "test", features=features)
    counts = _read_counts(path, store)
    _check_agreement(counts, read["target"], path)
    bunch = Bunch(**read, counts=counts, candidates=counts > 0)
    bunch.filenames.insert(0, str(path))
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)


def _read_counts(path: Path, store: Store) -> NDArray[np.int64]:
    """Answers of either layout. -> (n, 10)."""
    if path.suffix == ".npz":
        counts = read_npz(path, ("counts",))["counts"]
    else:
        counts = read_npy(path)
    expected = (store.facts.rows["test"], store.facts.n_classes)
    if counts.shape != expected or counts.min() < 0:
        raise ValueError(
            f"{path} has shape {counts.shape} and smallest value {counts.min()}. "
            f"Expected counts of shape {expected}. {store.by_hand}"
        )
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if empty.size:
        raise ValueError(
            f"{path}: row {empty[0]} has no answer. Get the file anew. {store.by_hand}"
        )
    return counts.astype(np.int64)


def _check_agreement(
    counts: NDArray[np.int64], target: NDArray[np.int64], path: Path
) -> None:
    """Refuse counts in another order: people are right about most images."""
    right = (counts.argmax(axis=1) == target).mean()
    if right < 0.5:
        raise ValueError(
            f"{path}: most people agree with the true class for {right:.1%} of the "
            "images only, where 99.2% is published. Bring the counts into the original "
            "order of CIFAR-10's test images."
        )
