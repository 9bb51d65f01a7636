"""Files of the public data sets: where they lie, and their download if they do not.

What pooch does (download, SHA-256, attempts, progress) is left to it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklabeldiff.datasets._facts import DataSet, RemoteFile
from sklabeldiff.datasets._registry import DATA_SETS

ENVIRONMENT_VARIABLE = "SKLABELDIFF_DATA"
_DEFAULT_HOME = "~/sklabeldiff_data"
_N_RETRIES = 2  # after a failed attempt, with a second or two between
_CHUNK_BYTES = 1 << 16

logger = logging.getLogger(__name__)


def resolve_home(data_home: str | os.PathLike[str] | None) -> Path:
    """Folder of the data: argument, environment variable or default."""
    if data_home is None:
        data_home = os.environ.get(ENVIRONMENT_VARIABLE) or _DEFAULT_HOME
    return Path(data_home).expanduser()


@dataclass(frozen=True)
class Store:
    """The files of one data set on this machine, and leave to download more."""

    facts: DataSet
    home: Path
    download_if_missing: bool
    verbose: bool

    @property
    def folders(self) -> list[Path]:
        """Folders that are searched, in this order."""
        return [self.home / folder for folder in self.facts.folders]

    def find(self, *names: str) -> Path | None:
        """Return the first of these files or folders that is there."""
        paths = (folder / name for name in names for folder in self.folders)
        return next((path for path in paths if path.exists()), None)

    def get(self, name: str) -> Path:
        """Path of a file of the registry, downloaded where it is missing."""
        path = self.find(name)
        if path is not None:
            return path
        file = next(file for file in self.facts.files if file.name == name)
        if not self.download_if_missing:
            raise FileNotFoundError(
                f"No {name} ({self.facts.title}) in "
                f"{', '.join(map(str, self.folders))}. download_if_missing=True gets "
                f"it from {file.urls[0]}. By hand: {self.by_hand}"
            )
        return download(file, self)

    @property
    def by_hand(self) -> str:
        """How to get the files without this package."""
        return (
            f"{self.facts.by_hand} Home page: {self.facts.home_page}. Put it in one of "
            "these folders, or name yours in data_home or the environment variable "
            f"{ENVIRONMENT_VARIABLE}."
        )


def open_store(
    name: str,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    verbose: bool,
) -> Store:
    """Store of a set of the registry."""
    return Store(DATA_SETS[name], resolve_home(data_home), download_if_missing, verbose)


def download(file: RemoteFile, store: Store) -> Path:
    """Download one file to the first folder; OSError if no address gives it."""
    pooch = _import_pooch()
    folder = store.folders[0]
    failures = []
    for url in file.urls:
        logger.info("downloading %s to %s", url, folder)
        try:
            with _quiet(pooch):
                return _retrieve(pooch, url, file, folder, store.verbose)
        except (ValueError, OSError) as error:  # requests' errors are OSErrors
            failures.append(f"{url}: {error}")
    size = "" if file.size is None else f", {file.size:,} bytes"
    raise OSError(
        f"Could not download {file.name} ({store.facts.title}{size}) to {folder}: "
        f"{' '.join(failures)} Try again later, or get it by hand: {store.by_hand}"
    )


def _retrieve(
    pooch: Any, url: str, file: RemoteFile, folder: Path, verbose: bool
) -> Path:
    """Let pooch download, check and move the file into place."""
    kind, _, digest = file.hash.partition(":")
    http = pooch.HTTPDownloader(progressbar=verbose, chunk_size=_CHUNK_BYTES)
    keeper = pooch.create(
        path=folder,
        base_url="",
        registry={file.name: None if kind == "git" else file.hash},
        urls={file.name: url},
        retry_if_failed=_N_RETRIES,
    )
    downloader = _with_git_check(http, file.name, digest) if kind == "git" else http
    return Path(keeper.fetch(file.name, downloader=downloader))


def _with_git_check(
    downloader: Callable[[str, str, Any], None], name: str, expected: str
) -> Callable[[str, str, Any], None]:
    """Check the id before pooch, which does not know it, moves the file into place."""

    def download_and_check(url: str, output_file: str, pooch: Any) -> None:
        downloader(url, output_file, pooch)
        found = git_id(Path(output_file))
        if found != expected:
            raise ValueError(
                f"git's id of downloaded file ({name}) does not match the known one: "
                f"expected {expected} but got {found}. Deleted download for safety."
            )

    return download_and_check


def git_id(path: Path) -> str:
    """Name that git gives to the content: SHA-1 of a header and the content."""
    header = f"blob {path.stat().st_size}\0".encode()
    digest = hashlib.sha1(header, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    """Keep pooch's own messages off the terminal; ours go through logging."""
    pooch_logger = pooch.get_logger()
    level = pooch_logger.level
    pooch_logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        pooch_logger.setLevel(level)


def _import_pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            'Downloads need pooch: pip install "sklabeldiff[datasets]"'
        ) from error
    return pooch
