"""A source adapter in a hundred lines: the example of docs/extend-source-adapter.md.

Studies that a clinic handed over as one ZIP file. Small on purpose, and complete: the conformance
suite runs against it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from zipfile import BadZipFile, ZipFile

from dicom_migration.archive import (
    ArchiveCheck,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
    records,
)
from dicom_migration.archive.folder_header import FileHeader, read_header
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import checked_uid


class ZipArchive:
    """An ImageArchive over the files in one ZIP file."""

    def __init__(self, path: Path) -> None:
        self.name = f"zip:{path.name}"
        try:
            self._zip = ZipFile(path)
        except (OSError, BadZipFile) as error:
            raise PermanentError(
                f"The archive {path} cannot be opened ({type(error).__name__}).",
                reason=ReasonCode.SOURCE_UNREACHABLE,
                next_step="Correct the path in the Airflow connection.",
            ) from error
        self._headers: dict[str, FileHeader] = {}
        for info in self._zip.infolist():
            with self._zip.open(info) as member:
                header = read_header(member, info.file_size)  # type: ignore[arg-type]
            if isinstance(header, FileHeader):
                self._headers[info.filename] = header

    def check(self) -> ArchiveCheck:
        began = time.perf_counter()
        facts = {"kind": "zip", "instances": str(len(self._headers))}
        return ArchiveCheck(self.name, time.perf_counter() - began, facts)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        found = {}
        for header in self._headers.values():
            record = records.study_record(header.attributes)
            found.setdefault(record.study_instance_uid, record)
        for uid, record in found.items():
            if query.study_instance_uids and uid not in query.study_instance_uids:
                continue
            date = record.study_date.replace(".", "")
            dated = query.date_from or query.date_to
            if not dated or (query.date_from or "0") <= date <= (query.date_to or "9"):
                yield record

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        found = {}
        for _, header in self._of_study(study_instance_uid):
            record = records.series_record(header.attributes, study_instance_uid)
            found.setdefault(record.series_instance_uid, record)
        yield from found.values()

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        for _, header in self._of_study(study_instance_uid):
            record = records.instance_record(header.attributes, study_instance_uid, "")
            if series_instance_uid in (None, record.series_instance_uid):
                yield record

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        uid = checked_uid(study_instance_uid, "Study Instance UID")
        return self._deliver(list(self._of_study(uid)), sink)

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        wanted = [
            (name, header)
            for name, header in self._of_study(instance.study_instance_uid)
            if header.identity.sop_instance_uid == instance.sop_instance_uid
        ]
        return self._deliver(wanted, sink)

    def close(self) -> None:
        self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _of_study(self, uid: str) -> Iterator[tuple[str, FileHeader]]:
        for name, header in self._headers.items():
            if records.first(header.attributes, records.STUDY_INSTANCE_UID) == uid:
                yield name, header

    def _deliver(self, wanted: list[tuple[str, FileHeader]], sink: InstanceSink) -> RetrieveOutcome:
        receiver = InstanceReceiver(sink)
        for name, header in wanted:
            with self._zip.open(name) as member:
                member.seek(header.dataset_offset)
                receiver.receive(header.identity, _pieces(member))
            receiver.raise_sink_error()
        return receiver.outcome


def _pieces(member: IO[bytes]) -> Iterator[bytes]:
    while piece := member.read(1 << 20):
        yield piece
