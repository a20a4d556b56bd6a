"""`archive-index.json`: what the archive holds and which defects were planted where."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "archive-index.json"


@dataclass(frozen=True)
class StudyEntry:
    """One study of the archive.

    Attributes
    ----------
    origin : str
        ``synthetic``; ``placed`` (a real file whose identity was rewritten, pixels untouched);
        ``as_found`` (a real file, byte for byte).
    study_date : str or None
        (0008,0020) as the files have it, None if absent or empty.
    defects : list of str
        Planted codes. For real files: what a look at their headers finds, under the same codes.
    files : list of str
        Paths relative to the archive, with forward slashes.
    """

    study_instance_uid: str
    modality: str
    origin: str
    study_date: str | None
    instances: int
    bytes: int
    defects: list[str]
    files: list[str]


@dataclass(frozen=True)
class PlantedDefect:
    """One defect, where it sits.

    Attributes
    ----------
    sop_instance_uid : str or None
        None if every instance of the study carries it.
    file : str
        The file that carries it, or the first of the study; the directory of an empty study.
    """

    code: str
    study_instance_uid: str
    sop_instance_uid: str | None
    file: str
    description: str


@dataclass(frozen=True)
class ArchiveIndex:
    """The whole archive.

    Attributes
    ----------
    database_only : list of dict
        One mapping of DICOM keyword to value for every instance that a PACS database is to know
        although its file does not exist.
    instances, bytes : int
        Number and size of the DICOM files.
    """

    seed: int
    scale: str
    instances: int
    bytes: int
    studies: list[StudyEntry]
    planted: list[PlantedDefect]
    database_only: list[dict[str, str]] = field(default_factory=list)

    def write(self, archive: Path) -> None:
        """Write the index into the directory `archive`."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (archive / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, archive: Path) -> ArchiveIndex:
        """Read the index of the directory `archive`; FileNotFoundError if it has none."""
        content = json.loads((archive / FILE_NAME).read_text(encoding="utf-8"))
        content["studies"] = [StudyEntry(**entry) for entry in content["studies"]]
        content["planted"] = [PlantedDefect(**entry) for entry in content["planted"]]
        return cls(**content)
