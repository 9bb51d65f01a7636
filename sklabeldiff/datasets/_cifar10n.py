"""Fetchers of CIFAR-10N and CIFAR-100N: labels that people gave to CIFAR."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_classes, check_keys, finish, read_npz
from sklabeldiff.datasets._cifar import image_attributes, read_part
from sklabeldiff.datasets._cifar10_inputs import check_same_order, read_inputs
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.datasets._pickles import read_torch
from sklabeldiff.targets import candidates_from_votes

# Our name of each label: its key in the file of the authors.
_CIFAR10N_KEYS = {
    "clean": "clean_label",
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}
_CIFAR100N_KEYS = {"clean": "clean_label", "noisy": "noisy_label"}


def fetch_cifar10n(
    data_home: str | os.PathLike[str] | None = None,
    *,
    features: bool = False,
    images: bool = True,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch CIFAR-10N: three human answers to each training image of CIFAR-10.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. The labels are ``CIFAR-10_human.pt``, the file of the
        authors, or ``cifar10n_labels.npz`` with the same labels, which is preferred,
        there or in the subfolders ``images`` and ``data``; where both are missing, the
        former is downloaded to ``images`` (2 MB). The images are those of
        :func:`fetch_cifar10`. ``None`` stands for the environment variable
        ``SKLABELDIFF_DATA`` or, where that is not set, the folder ``sklabeldiff_data``
        in the user's home.
    features : bool, default=False
        Whether `data` are features of your own making in place of the pixels. They are
        in ``cifar10_features.npz``, made by a frozen network of your choice: `X_train`,
        `X_test`, `y_train` and `y_test`, in the original order of CIFAR-10.
    images : bool, default=True
        Whether to read the pixels, unless `features`. If both are False, `data` is
        None: labels alone.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data` and `candidates` are pandas DataFrames. The columns of
        `candidates` are the classes, and `target` is a Series of their names; the other
        labels stay arrays.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (50000, 3072), dtype=uint8, or None
            The pixels; with `features` those, of shape (50000, n_features) and float32.
        images : ndarray of shape (50000, 32, 32, 3), dtype=uint8
            The pixels as images, if they were read.
        candidates : ndarray of shape (50000, 10), dtype=bool
            The candidate sets: all classes that were given at least once.
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
        data_test, target_test : ndarray of shape (10000, n_features) and (10000,)
            Features and true classes of the test images, if `features`.
        target_names, feature_names : list of str
            Names of the classes and of the columns of `data`.
        frame : DataFrame or None
            `data`, `candidates` and `target` side by side, if `as_frame`.
        DESCR : str
            What was read, with licence, citation and the share of wrong labels.
        filenames : list of str
            The files that were read, that of the labels first.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a file lacks an array, an array has another shape or a class that is not one
        of 0 to 9, or the images or features are in another order than the labels; if
        `return_X_y` or `as_frame` is asked for and there is no `data`.
    OSError
        If a file is missing and cannot be downloaded, or must not be. The message says
        where to get it.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar100n : One noisy label for each image of CIFAR-100.
    fetch_plcifar10 : Sets that people gave to the same images.
    fetch_labelme : Fewer images, each annotator with a column of their own.
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
    >>> from sklabeldiff.datasets import fetch_cifar10n
    >>> data = fetch_cifar10n(images=False)  # doctest: +SKIP
    >>> (data.worst != data.target).mean()  # doctest: +SKIP
    np.float64(0.40208)
    """
    store = open_store("cifar10n", data_home, download_if_missing, verbose)
    path = store.find("cifar10n_labels.npz") or store.get("CIFAR-10_human.pt")
    if path.suffix == ".pt":
        labels = _read_labels(store, _CIFAR10N_KEYS)
    else:
        keys = {name: name for name in _CIFAR10N_KEYS}
        labels = _check_labels(read_npz(path, keys), keys, store, path)
    answers = np.column_stack([labels[f"random{k}"] for k in (1, 2, 3)])
    classes = np.arange(store.facts.n_classes)
    bunch = Bunch(
        data=None,
        candidates=candidates_from_votes(answers, classes=classes)[0],
        target=labels.pop("clean"),
        **labels,
        answers=answers,
        filenames=[str(path)],
    )
    if features or images:
        inputs = open_store("cifar10", data_home, download_if_missing, verbose)
        _add_inputs(bunch, inputs, features)
    wrong = ", ".join(
        f"{name} {(bunch[name] != bunch.target).mean():.2%}"
        for name in _CIFAR10N_KEYS
        if name != "clean"
    )
    return finish(
        bunch,
        store.facts,
        return_X_y=return_X_y,
        as_frame=as_frame,
        lines=[f"Wrong labels: {wrong}."],
    )


