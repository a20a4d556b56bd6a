"""Settling a wave: corrections approved, failing studies quarantined, all others cleansed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select, update

from dicom_migration.cleansing.approval import require_approval
from dicom_migration.cleansing.judging import Failure
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
    utc_now,
)
from dicom_migration.ledger.exceptions import ACCEPTED, LIST_SUBJECT, OPEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

PHASE = "cleansing"
_STUDY, _WAVE, _CORRECTION = schema.study.c, schema.wave.c, schema.correction.c
_NOTE = schema.exception.c


@dataclass(frozen=True, slots=True)
class Settlement:
    """How many studies of the wave moved, and how it stands now."""

    wave_id: str
    cleansed: int
    quarantined: int
    corrections: int

    def summary(self) -> dict[str, str | int]:
        """Return it for XCom."""
        return asdict(self)


def settle_wave(
    ledger: Ledger, wave_id: str, ruleset_sha256: str, failing: Mapping[str, Sequence[Failure]]
) -> Settlement:
    """Move every study of the wave that is planned; a second time changes nothing.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when nobody approved these rules for the wave.
    """
    require_approval(ledger, wave_id, ruleset_sha256)
    chain = EventChain(f"wave:{wave_id}/cleansing")
    with ledger.write() as connection:
        planned = list(
            connection.scalars(
                select(_STUDY.study_instance_uid)
                .where(_STUDY.wave_id == wave_id, _STUDY.state == StudyState.PLANNED.value)
                .order_by(_STUDY.study_instance_uid)
            )
        )
        read = set(
            connection.scalars(
                select(schema.header_fact.c.study_instance_uid)
                .join(
                    schema.study,
                    _STUDY.study_instance_uid == schema.header_fact.c.study_instance_uid,
                )
                .where(_STUDY.wave_id == wave_id)
                .distinct()
            )
        )
        unmet = _not_accepted(connection, wave_id, failing)
        held = kept_back_of(connection, wave_id, failing)
        # A study whose headers were never read is left planned, and with it the wave.
        keeping = [uid for uid in planned if uid in held]
        good = [uid for uid in planned if uid not in held and uid in read]
        _quarantine(connection, keeping, unmet, chain)
        move_studies(connection, good, StudyState.CLEANSED, chain, payload={"wave": wave_id})
        _approve(connection, wave_id, ruleset_sha256)
        if len(good) + len(keeping) == len(planned):
            _close(connection, wave_id, chain)
        return _counted(connection, wave_id)


def _close(connection: Connection, wave_id: str, chain: EventChain) -> None:
    closed = connection.execute(
        update(schema.wave)
        .where(_WAVE.wave_id == wave_id, _WAVE.state == "planned")
        .values(state="cleansed", updated_at=utc_now())
    ).rowcount
    if closed:
        counts: dict[str, object] = dict(_counted(connection, wave_id).summary())
        chain.append(connection, [("wave.cleansed", "", counts)])


def kept_back_of(
    connection: Connection, wave_id: str, failing: Mapping[str, Sequence[Failure]]
) -> set[str]:
    """Return the studies that are not to go on: by expectations nobody set aside, or by lists."""
    unmet = _not_accepted(connection, wave_id, failing)
    return unmet.keys() | _held_by_lists(connection, wave_id)


def _not_accepted(
    connection: Connection, wave_id: str, failing: Mapping[str, Sequence[Failure]]
) -> dict[str, list[ExceptionNote]]:
    """Return what the studies fail, without that which a person accepted as it is."""
    accepted = set(
        connection.scalars(
            _noted(wave_id).with_only_columns(_NOTE.fingerprint).where(_NOTE.status == ACCEPTED)
        )
    )
    unmet = {
        uid: [
            note
            for failure in failures
            if (note := _note(uid, failure)).fingerprint not in accepted
        ]
        for uid, failures in failing.items()
    }
    return {uid: notes for uid, notes in unmet.items() if notes}


def _held_by_lists(connection: Connection, wave_id: str) -> set[str]:
    """Return the studies that contradict a list of patients or orders, undecided by a person."""
    return set(
        connection.scalars(
            _noted(wave_id)
            .with_only_columns(_NOTE.study_instance_uid)
            .where(
                _NOTE.status == OPEN,
                _NOTE.subject.startswith(LIST_SUBJECT),
                _STUDY.state == StudyState.PLANNED.value,
            )
        )
    )


def _noted(wave_id: str) -> Select[Any]:
    return (
        select(schema.exception)
        .join(schema.study, _STUDY.study_instance_uid == _NOTE.study_instance_uid)
        .where(_STUDY.wave_id == wave_id, _NOTE.phase == PHASE)
    )


def _note(uid: str, failure: Failure) -> ExceptionNote:
    return ExceptionNote(
        failure.reason,
        PHASE,
        study_instance_uid=uid,
        series_instance_uid=failure.series_instance_uid,
        sop_instance_uid=failure.sop_instance_uid,
        subject=failure.title[:128],
        detail=f"Not met in {failure.headers} header(s): {failure.title}.",
        suggested_fix=failure.suggested_fix,
    )


def _quarantine(
    connection: Connection,
    uids: Sequence[str],
    unmet: Mapping[str, Sequence[ExceptionNote]],
    chain: EventChain,
) -> None:
    note_exceptions(connection, [note for uid in uids for note in unmet.get(uid, ())], chain)
    for by, mine in (
        ("expectations", [uid for uid in uids if uid in unmet]),
        ("lists", [uid for uid in uids if uid not in unmet]),
    ):
        move_studies(connection, mine, StudyState.QUARANTINED, chain, payload={"by": by})


def _approve(connection: Connection, wave_id: str, ruleset_sha256: str) -> None:
    connection.execute(
        update(schema.correction)
        .where(
            _CORRECTION.wave_id == wave_id,
            _CORRECTION.status == "proposed",
            _CORRECTION.ruleset_sha256 == ruleset_sha256,
        )
        .values(status="approved", updated_at=utc_now())
    )


def _counted(connection: Connection, wave_id: str) -> Settlement:
    states = list(connection.scalars(select(_STUDY.state).where(_STUDY.wave_id == wave_id)))
    approved = list(
        connection.scalars(
            select(_CORRECTION.correction_id).where(
                _CORRECTION.wave_id == wave_id, _CORRECTION.status == "approved"
            )
        )
    )
    return Settlement(
        wave_id,
        cleansed=states.count(StudyState.CLEANSED.value),
        quarantined=states.count(StudyState.QUARANTINED.value),
        corrections=len(approved),
    )
