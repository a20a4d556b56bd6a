"""Studies that did not agree: transferred again as often as policy allows, then a person's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import EventChain, Ledger, StudyState, move_studies, schema, utc_now
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.findings import Outcome

REDRIVE_PHASE = "redrive"


@dataclass(frozen=True, slots=True)
class Settlement:
    """How many studies of a wave go back to transfer, and how many to a person.

    `awaits_transfer`: the wave holds studies to transfer, of this settlement or of an earlier
    one whose transfer was never started.
    """

    wave_id: str
    redriven: int
    quarantined: int
    awaits_transfer: bool


def settle_mismatches(ledger: Ledger, wave_id: str, policy: VerificationPolicy) -> Settlement:
    """Move every mismatched study of a wave on; doing it again finds nothing to move.

    A study whose last verdict was ``mismatched`` goes back to ``cleansed`` until it has had
    ``policy.max_redrives`` of them; so does one that was verified and is mismatched because the
    inventory found it changed at the source, however often that happens. One that only a person
    can decide about, or that used its redrives up, is quarantined; its exceptions say why.
    """
    chain = EventChain(f"wave:{wave_id}/verify-settlement")
    with ledger.write() as connection:
        redrives = _redrives_of_mismatched(connection, wave_id)
        last = _last_outcomes(connection, wave_id)
        again = [
            uid
            for uid, count in redrives.items()
            if last.get(uid) == Outcome.VERIFIED
            or (last.get(uid) == Outcome.MISMATCHED and count < policy.max_redrives)
        ]
        person = sorted(redrives.keys() - set(again))
        move_studies(
            connection, again, StudyState.CLEANSED, chain, payload={"why": "verification mismatch"}
        )
        move_studies(
            connection,
            person,
            StudyState.QUARANTINED,
            chain,
            payload={"why": "verification mismatch", "max_redrives": policy.max_redrives},
        )
        _count_redrives(connection, wave_id, again, redrives)
        state = _wave_state(connection, wave_id)
        if state:
            connection.execute(
                update(schema.wave)
                .where(schema.wave.c.wave_id == wave_id)
                .values(state=state, updated_at=utc_now())
            )
    return Settlement(
        wave_id, len(again), len(person), awaits_transfer=state == StudyState.CLEANSED.value
    )


def refuse_unanswered(unanswered: Mapping[str, int]) -> None:
    """Refuse to end in silence when studies got no answer; `unanswered` counts them by wave.

    Raises
    ------
    TransientError
        There are some: verified anew, they may get their answer.
    """
    if not unanswered:
        return
    waves = ", ".join(f"{count} of wave {wave}" for wave, count in sorted(unanswered.items()))
    raise TransientError(
        f"{sum(unanswered.values())} studies got no answer from source or cloud and are not "
        f"verified ({waves}); the certificate is interim, and nothing goes on by itself.",
        reason=ReasonCode.SOURCE_FAILED,
        next_step="Look at their exceptions for the cause, then clear the task verify_shard of "
        "this run with what follows it, or trigger verification for the wave.",
    )


def _redrives_of_mismatched(connection: Connection, wave_id: str) -> dict[str, int]:
    study, attempt = schema.study.c, schema.attempt.c
    rows = connection.execute(
        select(study.study_instance_uid, func.count(attempt.attempt_id))
        .select_from(schema.study)
        .outerjoin(
            schema.attempt,
            (attempt.study_instance_uid == study.study_instance_uid)
            & (attempt.phase == REDRIVE_PHASE),
        )
        .where(study.wave_id == wave_id, study.state == StudyState.MISMATCHED.value)
        .group_by(study.study_instance_uid)
        .order_by(study.study_instance_uid)
    )
    return {uid: int(count) for uid, count in rows}


def _last_outcomes(connection: Connection, wave_id: str) -> dict[str, str]:
    """Return what verification said last of each mismatched study it has judged."""
    study, verdict = schema.study.c, schema.verification.c
    latest = (
        select(func.max(verdict.verification_id))
        .where(verdict.study_instance_uid == study.study_instance_uid)
        .correlate(schema.study)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(study.study_instance_uid, verdict.outcome)
        .join(schema.verification, verdict.verification_id == latest)
        .where(study.wave_id == wave_id, study.state == StudyState.MISMATCHED.value)
    )
    return {uid: str(outcome) for uid, outcome in rows}


def _count_redrives(
    connection: Connection, wave_id: str, uids: Sequence[str], before: dict[str, int]
) -> None:
    now = utc_now()
    rows = [
        {
            "study_instance_uid": uid,
            "phase": REDRIVE_PHASE,
            "wave_id": wave_id,
            "number": before[uid] + 1,
            "started_at": now,
            "ended_at": now,
            "outcome": "requested",
            "reason": "verification mismatch",
        }
        for uid in uids
    ]
    if rows:
        connection.execute(insert(schema.attempt), rows)


def _wave_state(connection: Connection, wave_id: str) -> str:
    """Return the wave's new state: back to cleansed, verified, or "" for no change."""
    table = schema.study.c
    states = set(connection.scalars(select(table.state).where(table.wave_id == wave_id).distinct()))
    if StudyState.CLEANSED.value in states:
        return StudyState.CLEANSED.value
    settled = {s.value for s in (StudyState.VERIFIED, StudyState.EXCLUDED, StudyState.QUARANTINED)}
    return StudyState.VERIFIED.value if states <= settled else ""
