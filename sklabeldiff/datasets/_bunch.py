"""The form in which every fetcher returns its set: a Bunch, a pair, or frames."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sklabeldiff.datasets._facts import DataSet


def finish(
    bunch: Bunch,
    facts: DataSet,
    *,
    fit_target: str = "candidates",
    return_X_y: bool,
    as_frame: bool,
    lines: Iterable[str] = (),
) -> Bunch | tuple[Any, Any]:
    """Add names and description, and turn into a pair or into frames if asked for.

    fit_target is the attribute that `fit` takes as y; lines extend the description.
    """
    if bunch.data is None and (return_X_y or as_frame):
        raise ValueError(
            "return_X_y and as_frame need data. Ask for images=True or features=True."
        )
    bunch.setdefault("target_names", _class_names(facts))
    bunch.setdefault("feature_names", _feature_names(bunch.data))
    bunch.DESCR = _describe(bunch, facts, lines)
    bunch.frame = None
    if as_frame:
        _to_frames(bunch, fit_target)
    return (bunch.data, bunch[fit_target]) if return_X_y else bunch


def check_shape(
    data: NDArray[Any], facts: DataSet, part: str, path: Path, advice: str
) -> None:
    """Refuse a file whose shape is not the published one."""
    expected = (facts.rows[part], facts.n_features)
    if data.shape != expected:
        raise ValueError(
            f"{path}: the features have shape {data.shape}, but those of {facts.title} "
            f"({part}) have {expected}. The file is damaged or of another set. {advice}"
        )


def check_classes(
    values: Any, name: str, n_rows: int, n_classes: int, path: Path
) -> NDArray[np.int64]:
    """Check one class code a row. -> (n,)."""
    values = np.asarray(values)
    if values.shape != (n_rows,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: {name} has shape {values.shape} and dtype {values.dtype}. "
            f"Expected integers of shape ({n_rows},), one per row."
        )
    outside = np.flatnonzero((values < 0) | (values >= n_classes))
    if outside.size:
        raise ValueError(
            f"{path}: {name} of row {outside[0]} is {values[outside[0]]}. The classes "
            f"are 0 to {n_classes - 1}."
        )
    return values.astype(np.int64)


def check_keys(raw: dict[str, Any], keys: Iterable[str], path: Path) -> None:
    """Refuse a file that lacks one of the keys."""
    if missing := [key for key in keys if key not in raw]:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(raw))}."
        )


def read_npz(path: Path, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file that has at least these keys."""
    # Opened here: numpy leaves a damaged file open.
    with (
        _reading(path),
        path.open("rb") as stream,
        np.load(stream, allow_pickle=False) as file,
    ):
        raw = dict(file)
    check_keys(raw, keys, path)
    return raw


def read_npy(path: Path) -> NDArray[Any]:
    """Array of an npy file."""
    with _reading(path), path.open("rb") as stream:
        return np.asarray(np.load(stream, allow_pickle=False))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name a file of which numpy and zipfile complain, in one of their many ways."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path} claims more than fits in memory: {error}.") from error
    except Exception as error:
        # A wrong offset in the file has a number as well: that of a wrong argument.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ValueError:
    """Error to raise for a file that cannot be read."""
    return ValueError(f"{path} is damaged ({error}). Delete it and try again.")


def _class_names(facts: DataSet) -> list[str]:
    """Names of the classes, made up where nobody published them."""
    return list(facts.target_names) or [f"class{j}" for j in range(facts.n_classes)]


def _feature_names(data: NDArray[Any] | None) -> list[str]:
    if data is None:
        return []
    return ["text"] if data.ndim == 1 else [f"x{j}" for j in range(data.shape[1])]


def _describe(bunch: Bunch, facts: DataSet, lines: Iterable[str]) -> str:
    """Text for DESCR."""
    n_rows = len(bunch.target)
    what = "labels only" if bunch.data is None else f"{len(bunch.feature_names)} "
    if bunch.data is not None:
        what += "column of text" if bunch.data.ndim == 1 else "features"
    text = [
        f"{facts.title}: {n_rows} rows, {what}, {len(bunch.target_names)} classes of "
        f"which {np.unique(bunch.target).size} occur. Labels: {facts.labels}."
    ]
    if "candidates" in bunch:
        inside = bunch.candidates[np.arange(n_rows), bunch.target].mean()
        text.append(
            f"{bunch.candidates.sum(axis=1).mean():.3f} candidates a row on average; "
            f"the true class is among them in {inside:.2%} of the rows."
        )
    text += [
        *lines,
        facts.note,
        f"Licence: {facts.licence}.",
        f"Home page: {facts.home_page}",
        f"Cite: {facts.citation}",
    ]
    return "\n".join(line for line in text if line)


def _to_frames(bunch: Bunch, fit_target: str) -> None:
    """Turn data, candidates and classes into pandas, in place; add `frame`."""
    pd = _import_pandas()
    for key in [key for key in bunch if key == "data" or key.startswith("data_")]:
        values = bunch[key]
        bunch[key] = (
            pd.Series(values, name="text")
            if values.ndim == 1
            else pd.DataFrame(values, columns=bunch.feature_names)
        )
    if "candidates" in bunch:
        bunch.candidates = pd.DataFrame(bunch.candidates, columns=bunch.target_names)
    # The columns of the candidates are names, and so are predictions then. Hence the
    # true classes are names too.
    parts = ("target", "target_valid", "target_test", "noisy")
    for key in [key for key in parts if key in bunch]:
        codes = pd.Categorical.from_codes(bunch[key], categories=bunch.target_names)
        bunch[key] = pd.Series(codes, name=key.partition("_")[0])
    columns = [bunch.data, bunch.target]
    if fit_target != "target":
        columns.insert(1, bunch[fit_target])
    bunch.frame = pd.concat(columns, axis=1)


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            'as_frame=True needs pandas: pip install "sklabeldiff[pandas]"'
        ) from error
    return pandas