def fetch_cifar100n(
    data_home: str | os.PathLike[str] | None = None,
    *,
    images: bool = True,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch CIFAR-100N: one human label, maybe wrong, for each image of CIFAR-100.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``CIFAR-100_human.pt``, there or in the subfolders
        ``images`` and ``data``, is read; where it is missing, it is downloaded to
        ``images`` (1 MB). The images are those of :func:`fetch_cifar100`. ``None``
        stands for the environment variable ``SKLABELDIFF_DATA`` or, where that is not
        set, the folder ``sklabeldiff_data`` in the user's home.
    images : bool, default=True
        Whether to read the pixels. If False, `data` is None: labels alone.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, noisy)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data` is a pandas DataFrame, and `noisy` and `target` are Series of
        class names.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (50000, 3072), dtype=uint8, or None
            The pixels of the training images.
        images : ndarray of shape (50000, 32, 32, 3), dtype=uint8
            The same as images, if they were read.
        noisy : ndarray of shape (50000,), dtype=int64
            The label that one annotator gave, from 0 to 99.
        target : ndarray of shape (50000,), dtype=int64
            The true classes. For scoring only.
        target_names, feature_names : list of str
            Names of the classes and of the pixels.
        frame : DataFrame or None
            `data`, `noisy` and `target` side by side, if `as_frame`.
        DESCR : str
            What was read, with licence, citation and the share of wrong labels.
        filenames : list of str
            The files that were read, that of the labels first.
    (data, noisy) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a file is damaged, or the images are in another order than the labels; if
        `return_X_y` or `as_frame` is asked for and there is no `data`.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar10n : Ten classes and three answers.

    Notes
    -----
    40.20 % of the labels are wrong. They come from [1]_ and are published under
    CC BY-NC 4.0, so not for commercial use. The file is read without executing code
    that it may hold.

    References
    ----------
    .. [1] J. Wei, Z. Zhu, H. Cheng, T. Liu, G. Niu, Y. Liu, "Learning with Noisy Labels
           Revisited: A Study Using Real-World Human Annotations", ICLR 2022,
           arXiv:2110.12088.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_cifar100n
    >>> data = fetch_cifar100n(images=False)  # doctest: +SKIP
    >>> (data.noisy != data.target).mean()  # doctest: +SKIP
    np.float64(0.402)
    """
    store = open_store("cifar100n", data_home, download_if_missing, verbose)
    path = store.get("CIFAR-100_human.pt")
    labels = _read_labels(store, _CIFAR100N_KEYS)
    bunch = Bunch(
        data=None,
        noisy=labels["noisy"],
        target=labels["clean"],
        filenames=[str(path)],
    )
    if images:
        inputs = open_store("cifar100", data_home, download_if_missing, verbose)
        read = read_part("cifar100", inputs, "train")
        assert read.pixels is not None  # asked for
        check_same_order(read.target, bunch.target, str(read.path), str(path))
        bunch.update(image_attributes(read.pixels))
        bunch.filenames.append(str(read.path))
    wrong = (bunch.noisy != bunch.target).mean()
    return finish(
        bunch,
        store.facts,
        fit_target="noisy",
        return_X_y=return_X_y,
        as_frame=as_frame,
        lines=[f"Wrong labels: {wrong:.2%}."],
    )


def _read_labels(store: Store, keys: dict[str, str]) -> dict[str, NDArray[np.int64]]:
    """Labels of the authors' file by our names, each (n,)."""
    path = store.get(store.facts.files[0].name)
    raw = read_torch(path, store.by_hand)
    check_keys(raw, keys.values(), path)
    return _check_labels(raw, keys, store, path)


def _check_labels(
    raw: dict[str, Any], keys: dict[str, str], store: Store, path: Path
) -> dict[str, NDArray[np.int64]]:
    """Labels by our names, each checked. -> (n,)."""
    n_rows, n_classes = store.facts.rows["train"], store.facts.n_classes
    return {
        name: check_classes(raw[key], key, n_rows, n_classes, path)
        for name, key in keys.items()
    }


def _add_inputs(bunch: Bunch, store: Store, features: bool) -> None:
    """Add pixels or features, which must be in the order of the labels."""
    read = read_inputs(store, "train", features=features)
    of_inputs, names = read.pop("target"), read.pop("filenames")
    check_same_order(of_inputs, bunch.target, names[0], bunch.filenames[0])
    bunch.update(read)
    bunch.filenames += names
