"""Lay the studies out as files and keep the books of the index while doing so."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from pydicom.dataset import Dataset

from include.sample_archive.index import FILE_NAME, ArchiveIndex, PlantedDefect, StudyEntry

_OURS = re.compile(r"(\d{4}/\d\d|undated)/ST\d{5}/SE\d\d/IM\d{4}\.dcm")


class ArchiveWriter:
    """A directory being filled: ``YYYY/MM/ST00001/SE01/IM0001.dcm``, no name or ID in a path.

    Attributes
    ----------
    studies, planted, database_only
        What has been entered so far, as in `ArchiveIndex`.
    """

    def __init__(self, out: Path) -> None:
        _make_room(out)
        self.out = out
        self.studies: list[StudyEntry] = []
        self.planted: list[PlantedDefect] = []
        self.database_only: list[dict[str, str]] = []
        self.directory_of: dict[str, str] = {}

    def add(
        self, header: Dataset, origin: str, defects: list[str], files: list[tuple[int, bytes]]
    ) -> StudyEntry:
        """Write the files of a study, each as (series number, content), and enter the study.

        `header` is any dataset of the study, or what one would have been.
        """
        date = str(header.get("StudyDate") or "")
        uid = str(header.StudyInstanceUID)
        self.directory_of[uid] = directory = self._directory(date)
        (self.out / directory).mkdir(parents=True)
        in_series: dict[int, int] = defaultdict(int)
        paths = []
        for series_number, content in files:
            in_series[series_number] += 1
            paths.append(f"{directory}/SE{series_number:02d}/IM{in_series[series_number]:04d}.dcm")
            target = self.out / paths[-1]
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
        entry = StudyEntry(
            study_instance_uid=uid,
            modality=str(header.get("Modality") or "OT"),
            origin=origin,
            study_date=date or None,
            instances=len(files),
            bytes=sum(len(content) for _, content in files),
            defects=defects,
            files=paths,
        )
        self.studies.append(entry)
        return entry

    def index(self, seed: int, scale: str) -> ArchiveIndex:
        """Return the index of what has been entered, after writing it into the archive."""
        index = ArchiveIndex(
            seed=seed,
            scale=scale,
            instances=sum(study.instances for study in self.studies),
            bytes=sum(study.bytes for study in self.studies),
            studies=self.studies,
            planted=self.planted,
            database_only=self.database_only,
        )
        index.write(self.out)
        return index

    def _directory(self, date: str) -> str:
        digits = re.sub(r"\D", "", date)
        when = f"{digits[:4]}/{digits[4:6]}" if len(digits) == 8 else "undated"
        return f"{when}/ST{len(self.studies) + 1:05d}"


def _make_room(out: Path) -> None:
    """Create `out`, or take away an earlier build, finished or not, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / FILE_NAME).exists():
        for path in out.rglob("*.dcm"):
            if _OURS.fullmatch(path.relative_to(out).as_posix()):
                path.unlink()
        for directory in sorted((p for p in out.rglob("*") if p.is_dir()), reverse=True):
            if not any(directory.iterdir()):
                directory.rmdir()
        (out / FILE_NAME).unlink()
    if any(out.iterdir()):
        raise FileExistsError(
            f"{out} holds files that are not a sample archive: choose an empty directory"
        )
    # From now on an interrupted build can be told from somebody's files.
    ArchiveIndex(0, "unfinished", 0, 0, [], []).write(out)
