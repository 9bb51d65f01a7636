"""Loader of real partial-label sets from files that the user has.

Reads the original MATLAB files of the field and our own npz layout. It downloads
nothing, scales nothing and makes no split.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import Bunch

from sklabeldiff.datasets import _mat_reader
from sklabeldiff.datasets._bunch import damaged, read_npz
from sklabeldiff.datasets._download import ENVIRONMENT_VARIABLE, resolve_home

_SUBFOLDERS = ("", "pll", "controlled", "pll/controlled")

_PALM = "PALM Lab, Southeast University (Min-Ling Zhang), Resources page"
_UCI = "UCI Machine Learning Repository"
_LABELME = 'Filipe Rodrigues\' home page, "Deep learning from crowds"'
_HOME_PAGES = {
    "labelme": _LABELME,
    "labelmecrowd": _LABELME,
    "ecoli": _UCI,
    "glass": _UCI,
    "pendigits": _UCI,
    "satimage": _UCI,
    "segment": _UCI,
    "steel": _UCI,
    "vehicle": _UCI,
    "yeast": _UCI,
}


def load_pll(
    name: str,
    data_home: str | os.PathLike[str] | None = None,
    *,
    return_X_y: bool = False,
) -> Bunch | tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Load a partial-label set from a file on this machine.

    Nothing is downloaded: :func:`fetch_pll` does that for the sets of the field. This
    one reads any file of the two layouts, your own among them.

    Parameters
    ----------
    name : str
        Name of the file, with or without its suffix: "lost", "msrcv2", "birdsong",
        "Soccer Player", "Yahoo! News", "controlled/ecoli", "Lost.mat", ... Upper case,
        spaces and punctuation do not matter. Without a suffix an npz file is preferred
        to a MATLAB file of the same name.

    data_home : path-like, default=None
        Folder of the files; its subfolders ``pll``, ``controlled`` and
        ``pll/controlled`` are searched too. ``None`` stands for the environment
        variable ``SKLABELDIFF_DATA`` or, where that is not set, the folder
        ``sklabeldiff_data`` in the user's home.

    return_X_y : bool, default=False
        Whether to return ``(data, candidates)``, which is what ``fit`` takes, in place
        of the Bunch.

    Returns
    -------
    data : Bunch
        With the attributes

        data : ndarray of shape (n_samples, n_features), dtype=float32
            The features as the file has them, unscaled.
        candidates : ndarray of shape (n_samples, n_classes), dtype=bool
            The candidate sets.
        target : ndarray of shape (n_samples,), dtype=int64
            The true classes, columns of `candidates`. For scoring only.
        name : str
            Name of the set.
        DESCR : str
            Size, source, home page and what is worth knowing.
        filename : str
            The file that was read.

        Further arrays of an npz file keep their names, with ``X_`` written ``data_``
        and ``y_`` written ``target_``: LabelMe has `answers`, `data_valid`,
        `target_valid`, `data_test` and `target_test`.
    (data, candidates) : tuple
        If `return_X_y` is True.

    Raises
    ------
    FileNotFoundError
        If no file has that name. The message says where it was looked for and where the
        set is to be had.
    ValueError
        If the file has another layout, or a row without candidates or without exactly
        one true class.

    See Also
    --------
    fetch_pll : The sets of the field, downloaded where they are missing.
    make_candidate_sets : Candidate sets for clean data, such as the "controlled" sets.

    Notes
    -----
    Two layouts are read. MATLAB files as the field distributes them: `data` of shape
    (n_samples, n_features), `partial_target` and `target` of shape
    (n_classes, n_samples), dense or sparse. And npz files with `X`, `candidates`, `y`
    and, if wanted, `name`, `source`, `note` and further arrays.

    In crowd-made sets the true class may be missing from the candidates (LabelMe: 11 %
    of the rows). In the "controlled" sets the candidates are the true class alone.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklabeldiff.datasets import load_pll
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(
    ...         Path(folder) / "toy.npz",
    ...         X=[[0.1], [0.9]], candidates=[[1, 1], [0, 1]], y=[0, 1],
    ...     )
    ...     toy = load_pll("Toy", data_home=folder)
    >>> toy.candidates
    array([[ True,  True],
           [False,  True]])
    >>> toy.target
    array([0, 1])
    """
    home = resolve_home(data_home)
    path = find_pll(name, home)
    if path is None:
        raise FileNotFoundError(_missing(name, home))
    data = read_pll(path)
    return (data.data, data.candidates) if return_X_y else data


