"""The transfer of one study: intent in the ledger, effect in the cloud, outcome in the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import func, insert, select, update

from dicom_migration.archive import ImageArchive, InstanceRecord, RetrieveOutcome
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    resolve_exceptions,
    schema,
    utc_now,
)
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.transfer.earlier_copy import earlier_copy
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.layouts import layout_for
from dicom_migration.transfer.spool import TransferMemory
from dicom_migration.transfer.study_faults import PHASE, faults, nothing_there, quarantine_study
from dicom_migration.transfer.study_sink import StudySink
from dicom_migration.uids import uid_set_sha256


@dataclass(frozen=True, slots=True)
class Receipt:
    """What arrived: how many different instances, and what keeps the study from being whole."""

    delivered: int
    notes: list[ExceptionNote]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What one study's transfer came to; `state` is the study's state in the ledger.

    `reason` is the first reason of a quarantine, None otherwise.
    """

    study_instance_uid: str
    state: StudyState
    instances: int
    bytes_received: int
    bytes_stored: int
    reason: ReasonCode | None = None
    #: Instances by what recompression made of them; empty when it is off.
    recompression: Mapping[str, int] = field(default_factory=dict)


class StudyTransfer:
    """Moves studies one after the other from `archive` to `store`.

    Every effect is repeatable: object keys are fixed, creation is conditional, the manifest's
    bytes depend on the study alone. Killed anywhere, the next run ends in the same place.
    """

    def __init__(
        self,
        archive: ImageArchive,
        store: CloudStore,
        ledger: Ledger,
        chain: EventChain,
        uploads: ThreadPoolExecutor,
        upload_threads: int,
        memory: TransferMemory,
    ) -> None:
        self._archive = archive
        self._store = store
        self._ledger = ledger
        self._chain = chain
        self._uploads = uploads
        self._threads = upload_threads
        self._memory = memory

    def run(self, settings: PassSettings, wave_id: str) -> StudyResult:
        """Transfer one study; a fault of the study itself quarantines it and is no error here.

        Raises
        ------
        TransientError
            Source, target or ledger failed in passing: the study stays ``transferring``.
        PermanentError
            Source or target refuse us altogether (``CONCERNS_EVERYBODY``).
        """
        uid = settings.study_instance_uid
        settings = replace(settings, earlier=earlier_copy(self._ledger, self._store, uid))
        layout = layout_for(self._store, settings, self._memory.packed)
        attempt = self._begin(uid, wave_id)
        sink = StudySink(layout, self._uploads, self._threads, settings, self._memory.in_transit)
        try:
            return self._transfer(attempt, settings, sink)
        finally:
            sink.abandon()

    def _transfer(self, attempt: int, settings: PassSettings, sink: StudySink) -> StudyResult:
        uid = settings.study_instance_uid
        try:
            receipt = self._receive(settings, sink)
            if not receipt.notes:
                return self._commit(attempt, settings, sink, receipt)
        except MigrationError as error:
            sink.abandon()
            self._end_attempt(attempt, "failed", error.reason, sink)
            if not isinstance(error, PermanentError) or error.reason in CONCERNS_EVERYBODY:
                raise
            note = ExceptionNote(error.reason, PHASE, uid, "", "", error.message, error.next_step)
            return self._quarantine(sink, [note], uid)
        self._end_attempt(attempt, "refused", receipt.notes[0].reason, sink)
        return self._quarantine(sink, receipt.notes, uid)

    def _receive(self, settings: PassSettings, sink: StudySink) -> Receipt:
        """Receive the study, and prove that it is whole: by count, or else instance by instance.

        Listing the instances costs many a source more than sending them. When as many different
        ones arrive as its database counted at discovery, and none failed, no list is needed here:
        verification compares the lists of all studies. What was copied before is listed: then
        verification did not agree, and by the count alone the same would arrive again.
        """
        uid = settings.study_instance_uid
        expected: tuple[InstanceRecord, ...] = ()
        must_list = not settings.promised_instances or settings.earlier is not None
        if must_list and not (expected := self._list(uid, sink)):
            return Receipt(0, [nothing_there(uid)])
        outcome = self._archive.retrieve_study(uid, sink, expected)
        counted = not expected and _is_as_promised(outcome, settings.promised_instances)
        if not expected and not counted and not (expected := self._list(uid, sink)):
            return Receipt(0, [nothing_there(uid)])
        self._retrieve_missing(expected, outcome, sink)
        sink.finish()
        notes = faults(settings, None if counted else expected, outcome, sink)
        return Receipt(len(set(outcome.delivered)), notes)

    def _list(self, uid: str, sink: StudySink) -> tuple[InstanceRecord, ...]:
        listed = tuple(self._archive.find_instances(uid))
        sink.expect(listed)
        return listed

    def _retrieve_missing(
        self, expected: Sequence[InstanceRecord], outcome: RetrieveOutcome, sink: StudySink
    ) -> None:
        """Ask once more, one by one, for what the study's retrieval left out."""
        delivered = set(outcome.delivered)
        for instance in expected:
            if instance.sop_instance_uid in delivered:
                continue
            again = self._archive.retrieve_instance(instance, sink)
            outcome.delivered.extend(again.delivered)
            outcome.failures.extend(again.failures)

    def _begin(self, uid: str, wave_id: str) -> int:
        table = schema.attempt.c
        with self._ledger.write() as connection:
            move_studies(connection, [uid], StudyState.TRANSFERRING, self._chain)
            connection.execute(
                update(schema.attempt)
                .where(table.study_instance_uid == uid, table.outcome == "running")
                .values(outcome="interrupted", ended_at=utc_now())
            )
            number = connection.scalar(
                select(func.count()).where(table.study_instance_uid == uid, table.phase == PHASE)
            )
            result = connection.execute(
                insert(schema.attempt).values(
                    study_instance_uid=uid,
                    phase=PHASE,
                    wave_id=wave_id,
                    number=(number or 0) + 1,
                    started_at=utc_now(),
                    outcome="running",
                )
            )
            key = result.inserted_primary_key
            return int(key[0]) if key else 0

    def _end_attempt(self, attempt: int, outcome: str, reason: str, sink: StudySink) -> None:
        with self._ledger.write() as connection:
            self._record_attempt(connection, attempt, outcome, reason, sink)

    def _record_attempt(
        self, connection: Any, attempt: int, outcome: str, reason: str, sink: StudySink
    ) -> None:
        connection.execute(
            update(schema.attempt)
            .where(schema.attempt.c.attempt_id == attempt)
            .values(
                outcome=outcome,
                reason=str(reason),
                ended_at=utc_now(),
                instances=sink.received,
                bytes=sink.bytes_received,
            )
        )

    def _commit(
        self, attempt: int, settings: PassSettings, sink: StudySink, receipt: Receipt
    ) -> StudyResult:
        uid = settings.study_instance_uid
        data, digest = encode_manifest(sink.rows)
        key = self._store_manifest(uid, data, digest, attempt)
        delta = {"delta": settings.earlier.delta(sink.rows)} if settings.earlier else {}
        stored = sum(row.object_bytes for row in sink.rows)
        received = sum(row.dataset_bytes for row in sink.rows)
        with self._ledger.write() as connection:
            move_studies(
                connection,
                [uid],
                StudyState.TRANSFERRED,
                self._chain,
                payload={
                    "manifest_sha256": digest,
                    "instances": len(sink.rows),
                    "bytes": stored,
                    # Of what came in, not of the rows: verification compares the two.
                    "received_uids_sha256": uid_set_sha256(sink.arrived),
                    **delta,
                },
                received_instances=receipt.delivered,
                stored_instances=len(sink.rows),
                bytes_received=received,
                bytes_stored=stored,
                manifest_key=key,
                manifest_sha256=digest,
            )
            self._record_attempt(connection, attempt, "transferred", "", sink)
            resolve_exceptions(
                connection,
                self._chain,
                study_instance_uid=uid,
                phase=PHASE,
                resolved_by="transfer",
                resolution="a later attempt transferred the study",
            )
        return StudyResult(
            study_instance_uid=uid,
            state=StudyState.TRANSFERRED,
            instances=len(sink.rows),
            bytes_received=received,
            bytes_stored=stored,
            recompression=Counter(row.recompression for row in sink.rows if row.recompression),
        )

    def _store_manifest(self, uid: str, data: bytes, digest: str, attempt: int) -> str:
        """Create the manifest; where its key holds other bytes, it was damaged: under a new key."""
        for key in (manifest_key(uid, digest), manifest_key(uid, digest, f"again-{attempt}")):
            try:
                self._store.put(
                    key,
                    data,
                    size=len(data),
                    sha256=digest,
                    content_type="application/vnd.apache.parquet",
                )
            except PermanentError as error:
                if error.reason is not ReasonCode.INSTANCE_CONFLICT:
                    raise
            else:
                return key
        raise TransientError(
            f"The manifest of study {uid} finds its keys taken.",
            reason=ReasonCode.MANIFEST_CORRUPT,
            next_step="Nothing: the next attempt uses another key.",
        )

    def _quarantine(self, sink: StudySink, notes: Sequence[ExceptionNote], uid: str) -> StudyResult:
        quarantine_study(self._ledger, self._chain, uid, notes)
        return StudyResult(
            study_instance_uid=uid,
            state=StudyState.QUARANTINED,
            instances=sink.received,
            bytes_received=sink.bytes_received,
            bytes_stored=0,
            reason=notes[0].reason,
        )


def _is_as_promised(outcome: RetrieveOutcome, promised: int | None) -> bool:
    """Tell whether just so many different instances arrived, and none failed."""
    different = len(set(outcome.delivered))
    return (
        different == len(outcome.delivered) == promised
        and not outcome.failures
        and not outcome.reported_failed
    )
