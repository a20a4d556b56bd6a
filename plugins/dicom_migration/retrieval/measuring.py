"""One retrieval, timed: from cloud or source, with the same clock, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud.timed_read import TimedRead, TimedReader
from dicom_migration.errors import CONCERNS_EVERYBODY, MigrationError, PermanentError, ReasonCode
from dicom_migration.ledger import utc_now
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.slas import Access, Operation, Side, Temperature
from dicom_migration.retrieval.decoding import decode_dataset, decode_part10, load_decoders
from dicom_migration.retrieval.sample import SampledStudy
from dicom_migration.retrieval.source_side import StageSink, access_of
from dicom_migration.retrieval.stages import UNKNOWN, Stages
from dicom_migration.retrieval.targets import Target


@dataclass(frozen=True, slots=True)
class Measurement:
    """One timed retrieval; `seconds` is None when it failed, for `error_reason`."""

    study: SampledStudy
    side: Side
    operation: Operation
    temperature: Temperature
    started_at: datetime
    seconds: float | None
    bytes: int = 0
    instances: int = 0
    error_reason: str = ""
    access: Access = ""
    stages: Stages = UNKNOWN


@dataclass(frozen=True, slots=True)
class _Received:
    bytes: int
    instances: int
    access: Access
    stages: Stages


class Stopwatch:
    """Retrieves from both sides and times it.

    Parameters
    ----------
    reader, archive
        The two sides. One stopwatch may be shared by threads that read from the cloud alone.
    pool
        Threads for the parallel GETs of a whole study; a viewer does the same.
    """

    def __init__(self, reader: TimedReader, archive: ImageArchive, pool: Executor) -> None:
        self._reader = reader
        self._archive = archive
        self._access = access_of(archive)
        self._pool = pool
        load_decoders()

    def measure(
        self,
        target: Target,
        side: Side,
        operation: Operation,
        temperature: Temperature,
        *,
        begin: float | None = None,
    ) -> Measurement:
        """Retrieve once, to the last byte; decode what a first image shows.

        The clock starts at `begin` (``time.perf_counter()``, seconds) when it is given: the
        moment the request should have started, even if no thread was free then. Under the busy
        hour's load nothing is decoded: clinicians do not share one processor.

        Raises
        ------
        TransientError, PermanentError
            An end refuses or does not answer at all: no study is slow for that.
        """
        if operation == "relevant_prior":
            assert target.prior is not None  # noqa: S101 - the caller's choice
            target = target.prior
        started_at = utc_now()
        start = time.perf_counter()
        waited = None if begin is None else max(0.0, start - begin)
        result = Measurement(target.study, side, operation, temperature, started_at, None)
        try:
            got = self._retrieve(target, side, operation, temperature)
        except MigrationError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            access = self._access if side == "source" else _cloud_access(target, operation)
            return replace(result, error_reason=error.reason.value, access=access)
        stages = replace(got.stages, queue_s=waited)
        return replace(
            result,
            seconds=stages.total_s,
            bytes=got.bytes,
            instances=got.instances,
            access=got.access,
            stages=stages,
        )

    def _retrieve(
        self, target: Target, side: Side, operation: Operation, temperature: Temperature
    ) -> _Received:
        decode = temperature != "busy"
        if side == "source":
            if operation == "first_image":
                return self._source_first(target, decode=decode)
            return self._source_whole(target)
        fresh = temperature == "cold"
        if operation == "first_image":
            return self._cloud_first(target, fresh=fresh, decode=decode)
        return self._cloud_whole(target, fresh=fresh)

    def _cloud_first(self, target: Target, *, fresh: bool, decode: bool) -> _Received:
        row = target.rows[0]
        length = row.object_bytes if row.packed else None
        read = self._reader.read(row.object_key, row.offset, length, fresh=fresh)
        _must_have(read.size, row.object_bytes, row)
        stages = Stages(None, read.connect_s, read.first_byte_s, read.transfer_s)
        if decode:
            stages = replace(stages, decode_s=decode_part10(read.data))
        return _Received(read.size, 1, _cloud_access(target, "first_image"), stages)

    def _cloud_whole(self, target: Target, *, fresh: bool) -> _Received:
        objects = {row.object_key: row for row in target.rows}  # a packed series at once

        def get(row: ManifestRow) -> TimedRead:
            read = self._reader.read(row.object_key, fresh=fresh, keep=False)
            _must_have(read.size, row.container_bytes or row.object_bytes, row)
            return read

        began = time.perf_counter()
        reads = list(self._pool.map(get, objects.values()))
        stages = _shared_out(reads, time.perf_counter() - began)
        size = sum(read.size for read in reads)
        return _Received(size, len(target.rows), "s3-object", stages)

    def _source_first(self, target: Target, *, decode: bool) -> _Received:
        sink = StageSink(keep=decode)
        began = time.perf_counter()
        self._archive.retrieve_instance(target.records[0], sink)
        received = self._delivered(sink, began, 1, target)
        if sink.first is None:
            return received
        identity, data = sink.first
        took = decode_dataset(data, identity.transfer_syntax_uid)
        return replace(received, stages=replace(received.stages, decode_s=took))

    def _source_whole(self, target: Target) -> _Received:
        sink = StageSink()
        began = time.perf_counter()
        self._archive.retrieve_study(target.study.study_instance_uid, sink, target.records)
        return self._delivered(sink, began, len(target.rows), target)

    def _delivered(self, sink: StageSink, began: float, expected: int, target: Target) -> _Received:
        ended = time.perf_counter()
        if sink.instances < expected or sink.first_byte_at is None:
            raise PermanentError(
                f"The source delivered {sink.instances} of {expected} instances.",
                reason=ReasonCode.INSTANCE_MISSING,
                next_step="Look at the study's verification; the source may have changed.",
                study_instance_uid=target.study.study_instance_uid,
            )
        first, rest = sink.first_byte_at - began, ended - sink.first_byte_at
        stages = Stages(None, None, first, rest)
        return _Received(sink.received_bytes, sink.instances, self._access, stages)


def _cloud_access(target: Target, operation: Operation) -> Access:
    ranged = operation == "first_image" and target.rows[0].packed
    return "s3-range" if ranged else "s3-object"


def _shared_out(reads: Sequence[TimedRead], seconds: float) -> Stages:
    """Return the stages of GETs that ran side by side: `seconds`, shared as their sums are."""
    parts = [
        sum(read.connect_s for read in reads),
        sum(read.first_byte_s for read in reads),
        sum(read.transfer_s for read in reads),
    ]
    scale = seconds / sum(parts) if sum(parts) else 0.0
    connect, first_byte, transfer = (part * scale for part in parts)
    return Stages(None, connect, first_byte, transfer)


def _must_have(received: int, expected: int, row: ManifestRow) -> None:
    if received != expected:
        raise PermanentError(
            f"{row.object_key} has {received} bytes, its manifest says {expected}.",
            reason=ReasonCode.OBJECT_CORRUPT,
            next_step="Verify the study's wave again.",
            study_instance_uid=row.study_instance_uid,
        )
