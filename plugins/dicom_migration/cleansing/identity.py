"""Contradictions between studies: what one header cannot show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, select, update

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions, schema, utc_now
from dicom_migration.ledger.exceptions import LIST_SUBJECT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

PHASE = "cleansing"
_NOTED_HERE = (ReasonCode.IDENTITY_CONFLICT.value, ReasonCode.INSTANCE_CONFLICT.value)
_MINE, _OTHER = schema.study.alias("mine"), schema.study.alias("other")


def note_identity_conflicts(ledger: Ledger, wave_id: str) -> dict[str, int]:
    """Note contradictions of the wave's studies with any study of the ledger; close those gone.

    They are reported, the studies go on: which of two is right is for the master patient index to
    say, and the copy is to hold what the source holds.

    Returns
    -------
    dict
        Studies concerned, by kind of contradiction.
    """
    found: dict[str, list[ExceptionNote]] = {}
    with ledger.read() as connection:
        for kind, condition, detail, fix in _CONFLICTS:
            found[kind] = [
                ExceptionNote(
                    ReasonCode.IDENTITY_CONFLICT,
                    PHASE,
                    study_instance_uid=uid,
                    subject=kind,
                    detail=detail,
                    suggested_fix=fix,
                )
                for uid in _studies(connection, wave_id, condition)
            ]
        found["shared-instance-uid"] = [
            ExceptionNote(
                ReasonCode.INSTANCE_CONFLICT,
                PHASE,
                study_instance_uid=row.study_instance_uid,
                sop_instance_uid=row.sop_instance_uid,
                detail="The same SOP Instance UID occurs in another study.",
                suggested_fix="Compare both instances; give one of them a new UID at the source.",
            )
            for row in _shared_instances(connection, wave_id)
        ]
    with ledger.write() as connection:
        notes = [note for kind in found.values() for note in kind]
        chain = EventChain(f"wave:{wave_id}/cleansing")
        note_exceptions(connection, notes, chain)
        seen = {note.fingerprint for note in notes}
        close_unseen(connection, wave_id, seen, chain, of_lists=False)
    return {kind: len(notes) for kind, notes in found.items()}


_CONFLICTS: tuple[tuple[str, ColumnElement[bool], str, str], ...] = (
    (
        "shared-accession-number",
        and_(
            _MINE.c.accession_number != "",
            _MINE.c.accession_number == _OTHER.c.accession_number,
            _MINE.c.patient_id != _OTHER.c.patient_id,
        ),
        "A study of another patient carries the same Accession Number.",
        "Compare both orders in the information system; correct the wrong one at the source.",
    ),
    (
        "person-under-two-ids",
        and_(
            _MINE.c.patient_name != "",
            _MINE.c.patient_birth_date != "",
            _MINE.c.patient_name == _OTHER.c.patient_name,
            _MINE.c.patient_birth_date == _OTHER.c.patient_birth_date,
            _MINE.c.patient_sex == _OTHER.c.patient_sex,
            _MINE.c.patient_id != _OTHER.c.patient_id,
            _MINE.c.issuer_of_patient_id == _OTHER.c.issuer_of_patient_id,
        ),
        "A person of the same name, birth date and sex is registered under another Patient ID.",
        "Have the master patient index decide whether they are one person; merge at the source.",
    ),
)


def close_unseen(
    connection: Connection, wave_id: str, seen: set[str], chain: EventChain, *, of_lists: bool
) -> None:
    """Close what an earlier run noted of the wave's studies and this one no longer finds.

    `of_lists`: what contradicts a list, or else what studies contradict among themselves. A study
    that is not looked at again, because it is quarantined or has gone on, keeps what it has.
    """
    table = schema.exception.c
    mine = select(schema.study.c.study_instance_uid).where(schema.study.c.wave_id == wave_id)
    listed = table.subject.startswith(LIST_SUBJECT)
    if of_lists:
        mine = mine.where(schema.study.c.state == "planned")
    noted = connection.execute(
        select(table.fingerprint, table.study_instance_uid, table.reason).where(
            table.phase == PHASE,
            table.status == "open",
            listed if of_lists else and_(table.reason.in_(_NOTED_HERE), ~listed),
            table.study_instance_uid.in_(mine),
        )
    ).all()
    gone = [row for row in noted if row.fingerprint not in seen]
    for row in gone:
        connection.execute(
            update(schema.exception)
            .where(table.fingerprint == row.fingerprint)
            .values(
                status="resolved",
                resolved_by=PHASE,
                resolved_at=utc_now(),
                resolution="Not found any more.",
            )
        )
    chain.append(
        connection,
        [
            (
                "exception.resolved",
                row.study_instance_uid,
                {"phase": PHASE, "reason": row.reason, "by": PHASE, "how": "Not found any more."},
            )
            for row in gone
        ],
    )


def _studies(connection: Connection, wave_id: str, condition: ColumnElement[bool]) -> list[str]:
    return list(
        connection.scalars(
            select(_MINE.c.study_instance_uid)
            .join(_OTHER, condition)
            .where(_MINE.c.wave_id == wave_id)
            .distinct()
            .order_by(_MINE.c.study_instance_uid)
        )
    )


def _shared_instances(connection: Connection, wave_id: str) -> list[Any]:
    mine, other = schema.header_fact.alias("fact"), schema.header_fact.alias("twin")
    return list(
        connection.execute(
            select(mine.c.study_instance_uid, mine.c.sop_instance_uid)
            .join(
                other,
                and_(
                    mine.c.sop_instance_uid == other.c.sop_instance_uid,
                    mine.c.study_instance_uid != other.c.study_instance_uid,
                ),
            )
            .join(_MINE, _MINE.c.study_instance_uid == mine.c.study_instance_uid)
            .where(_MINE.c.wave_id == wave_id)
            .distinct()
        )
    )
