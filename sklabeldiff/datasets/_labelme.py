"""Fetcher of LabelMe: images of scenes labelled by a crowd, and the truth beside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_classes, check_shape, finish, read_npy
from sklabeldiff.datasets._crowds import check_answers, read_table
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.datasets._loaders import find_pll, read_pll
from sklabeldiff.targets import candidates_from_votes

_PARTS = ("train", "valid", "test")


def fetch_labelme(
    data_home: str | os.PathLike[str] | None = None,
    *,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch LabelMe: 1,000 images of scenes labelled by a crowd of 59 people.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``labelme_crowd.npz``, there or in its subfolder ``pll``, or
        the seven files of the set in ``crowd/labelme`` or ``labelme``, are read; what
        is missing is downloaded to ``crowd/labelme`` (6 MB). ``None`` stands for the
        environment variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data`, `data_valid`, `data_test` and `candidates` are pandas
        DataFrames. The columns of `candidates` are the classes, and the true classes
        are Series of their names; `answers` stays an array.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (1000, 512), dtype=float32
            Average-pooled convolutional features of a frozen VGG-16, unscaled.
        answers : ndarray of shape (1000, 59), dtype=int8
            The class that each annotator gave to each image, -1 where the annotator was
            not asked: what :func:`~sklabeldiff.targets.candidates_from_votes` takes
            with ``missing_label=-1``.
        candidates : ndarray of shape (1000, 8), dtype=bool
            The candidate sets: all classes that were given at least once.
        target : ndarray of shape (1000,), dtype=int64
            The true classes. For scoring only.
        data_valid, target_valid : ndarray of shape (500, 512) and (500,)
            Clean rows for model selection.
        data_test, target_test : ndarray of shape (1188, 512) and (1188,)
            Clean rows for the final score.
        target_names, feature_names : list of str
            Names of the classes and features.
        frame : DataFrame or None
            `data`, `candidates` and `target` side by side, if `as_frame`.
        DESCR : str
            Size, licence, citation, home page and what is worth knowing.
        filenames : list of str
            The files that were read.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If a file lacks an array or is damaged, or the arrays do not fit together.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_cifar10n : Far more images, with three answers each.
    fetch_music_genre : Songs, labelled by 44 people.
    sklabeldiff.targets.candidates_from_votes : Candidate sets by another rule.

    Notes
    -----
    An image has 2.55 answers on average, of which 74.0 % are right; the union of its
    answers holds the true class for 88.9 % of the images.

    The set comes from [1]_; its home is the first author's page, "Deep learning from
    crowds", which states no licence. The archive there, ``deep_LabelMe.tar.gz``, holds
    the photographs, of which these features were made; it is not read. The features are
    downloaded from the repository fmenat/PyLearningCrowds, pinned to one commit.

    References
    ----------
    .. [1] F. Rodrigues, F. Pereira, "Deep Learning from Crowds", AAAI 2018,
           arXiv:1709.01779.

    Examples
    --------
    Sets of the classes that at least two people agree on, or all if no two do:

    >>> from sklabeldiff.datasets import fetch_labelme
    >>> from sklabeldiff.targets import candidates_from_votes
    >>> data = fetch_labelme()  # doctest: +SKIP
    >>> Y, _ = candidates_from_votes(  # doctest: +SKIP
    ...     data.answers, min_votes=2, missing_label=-1
    ... )
    """
    store = open_store("labelme", data_home, download_if_missing, verbose)
    packed = find_pll("labelme_crowd.npz", store.home)
    bunch = _read_parts(store) if packed is None else _read_packed(packed)
    path = Path(bunch.filenames[0])
    for part in _PARTS:
        suffix = "" if part == "train" else f"_{part}"
        rows, truth = bunch[f"data{suffix}"], f"target{suffix}"
        check_shape(rows, store.facts, part, path, store.by_hand)
        bunch[truth] = check_classes(
            bunch[truth], truth, len(rows), store.facts.n_classes, path
        )
    check_answers(bunch.answers, store.facts, path)
    bunch.candidates = candidates_from_votes(
        bunch.answers, classes=np.arange(store.facts.n_classes), missing_label=-1
    )[0]
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)


def _read_packed(path: Path) -> Bunch:
    """All parts from one npz file."""
    read = read_pll(path)
    keys = ["data", "target", "answers"]
    keys += [f"{kind}_{part}" for part in _PARTS[1:] for kind in ("data", "target")]
    if missing := [key for key in keys if key not in read]:
        names = ", ".join(missing).replace("data", "X").replace("target", "y")
        raise ValueError(
            f"{path} lacks {names}. It must hold X, candidates, y, "
            "answers, X_valid, y_valid, X_test and y_test."
        )
    return Bunch(**{key: read[key] for key in keys}, filenames=[str(path)])


def _read_parts(store: Store) -> Bunch:
    """All parts from the seven files."""
    bunch = Bunch(filenames=[])
    for part in _PARTS:
        suffix = "" if part == "train" else f"_{part}"
        features = store.get(f"LabelMe_VGG_avg_{part}.npy")
        truth = store.get(f"LabelMe_Z_{part}.txt")
        bunch[f"data{suffix}"] = read_npy(features).astype(np.float32)
        bunch[f"target{suffix}"] = read_table(truth)[:, 0]
        bunch.filenames += [str(features), str(truth)]
    answers = store.get("answers.txt")
    bunch.answers = read_table(answers).astype(np.int8)
    bunch.filenames.append(str(answers))
    return bunch
