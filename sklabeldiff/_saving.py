"""Fitted estimators as one safetensors file, which runs no code when it is read.

    header   JSON in the file's metadata: format, class, parameters, fitted values
    tensors  the arrays among them, by name
    digest   of both: a file that was damaged on the way is refused

A file may come from anyone. Reading it makes nothing but numbers, strings and the
estimators of this package; every value is held against what its class expects
(`_fields`) and against the others before anything uses it, and no more memory is taken
than the file has bytes, times a small number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._devices import DeviceError
from sklabeldiff._fields import Field, check_fields
from sklabeldiff._files import write_whole
from sklabeldiff.core import processes

FORMAT = "sklabeldiff-2"
# The one before had no digest, and was else the same.
FORMATS = ("sklabeldiff-1", FORMAT)
MAX_HEADER = 2**25  # bytes; a hundred thousand long names of classes have a tenth
MAX_TEXT = 2**26  # characters of a padded array of strings

# The estimators that a file may hold inside another one, and where they are.
MODULES = {
    "sklabeldiff": (
        *("CADClassifier", "CLIPFeatures", "CandidateBinarizer", "DDMPClassifier"),
        *("DMISClassifier", "DTMClassifier", "DiffusionEditor"),
    ),
    "sklabeldiff.baselines": (
        *("CCClassifier", "DIRKClassifier", "KernelPropagationClassifier"),
        *("PLKNNClassifier", "PRODENClassifier", "VolMinNetClassifier"),
        "CandidateWeightedClassifier",
    ),
    "sklabeldiff.calibration": (
        *("CandidateCalibratedClassifier", "RejectOptionClassifier"),
    ),
    "sklabeldiff.features": (
        *("SimCLRFeatures", "TextFeatures", "TorchFeatures", "VisionFeatures"),
    ),
    "sklabeldiff.neighbors": ("ApproximateNeighbors",),
}

Arrays = dict[str, NDArray[Any]]


class SavingMixin:
    """`save` and `load` for an estimator whose fitted state is arrays and values."""

    # What a fit leaves, by name; `_check_loaded` sees to what no list can say.
    _fields: ClassVar[Mapping[str, Field]] = {}
    # Parameters that mean something on this machine only: they are not written.
    _local_params: ClassVar[tuple[str, ...]] = ("checkpoint_dir", "cache_dir")

    def save(self: Any, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, which runs no code.

        Folders among the parameters (`checkpoint_dir`, `cache_dir`) are not written.
        Within :func:`~sklabeldiff.distributed.data_parallel` the main process alone
        writes.

        Parameters
        ----------
        path : str or Path
            File to write. It is there whole or not at all: a file of this name is
            replaced when everything is written.

        Raises
        ------
        TypeError
            If a parameter, a class label or an estimator inside is nothing that the
            file can hold: plain values, arrays of numbers, and estimators of this
            package. Use pickle, joblib or skops.
        OSError
            If the file cannot be written.
        """
        arrays: Arrays = {}
        header: dict[str, Any] = {
            "format": FORMAT,
            # Not an import: nothing in the package depends on its front door.
            "version": import_module("sklabeldiff").__version__,
            **_pack_estimator("", self, arrays, fitted=True),
        }
        header["digest"] = _digest(header, arrays)
        metadata = {"sklabeldiff": json.dumps(header)}
        if not processes.current().is_main:
            return
        try:
            write_whole(Path(path), lambda f: save_file(arrays, f, metadata=metadata))
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}") from error

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> Self:
        """Read an estimator written by `save`. Files of strangers are safe to read.

        Parameters
        ----------
        path : str or Path
            File to read.
        device : str, default=None
            In place of the parameter of this name, where the machine that saved had
            another one.

        Returns
        -------
        estimator : object
            Fitted; it predicts as the saved one did.

        Raises
        ------
        ValueError
            If the file holds something else, is damaged, or was written by a later
            version.
        OSError
            If there is no such file.
        """
        header, arrays = _read(Path(path))
        if header.get("class") != cls.__name__:
            raise ValueError(
                f"{path} holds {str(header.get('class'))!r:.60}, not a {cls.__name__}. "
                "Load it with the class that saved it."
            )
        try:
            estimator = _unpack_estimator(cls, header, arrays, device)
        except (ImportError, MemoryError, DeviceError):
            raise
        except Exception as error:  # whatever a file of a stranger may bring about
            raise _refused(path, str(error) or type(error).__name__) from error
        return estimator  # type: ignore[no-any-return]

    def _params_to_save(self: Any) -> dict[str, Any]:
        """Parameters as the fitted state needs them."""
        params: dict[str, Any] = self.get_params(deep=False)
        return params

    def _check_loaded(self) -> None:
        """Raise if what a file brought does not fit together. Fields are checked."""


