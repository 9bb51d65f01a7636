"""Fitted estimators as one safetensors file, which runs no code when it is read.

Whatever a fit left in names that end in ``_``, and the parameters: arrays as arrays,
the rest as JSON in the header.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.utils.validation import check_is_fitted

FORMAT = "sklabeldiff-1"


class SavingMixin:
    """`save` and `load` for an estimator whose fitted state is arrays and values."""

    def save(self: Any, path: str | Path) -> None:
        """Write the fitted estimator to one safetensors file, which runs no code.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        TypeError
            If a parameter or a class label is not a plain value.
        """
        check_is_fitted(self)
        arrays: dict[str, NDArray[Any]] = {}
        fitted = {
            name: _pack(name, value, arrays)
            for name, value in vars(self).items()
            if name.endswith("_") and not name.startswith("_")
        }
        params = {
            name: _pack(f"params.{name}", value, arrays)
            for name, value in self.get_params(deep=False).items()
        }
        header = {
            "format": FORMAT,
            "class": type(self).__name__,
            "params": params,
            "fitted": fitted,
        }
        save_file(arrays, path, metadata={"sklabeldiff": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimator written by `save`.

        Parameters
        ----------
        path : str or Path
            File to read.

        Returns
        -------
        estimator : object
            Fitted; it predicts as the saved one did.

        Raises
        ------
        ValueError
            If the file holds something else.
        """
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("sklabeldiff", "{}"))
            if header.get("class") != cls.__name__:
                raise ValueError(
                    f"{path} holds {header.get('class', 'no sklabeldiff estimator')}, "
                    f"not a {cls.__name__}. Load it with the class that saved it."
                )
            if header["format"] != FORMAT:
                raise ValueError(
                    f"{path} has the format {header['format']!r}, not {FORMAT!r}. Load "
                    "it with the version of sklabeldiff that saved it, or fit again."
                )
            arrays = {key: file.get_tensor(key) for key in file.keys()}
        params = {k: _unpack(v, arrays) for k, v in header["params"].items()}
        estimator = cls(**params)
        for name, value in header["fitted"].items():
            setattr(estimator, name, _unpack(value, arrays))
        return estimator


def _pack(name: str, value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Make a JSON value; numeric arrays move to `arrays` under `name`."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, np.ndarray):
        kind = "U" if value.dtype.kind == "U" else "O"
        return {"list": [_plain(name, v) for v in value.tolist()], "dtype": kind}
    if isinstance(value, dict):
        packed = {k: _pack(f"{name}.{k}", v, arrays) for k, v in value.items()}
        return {"dict": packed}
    if isinstance(value, (list, tuple)):
        items = [_pack(f"{name}.{i}", v, arrays) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "items": items}
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


def _unpack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Undo `_pack`."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "list" in value:
        return np.array(value["list"], dtype=value["dtype"])
    if "dict" in value:
        return {k: _unpack(v, arrays) for k, v in value["dict"].items()}
    if "tuple" in value:
        return tuple(_unpack(v, arrays) for v in value["tuple"])
    return [_unpack(v, arrays) for v in value["items"]]
