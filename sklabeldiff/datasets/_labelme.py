"""Loader of LabelMe: images of scenes labelled by a crowd, and the truth beside.

Reads a file that the user has, like `load_pll`, and checks that it is this set.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklabeldiff.datasets._loaders import load_pll
from sklabeldiff.targets import candidates_from_votes


def load_labelme(data_home: str | os.PathLike[str] | None = None) -> Bunch:
    """Load LabelMe: 1,000 images of scenes labelled by a crowd of 59 people.

    No data comes with the package and nothing is downloaded; the error says which file
    is wanted and where it is to be had.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the file ``labelme_crowd.npz``; its subfolder ``pll`` is searched too.
        ``None`` stands for the environment variable ``SKLABELDIFF_DATA`` or, where that
        is not set, the folder ``sklabeldiff_data`` in the user's home.

    Returns
    -------
    data : Bunch
        With the attributes

        X : ndarray of shape (1000, 512), dtype=float32
            Average-pooled convolutional features of a frozen VGG-16, unscaled.
        answers : ndarray of shape (1000, 59), dtype=int8
            The class that each annotator gave to each image, -1 where the annotator was
            not asked: what :func:`~sklabeldiff.targets.candidates_from_votes` takes
            with ``missing_label=-1``.
        candidates : ndarray of shape (1000, 8), dtype=bool
            The candidate sets: all classes that were given at least once.
        target : ndarray of shape (1000,), dtype=int64
            The true classes. For scoring only.
        X_valid, target_valid : ndarray of shape (500, 512) and (500,)
            Clean rows for model selection.
        X_test, target_test : ndarray of shape (1188, 512) and (1188,)
            Clean rows for the final score.
        name : str
            Name of the set.
        DESCR : str
            Size, source, home page and what is worth knowing.
        filename : str
            The file that was read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file lacks an array, or its arrays do not fit together.

    See Also
    --------
    load_cifar10n : Far more images, with three answers each.
    sklabeldiff.targets.candidates_from_votes : Candidate sets by another rule.

    Notes
    -----
    An image has 2.55 answers on average, of which 74.0 % are right; the union of its
    answers holds the true class for 88.9 % of the images.

    The file has `X`, `candidates`, `y`, `answers`, `X_valid`, `y_valid`, `X_test` and
    `y_test`. The set comes from [1]_; its home is the first author's page, "Deep
    learning from crowds", which states no licence.

    References
    ----------
    .. [1] F. Rodrigues, F. Pereira, "Deep Learning from Crowds", AAAI 2018,
           arXiv:1709.01779.

    Examples
    --------
    Sets of the classes that at least two people agree on, or all if no two do:

    >>> from sklabeldiff.datasets import load_labelme
    >>> from sklabeldiff.targets import candidates_from_votes
    >>> data = load_labelme()  # doctest: +SKIP
    >>> Y, _ = candidates_from_votes(  # doctest: +SKIP
    ...     data.answers, min_votes=2, missing_label=-1
    ... )
    """
    data: Any = load_pll("labelme_crowd.npz", data_home)
    parts = ("answers", "X_valid", "target_valid", "X_test", "target_test")
    if missing := [part for part in parts if part not in data]:
        raise ValueError(
            f"{data.filename} lacks {', '.join(missing)}. It must hold X, candidates, "
            "y, answers, X_valid, y_valid, X_test and y_test."
        )
    for part in ("valid", "test"):
        X, y = data[f"X_{part}"], data[f"target_{part}"]
        if X.shape != (len(y), data.X.shape[1]):
            raise ValueError(
                f"{data.filename}: X_{part} has shape {X.shape}, but y_{part} has "
                f"{len(y)} rows and X {data.X.shape[1]} columns."
            )
    classes = np.arange(data.candidates.shape[1])
    try:
        union, _ = candidates_from_votes(
            data.answers, classes=classes, missing_label=-1
        )
    except ValueError as error:
        raise ValueError(f"{data.filename}, answers: {error}") from error
    if union.shape != data.candidates.shape:
        raise ValueError(
            f"{data.filename}: there are {len(union)} rows of answers, but "
            f"{len(data.candidates)} of candidates."
        )
    differs = np.flatnonzero((union != data.candidates).any(axis=1))
    if differs.size:
        raise ValueError(
            f"{data.filename}: the candidates of row {differs[0]} (and {differs.size} "
            "such rows in all) are not the union of its answers. Restore the file, or "
            "read sets of another rule with load_pll."
        )
    return data