def _refused(path: str | Path, why: str) -> ValueError:
    return ValueError(
        f"{path} cannot be loaded, it is damaged or was changed: {why:.500}. Save the "
        "estimator again, or get the file anew."
    )


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a file, which are as they were written."""
    if not path.exists():
        raise FileNotFoundError(f"No file {path}.")
    if not path.is_file():
        raise ValueError(f"{path} is no file.")
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > MAX_HEADER:
        raise _refused(path, f"its header claims {length} bytes")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("sklabeldiff", "{}")
            arrays = {key: file.get_tensor(key) for key in file.keys()}
        header = json.loads(text)
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise _refused(path, str(error)) from error
    except RecursionError as error:
        raise _refused(path, "its header is nested too deeply") from error
    if not isinstance(header, dict) or "format" not in header:
        raise ValueError(f"{path} holds no sklabeldiff estimator.")
    if header["format"] not in FORMATS:
        raise ValueError(
            f"{path} has the format {str(header['format'])!r:.60}, and this version of "
            f"sklabeldiff reads {' and '.join(FORMATS)}. Load it with the version that "
            f"saved it ({header.get('version', 'unknown')!s:.20}), or fit again."
        )
    digest = header.pop("digest", None)
    if header["format"] == FORMAT and digest != _digest(header, arrays):
        raise _refused(path, "it is not what was saved (its digest differs)")
    return header, arrays


def _digest(header: dict[str, Any], arrays: Arrays) -> str:
    """Name of everything in a file."""
    digest = blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


# -- writing ---------------------------------------------------------------------------


def _pack_estimator(
    start: str, estimator: Any, arrays: Arrays, *, fitted: bool
) -> dict[str, Any]:
    """Class, parameters and, if `fitted`, what a fit left."""
    cls = type(estimator)
    if not isinstance(estimator, SavingMixin) and not _is_ours(cls):
        raise TypeError(
            f"{start or 'It'} is a {cls.__name__}, which save cannot write: it writes "
            "estimators of sklabeldiff. Use pickle, joblib or skops."
        )
    if fitted and hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    given = estimator._params_to_save() if fitted else estimator.get_params(deep=False)
    params = {
        name: None
        if name in _local_params(cls)
        else _pack(f"{start}params.{name}", value, arrays)
        for name, value in given.items()
    }
    packed: dict[str, Any] = {"class": cls.__name__, "params": params}
    if fitted:
        state = {k: v for k, v in vars(estimator).items() if k in cls._fields}
        packed["fitted"] = {
            name: _pack(f"{start}{name}", value, arrays, fitted=True)
            for name, value in state.items()
        }
    return packed


def _pack(name: str, value: Any, arrays: Arrays, *, fitted: bool = False) -> Any:
    """Make a JSON value; numeric arrays move to `arrays` under `name`."""
    if isinstance(value, BaseEstimator):
        inside = _pack_estimator(f"{name}.", value, arrays, fitted=fitted)
        return {"estimator": inside}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[name] = np.asarray(value, order="C")
        return {"array": name}
    if issparse(value):
        value = csr_array(value)
        if not value.has_canonical_format:  # it is the user's: not in place
            value = value.copy()
            value.sum_duplicates()
        parts = {k: getattr(value, k) for k in ("data", "indices", "indptr")}
        packed = {k: _pack(f"{name}.{k}", v, arrays) for k, v in parts.items()}
        return {"csr": packed, "shape": list(value.shape)}
    if isinstance(value, np.ndarray):
        kind = "U" if value.dtype.kind == "U" else "O"
        return {"list": [_plain(name, v) for v in value.tolist()], "dtype": kind}
    if isinstance(value, Mapping):
        items = value.items()
        if not all(isinstance(key, str) for key in value):
            pairs = [[_plain(name, k), _pack(name, v, arrays)] for k, v in items]
            return {"pairs": pairs}
        return {"dict": {k: _pack(f"{name}.{k}", v, arrays) for k, v in items}}
    if isinstance(value, (list, tuple)):
        items_ = [_pack(f"{name}.{i}", v, arrays) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "items": items_}
    return _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(
        f"{name} holds {value!r}, which save cannot write. Give a plain value (for "
        "random_state an integer), or pickle the estimator."
    )


# -- reading ---------------------------------------------------------------------------


def _unpack_estimator(
    cls: Any, packed: Any, arrays: Arrays, device: str | None = None
) -> Any:
    """Undo `_pack_estimator`, and check what came of it."""
    params = {k: _unpack(v, arrays) for k, v in packed["params"].items()}
    for name in params.keys() - set(cls._get_param_names()):
        raise ValueError(f"{cls.__name__} has no parameter {name!r:.60}")
    for name in _local_params(cls):
        if params.get(name) is not None:
            raise ValueError(f"{name} is never saved, and must not be loaded")
    if device is not None:
        params["device"] = device
    estimator = cls(**params)
    if "fitted" not in packed:
        return estimator
    state = {k: _unpack(v, arrays) for k, v in packed["fitted"].items()}
    check_fields("", cls._fields, state, {})
    for name, value in state.items():
        setattr(estimator, name, value)
    estimator._check_loaded()
    return estimator


def _local_params(cls: Any) -> tuple[str, ...]:
    return getattr(cls, "_local_params", ())


def _is_ours(cls: Any) -> bool:
    """Whether an estimator may be saved inside another one, as it was made."""
    return any(cls.__name__ in names for names in MODULES.values()) and (
        _class_of(cls.__name__) is cls
    )


def _class_of(name: Any) -> Any:
    """Class of an estimator inside another one: one of ours, by name."""
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise ValueError(f"{name!r:.60} is no estimator of sklabeldiff")


def _unpack(value: Any, arrays: Arrays) -> Any:
    """Undo `_pack`."""
    if isinstance(value, list):
        raise ValueError("a list must say what it is")
    if not isinstance(value, dict):
        return value
    match value:
        case {"array": name}:
            return arrays[name]
        case {"list": list(labels), "dtype": "O" | "U" as kind}:
            return _label_array(labels, kind)
        case {"csr": dict(parts), "shape": [int(n), int(m)]}:
            return _sparse_array(
                {k: _unpack(v, arrays) for k, v in parts.items()}, n, m
            )
        case {"dict": dict(items)}:
            return {k: _unpack(v, arrays) for k, v in items.items()}
        case {"pairs": list(pairs)}:
            return {_unpack(k, arrays): _unpack(v, arrays) for k, v in pairs}
        case {"tuple": list(items)}:
            return tuple(_unpack(v, arrays) for v in items)
        case {"items": list(items)}:
            return [_unpack(v, arrays) for v in items]
        case {"estimator": inside}:
            return _unpack_estimator(_class_of(inside["class"]), inside, arrays)
    raise ValueError(f"{str(sorted(value))!r:.60} is no value of this format")


def _sparse_array(parts: Arrays, n_rows: int, n_columns: int) -> csr_array:
    """Sparse array as it was: every row sorted, nothing twice, nothing outside."""
    data, indices, ends = (parts[k] for k in ("data", "indices", "indptr"))
    if not (data.ndim == indices.ndim == ends.ndim == 1) or len(ends) != n_rows + 1:
        raise ValueError("the parts of a sparse array do not fit together")
    if indices.dtype.kind != "i" or ends.dtype.kind != "i":
        raise ValueError("the indices of a sparse array must be integers")
    array = csr_array((data, indices, ends), shape=(n_rows, n_columns))
    array.check_format(full_check=True)
    if not array.has_canonical_format:
        raise ValueError("the indices of a sparse array are not in order")
    return array


def _label_array(labels: list[Any], kind: str) -> NDArray[Any]:
    """Labels as they were: strings of one width, or objects."""
    if kind == "U":
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("an array of strings holds something else")
        if len(labels) * max(map(len, labels), default=0) > MAX_TEXT:
            raise ValueError("an array of strings is too large")
        return np.array(labels, dtype="U")
    array = np.empty(len(labels), dtype=object)
    for i, label in enumerate(labels):
        array[i] = _plain("an array of labels", label)
    return array
