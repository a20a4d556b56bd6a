"""Copied studies that are not at the source what they were when they were copied.

The recorded count stays what it was: what the copy was measured against is evidence. The study
goes to ``mismatched``, where verification settles it: one that grew is sent again, one that
shrank is put before a person, for sending it again would drop what the cloud still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from dicom_migration.discovery.exception_notes import PHASE
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
    utc_now,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COPIED = (StudyState.TRANSFERRED.value, StudyState.VERIFIED.value)
#: What a copy was measured against. Not the series: verification does not count them, so that a
#: study sent again would differ in them for ever.
_EVIDENCE = ("number_of_instances", "bytes_estimated", "bytes_basis", "bytes_error")


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A copied study that the source reports with other counts; None is unknown."""

    study_instance_uid: str
    wave_id: str
    received: int
    instances_before: int | None
    instances_now: int | None
    series_before: int | None
    series_now: int | None

    @property
    def shrank(self) -> bool:
        """Tell whether fewer instances are left than were copied."""
        return self.instances_now is not None and self.instances_now < self.received

    def note(self) -> ExceptionNote:
        """Return what a person is told."""
        what, before, now = "instances", self.instances_before, self.instances_now
        if before == now:
            what, before, now = "series", self.series_before, self.series_now
        return ExceptionNote(
            ReasonCode.SOURCE_CHANGED,
            PHASE,
            study_instance_uid=self.study_instance_uid,
            detail=f"The source reports {now} {what} now, {'none' if before is None else before} "
            f"before the copy; {self.received} instances were received.",
            suggested_fix="Ask the archive's administrator whether they were deleted on purpose; "
            f"verification of wave {self.wave_id} quarantines the study."
            if self.shrank
            else f"Verification sends it again: run the verification DAG for wave {self.wave_id}.",
        )


def source_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> SourceChange | None:
    """Return how a copied study changed at the source, None when it did not.

    A count that is what was received is none: the study grew before it was sent (again).
    """
    if before["state"] not in _COPIED:
        return None
    told, received = now["number_of_instances"], before["received_instances"]
    if told in (None, before["number_of_instances"]):
        series = (before["number_of_series"], now["number_of_series"])
        changed = None not in series and series[0] != series[1]
    else:
        changed = told != received
    if not changed:
        return None
    return SourceChange(
        before["study_instance_uid"],
        before["wave_id"],
        received,
        before["number_of_instances"],
        before["number_of_instances"] if told is None else told,
        before["number_of_series"],
        now["number_of_series"],
    )


def row_to_record(
    before: Mapping[str, Any], now: dict[str, Any], change: SourceChange | None
) -> dict[str, Any]:
    """Return the columns to record: those of `now`, with the count that the copy is judged by."""
    state = before["state"]
    untold = state in _COPIED and now["number_of_instances"] is None
    if change is None and not untold and state != StudyState.MISMATCHED.value:
        return now
    return {**now, **{name: before[name] for name in _EVIDENCE}}


def record_changes(
    connection: Connection, changes: Sequence[SourceChange], chain: EventChain
) -> None:
    """Note the changes, and move the studies to ``mismatched`` so that they are settled."""
    by_uid = {change.study_instance_uid: change for change in changes}
    copied = _still_copied(connection, sorted(by_uid)) if changes else []
    if not copied:
        return
    note_exceptions(connection, [by_uid[uid].note() for uid in copied], chain)
    # Verification sends again what has a verdict that says so, and nothing else.
    connection.execute(insert(schema.verification), [_verdict(by_uid[uid]) for uid in copied])
    move_studies(
        connection,
        copied,
        StudyState.MISMATCHED,
        chain,
        payload={"why": ReasonCode.SOURCE_CHANGED.value},
    )


def _still_copied(connection: Connection, uids: Sequence[str]) -> list[str]:
    table = schema.study.c
    return list(
        connection.scalars(
            select(table.study_instance_uid)
            .where(table.study_instance_uid.in_(uids), table.state.in_(_COPIED))
            .order_by(table.study_instance_uid)
            .with_for_update()
        )
    )


def _verdict(change: SourceChange) -> dict[str, Any]:
    return {
        "study_instance_uid": change.study_instance_uid,
        "wave_id": change.wave_id,
        "verified_at": utc_now(),
        "method": "inventory",
        "source_instances": change.instances_now,
        "received_instances": change.received,
        "outcome": "undecided" if change.shrank else "mismatched",
        "reason": ReasonCode.SOURCE_CHANGED.value,
    }
