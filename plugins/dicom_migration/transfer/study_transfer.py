"""The transfer of one study: intent in the ledger, effect in the cloud, outcome in the ledger."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from dicom_migration.archive import ImageArchive, InstanceRecord, RetrieveOutcome
from dicom_migration.cloud import CloudStore
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, StudyState
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.transfer.bookkeeping import Arrived, Attempt, Bookkeeping
from dicom_migration.transfer.earlier_copy import earlier_copy
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.layouts import layout_for
from dicom_migration.transfer.spool import TransferMemory
from dicom_migration.transfer.study_faults import faults, note_of, nothing_there
from dicom_migration.transfer.study_sink import StudySink
from dicom_migration.uids import uid_set_sha256


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


@dataclass(frozen=True, slots=True)
class ReceivedStudy:
    """A study that has arrived, of which something may still be on its way to the target.

    Attributes
    ----------
    outcome
        How the source delivered it.
    expected
        What the source lists of it, None when the source's count was met.
    """

    settings: PassSettings
    attempt: Attempt
    sink: StudySink
    outcome: RetrieveOutcome
    expected: tuple[InstanceRecord, ...] | None


class StudyTransfer:
    """Moves studies from `archive` to `store`, each received first and completed then.

    One study may be completed while the next is received, each by one thread. Every effect is
    repeatable: object keys are fixed, creation is conditional, the manifest's bytes depend on the
    study alone. Killed anywhere, the next run ends in the same place.
    """

    def __init__(
        self,
        archive: ImageArchive,
        store: CloudStore,
        ledger: Ledger,
        uploads: ThreadPoolExecutor,
        upload_threads: int,
        memory: TransferMemory,
    ) -> None:
        self._archive = archive
        self._store = store
        self._ledger = ledger
        self._books = Bookkeeping(ledger)
        self._uploads = uploads
        self._threads = upload_threads
        self._memory = memory

    def receive(
        self, settings: PassSettings, wave_id: str, chain: EventChain
    ) -> ReceivedStudy | StudyResult:
        """Receive one study; a fault of the study itself quarantines it and is no error here.

        Whoever gets a received study ends with :meth:`complete` or :meth:`give_up`.

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
        attempt = self._books.begin(uid, wave_id, chain)
        sink = StudySink(layout, self._uploads, self._threads, settings, self._memory.in_transit)
        study = ReceivedStudy(settings, attempt, sink, RetrieveOutcome(), None)
        try:
            received = self._receive(study)
        except MigrationError as error:
            return self._failed(study, error)
        except BaseException:
            sink.abandon()
            raise
        return received or self._refused(study, [nothing_there(uid)])

    def complete(self, study: ReceivedStudy) -> StudyResult:
        """Wait for what is on its way, and commit the study; raises as :meth:`receive`."""
        try:
            study.sink.finish()
            notes = faults(study.settings, study.expected, study.outcome, study.sink)
            return self._refused(study, notes) if notes else self._commit(study)
        except MigrationError as error:
            return self._failed(study, error)
        finally:
            study.sink.abandon()

    def give_up(self, study: ReceivedStudy) -> None:
        """Leave a received study to another run: nobody completes it now."""
        study.sink.abandon()
        with contextlib.suppress(MigrationError):  # without the ledger, the next attempt says so
            self._books.end(study.attempt, "interrupted", "", _arrived(study.sink))

    def _receive(self, study: ReceivedStudy) -> ReceivedStudy | None:
        """Receive the study, and see that it is whole: by count, or else instance by instance.

        Listing the instances costs many a source more than sending them. When as many different
        ones arrive as its database counted at discovery, and none failed, no list is needed here:
        verification compares the lists of all studies. What was copied before is listed: then
        verification did not agree, and by the count alone the same would arrive again.

        Returns
        -------
        ReceivedStudy
            None when the source has nothing of it.
        """
        settings, sink = study.settings, study.sink
        uid = settings.study_instance_uid
        expected: tuple[InstanceRecord, ...] = ()
        must_list = not settings.promised_instances or settings.earlier is not None
        if must_list and not (expected := self._list(uid, sink)):
            return None
        outcome = self._archive.retrieve_study(uid, sink, expected)
        counted = not expected and _is_as_promised(outcome, settings.promised_instances)
        if not expected and not counted and not (expected := self._list(uid, sink)):
            return None
        self._retrieve_missing(expected, outcome, sink)
        return replace(study, outcome=outcome, expected=None if counted else expected)

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

    def _commit(self, study: ReceivedStudy) -> StudyResult:
        uid, sink, earlier = study.settings.study_instance_uid, study.sink, study.settings.earlier
        data, digest = encode_manifest(sink.rows)
        key = self._store_manifest(uid, data, digest, study.attempt.key)
        delta = {"delta": earlier.delta(sink.rows)} if earlier else {}
        stored = sum(row.object_bytes for row in sink.rows)
        received = sum(row.dataset_bytes for row in sink.rows)
        self._books.transferred(
            study.attempt,
            _arrived(sink),
            payload={
                "manifest_sha256": digest,
                "instances": len(sink.rows),
                "bytes": stored,
                # Of what came in, not of the rows: verification compares the two.
                "received_uids_sha256": uid_set_sha256(sink.arrived),
                **delta,
            },
            columns={
                "received_instances": len(set(study.outcome.delivered)),
                "stored_instances": len(sink.rows),
                "bytes_received": received,
                "bytes_stored": stored,
                "manifest_key": key,
                "manifest_sha256": digest,
            },
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

    def _failed(self, study: ReceivedStudy, error: MigrationError) -> StudyResult:
        """Quarantine a study whose own fault it was, else raise the error."""
        study.sink.abandon()
        self._books.end(study.attempt, "failed", error.reason, _arrived(study.sink))
        if not isinstance(error, PermanentError) or error.reason in CONCERNS_EVERYBODY:
            raise error
        return self._quarantined(study, [note_of(study.settings.study_instance_uid, error)])

    def _refused(self, study: ReceivedStudy, notes: Sequence[ExceptionNote]) -> StudyResult:
        study.sink.abandon()
        self._books.end(study.attempt, "refused", notes[0].reason, _arrived(study.sink))
        return self._quarantined(study, notes)

    def _quarantined(self, study: ReceivedStudy, notes: Sequence[ExceptionNote]) -> StudyResult:
        self._books.quarantine(study.attempt, notes)
        return StudyResult(
            study_instance_uid=study.settings.study_instance_uid,
            state=StudyState.QUARANTINED,
            instances=study.sink.received,
            bytes_received=study.sink.bytes_received,
            bytes_stored=0,
            reason=notes[0].reason,
        )


def _arrived(sink: StudySink) -> Arrived:
    return Arrived(sink.received, sink.bytes_received)


def _is_as_promised(outcome: RetrieveOutcome, promised: int | None) -> bool:
    """Tell whether just so many different instances arrived, and none failed."""
    different = len(set(outcome.delivered))
    return (
        different == len(outcome.delivered) == promised
        and not outcome.failures
        and not outcome.reported_failed
    )
