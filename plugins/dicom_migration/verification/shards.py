"""A shard verified study by study, each verdict recorded before the next study begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert

from dicom_migration.archive import ImageArchive
from dicom_migration.cloud import CloudStore
from dicom_migration.collector import imports_set_aside
from dicom_migration.errors import TransientError
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
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard, claims_of
from dicom_migration.verification.findings import (
    PHASE,
    Outcome,
    StudyVerdict,
    exception_notes,
)
from dicom_migration.verification.ledger_claims import checked_claims
from dicom_migration.verification.receipts import RECEIPT
from dicom_migration.verification.refusals import Refusals
from dicom_migration.verification.studies_ahead import verdicts_of

#: Studies in a row without an answer after which the shard waits for its retry.
GIVE_UP_AFTER = 3


@dataclass(slots=True)
class ShardSummary:
    """Counts of one shard; `bytes_read` in bytes."""

    wave_id: str
    shard: int
    outcomes: Counter[str] = field(default_factory=Counter)
    objects_read: int = 0
    bytes_read: int = 0
    unanswered: int = 0

    def add(self, verdict: StudyVerdict) -> None:
        """Count one verdict."""
        self.outcomes[verdict.outcome] += 1
        self.objects_read += verdict.objects_read
        self.bytes_read += verdict.bytes_read

    def as_dict(self) -> dict[str, str | int]:
        """Return the summary as it travels between tasks."""
        return {
            "wave_id": self.wave_id,
            "shard": self.shard,
            **{outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "unanswered": self.unanswered,
            "objects_read": self.objects_read,
            "bytes_read": self.bytes_read,
        }


def verify_shard(
    archive: ImageArchive,
    store: CloudStore,
    ledger: Ledger,
    shard: Shard,
    policy: VerificationPolicy,
    *,
    last_try: bool = False,
) -> ShardSummary:
    """Verify the studies of a shard that await it; what was done before is not done again.

    On the `last_try` single studies that get no answer are left ``transferred`` with an
    exception, so that the rest of the wave goes on.

    Raises
    ------
    TransientError
        Some studies got no answer; all others are recorded, and a retry resumes with the rest.
    PermanentError
        Source or store refuse us altogether, or refuse several studies in a row the same way:
        none of these moved. Or the ledger's rows are not what its events say.
    """
    with ledger.read() as connection:
        claims = checked_claims(connection, claims_of(connection, shard))
    summary = ShardSummary(shard.wave_id, shard.number)
    chain = EventChain(shard.chain)
    unanswered: dict[str, TransientError] = {}
    in_a_row = 0
    refusals = Refusals()

    def record(verdicts: Sequence[StudyVerdict]) -> None:
        for verdict in verdicts:
            with ledger.write() as connection:
                record_verdict(connection, verdict, shard.wave_id, chain, policy)
            summary.add(verdict)

    with imports_set_aside(), closing(verdicts_of(archive, store, claims, policy)) as answers:
        for claim, answer in answers:
            if isinstance(answer, TransientError):
                unanswered[claim.study_instance_uid] = answer
                in_a_row += 1
                if in_a_row >= GIVE_UP_AFTER:
                    raise _unfinished(shard, unanswered) from answer
                continue
            in_a_row = 0
            record(refusals.admit(answer))
    record(refusals.rest())
    if unanswered and not last_try:
        raise _unfinished(shard, unanswered)
    with ledger.write() as connection:
        note_exceptions(
            connection,
            [
                ExceptionNote(e.reason, PHASE, uid, detail=e.message, suggested_fix=e.next_step)
                for uid, e in unanswered.items()
            ],
            chain,
        )
    summary.unanswered = len(unanswered)
    return summary


def record_verdict(
    connection: Connection,
    verdict: StudyVerdict,
    wave_id: str,
    chain: EventChain,
    policy: VerificationPolicy,
) -> None:
    """Write a verdict, its exceptions, and the study's new state, in the caller's transaction."""
    uid = verdict.study_instance_uid
    connection.execute(
        insert(schema.verification).values(
            study_instance_uid=uid,
            wave_id=wave_id,
            verified_at=utc_now(),
            method=verdict.method,
            source_instances=verdict.source_instances,
            received_instances=verdict.received_instances,
            manifest_instances=verdict.manifest_instances,
            cloud_instances=verdict.cloud_instances,
            objects_read=verdict.objects_read,
            bytes_read=verdict.bytes_read,
            outcome=verdict.outcome.value,
            reason=verdict.reason,
        )
    )
    verified = verdict.outcome is Outcome.VERIFIED
    if verified:
        resolve_exceptions(
            connection,
            chain,
            study_instance_uid=uid,
            phase=PHASE,
            resolved_by="verification",
            resolution="verified",
        )
    note_exceptions(connection, exception_notes(verdict, policy.max_notes_per_study), chain)
    counts: dict[str, object] = {
        "source": verdict.source_instances,
        "received": verdict.received_instances,
        RECEIPT: verdict.receipt,
        "manifest": verdict.manifest_instances,
        "cloud": verdict.cloud_instances,
        "read": verdict.objects_read,
        "attested": verdict.objects_attested,
        "method": verdict.method,
        "reason": verdict.reason,
    }
    if verdict.source_delta:
        counts["source_delta"] = verdict.source_delta.as_payload()
    move_studies(
        connection,
        [uid],
        StudyState.VERIFIED if verified else StudyState.MISMATCHED,
        chain,
        payload=counts,
        verified_instances=verdict.cloud_instances if verified else 0,
    )


def _unfinished(shard: Shard, unanswered: dict[str, TransientError]) -> TransientError:
    last = list(unanswered.values())[-1]
    return TransientError(
        f"{len(unanswered)} studies of wave {shard.wave_id} got no answer; "
        f"the last: {last.message}",
        reason=last.reason,
        next_step=last.next_step or "Let the task retry; verified studies are not read again.",
    )
