"""What is known of a public data set and its files before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its name here, its addresses, its checksum."""

    name: str
    urls: tuple[str, ...]  # tried in this order
    # "sha256:..." of the content, or "git:...", the id that git gives to the content.
    # The id is known from a repository's listing without the file itself.
    hash: str
    size: int | None = None  # bytes


@dataclass(frozen=True)
class DataSet:
    """What is known of a set before any file is read."""

    title: str
    function: str
    labels: str
    rows: dict[str, int]
    n_features: int | None  # None: text
    n_classes: int
    licence: str
    citation: str
    home_page: str
    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...]  # searched below data_home; downloads go to the first
    by_hand: str
    note: str = ""
    target_names: tuple[str, ...] = ()


def under(base: str, *files: tuple[str, str, int]) -> tuple[RemoteFile, ...]:
    """Files of one folder: name, SHA-256, bytes."""
    return tuple(
        RemoteFile(name, (f"{base}/{name}",), f"sha256:{hash}", size)
        for name, hash, size in files
    )
