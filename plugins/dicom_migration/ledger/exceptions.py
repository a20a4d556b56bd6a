"""Typed exceptions: what a person must decide, recorded once however often it is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.ledger.clock import utc_now
from dicom_migration.ledger.events import EventChain

BATCH = 500
OPEN, RESOLVED, ACCEPTED = "open", "resolved", "accepted"
#: The ``decision_rule`` of a study that a person left out; no plan takes it back by itself.
EXCLUDED_BY_A_PERSON = "excluded-by-a-person"
#: Begins the `subject` of what contradicts a list: the master patients', the orders'.
LIST_SUBJECT = "list:"
#: What cleansing reports of studies that go on.
_REPORTED_ONLY = frozenset(
    {
        ReasonCode.IDENTITY_CONFLICT,
        ReasonCode.INSTANCE_CONFLICT,
        ReasonCode.CORRECTION_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class ExceptionNote:
    """Something a person must look at; `detail` and `suggested_fix` hold no PHI.

    `subject` (at most 128 characters) tells apart what shares reason and identifiers: the failed
    expectation, a date window, the digest of an invalid identifier.
    """

    reason: ReasonCode
    phase: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    detail: str = ""
    suggested_fix: str = ""
    subject: str = ""

    @property
    def fingerprint(self) -> str:
        """Identify the same trouble seen again."""
        key = "|".join(
            (
                self.reason,
                self.phase,
                self.study_instance_uid,
                self.series_instance_uid,
                self.sop_instance_uid,
                *([self.subject] if self.subject else []),
            )
        )
        return hashlib.sha256(key.encode()).hexdigest()


def keeps_back(reason: str, phase: str, subject: str) -> bool:
    """Tell whether an exception is why its study is kept back, not only something to be known."""
    if reason in (ReasonCode.STUDY_UNDATED, ReasonCode.INSTANCE_DUPLICATED):
        return False
    is_of_lists = subject.startswith(LIST_SUBJECT)
    return phase != "cleansing" or reason not in _REPORTED_ONLY or is_of_lists


def note_exceptions(
    connection: Connection, notes: Iterable[ExceptionNote], chain: EventChain
) -> int:
    """Record `notes`; one open or accepted is only touched, one resolved is opened again.

    Returns
    -------
    int
        How many were new or opened again (each of them has an event).
    """
    by_fingerprint = {note.fingerprint: note for note in notes}
    if not by_fingerprint:
        return 0
    known = _statuses(connection, list(by_fingerprint))
    now = utc_now()
    new = [note for fingerprint, note in by_fingerprint.items() if fingerprint not in known]
    if new:
        connection.execute(insert(schema.exception), [_row(note, now) for note in new])
    if known:
        table = schema.exception.c
        connection.execute(
            update(schema.exception)
            .where(table.fingerprint == bindparam("seen_fingerprint"))
            .values(
                status=case((table.status == ACCEPTED, ACCEPTED), else_=OPEN),
                seen_at=now,
                detail=bindparam("seen_detail"),
            ),
            [{"seen_fingerprint": key, "seen_detail": by_fingerprint[key].detail} for key in known],
        )
    opened = [
        note for key, note in by_fingerprint.items() if known.get(key) not in (OPEN, ACCEPTED)
    ]
    chain.append(
        connection,
        [
            (
                "exception.opened",
                note.study_instance_uid,
                {"reason": note.reason.value, "phase": note.phase},
            )
            for note in opened
        ],
    )
    return len(opened)


def _statuses(connection: Connection, fingerprints: Sequence[str]) -> dict[str, str]:
    """Return the statuses of the exceptions that are recorded already, by fingerprint."""
    table = schema.exception.c
    found: dict[str, str] = {}
    for start in range(0, len(fingerprints), BATCH):
        rows = connection.execute(
            select(table.fingerprint, table.status).where(
                table.fingerprint.in_(fingerprints[start : start + BATCH])
            )
        )
        found.update({row.fingerprint: row.status for row in rows})
    return found


def _row(note: ExceptionNote, now: datetime) -> dict[str, object]:
    return {
        "fingerprint": note.fingerprint,
        "reason": note.reason.value,
        "phase": note.phase,
        "study_instance_uid": note.study_instance_uid,
        "series_instance_uid": note.series_instance_uid,
        "sop_instance_uid": note.sop_instance_uid,
        "subject": note.subject,
        "detail": note.detail,
        "suggested_fix": note.suggested_fix,
        "status": "open",
        "created_at": now,
        "seen_at": now,
    }


def resolve_exceptions(
    connection: Connection,
    chain: EventChain,
    *,
    study_instance_uid: str,
    phase: str,
    resolved_by: str,
    resolution: str,
) -> int:
    """Close the open exceptions that `phase` raised for a study; returns how many."""
    table = schema.exception.c
    result = connection.execute(
        update(schema.exception)
        .where(
            table.study_instance_uid == study_instance_uid,
            table.phase == phase,
            table.status == "open",
        )
        .values(
            status="resolved", resolved_by=resolved_by, resolved_at=utc_now(), resolution=resolution
        )
    )
    if result.rowcount:
        chain.append(
            connection,
            [
                (
                    "exception.resolved",
                    study_instance_uid,
                    {"phase": phase, "by": resolved_by, "how": resolution},
                )
            ],
        )
    return result.rowcount


def open_exception_counts(connection: Connection) -> dict[str, int]:
    """Return how many exceptions are open, by reason code."""
    table = schema.exception.c
    rows = connection.execute(
        select(table.reason, func.count())
        .where(table.status == "open")
        .group_by(table.reason)
        .order_by(table.reason)
    )
    return {str(row[0]): int(row[1]) for row in rows}
