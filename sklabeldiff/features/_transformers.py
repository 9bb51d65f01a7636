"""Loading models of the library transformers: quietly, checked, and named by content.

What `CLIPFeatures` and `VisionFeatures` share. Networks are read on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import torch

from sklabeldiff._optional import require

# from_pretrained changes process-wide settings (torch's default dtype, transformers'
# logging) while it runs, so that threads must load one after the other.
_LOADING = Lock()
_PIECE = 1 << 24  # bytes read at a time


@contextmanager
def loading(name: str, kind: str, *, verbose: int) -> Iterator[None]:
    """Load alone and quietly; an error says what to do about it."""
    with _LOADING, _undisturbed(require("transformers"), verbose=verbose):
        try:
            yield
        except OSError as error:
            raise OSError(
                f"The {kind} {name!r} cannot be loaded: "
                f"{str(error).splitlines()[0]} Give the name of a model on "
                "huggingface.co, or a folder with the saved model and its image "
                "processor or tokenizer. A name needs a connection the "
                "first time; without one, download the model elsewhere and pass "
                "its folder."
            ) from error


def load_processor(transformers: ModuleType, name: str) -> Any:
    """Load an image processor on Pillow: the other one wants torchvision."""
    auto = transformers.AutoImageProcessor
    if int(transformers.__version__.partition(".")[0]) >= 5:
        return auto.from_pretrained(name, backend="pil")
    processor = auto.from_pretrained(name, use_fast=False)
    # It takes an image of one pixel's height for one of one channel otherwise.
    return partial(processor, input_data_format="channels_last")


def content_of(model: str | PathLike[str], kind: str, verbose: int) -> str:
    """Name what a model's name or folder holds, without loading it.

    A folder is named by a hash of its files; a name on the hub by its commit, which
    asks the hub, once a process, where there is a connection.
    """
    folder = Path(model)
    if folder.is_dir():
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        stats = [path.stat() for path in paths]
        states = [(stat.st_size, stat.st_mtime_ns, stat.st_ino) for stat in stats]
        return _hash_of_files(folder, tuple(zip(paths, states, strict=True)))
    return _commit_of(str(model), kind, verbose)


@lru_cache(maxsize=32)
def _commit_of(name: str, kind: str, verbose: int) -> str:
    """Commit of a model on the hub, or the one that was downloaded before."""
    if kind == "sentence encoder" and "/" not in name:
        name = f"sentence-transformers/{name}"  # as that library does
    cached_file = require("transformers.utils").cached_file
    with loading(name, kind, verbose=verbose):
        config = Path(cached_file(name, "config.json"))
    return f"{name}@{config.parent.name}"  # .../snapshots/<commit>/config.json


@lru_cache(maxsize=32)
def _hash_of_files(folder: Path, files: tuple[tuple[Path, Any], ...]) -> str:
    """Hash names and contents of files; read again only when they look changed."""
    digest = blake2b(digest_size=16)
    for path, _ in files:
        digest.update(f"{path.relative_to(folder).as_posix()} ".encode())
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _undisturbed(transformers: ModuleType, *, verbose: int) -> Iterator[None]:
    """Keep what transformers says and draws while it loads from the user's process."""
    log = transformers.utils.logging
    level, has_bar = log.get_verbosity(), log.is_progress_bar_enabled()
    # Version 4 fills the network with random numbers before it reads the weights.
    # Version 5 does not; setting the state back would only disturb other threads.
    draws = int(transformers.__version__.partition(".")[0]) < 5
    state = torch.get_rng_state() if draws else None
    log.set_verbosity_error()  # the text weights are left unread: no news
    if not verbose:
        log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if has_bar:
            log.enable_progress_bar()
        if state is not None:
            torch.set_rng_state(state)
