"""A file in which a long fit leaves its state, so that it can go on later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


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
    """

    def __init__(
        self,
        folder: str | Path | None,
        arrays: Iterable[NDArray[Any]],
        params: dict[str, Any],
    ) -> None:
        self.path: Path | None = None
        if folder is not None:
            digest = hashlib.sha256(json.dumps(params, default=_whole).encode())
            for array in arrays:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
            self.path = Path(folder) / f"fit-{digest.hexdigest()[:16]}.pt"

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """State left by an earlier fit, or None."""
        if self.path is None or not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(
            self.path, map_location=device, weights_only=True
        )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file in one step: a kill leaves the old state or the new one."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}.part")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def remove(self) -> None:
        """Forget the fit: it is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _whole(value: Any) -> Any:
    """Arrays and frames entry by entry, of which repr leaves out most."""
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
