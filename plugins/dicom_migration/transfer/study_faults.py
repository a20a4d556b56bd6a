"""What keeps a received study from being whole, each fault named; and setting it aside for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_migration.archive import InstanceRecord, RetrieveOutcome
from dicom_migration.errors import MigrationError, ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    note_exceptions,
)
from dicom_migration.transfer.instance_pass import PassSettings
from dicom_migration.transfer.study_sink import StudySink

PHASE = "transfer"


def faults(
    settings: PassSettings,
    expected: Sequence[InstanceRecord] | None,
    outcome: RetrieveOutcome,
    sink: StudySink,
) -> list[ExceptionNote]:
    """Return a note for everything that is not as the source promised; none: the study is whole.

    `expected` is what the source lists, None when its count was met and nothing was listed.
    """
    uid = settings.study_instance_uid
    notes = [
        study_note(uid, r.sop_instance_uid, r.reason, r.detail, r.next_step) for r in sink.refused
    ]
    if expected is None:
        return notes
    listed = {instance.sop_instance_uid for instance in expected}
    notes.extend(_missing(uid, expected, outcome, sink))
    unlisted = sink.arrived | {f.sop_instance_uid for f in outcome.failures if f.sop_instance_uid}
    notes.extend(
        study_note(
            uid,
            sop,
            ReasonCode.INSTANCE_UNEXPECTED,
            "The source sends it and does not list it: its list may be cut off.",
        )
        for sop in sorted(unlisted - listed)
    )
    promised = settings.promised_instances
    if promised is not None and len(listed) < promised:
        notes.append(
            study_note(
                uid,
                "",
                ReasonCode.COUNT_MISMATCH,
                f"The source's database counts {promised} instances and lists {len(listed)}.",
                "Raise the source's result limit, or run discovery again if the study shrank.",
            )
        )
    return notes


def _missing(
    uid: str, expected: Sequence[InstanceRecord], outcome: RetrieveOutcome, sink: StudySink
) -> Iterator[ExceptionNote]:
    arrived = sink.arrived | {refused.sop_instance_uid for refused in sink.refused}
    failures = {failure.sop_instance_uid: failure for failure in outcome.failures}
    for instance in expected:
        sop = instance.sop_instance_uid
        if sop in arrived:
            continue
        failure = failures.get(sop) or failures.get("")
        reason = ReasonCode(failure.reason) if failure else ReasonCode.INSTANCE_MISSING
        detail = failure.detail if failure else "The source lists it and does not deliver it."
        yield study_note(uid, sop, reason, detail)


def study_note(uid: str, sop: str, reason: ReasonCode, detail: str, fix: str = "") -> ExceptionNote:
    """Return an exception of the transfer."""
    return ExceptionNote(
        reason,
        PHASE,
        uid,
        "",
        sop,
        detail,
        fix or "Repair the study at the source and plan it again, or exclude it.",
    )


def note_of(uid: str, error: MigrationError) -> ExceptionNote:
    """Return the exception of a study that `error` kept from being moved."""
    return ExceptionNote(error.reason, PHASE, uid, "", "", error.message, error.next_step)


def nothing_there(uid: str) -> ExceptionNote:
    """Return the exception of a study that the source lists empty."""
    return study_note(uid, "", ReasonCode.STUDY_EMPTY, "The source lists no instance.")


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
