"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Put a file in place in one step: a kill leaves the old one or the new one.

    Parameters
    ----------
    path : Path
        In a folder that exists. A file that is there already is replaced.
    write : callable
        Writes the content to the path that it is given, which lies in the same folder.

    Raises
    ------
    OSError
        If the disk is full, or the folder cannot be written to. What was at `path`
        stays as it was.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        write(partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())  # or a crash of the machine may leave it empty
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    with suppress(OSError):  # of systems where a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
