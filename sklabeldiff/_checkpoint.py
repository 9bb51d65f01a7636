"""A file in which a long fit leaves its state, so that it can go on later."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from sklabeldiff._files import write_whole
from sklabeldiff._parameters import check_folder
from sklabeldiff.core import processes

STALE_SECONDS = 3600  # after which an unfinished file is nobody's


class Checkpoint:
    """State of one fit: of these data, with these parameters.

    Parameters
    ----------
    folder : str, Path or None
        Where the file lies; None keeps nothing.
    arrays : iterable of ndarray
        The training data.
    params : dict
        Whatever else the result depends on.

    Notes
    -----
    Where several processes share the fit, the main one alone uses the folder, and the
    others are given what it reads there.
    """

    def __init__(
        self,
        folder: str | Path | None,
        arrays: Iterable[NDArray[Any]],
        params: dict[str, Any],
    ) -> None:
        self.path: Path | None = None
        self._processes = processes.current()
        if folder is not None:
            check_folder("checkpoint_dir", folder)
            if self._processes.count > 1:  # the state of each is kept
                params = params | {"n_processes": self._processes.count}
            digest = hashlib.sha256(json.dumps(params, default=_whole).encode())
            for array in arrays:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
            self.path = Path(folder) / f"fit-{digest.hexdigest()[:16]}.pt"
            if self._processes.is_main:
                self._prepare()

    def _prepare(self) -> None:
        """Make the folder, try it before hours of training, and clear up."""
        assert self.path is not None
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
            for partial in folder.glob("fit-*.part"):  # of killed fits
                if time.time() - partial.stat().st_mtime > STALE_SECONDS:
                    partial.unlink(missing_ok=True)
        except OSError as error:
            raise OSError(
                f"checkpoint_dir={str(folder)!r} cannot be used ({error}). Give a "
                "folder that you may write to; None does without."
            ) from error

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """State left by an earlier fit, or None.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if self.path is None:
            return None
        found = self._processes.is_main and self.path.exists()
        source: Any = self.path if found else None
        if self._processes.count > 1:
            source = self._processes.of_main(source and source.read_bytes())
            source = source and BytesIO(source)
        if source is None:
            return None
        try:
            state: dict[str, Any] = torch.load(
                source, map_location=device, weights_only=True
            )
        except (RuntimeError, EOFError, UnpicklingError, KeyError) as error:
            raise ValueError(
                f"The state of a fit in {self.path} is damaged ({error}). Delete this "
                "file to begin the fit anew."
            ) from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file in one step: a kill leaves the old state or the new one.

        Raises
        ------
        OSError
            If it cannot be written; the old state stays.
        """
        if self.path is None or not self._processes.is_main:
            return
        try:
            write_whole(self.path, lambda file: torch.save(state, file))
        except (OSError, RuntimeError) as error:  # torch's for a full disk
            raise OSError(
                f"The state of the fit cannot be written to {self.path} ({error}). The "
                "last state that was written is kept: make room and fit again to go "
                "on from there, or give another checkpoint_dir."
            ) from error

    def remove(self) -> None:
        """Forget the fit: it is done."""
        if self.path is not None and self._processes.is_main:
            self.path.unlink(missing_ok=True)


def _whole(value: Any) -> Any:
    """Arrays and frames entry by entry, of which repr leaves out most."""
    if issparse(value):
        value = csr_array(value)
        return [a.tolist() for a in (value.data, value.indices, value.indptr)]
    return np.asarray(value).tolist() if hasattr(value, "__array__") else repr(value)


class Stages:
    """Stages of a fit, by name: those that a checkpoint holds are not run again.

    Each outcome is a tuple of tensors and plain values, and a function of the training
    data, the parameters and the outcomes before it.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.outcomes = checkpoint.load(device) or {}

    def __call__(self, name: str, run: Callable[[], tuple[Any, ...]]) -> Any:
        """Return the outcome of a stage."""
        if name not in self.outcomes:
            self.outcomes[name] = tuple(run())
            self.checkpoint.save(self.outcomes)
        return self.outcomes[name]