# Of a damaged file: numbers become infinite, which estimators name, or no class.
@np.errstate(over="ignore", invalid="ignore")
def read_pll(path: Path) -> Bunch:
    """Read a file of either layout; ValueError if it is not one."""
    raw = _read_npz(path) if path.suffix.lower() == ".npz" else _read_mat(path)
    data = Bunch(
        data=_dense(raw.pop("X")).astype(np.float32),
        candidates=_dense(raw.pop("candidates")) > 0,
        target=_dense(raw.pop("y")).astype(np.int64),
        name=str(raw.pop("name", path.stem)),
        filename=str(path),
    )
    _check_rows(data, path)
    source, note = (str(raw.pop(key, "")).strip() for key in ("source", "note"))
    data.DESCR = _describe(data, source, note, path)
    for key, value in raw.items():
        if key.startswith("y_"):
            data["target_" + key[2:]] = value.astype(np.int64)
        elif key.startswith("X_"):
            data["data_" + key[2:]] = value.astype(np.float32)
        else:
            data[key] = value
    return data


def find_pll(name: str, home: Path) -> Path | None:
    """Path of the first file of that name, however it is spelt."""
    suffix, wanted = _parts(name)
    for path in _data_files(_folders(name, home)):
        if plain_name(path.stem) == wanted and path.suffix.lower().startswith(suffix):
            return path
    return None


def _missing(name: str, home: Path) -> str:
    """Say where a file was looked for, what is there, and whence it is to be had."""
    suffix, wanted = _parts(name)
    folders = _folders(name, home)
    found = sorted({path.stem for path in _data_files(folders)})
    return (
        f"No file named {name!r} ({suffix or '.npz or .mat'}, upper or lower case) in "
        f"{', '.join(map(str, folders))}. "
        f"Found there: {', '.join(found) if found else 'no such file at all'}. "
        "load_pll downloads nothing: get the set from its home page "
        f"({_HOME_PAGES.get(wanted, _PALM)}) or with the fetch_ function of its name, "
        "and put it in one of these folders, or name yours in data_home or the "
        f"environment variable {ENVIRONMENT_VARIABLE}."
    )


def _parts(name: str) -> tuple[str, str]:
    """Suffix, if the name has a known one, and the plain name without it."""
    asked = Path(name)
    suffix = asked.suffix.lower() if asked.suffix.lower() in (".npz", ".mat") else ""
    return suffix, plain_name(asked.stem if suffix else asked.name)


def _folders(name: str, home: Path) -> list[Path]:
    """Folders where a file of that name is looked for."""
    return [home / sub / Path(name).parent for sub in _SUBFOLDERS]


def _data_files(folders: list[Path]) -> Iterator[Path]:
    """Files of a known kind, folder by folder, npz before mat."""
    for folder in folders:
        if folder.is_dir():
            for suffix in (".npz", ".mat"):
                yield from (
                    p for p in sorted(folder.iterdir()) if p.suffix.lower() == suffix
                )


def plain_name(name: str) -> str:
    """Letters and digits of a name, lower case: "Yahoo! News" -> "yahoonews"."""
    return "".join(c for c in name.casefold() if c.isalnum())


def _read_npz(path: Path) -> dict[str, Any]:
    """Arrays of our own layout: X (n, d), candidates (n, C), y (n,), extras."""
    raw = read_npz(path, ())
    _check_keys(raw, ("X", "candidates", "y"), path)
    for name in ("X", "candidates", "y"):
        table = raw[name]
        if table.dtype.kind not in "biuf":
            raise ValueError(
                f"{path}: {name} has the dtype {table.dtype}, where numbers are "
                "expected."
            )
        if not np.isfinite(table).all():
            raise ValueError(f"{path}: {name} holds values that are not finite.")
    return raw


