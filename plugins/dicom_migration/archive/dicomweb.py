"""The DICOMweb adapter: QIDO-RS to find, WADO-RS to retrieve.

Source: DICOM PS3.18 section 10 (studies service).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from dicom_migration.archive import records
from dicom_migration.archive.dicomweb_client import DicomWebClient
from dicom_migration.archive.dicomweb_query import search, study_params
from dicom_migration.archive.dicomweb_retrieve import ACCEPT, PartReceiver, SinkStoppedError
from dicom_migration.archive.dicomweb_settings import DicomWebSettings
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.multipart import boundary_of
from dicom_migration.archive.protocol import (
    ArchiveCheck,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyRecord,
)
from dicom_migration.archive.study_query import StudyQuery
from dicom_migration.uids import checked_uid

__all__ = ["DicomWebArchive", "DicomWebSettings"]

log = logging.getLogger(__name__)


class DicomWebArchive:
    """An :class:`~dicom_migration.archive.protocol.ImageArchive` over DICOMweb.

    Not for use from several threads at once. Every call may raise ``TransientError`` (no
    connection, 429, 5xx, answer cut short) and ``PermanentError`` (401, 403, 404, not DICOMweb).

    Parameters
    ----------
    settings
        The service and who we are.
    """

    def __init__(self, settings: DicomWebSettings) -> None:
        self.settings = settings
        self.name = f"dicomweb:{settings.root}"
        self.result_cap: int | None = None  # a search goes on page by page
        self._client = DicomWebClient(settings)

    def check(self) -> ArchiveCheck:
        """Search for one study; latency is the time until the whole answer is there, in seconds."""
        began = time.perf_counter()
        with self._client.stream("studies", {"Accept": "application/dicom+json"}, "",
                                 {"limit": "1"}) as response:  # fmt: skip
            for _ in self._client.chunks(response):
                pass
            latency = time.perf_counter() - began
            facts = {
                "kind": "dicomweb",
                "base_url": self.settings.root,
                "server": response.headers.get("Server", ""),
                "http_version": response.version_string,
                "content_type": response.headers.get("Content-Type", ""),
            }
        return ArchiveCheck(f"DICOMweb source {self.settings.root}", latency, facts)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield the studies of a date range, or those asked for by UID, one search each.

        A study without a Study Instance UID is yielded, too, with "" in its place: dropped here,
        it would be in no account.
        """
        uids = tuple(checked_uid(uid, "Study Instance UID") for uid in query.study_instance_uids)
        for uid in uids or ("",):
            params = study_params(query, uid)
            for row in search(self._client, "studies", params, records.STUDY_INSTANCE_UID):
                record = records.study_record(row)
                if uid in ("", record.study_instance_uid):
                    yield record

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of one study."""
        path = f"{_study(study_instance_uid)}/series"
        for row in self._rows(path, records.SERIES_INSTANCE_UID, study_instance_uid):
            record = records.series_record(row, study_instance_uid)
            if record.series_instance_uid:
                yield record

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        """Yield the instances of one study, or of one of its series."""
        path = _study(study_instance_uid)
        if series_instance_uid is not None:
            path += f"/series/{checked_uid(series_instance_uid, 'Series Instance UID')}"
        rows = self._rows(f"{path}/instances", records.SOP_INSTANCE_UID, study_instance_uid)
        for row in rows:
            record = records.instance_record(row, study_instance_uid, series_instance_uid or "")
            if record.sop_instance_uid:
                yield record

    def study_metadata(self, study_instance_uid: str) -> list[dict[str, Any]]:
        """Return the attributes of all instances as DICOM JSON (holds PHI; PS3.18 10.4.1.1.2)."""
        path = f"{_study(study_instance_uid)}/metadata"
        return self._client.get_json(path, {}, study_instance_uid)

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        """Deliver all instances of a study, as stored; `expected` is not needed."""
        return self._retrieve(_study(study_instance_uid), study_instance_uid, sink)

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        """Deliver one instance, as stored."""
        series = checked_uid(instance.series_instance_uid, "Series Instance UID")
        uid = checked_uid(instance.sop_instance_uid, "SOP Instance UID")
        path = f"{_study(instance.study_instance_uid)}/series/{series}/instances/{uid}"
        return self._retrieve(path, instance.study_instance_uid, sink)

    def close(self) -> None:
        """Close the kept connections; safe to call twice."""
        self._client.close()

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

    def _rows(self, path: str, key: int, study_instance_uid: str) -> Iterator[records.Attributes]:
        """Yield the rows, without those that say that they belong to another study."""
        for row in search(self._client, path, {}, key, study_instance_uid):
            if records.first(row, records.STUDY_INSTANCE_UID) in ("", study_instance_uid):
                yield row

    def _retrieve(self, path: str, study: str, sink: InstanceSink) -> RetrieveOutcome:
        receiver = InstanceReceiver(sink)
        with self._client.stream(path, {"Accept": ACCEPT}, study) as response:
            if response.status != 204:
                boundary = boundary_of(response.headers.get("Content-Type", ""))
                try:
                    PartReceiver(receiver).receive(self._client.chunks(response), boundary)
                except SinkStoppedError:
                    log.warning("The retrieval of study %s was stopped by the sink", study)
        receiver.raise_sink_error()
        return receiver.outcome


def _study(study_instance_uid: str) -> str:
    return f"studies/{checked_uid(study_instance_uid, 'Study Instance UID')}"
