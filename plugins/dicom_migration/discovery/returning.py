"""The way back of quarantined studies: into a new plan, or out by a rule that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, delete, false, func, or_, select

from dicom_migration.discovery.decisions import EXCLUDE, Decisions, PlanPolicies
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, StudyState, resolve_exceptions, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Phases whose exceptions end with a new plan; what discovery noted ends at the source.
PHASES = ("cleansing", "transfer", "verification")
_STUDY, _NOTE = schema.study.c, schema.exception.c
_BATCH = 500
_UNTOLD = 2**31 - 1


def returning(
    policies: PlanPolicies, made: Decisions, plan_quarantined: bool
) -> ColumnElement[bool]:
    """Return the condition for quarantined studies that the next plan decides on.

    Always those that an excluding rule names by UID; with `plan_quarantined` all others too,
    except those that would only come back: vanished or empty at the source, without a valid UID,
    or with fewer instances there than the copy holds.
    """
    naming = [
        rule.name
        for rule in policies.strategy.rules
        if rule.action == EXCLUDE and rule.study_instance_uids
    ]
    ways: list[ColumnElement[bool]] = [made.decision_rule.in_(naming)] if naming else []
    if plan_quarantined:
        ways.append(~_held_by_the_source())
    return and_(_STUDY.state == StudyState.QUARANTINED.value, or_(false(), *ways))


def _held_by_the_source() -> ColumnElement[bool]:
    # NOT of NULL is NULL: a count that the source does not tell has to hold nobody back.
    told = func.coalesce(_STUDY.number_of_instances, _UNTOLD)
    return or_(
        _STUDY.vanished_at.is_not(None),
        _noted(ReasonCode.UID_INVALID, phase="discovery"),
        and_(_noted(ReasonCode.STUDY_EMPTY), told == 0),
        and_(_noted(ReasonCode.SOURCE_CHANGED), told < _STUDY.received_instances),
    )


def _noted(reason: ReasonCode, phase: str | None = None) -> ColumnElement[bool]:
    """Tell in SQL whether an exception of this reason is open for the study."""
    query = select(_NOTE.exception_id).where(
        _NOTE.study_instance_uid == _STUDY.study_instance_uid,
        _NOTE.reason == reason.value,
        _NOTE.status == "open",
    )
    return (query if phase is None else query.where(_NOTE.phase == phase)).exists()


def take_back(
    connection: Connection, condition: ColumnElement[bool], plan_id: str, chain: EventChain
) -> int:
    """Close the exceptions of the studies that fulfil `condition` and forget their headers.

    Their move to ``planned`` or ``excluded`` is the plan's. Returns how many there are.
    """
    rows = connection.execute(
        select(_STUDY.study_instance_uid, _STUDY.decision, _STUDY.decision_rule)
        .where(condition)
        .order_by(_STUDY.study_instance_uid)
    ).all()
    chain.append(
        connection,
        [
            (
                "study.taken_back",
                row.study_instance_uid,
                {"plan": plan_id, "decision": row.decision, "rule": row.decision_rule},
            )
            for row in rows
        ],
    )
    phases = _open_phases(connection, [row.study_instance_uid for row in rows])
    for row in rows:
        is_out = row.decision == EXCLUDE
        for phase in sorted(phases.get(row.study_instance_uid, ())):
            if is_out or phase in PHASES:
                resolve_exceptions(
                    connection,
                    chain,
                    study_instance_uid=row.study_instance_uid,
                    phase=phase,
                    resolved_by="excluded" if is_out else "replanned",
                    resolution=f"Plan {plan_id}, rule {row.decision_rule}.",
                )
    return len(rows)


def _open_phases(connection: Connection, uids: list[str]) -> dict[str, set[str]]:
    """Return the phases with open exceptions by study, and delete the studies' header facts."""
    found: dict[str, set[str]] = {}
    fact = schema.header_fact
    for start in range(0, len(uids), _BATCH):
        batch = uids[start : start + _BATCH]
        connection.execute(delete(fact).where(fact.c.study_instance_uid.in_(batch)))
        for uid, phase in connection.execute(
            select(_NOTE.study_instance_uid, _NOTE.phase)
            .where(_NOTE.study_instance_uid.in_(batch), _NOTE.status == "open")
            .distinct()
        ):
            found.setdefault(uid, set()).add(phase)
    return found