def _read_mat(path: Path) -> dict[str, Any]:
    """Arrays of the field's layout, turned: targets (C, n) -> (n, C), (n,)."""
    keys = ("data", "target", "partial_target")
    raw = _in_own_process(path, keys)
    truth = raw["target"].T > 0  # (n, C)
    wrong = np.flatnonzero(truth.sum(axis=1) != 1)
    if wrong.size:
        row = wrong[0]
        raise ValueError(
            f"{path}: target has {truth[row].sum()} true classes in row {row} (and "
            f"{wrong.size} such rows in all); every row needs exactly one."
        )
    return {
        "X": raw["data"],
        "candidates": raw["partial_target"].T,
        "y": truth.argmax(axis=1),
    }


def _in_own_process(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Tables of a MATLAB file. It may be a stranger's: see `_mat_reader`."""
    with path.open("rb"):  # else an OSError, as for any file
        pass
    with TemporaryDirectory() as folder:
        out = Path(folder) / "tables.npz"
        done = subprocess.run(
            [sys.executable, "-I", _mat_reader.__file__, str(path), str(out), *keys],
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            return read_npz(out, keys)
    kind, _, reason = done.stdout.strip().partition(": ")
    if kind == "NotImplementedError":  # MATLAB 7.3 files are HDF5
        raise ValueError(
            f"{path} is a MATLAB 7.3 file, which scipy cannot read. Save it again in "
            "MATLAB with save(..., '-v7')."
        )
    if kind == "KeyError":
        _check_keys(dict.fromkeys(reason.strip("'").split(", ")), keys, path)
    if done.returncode != _mat_reader.REFUSED:
        reason = "scipy's reader crashed"
    raise damaged(path, ValueError(reason))


def _check_keys(raw: dict[str, Any], keys: tuple[str, ...], path: Path) -> None:
    """Refuse a file that lacks one of the keys."""
    if missing := [key for key in keys if key not in raw]:
        held = sorted(key for key in raw if not key.startswith("__"))
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(held)}. A "
            f"partial-label file has {', '.join(keys)}."
        )


def _dense(array: Any) -> NDArray[Any]:
    """Dense form of an array that may be sparse."""
    return array.toarray() if issparse(array) else np.asarray(array)


def _check_rows(data: Bunch, path: Path) -> None:
    """Refuse arrays that do not fit together and rows without a candidate."""
    if not (
        data.data.ndim == data.candidates.ndim == 2 and data.target.ndim == 1
    ) or not (len(data.data) == len(data.candidates) == len(data.target)):
        raise ValueError(
            f"{path}: features {data.data.shape}, candidates {data.candidates.shape} "
            f"and true classes {data.target.shape} do not describe the same rows. In "
            "MATLAB files data is (n_samples, n_features), target and partial_target "
            "are (n_classes, n_samples)."
        )
    n_classes = data.candidates.shape[1]
    outside = np.flatnonzero((data.target < 0) | (data.target >= n_classes))
    if outside.size:
        raise ValueError(
            f"{path}: the true class of row {outside[0]} is {data.target[outside[0]]}; "
            f"the candidates have columns 0 to {n_classes - 1}."
        )
    empty = np.flatnonzero(~data.candidates.any(axis=1))
    if empty.size:
        raise ValueError(
            f"{path}: row {empty[0]} has no candidate (and {empty.size} such rows in "
            "all). Drop these rows or make every class a candidate."
        )


def _describe(data: Bunch, source: str, note: str, path: Path) -> str:
    """Text for DESCR."""
    rows = np.arange(len(data.target))
    n_classes = data.candidates.shape[1]
    inside = data.candidates[rows, data.target].mean()
    lines = [
        f"{data.name}: {data.data.shape[0]} rows, {data.data.shape[1]} features, "
        f"{n_classes} classes of which {np.unique(data.target).size} occur.",
        f"{data.candidates.sum(axis=1).mean():.3f} candidates a row on average; the "
        f"true class is among them in {inside:.1%} of the rows.",
        note,
        f"Source: {source or path.name}",
        f"Home page: {_HOME_PAGES.get(plain_name(path.stem), _PALM)}. Its terms of use "
        "apply: several sets are for academic use only.",
    ]
    return "\n".join(line for line in lines if line)
