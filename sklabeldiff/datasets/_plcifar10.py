"""Fetcher of PLCIFAR10: candidate sets that people gave to images of CIFAR-10."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import finish
from sklabeldiff.datasets._cifar10_inputs import read_inputs
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.datasets._pickles import read_pickle

_VARIANTS = ("aggregate", "vaguest")


def fetch_plcifar10(
    data_home: str | os.PathLike[str] | None = None,
    *,
    variant: Literal["aggregate", "vaguest"] = "aggregate",
    features: bool = False,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch PLCIFAR10: human candidate sets of CIFAR-10's training images.

    Some ten people looked at each image, and each gave a set of classes.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``plcifar10.pkl``, there or in the subfolders ``images``,
        ``data`` and ``plcifar10``, is read; where it is missing, it is downloaded to
        ``images``. The images are those of :func:`fetch_cifar10`. ``None`` stands for
        the environment variable ``SKLABELDIFF_DATA`` or, where that is not set, the
        folder ``sklabeldiff_data`` in the user's home.
    variant : {"aggregate", "vaguest"}, default="aggregate"
        Which sets `candidates` are: the union of all sets of an image, or the largest
        one, the first of them where several are largest.
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

        data : ndarray of shape (50000, 3072), dtype=uint8
            The pixels; with `features` those, of shape (50000, n_features) and float32.
        images : ndarray of shape (50000, 32, 32, 3), dtype=uint8
            The pixels as images, unless `features`.
        candidates : ndarray of shape (50000, 10), dtype=bool
            The candidate sets of the `variant`.
        answers : ndarray of shape (50000, n_answers, 10), dtype=bool
            The set of each annotator, in the order of the file. Images with fewer
            answers than others have empty sets at the end.
        target : ndarray of shape (50000,), dtype=int64
            The true classes, from 0 to 9. For scoring only.
        data_test, target_test : ndarray of shape (10000, n_features) and (10000,)
            Features and true classes of the test images, if `features`.
        target_names, feature_names : list of str
            Names of the classes and of the columns of `data`.
        frame : DataFrame or None
            `data`, `candidates` and `target` side by side, if `as_frame`.
        DESCR : str
            What was read, with licence and citation.
        filenames : list of str
            The files that were read, that of the sets first.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If `variant` is neither of the two, a file is damaged, or an image has no
        candidate.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar10n : Three single answers to each image.
    fetch_cifar10 : The test images, with clean labels.

    Notes
    -----
    The sets come from [1]_, which recommends the two variants, for academic purposes
    only. Their checksum is the id that git gives to the content. The pickle is read
    without running code that it may hold.

    References
    ----------
    .. [1] W. Wang, D.-D. Wu, J. Wang, G. Niu, M.-L. Zhang, M. Sugiyama, "Realistic
           Evaluation of Deep Partial-Label Learning Algorithms", ICLR 2025,
           arXiv:2502.10184.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_plcifar10
    >>> X, candidates = fetch_plcifar10(return_X_y=True)  # doctest: +SKIP
    >>> candidates.shape  # doctest: +SKIP
    (50000, 10)
    """
    if variant not in _VARIANTS:
        raise ValueError(f"variant={variant!r} is not one of 'aggregate', 'vaguest'.")
    store = open_store("plcifar10", data_home, download_if_missing, verbose)
    path = store.get("plcifar10.pkl")
    answers = _read_answers(path, store)
    inputs = open_store("cifar10", data_home, download_if_missing, verbose)
    bunch = Bunch(
        **read_inputs(inputs, "train", features=features),
        candidates=_candidates(answers, variant),
        answers=answers,
    )
    bunch.filenames.insert(0, str(path))
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)


def _read_answers(path: Path, store: Store) -> NDArray[np.bool_]:
    """Read the set of each annotator: a dict of image: list of lists. -> (n, m, 10)."""
    with path.open("rb") as stream:
        raw = read_pickle(stream, path, store.by_hand)
    n_rows, n_classes = store.facts.rows["train"], store.facts.n_classes
    if missing := set(range(n_rows)) - set(raw):
        raise ValueError(
            f"{path} has no answers for image {min(missing)} (and {len(missing)} such "
            f"images of {n_rows} in all). Get it anew. {store.by_hand}"
        )
    widest = max(len(raw[row]) for row in range(n_rows))
    answers = np.zeros((n_rows, widest, n_classes), dtype=bool)
    triples = [
        (row, k, label)
        for row in range(n_rows)
        for k, labels in enumerate(raw[row])
        for label in labels
    ]
    rows, annotators, labels = np.array(triples, dtype=np.int64).reshape(-1, 3).T
    outside = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if outside.size:
        raise ValueError(
            f"{path}: image {rows[outside[0]]} has the label {labels[outside[0]]}. The "
            f"classes are 0 to {n_classes - 1}."
        )
    answers[rows, annotators, labels] = True
    empty = np.flatnonzero(~answers.any(axis=(1, 2)))
    if empty.size:
        raise ValueError(
            f"{path}: image {empty[0]} has no candidate (and {empty.size} such images "
            f"in all). Get it anew. {store.by_hand}"
        )
    return answers


def _candidates(answers: NDArray[np.bool_], variant: str) -> NDArray[np.bool_]:
    """Union of the sets of an image, or the largest of them. (n, m, C) -> (n, C)."""
    if variant == "aggregate":
        return np.asarray(answers.any(axis=1))
    largest = answers.sum(axis=2).argmax(axis=1)
    return answers[np.arange(len(answers)), largest]
