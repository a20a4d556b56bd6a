"""The transfer of one study: intent in the ledger, effect in the cloud, outcome in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from dicom_migration.archive import ImageArchive, InstanceRecord, RetrieveOutcome
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
    resolve_exceptions,
    schema,
    utc_now,
)
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.study_sink import StudySink, concerns_target

PHASE = "transfer"


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What one study's transfer came to; `state` is the study's state in the ledger."""

    study_instance_uid: str
    state: StudyState
    instances: int
    bytes_received: int
    bytes_stored: int


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
    ) -> None:
        self._archive = archive
        self._store = store
        self._ledger = ledger
        self._chain = chain
        self._uploads = uploads
        self._threads = upload_threads

    def run(self, settings: PassSettings, wave_id: str) -> StudyResult:
        """Transfer one study; a fault of the study itself quarantines it and is no error here.

        Raises
        ------
        TransientError
            Source, target or ledger failed in passing: the study stays ``transferring``.
        PermanentError
            Source or target refuse us altogether.
        """
        uid = settings.study_instance_uid
        attempt = self._begin(uid, wave_id)
        sink = StudySink(self._store, self._uploads, self._threads, settings)
        try:
            notes = self._receive(uid, sink)
        except MigrationError as error:
            sink.drain()
            self._end_attempt(attempt, "failed", error.reason, sink)
            if not isinstance(error, PermanentError) or _concerns_peer(error):
                raise
            return self._quarantine(
                sink,
                [ExceptionNote(error.reason, PHASE, uid, "", "", error.message, error.next_step)],
                uid,
            )
        if notes:
            self._end_attempt(attempt, "refused", notes[0].reason, sink)
            return self._quarantine(sink, notes, uid)
        return self._commit(attempt, uid, sink)

    def _receive(self, uid: str, sink: StudySink) -> list[ExceptionNote]:
        expected = tuple(self._archive.find_instances(uid))
        if not expected:
            return [_note(uid, "", ReasonCode.STUDY_EMPTY, "The source lists no instance of it.")]
        outcome = self._archive.retrieve_study(uid, sink, expected)
        self._retrieve_missing(expected, outcome, sink)
        sink.finish()
        return _faults(uid, expected, outcome, sink)

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

    def _commit(self, attempt: int, uid: str, sink: StudySink) -> StudyResult:
        data, digest = encode_manifest(sink.rows)
        key = manifest_key(uid, digest)
        self._store.put(
            key,
            data,
            size=len(data),
            sha256=digest,
            content_type="application/vnd.apache.parquet",
        )
        stored = sum(row.object_bytes for row in sink.rows)
        received = sum(row.dataset_bytes for row in sink.rows)
        with self._ledger.write() as connection:
            move_studies(
                connection,
                [uid],
                StudyState.TRANSFERRED,
                self._chain,
                payload={"manifest_sha256": digest, "instances": len(sink.rows), "bytes": stored},
                received_instances=len(sink.rows),
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
        return StudyResult(uid, StudyState.TRANSFERRED, len(sink.rows), received, stored)

    def _quarantine(self, sink: StudySink, notes: Sequence[ExceptionNote], uid: str) -> StudyResult:
        quarantine_study(self._ledger, self._chain, uid, notes)
        return StudyResult(uid, StudyState.QUARANTINED, sink.received, sink.bytes_received, 0)


def quarantine_study(
    ledger: Ledger, chain: EventChain, uid: str, notes: Sequence[ExceptionNote]
) -> None:
    """Set a study aside for a person, with the reasons."""
    with ledger.write() as connection:
        move_studies(
            connection,
            [uid],
            StudyState.QUARANTINED,
            chain,
            payload={"reasons": sorted({note.reason.value for note in notes})},
        )
        note_exceptions(connection, notes, chain)


def _faults(
    uid: str, expected: Sequence[InstanceRecord], outcome: RetrieveOutcome, sink: StudySink
) -> list[ExceptionNote]:
    """Name everything that keeps the study from being whole."""
    refused = {r.sop_instance_uid for r in sink.refused}
    notes = [_note(uid, r.sop_instance_uid, r.reason, r.detail, r.next_step) for r in sink.refused]
    stored = {row.sop_instance_uid for row in sink.rows}
    failures = {f.sop_instance_uid: f for f in outcome.failures}
    for instance in expected:
        sop = instance.sop_instance_uid
        if sop in stored or sop in refused:
            continue
        failure = failures.get(sop) or failures.get("")
        reason = ReasonCode(failure.reason) if failure else ReasonCode.INSTANCE_MISSING
        detail = failure.detail if failure else "The source lists it and does not deliver it."
        notes.append(_note(uid, sop, reason, detail))
    listed = {instance.sop_instance_uid for instance in expected}
    notes.extend(
        _note(uid, sop, ReasonCode.INSTANCE_UNEXPECTED, "Delivered, but not in the source's list.")
        for sop in sorted(stored - listed)
    )
    return notes


def _note(uid: str, sop: str, reason: ReasonCode, detail: str, fix: str = "") -> ExceptionNote:
    return ExceptionNote(
        reason,
        PHASE,
        uid,
        "",
        sop,
        detail,
        fix or "Repair the study at the source and send it back to cleansing, or exclude it.",
    )


def _concerns_peer(error: MigrationError) -> bool:
    """Tell whether nobody's study would fare better: the peer refuses us as configured."""
    return concerns_target(error) or error.reason in (
        ReasonCode.SOURCE_REJECTED,
        ReasonCode.SOURCE_UNREACHABLE,
        ReasonCode.STATE_FORBIDDEN,
        ReasonCode.LEDGER_UNAVAILABLE,
    )
