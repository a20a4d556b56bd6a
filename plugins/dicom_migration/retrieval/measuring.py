"""One retrieval, timed: from cloud or source, one image or a whole study, with the same clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.archive.sinks import CountingSink
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import CONCERNS_EVERYBODY, MigrationError, PermanentError, ReasonCode
from dicom_migration.ledger import utc_now
from dicom_migration.manifest import ManifestRow, decode_manifest
from dicom_migration.policies.slas import Operation, Side, Temperature
from dicom_migration.retrieval.sample import SampledStudy


@dataclass(frozen=True, slots=True)
class Target:
    """A study and what a viewer's index knows of it: the rows of its manifest, in order."""

    study: SampledStudy
    rows: tuple[ManifestRow, ...]

    @property
    def records(self) -> tuple[InstanceRecord, ...]:
        """The instances, as the source is asked for them."""
        return tuple(
            InstanceRecord(
                r.study_instance_uid, r.series_instance_uid, r.sop_instance_uid, r.sop_class_uid
            )
            for r in self.rows
        )


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


def open_target(store: CloudStore, study: SampledStudy) -> Target:
    """Read a study's manifest, which is outside the clock: a viewer has its index already.

    Raises
    ------
    PermanentError
        With reason ``manifest_corrupt`` when the manifest is not the ledger's.
    """
    data = store.read(study.manifest_key)
    if hashlib.sha256(data).hexdigest() != study.manifest_sha256:
        raise PermanentError(
            f"The manifest of study {study.study_instance_uid} is not the one the ledger sealed.",
            reason=ReasonCode.MANIFEST_CORRUPT,
            next_step="Verify the study's wave again.",
            study_instance_uid=study.study_instance_uid,
        )
    return Target(study, tuple(sorted(decode_manifest(data), key=_reading_order)))


class Stopwatch:
    """Retrieves from both sides and times it.

    Parameters
    ----------
    pool
        Threads for the parallel GETs of a whole study; a viewer does the same.
    """

    def __init__(self, store: CloudStore, archive: ImageArchive, pool: Executor) -> None:
        self._store = store
        self._archive = archive
        self._pool = pool

    def measure(
        self,
        target: Target,
        side: Side,
        operation: Operation,
        temperature: Temperature,
        *,
        begin: float | None = None,
    ) -> Measurement:
        """Retrieve once, to the last byte.

        The clock starts at `begin` (``time.perf_counter()``, seconds) when it is given: the
        moment the request should have started, even if no thread was free then.

        Raises
        ------
        TransientError, PermanentError
            An end refuses or does not answer at all: no study is slow for that.
        """
        action = self._action(side, operation)
        started_at = utc_now()
        start = time.perf_counter() if begin is None else begin
        try:
            size, instances = action(target)
        except MigrationError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            return Measurement(
                target.study,
                side,
                operation,
                temperature,
                started_at,
                None,
                error_reason=error.reason.value,
            )
        seconds = time.perf_counter() - start
        return Measurement(
            target.study, side, operation, temperature, started_at, seconds, size, instances
        )

    def _action(self, side: Side, operation: Operation) -> Callable[[Target], tuple[int, int]]:
        actions: dict[tuple[Side, Operation], Callable[[Target], tuple[int, int]]] = {
            ("cloud", "first_image"): self._cloud_first,
            ("cloud", "whole_study"): self._cloud_whole,
            ("source", "first_image"): self._source_first,
            ("source", "whole_study"): self._source_whole,
        }
        return actions[side, operation]

    def _cloud_first(self, target: Target) -> tuple[int, int]:
        row = target.rows[0]
        if row.packed:
            return len(self._store.read(row.object_key, row.offset, row.object_bytes)), 1
        return self._get(row.object_key), 1

    def _cloud_whole(self, target: Target) -> tuple[int, int]:
        keys = dict.fromkeys(row.object_key for row in target.rows)  # a packed series at once
        return sum(self._pool.map(self._get, keys)), len(target.rows)

    def _get(self, key: str) -> int:
        return sum(len(chunk) for chunk in self._store.stream(key))

    def _source_first(self, target: Target) -> tuple[int, int]:
        sink = CountingSink()
        self._archive.retrieve_instance(target.records[0], sink)
        return _delivered(sink, 1, target)

    def _source_whole(self, target: Target) -> tuple[int, int]:
        sink = CountingSink()
        uid = target.study.study_instance_uid
        self._archive.retrieve_study(uid, sink, target.records)
        return _delivered(sink, len(target.rows), target)


def _delivered(sink: CountingSink, expected: int, target: Target) -> tuple[int, int]:
    if sink.instances < expected:
        raise PermanentError(
            f"The source delivered {sink.instances} of {expected} instances.",
            reason=ReasonCode.INSTANCE_MISSING,
            next_step="Look at the study's verification; the source may have changed.",
            study_instance_uid=target.study.study_instance_uid,
        )
    return sink.bytes, sink.instances


def _reading_order(row: ManifestRow) -> tuple[bool, int, str, int, str]:
    """Order instances as a viewer shows them: images first, by series and instance number."""
    return (
        row.pixel_bytes is None,
        _number(row.facts.get("series_number")),
        row.series_instance_uid,
        _number(row.facts.get("instance_number")),
        row.sop_instance_uid,
    )


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 1 << 30
