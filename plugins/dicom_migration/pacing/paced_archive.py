"""The source as a paced task sees it: the same archive, watched, throttled, and stopped in time.

The wrapper stands between archive and sink. Without a byte limit it is in the way once an
instance, never once a piece.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from dicom_migration.archive import (
    ArchiveCheck,
    ImageArchive,
    InstanceIdentity,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)
from dicom_migration.archive.protocol import InstanceWriter
from dicom_migration.pacing.task_pacing import Pace, Unpaced


class PacedArchive:
    """Passes everything on to `archive`, and deliveries through a sink that keeps the pace.

    Attributes
    ----------
    query_s, retrieve_s
        Seconds spent in queries and in retrievals so far. Retrieving includes waiting for the
        target where that is slower.
    """

    def __init__(self, archive: ImageArchive, pacing: Unpaced) -> None:
        self.name = archive.name
        self.query_s = 0.0
        self.retrieve_s = 0.0
        self._archive = archive
        self._pacing = pacing
        self._sink: _PacedSink | None = None

    def __getattr__(self, name: str) -> Any:
        """Give what an adapter has beyond the port, as its ``result_cap``."""
        return getattr(self._archive, name)

    def under_way(self) -> tuple[int, int]:
        """Return instances and bytes received so far of the study under way."""
        sink = self._sink
        return (0, 0) if sink is None else (sink.opened, sink.bytes_received)

    def check(self) -> ArchiveCheck:
        """See the archive."""
        return self._archive.check()

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """See the archive."""
        return self._archive.find_studies(query)

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """See the archive."""
        return self._archive.find_series(study_instance_uid)

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        """See the archive; the answers are read at once, and timed."""
        began = time.perf_counter()
        try:
            return iter(list(self._archive.find_instances(study_instance_uid, series_instance_uid)))
        finally:
            self.query_s += time.perf_counter() - began

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        """See the archive."""
        began = time.perf_counter()
        try:
            paced = self._paced(sink, study_instance_uid)
            return self._archive.retrieve_study(study_instance_uid, paced, expected)
        finally:
            self.retrieve_s += time.perf_counter() - began

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        """See the archive."""
        began = time.perf_counter()
        try:
            paced = self._paced(sink, instance.study_instance_uid)
            return self._archive.retrieve_instance(instance, paced)
        finally:
            self.retrieve_s += time.perf_counter() - began

    def study_ended(self) -> None:
        """Forget the study under way: its figures are in its result now."""
        self._sink = None

    def close(self) -> None:
        """See the archive."""
        self._archive.close()

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

    def _paced(self, sink: InstanceSink, study_instance_uid: str) -> _PacedSink:
        before = self._sink.opened if self._sink is not None else 0
        self._sink = _PacedSink(sink, study_instance_uid, self._pacing, before)
        return self._sink


class _PacedSink:
    def __init__(self, sink: InstanceSink, study: str, pacing: Unpaced, opened: int) -> None:
        self.opened = opened
        self._sink = sink
        self._study = study
        self._pacing = pacing

    @property
    def bytes_received(self) -> int:
        return int(getattr(self._sink, "bytes_received", 0))  # where the sink keeps account

    def open(self, identity: InstanceIdentity) -> InstanceWriter:
        self._pacing.check(self._study)
        writer = self._sink.open(identity)
        self.opened += 1
        return _PacedWriter(writer, self._pacing) if self._pacing.limits_bytes else writer


class _PacedWriter:
    def __init__(self, writer: InstanceWriter, pace: Pace) -> None:
        self._writer = writer
        self._pace = pace

    def write(self, data: bytes | memoryview) -> None:
        self._writer.write(data)
        self._pace.took(len(data))

    def commit(self) -> None:
        self._writer.commit()

    def abort(self, reason: str) -> None:
        self._writer.abort(reason)
