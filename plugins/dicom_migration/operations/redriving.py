"""Sending studies back into cleansing, within the wave that an approved plan put them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from dicom_migration.ledger import EXCLUDED_BY_A_PERSON, StudyState, move_studies, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import EventChain

_STUDY, _BATCH = schema.study.c, 500


def is_of_an_approved_plan(connection: Connection, wave_id: str) -> bool:
    """Tell whether the wave exists in a plan that somebody approved."""
    wave, plan = schema.wave.c, schema.plan.c
    found = connection.scalar(
        select(wave.wave_id)
        .join(schema.plan, plan.plan_id == wave.plan_id)
        .where(wave.wave_id == wave_id, plan.state == "approved")
    )
    return found is not None


def why_not_back(study: Any, in_a_plan: bool) -> str:
    """Return why a study (its state and rule) cannot go through cleansing again, or ""."""
    by_a_person = (
        study.study_state == StudyState.EXCLUDED.value
        and study.decision_rule == EXCLUDED_BY_A_PERSON
    )
    if not by_a_person and study.study_state not in (StudyState.QUARANTINED, StudyState.PLANNED):
        return "study_not_held_back"
    return "" if in_a_plan else "study_in_no_wave"


def send_back(
    connection: Connection,
    study_instance_uids: Sequence[str],
    chain: EventChain,
    payload: dict[str, object],
) -> int:
    """Make the studies ``planned`` again and forget what cleansing read and made of them.

    Its corrections are proposed anew, by the rules and lists of then; what was stored of the
    study stays, with its manifest, until the transfer has stored it again.
    """
    for start in range(0, len(study_instance_uids), _BATCH):
        batch = list(study_instance_uids[start : start + _BATCH])
        for table in (schema.header_fact, schema.correction):
            connection.execute(delete(table).where(table.c.study_instance_uid.in_(batch)))
    moved = move_studies(
        connection, study_instance_uids, StudyState.PLANNED, chain, payload=payload
    )
    for start in range(0, len(study_instance_uids), _BATCH):
        connection.execute(
            update(schema.study)
            .where(
                _STUDY.study_instance_uid.in_(study_instance_uids[start : start + _BATCH]),
                _STUDY.decision_rule == EXCLUDED_BY_A_PERSON,
            )
            .values(decision="include", decision_rule="sent-back-by-a-person")
        )
    return moved
