"""Fetcher of music genre: songs labelled by a crowd."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_keys, check_shape, damaged, finish
from sklabeldiff.datasets._crowds import check_answers
from sklabeldiff.datasets._download import Store, open_store
from sklabeldiff.targets import candidates_from_votes


def fetch_music_genre(
    data_home: str | os.PathLike[str] | None = None,
    *,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch music genre: 700 songs labelled by a crowd of 44 people.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder of the data. ``music_genre_gold.csv``, ``music_genre_test.csv`` and
        ``mturk_answers.csv`` in its subfolders ``crowd/music_genre``, ``music_genre``
        or ``music_genre_classification`` are read; what is missing is downloaded to
        ``crowd/music_genre`` (1 MB). ``None`` stands for the environment variable
        ``SKLABELDIFF_DATA`` or, where that is not set, the folder ``sklabeldiff_data``
        in the user's home.
    download_if_missing : bool, default=True
        Whether to download what is missing. If False, it is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``, which is what ``fit`` takes.
    as_frame : bool, default=False
        Whether `data`, `data_test` and `candidates` are pandas DataFrames. The columns
        of `candidates` are the classes, and the true classes are Series of their names;
        `answers` stays an array.
    verbose : bool, default=False
        Whether to show the progress of a download.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (700, 124), dtype=float32
            Features of the sound made with the program Marsyas, unscaled.
        answers : ndarray of shape (700, 44), dtype=int8
            The class that each annotator gave to each song, -1 where the annotator was
            not asked: what :func:`~sklabeldiff.targets.candidates_from_votes` takes
            with ``missing_label=-1``. Annotators are in the order of their names.
        candidates : ndarray of shape (700, 10), dtype=bool
            The candidate sets: all classes that were given at least once.
        target : ndarray of shape (700,), dtype=int64
            The true classes. For scoring only.
        data_test, target_test : ndarray of shape (300, 124) and (300,)
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
    A song has 4.21 answers on average, of which 56.0 % are right.

    The set comes from [1]_, whose home page states no licence. Its archive
    ``mturk-datasets.tar.gz`` cannot be unpacked to its end; the same files are
    downloaded from a copy on GitHub, pinned to one commit.

    References
    ----------
    .. [1] F. Rodrigues, F. Pereira, B. Ribeiro, "Learning from multiple annotators:
           distinguishing good from random labelers", Pattern Recognition Letters 34,
           2013.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_music_genre
    >>> data = fetch_music_genre()  # doctest: +SKIP
    >>> data.target_names[:3]  # doctest: +SKIP
    ['blues', 'classical', 'country']
    """
    store = open_store("music_genre", data_home, download_if_missing, verbose)
    codes = {name: code for code, name in enumerate(store.facts.target_names)}
    bunch = Bunch(filenames=[])
    for part, file, suffix in (("train", "gold", ""), ("test", "test", "_test")):
        path = store.get(f"music_genre_{file}.csv")
        songs, features, classes = _read_songs(path, codes)
        check_shape(features, store.facts, part, path, store.by_hand)
        bunch[f"data{suffix}"], bunch[f"target{suffix}"] = features, classes
        bunch.filenames.append(str(path))
        if part == "train":
            rows = {song: row for row, song in enumerate(songs)}
    bunch.answers = _read_answers(store, rows, codes)
    bunch.candidates = candidates_from_votes(
        bunch.answers, classes=np.arange(len(codes)), missing_label=-1
    )[0]
    bunch.filenames.append(str(store.get("mturk_answers.csv")))
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)


def _read_songs(
    path: Path, codes: dict[str, int]
) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
    """Names of the songs, features (n, d), classes (n,)."""
    header, *lines = _read_csv(path, ("id", "class"))
    start, stop = header.index("id") + 1, header.index("class")
    try:
        features = np.array([line[start:stop] for line in lines], dtype=np.float32)
    except ValueError as error:
        raise damaged(path, error) from error
    classes = [_code(line[stop], codes, path) for line in lines]
    return [line[start - 1] for line in lines], features, np.array(classes, np.int64)


def _read_answers(
    store: Store, rows: dict[str, int], codes: dict[str, int]
) -> NDArray[np.int8]:
    """Answers by song and annotator, -1 where there is none. -> (n, annotators)."""
    path = store.get("mturk_answers.csv")
    columns = ("WorkerID", "Input.song", "Answer.pred_label")
    header, *lines = _read_csv(path, columns)
    worker, song, answer = (header.index(column) for column in columns)
    workers = {name: k for k, name in enumerate(sorted({li[worker] for li in lines}))}
    answers = np.full((len(rows), len(workers)), -1, dtype=np.int8)
    for line in lines:
        if line[song] not in rows:
            raise ValueError(
                f"{path} has an answer to the song {line[song]!r}, which is not in "
                f"music_genre_gold.csv. {store.by_hand}"
            )
        code = _code(line[answer], codes, path)
        answers[rows[line[song]], workers[line[worker]]] = code
    check_answers(answers, store.facts, path)
    return answers


def _read_csv(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """Header and lines of a file that has these columns."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            lines = [line for line in csv.reader(stream) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, error) from error
    check_keys(dict.fromkeys(lines[0] if lines else []), columns, path)
    return lines


def _code(name: str, codes: dict[str, int], path: Path) -> int:
    """Turn a genre into its number."""
    if name not in codes:
        raise ValueError(
            f"{path}: {name!r} is no genre. The genres are {', '.join(codes)}."
        )
    return codes[name]
