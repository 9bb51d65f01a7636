"""Fetcher of the partial-label tables of the field."""

from __future__ import annotations

import os
from typing import Any

from sklearn.utils import Bunch

from sklabeldiff.datasets._bunch import check_shape, finish
from sklabeldiff.datasets._download import open_store
from sklabeldiff.datasets._facts_tables import TABLES
from sklabeldiff.datasets._loaders import find_pll, plain_name, read_pll


def fetch_pll(
    name: str,
    data_home: str | os.PathLike[str] | None = None,
    *,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    as_frame: bool = False,
    verbose: bool = False,
) -> Bunch | tuple[Any, Any]:
    """Fetch one of the field's real partial-label tables.

    Every row has a set of candidate classes, one of which is the true one.

    Parameters
    ----------
    name : {"lost", "msrcv2", "birdsong", "soccer_player", "yahoo_news", "mirflickr"}
        Which set. Upper case, spaces and punctuation do not matter.
    data_home : path-like, default=None
        Folder of the data. A file that is there already, or in its subfolders ``pll``,
        ``controlled`` and ``pll/controlled``, is read and nothing is downloaded;
        otherwise it is downloaded to ``pll``. ``None`` stands for the environment
        variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.
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

        data : ndarray of shape (n_samples, n_features), dtype=float32
            The features, unscaled.
        candidates : ndarray of shape (n_samples, n_classes), dtype=bool
            The candidate sets.
        target : ndarray of shape (n_samples,), dtype=int64
            The true classes, columns of `candidates`. For scoring only.
        target_names, feature_names : list of str
            Made-up names: nobody published any.
        frame : DataFrame or None
            Features, candidates and true class side by side, if `as_frame`.
        DESCR : str
            Size, licence, citation, home page and what is worth knowing.
        filenames : list of str
            The file that was read.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    ValueError
        If there is no set of that name, or the file is damaged or of another set.
    OSError
        If the file is missing and cannot be downloaded, or must not be. The message
        says by what steps to get it.
    ImportError
        If pooch is needed for a download, or pandas for frames, and is not installed.

    See Also
    --------
    load_pll : Any partial-label file of yours.
    fetch_plcifar10 : Candidate sets that people gave to images.

    Notes
    -----
    ==============  ======  ========  =======  ==========
    name            rows    features  classes  candidates
    ==============  ======  ========  =======  ==========
    lost              1122       108       16        2.23
    msrcv2            1758        48       23        3.16
    birdsong          4998        38       13        2.18
    soccer_player    17472       279      171        2.09
    yahoo_news       22991       163      219        1.91
    mirflickr         2780      1536       14        2.76
    ==============  ======  ========  =======  ==========

    The last column is the mean number of candidates. The sets were collected by the
    PALM Lab (Min-Ling Zhang, Southeast University) for academic purposes only. Its page
    offers them as archives, most of them .rar, which Python cannot unpack. They are
    therefore downloaded from a copy on GitHub, pinned to one commit. The checksums of
    soccer_player, yahoo_news and mirflickr are the ids that git gives to their content.

    References
    ----------
    .. [1] T. Cour, B. Sapp, B. Taskar, "Learning from Partial Labels", JMLR 12, 2011.

    Examples
    --------
    >>> from sklabeldiff.datasets import fetch_pll
    >>> X, candidates = fetch_pll("lost", return_X_y=True)  # doctest: +SKIP
    >>> candidates.shape  # doctest: +SKIP
    (1122, 16)
    """
    keys = {plain_name(key): key for key in TABLES}
    if plain_name(name) not in keys:
        raise ValueError(
            f"name={name!r} is not one of {', '.join(TABLES)}. Read a file of your own "
            "with load_pll."
        )
    key = keys[plain_name(name)]
    store = open_store(key, data_home, download_if_missing, verbose)
    path = find_pll(key, store.home) or store.get(store.facts.files[0].name)
    read = read_pll(path)
    check_shape(read.data, store.facts, "train", path, store.by_hand)
    if read.candidates.shape[1] != store.facts.n_classes:
        raise ValueError(
            f"{path}: read {read.candidates.shape[1]} classes, but {store.facts.title} "
            f"has {store.facts.n_classes}. {store.by_hand}"
        )
    bunch = Bunch(
        data=read.data,
        candidates=read.candidates,
        target=read.target,
        filenames=[str(path)],
    )
    return finish(bunch, store.facts, return_X_y=return_X_y, as_frame=as_frame)
