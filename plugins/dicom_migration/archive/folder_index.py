"""The database that a folder of files lacks: one pass over the headers, kept in memory.

Symbolic links are not followed, be they to files or to folders: what they point to inside the
root is found anyway, and what lies outside is nobody's archive.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dicom_migration.archive import records
from dicom_migration.archive.elements import Encoding
from dicom_migration.archive.folder_header import FileHeader, NotAnInstance, read_header
from dicom_migration.archive.protocol import (
    InstanceIdentity,
    InstanceRecord,
    SeriesRecord,
    StudyRecord,
)
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """One file that holds an instance; offsets and sizes are bytes."""

    path: str
    size: int
    dataset_offset: int
    encoding: Encoding
    identity: InstanceIdentity
    instance: InstanceRecord


@dataclass(slots=True)
class IndexedStudy:
    """The files of one study, in path order; its record is that of the first file."""

    record: StudyRecord
    series: dict[str, SeriesRecord] = field(default_factory=dict)
    files: list[IndexedFile] = field(default_factory=list)

    def add(self, file: IndexedFile, header: FileHeader) -> None:
        """Take in one more file."""
        self.files.append(file)
        uid = file.instance.series_instance_uid
        if uid not in self.series:
            study = file.instance.study_instance_uid
            self.series[uid] = records.series_record(header.attributes, study)

    def summary(self) -> StudyRecord:
        """Return the study with its counts; a SOP Instance in two files counts once."""
        return replace(
            self.record,
            modalities=tuple(sorted({s.modality for s in self.series.values() if s.modality})),
            number_of_series=len(self.series),
            number_of_instances=len({f.identity.sop_instance_uid for f in self.files}),
            sop_classes=tuple(sorted({f.identity.sop_class_uid for f in self.files})),
            total_bytes=sum(f.size for f in self.files),
        )


class FolderIndex:
    """Everything below `root`, read once.

    Parameters
    ----------
    root
        The folder; a symbolic link to it is followed.

    Raises
    ------
    PermanentError
        `root` is not a folder that can be listed.
    TransientError
        The file system failed while reading.
    """

    def __init__(self, root: Path) -> None:
        self.studies: dict[str, IndexedStudy] = {}
        #: DICOM files whose UIDs are missing or none: each stands for a study that nobody can name.
        self.nameless: list[StudyRecord] = []
        self.counts: Counter[str] = Counter()
        for path in _files(root, self.counts):
            self._add(path)
        ignored = self.counts["unreadable_files"]
        if ignored:
            log.warning("%d DICOM files below %s have no usable UIDs", ignored, root)

    def facts(self) -> dict[str, str]:
        """Return the counts of what was found, for the check of the source."""
        names = (
            "files",
            "instances",
            "non_dicom_files",
            "dicomdir_files",
            "unreadable_files",
            "symbolic_links",
        )
        facts = {name: str(self.counts[name]) for name in names}
        return {**facts, "studies": str(len(self.studies))}

    def _add(self, path: str) -> None:
        self.counts["files"] += 1
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half of the time
                size = os.fstat(file.fileno()).st_size
                header = read_header(file, size)
        except PermissionError:
            header, size = NotAnInstance.UNREADABLE, 0
        except OSError as error:
            raise _failed(error) from None  # it quotes the path: paths are named after patients
        if isinstance(header, NotAnInstance):
            self.counts[_COUNTED_AS[header]] += 1
            if header is NotAnInstance.UNREADABLE:
                self.nameless.append(StudyRecord(f"file:{path}", number_of_instances=1))
            return
        self.counts["instances"] += 1
        study = records.first(header.attributes, records.STUDY_INSTANCE_UID)
        series = records.first(header.attributes, records.SERIES_INSTANCE_UID)
        file_ = IndexedFile(
            path,
            size,
            header.dataset_offset,
            header.encoding,
            header.identity,
            records.instance_record(header.attributes, study, series),
        )
        if study not in self.studies:
            self.studies[study] = IndexedStudy(records.study_record(header.attributes))
        self.studies[study].add(file_, header)


_COUNTED_AS = {
    NotAnInstance.OTHER: "non_dicom_files",
    NotAnInstance.DIRECTORY: "dicomdir_files",
    NotAnInstance.UNREADABLE: "unreadable_files",
}


def _files(root: Path, counts: Counter[str]) -> Iterator[str]:
    """Yield the regular files below `root` in path order, and count the links."""
    try:
        resolved = root.resolve(strict=True)
        os.scandir(resolved).close()
    except OSError as error:
        raise PermanentError(
            f"The source folder {root} cannot be listed ({type(error).__name__}).",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Correct the path in the Airflow connection, or mount it on the worker.",
        ) from None

    def fail(error: OSError) -> None:
        raise _failed(error) from None

    for folder, names, files in os.walk(resolved, followlinks=False, onerror=fail):
        names.sort()
        counts["symbolic_links"] += sum(os.path.islink(f"{folder}/{name}") for name in names)  # noqa: PTH114
        for name in sorted(files):
            path = f"{folder}/{name}"
            if os.path.islink(path):  # noqa: PTH114 - a Path a file doubles the time
                counts["symbolic_links"] += 1
            elif os.path.isfile(path):  # noqa: PTH113
                yield path


def _failed(error: OSError) -> MigrationError:
    if isinstance(error, PermissionError):
        return PermanentError(
            "A folder below the source folder may not be listed by this worker.",
            reason=ReasonCode.SOURCE_REJECTED,
            next_step="Give the worker's user the right to read everything below the folder.",
        )
    return TransientError(
        f"The source folder could not be read ({error.strerror or type(error).__name__}).",
        reason=ReasonCode.SOURCE_UNREACHABLE,
        next_step="Check the mount on the worker.",
    )
