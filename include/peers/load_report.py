"""What became of a folder of files that was loaded into a peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from include.sample_archive.index import FILE_NAME, ArchiveIndex


@dataclass(frozen=True)
class Skipped:
    """A file that the peer does not hold now, and why; the reason quotes no value of the file."""

    path: Path
    reason: str


@dataclass
class LoadReport:
    """The outcome of one load; every file of the folder is in `loaded` or in `skipped`.

    Attributes
    ----------
    loaded : int
        Files that the peer has taken.
    skipped : list of Skipped
        The others.
    studies, instances : int
        What the peer knows afterwards, entries without a file included.
    bytes : int
        Size of the loaded files.
    """

    loaded: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    studies: int = 0
    instances: int = 0
    bytes: int = 0

    def skip(self, path: Path, reason: str) -> None:
        """Note a file that was not loaded."""
        self.skipped.append(Skipped(path, reason))


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the folder's files in a stable order, without the sample archive's own index.

    Symbolic links to directories are not followed: a loop would never end.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a directory")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != FILE_NAME:
            yield path


def database_only(folder: Path) -> list[dict[str, str]]:
    """Return the instances that a sample archive wants in the database and not on the disk.

    Each is a mapping of DICOM keyword to value; none for a folder that is no sample archive.
    """
    try:
        return ArchiveIndex.read(folder).database_only
    except (OSError, ValueError, TypeError, KeyError):
        return []
