"""The counts must add up: every study that the source reported is verified, or has a reason."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, func, select

from dicom_migration.ledger import Ledger, StudyState, schema
from dicom_migration.verification.findings import Outcome

_FINAL = (StudyState.VERIFIED, StudyState.EXCLUDED, StudyState.QUARANTINED)


def account_for(ledger: Ledger, wave_id: str | None = None) -> dict[str, int | bool]:
    """Account for all studies of the ledger, or of one wave.

    Returns
    -------
    dict
        ``discovered`` (all), ``verified``, ``excluded``, ``quarantined``, ``in_progress``, then
        what must be zero: ``verified_without_proof`` (no verification row with that outcome),
        ``excluded_without_rule``, ``quarantined_without_reason`` (no exception row); and
        ``adds_up``, which is False when a sum or one of those is wrong.
    """
    study = schema.study.c
    scope = study.wave_id == wave_id if wave_id is not None else study.wave_id.is_not(None)
    with ledger.read() as connection:
        rows = connection.execute(
            select(study.state, func.count()).where(scope).group_by(study.state)
        )
        states = {row[0]: int(row[1]) for row in rows}
        discovered = connection.scalar(select(func.count()).select_from(schema.study).where(scope))
        unfounded = {
            "verified_without_proof": _lacking(
                connection, scope, StudyState.VERIFIED, ~_has_proof()
            ),
            "excluded_without_rule": _lacking(
                connection, scope, StudyState.EXCLUDED, study.decision_rule == ""
            ),
            "quarantined_without_reason": _lacking(
                connection, scope, StudyState.QUARANTINED, ~_has_exception()
            ),
        }
    final = {state.value: states.get(state.value, 0) for state in _FINAL}
    in_progress = sum(states.get(state.value, 0) for state in StudyState if state not in _FINAL)
    total = sum(final.values()) + in_progress
    return {
        "discovered": discovered or 0,
        **final,
        "in_progress": in_progress,
        **unfounded,
        "adds_up": total == discovered and not any(unfounded.values()),
    }


def _has_proof() -> ColumnElement[bool]:
    table = schema.verification.c
    return (
        select(table.verification_id)
        .where(
            table.study_instance_uid == schema.study.c.study_instance_uid,
            table.outcome == Outcome.VERIFIED.value,
        )
        .exists()
    )


def _has_exception() -> ColumnElement[bool]:
    table = schema.exception.c
    return (
        select(table.exception_id)
        .where(table.study_instance_uid == schema.study.c.study_instance_uid)
        .exists()
    )


def _lacking(
    connection: Connection,
    scope: ColumnElement[bool],
    state: StudyState,
    condition: ColumnElement[bool],
) -> int:
    return (
        connection.scalar(
            select(func.count())
            .select_from(schema.study)
            .where(scope, schema.study.c.state == state.value, condition)
        )
        or 0
    )
