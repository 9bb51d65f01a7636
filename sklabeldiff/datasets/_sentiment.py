"""Fetcher of sentiment polarity: sentences on films, labelled by a crowd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_classes, damaged, finish, read_npz
from sklabeldiff.datasets._crowds import check_answers, read_table
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.targets import candidates_from_votes

_PACKED = ("text", "y", "item", "annotator", "answer", "text_test", "y_test")


def fetch_sentiment(
    data_home: str | os.PathLike[str] | None = None,
    *,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch sentiment polarity: 4,999 sentences labelled by a crowd of 203 people.

    Is a sentence of a film review positive? The data are text: turn them into vectors
    first, say with scikit-learn's ``TfidfVectorizer``.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``sentiment_mturk.npz``, in its subfolder ``crowd``, or the
        five files of the set in ``crowd/sentiment`` or ``sentiment``, are read; what is
        missing is downloaded to ``crowd/sentiment`` (4 MB). ``None`` stands for the
        environment variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``.
    as_frame : bool, default=False
        Whether `data` and `data_test` are pandas Series and `candidates` a DataFrame,
        the columns of which are the classes; the true classes are Series of their
        names. `answers` stays an array.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (4999,), dtype=object
            The sentences, of str.
        answers : ndarray of shape (4999, 203), dtype=int8
            The class that each annotator gave to each sentence, -1 where the annotator
            was not asked: what :func:`~sklabeldiff.targets.candidates_from_votes` takes
            with ``missing_label=-1``.
        candidates : ndarray of shape (4999, 2), dtype=bool
            The candidate sets: all classes that were given at least once.
        target : ndarray of shape (4999,), dtype=int64
            The true classes, 0 for negative and 1 for positive. For scoring only.
        data_test, target_test : ndarray of shape (3999,)
            Clean phrases for the final score.
        target_names, feature_names : list of str
            Names of the classes, and "text".
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
        If a file is damaged, or the files do not fit together.
    OSError
        If a file is missing and cannot be downloaded, or must not be.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    fetch_labelme : Images, labelled by 59 people.
    sklabeldiff.targets.candidates_from_votes : Candidate sets by another rule.

    Notes
    -----
    A sentence has 5.55 answers on average, of which 78.9 % are right. With two classes
    the union of the answers is often both: ``min_votes`` of ``candidates_from_votes``,
    or weights, say more.

    The answers come from [1]_, whose home page states no licence. The archive there,
    ``mturk-datasets.tar.gz``, is not read: it cannot be unpacked to its end. Sentences,
    answers and clean test phrases are downloaded from the repository
    fmenat/PyLearningCrowds, pinned to one commit.

    References
    ----------
    .. [1] F. Rodrigues, F. Pereira, B. Ribeiro, "Learning from multiple annotators:
           distinguishing good from random labelers", Pattern Recognition Letters 34,
           2013.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_sentiment
    >>> data = fetch_sentiment()  # doctest: +SKIP
    >>> data.data[0]  # doctest: +SKIP
    'the cast is phenomenal , especially the women .'
    """
    store = open_store("sentiment", data_home, download_if_missing, verbose)
    packed = store.find("sentiment_mturk.npz")
    bunch = _read_parts(store) if packed is None else _read_packed(packed)
    path = Path(bunch.filenames[0])
    for part, suffix in (("train", ""), ("test", "_test")):
        text, truth = bunch[f"data{suffix}"], f"target{suffix}"
        if len(text) != store.facts.rows[part]:
            raise ValueError(
                f"{path}: read {len(text)} sentences, but {store.facts.title} ({part}) "
                f"has {store.facts.rows[part]}. {store.by_hand}"
            )
        bunch[truth] = check_classes(
            bunch[truth], truth, len(text), store.facts.n_classes, path
        )
    check_answers(bunch.answers, store.facts, path)
    bunch.candidates = candidates_from_votes(
        bunch.answers, classes=np.arange(store.facts.n_classes), missing_label=-1
    )[0]
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)


def _read_packed(path: Path) -> Bunch:
    """All parts from one npz file, which has the answers as triples."""
    raw = read_npz(path, _PACKED)
    answers = np.full((len(raw["text"]), raw["annotator"].max() + 1), -1, np.int8)
    answers[raw["item"], raw["annotator"]] = raw["answer"]
    return Bunch(
        data=raw["text"].astype(object),
        target=raw["y"],
        answers=answers,
        data_test=raw["text_test"].astype(object),
        target_test=raw["y_test"],
        filenames=[str(path)],
    )


def _read_parts(store: Store) -> Bunch:
    """All parts from the five files."""
    bunch = Bunch(filenames=[])
    for part, suffix in (("train", ""), ("test", "_test")):
        text = store.get(f"Sentiment_text_{part}.txt")
        truth = store.get(f"Sentiment_Z_{part}.txt")
        bunch[f"data{suffix}"] = _read_lines(text)
        bunch[f"target{suffix}"] = read_table(truth)[:, 0]
        bunch.filenames += [str(text), str(truth)]
    answers = store.get("answers.txt")
    bunch.answers = read_table(answers).astype(np.int8)
    bunch.filenames.append(str(answers))
    return bunch


def _read_lines(path: Path) -> NDArray[np.object_]:
    """Lines without the blanks around them. -> (n,) of str."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise damaged(path, error) from error
    return np.array([line.strip() for line in lines], dtype=object)
