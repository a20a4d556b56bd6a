"""The folder adapter: exported media, a PACS's file store, a test archive.

The files themselves are the database: what a study is, is said by its headers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from dicom_migration.archive.folder_delivery import deliver
from dicom_migration.archive.folder_index import FolderIndex, IndexedFile, IndexedStudy
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.protocol import (
    ArchiveCheck,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import checked_uid

__all__ = ["FolderArchive", "FolderSettings"]


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """A folder of DICOM files; all folders below it belong to it."""

    root: Path


class FolderArchive:
    """An :class:`~dicom_migration.archive.protocol.ImageArchive` over files.

    The folder is read once, at the first call that needs it. Every call may raise
    ``PermanentError`` (no such folder) and ``TransientError`` (the file system failed).

    Parameters
    ----------
    settings
        Where the files are.
    """

    def __init__(self, settings: FolderSettings) -> None:
        self.settings = settings
        self.name = f"folder:{settings.root}"
        self.result_cap: int | None = None

    @cached_property
    def index(self) -> FolderIndex:
        """The headers of all files, read when first asked for."""
        return FolderIndex(self.settings.root)

    def check(self) -> ArchiveCheck:
        """Read the headers; latency is that, in seconds, 0 when they were read before.

        What is below the folder is counted as observed, files that are not DICOM included.
        """
        began = time.perf_counter()
        facts = {"kind": "folder", "root": str(self.settings.root)}
        observed = self.index.facts()
        latency = time.perf_counter() - began
        return ArchiveCheck(f"DICOM folder {self.settings.root}", latency, facts, observed)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield the studies; as at a PACS, a date range does not match undated ones.

        A DICOM file without usable UIDs is a study of its own whose Study Instance UID is none:
        it is told, so that it can be counted, and cannot be retrieved.
        """
        wanted = {checked_uid(uid, "Study Instance UID") for uid in query.study_instance_uids}
        for uid, study in self.index.studies.items():
            record = study.record
            asked_for = (
                _dated_within(record.study_date, query)
                and _timed_within(record.study_time, query)
                and _begins(record, query)
            )
            if (not wanted or uid in wanted) and asked_for:
                yield study.summary()
        nothing_known = StudyRecord("")
        unasked = _dated_within("", query) and _timed_within("", query)
        if not wanted and unasked and _begins(nothing_known, query):
            yield from self.index.nameless

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of one study; none when there is no such study."""
        study = self.index.studies.get(study_instance_uid)
        if study is not None:
            yield from study.series.values()

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        """Yield the SOP Instances, each once, in however many files it is."""
        study = self.index.studies.get(study_instance_uid)
        seen: set[str] = set()
        for file in study.files if study is not None else ():
            record = file.instance
            if series_instance_uid not in (None, record.series_instance_uid):
                continue
            if record.sop_instance_uid not in seen:
                seen.add(record.sop_instance_uid)
                yield record

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        """Deliver every file of a study; the same SOP Instance in two files is delivered twice.

        A truncated file is a failure with reason ``instance_truncated`` and is not delivered.

        Raises
        ------
        PermanentError
            With reason ``instance_missing``: there is no such study.
        """
        return _deliver_all(self._study(study_instance_uid).files, sink)

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        """Deliver one instance, from every file that holds it.

        Raises
        ------
        PermanentError
            With reason ``instance_missing``: there is no such instance.
        """
        wanted = (instance.series_instance_uid, instance.sop_instance_uid)
        files = [
            file
            for file in self._study(instance.study_instance_uid).files
            if (file.instance.series_instance_uid, file.instance.sop_instance_uid) == wanted
        ]
        if not files:
            raise _missing(instance.study_instance_uid)
        return _deliver_all(files, sink)

    def close(self) -> None:
        """Forget the index; safe to call twice."""
        self.__dict__.pop("index", None)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _study(self, study_instance_uid: str) -> IndexedStudy:
        uid = checked_uid(study_instance_uid, "Study Instance UID")
        study = self.index.studies.get(uid)
        if study is None:
            raise _missing(uid)
        return study


def _deliver_all(files: list[IndexedFile], sink: InstanceSink) -> RetrieveOutcome:
    receiver = InstanceReceiver(sink)
    for file in files:
        deliver(file, receiver)
        receiver.raise_sink_error()
    return receiver.outcome


def _dated_within(study_date: str, query: StudyQuery) -> bool:
    if not query.date_from and not query.date_to:
        return True
    date = study_date.replace(".", "")  # the form of ACR-NEMA, PS3.5 section 6.2, VR DA
    if not date:
        return False
    return (query.date_from or "") <= date <= (query.date_to or "99999999")


def _timed_within(study_time: str, query: StudyQuery) -> bool:
    if not query.time_from and not query.time_to:
        return True
    time_ = study_time.replace(":", "")  # the form of ACR-NEMA, PS3.5 section 6.2, VR TM
    return bool(time_) and (query.time_from or "") <= time_ <= (query.time_to or "999999")


def _begins(record: StudyRecord, query: StudyQuery) -> bool:
    return all(
        value == key or (key.endswith("*") and value.startswith(key[:-1]))
        for value, key in (
            (record.patient_id, query.patient_key or "*"),
            (record.accession_number, query.accession_key or "*"),
        )
    )


def _missing(study_instance_uid: str) -> PermanentError:
    return PermanentError(
        "The source folder has no file of this study or instance.",
        reason=ReasonCode.INSTANCE_MISSING,
        next_step="Check that the folder is mounted, and whether files were removed.",
        study_instance_uid=study_instance_uid,
    )
