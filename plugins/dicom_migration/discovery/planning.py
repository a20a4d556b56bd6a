"""The plan: which studies go, in which waves, and a hash that an approval is bound to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, tuple_, update

from dicom_migration.discovery.decisions import (
    EXCLUDE,
    INCLUDE,
    Decisions,
    PlanPolicies,
    decide,
    decisions,
)
from dicom_migration.discovery.plan_draft import PlanDraft, draft_plan
from dicom_migration.discovery.returning import returning, take_back
from dicom_migration.ledger import EventChain, StudyState, move_where, schema, utc_now
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

PROPOSED, APPROVED, SUPERSEDED = "proposed", "approved", "superseded"
_STUDY = schema.study.c


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the ledger keeps it; `approved_by` is "" until somebody signs.

    Attributes
    ----------
    content_sha256
        Over the decision, rule, storage class and wave of every study.
    """

    plan_id: str
    content_sha256: str
    state: str
    studies: int
    excluded: int
    purge_candidates: int
    waves: int
    instances: int
    bytes_estimated: int
    approved_by: str = ""

    def summary(self) -> dict[str, str | int]:
        """Return the plan for XCom: identifiers and counts."""
        return asdict(self)


def make_plan(
    ledger: Ledger, policies: PlanPolicies, *, plan_quarantined: bool = False
) -> Plan | None:
    """Decide over all studies that no approved plan has taken, and cut them into waves.

    The same studies and policies give the same plan, under the same id. A new plan supersedes
    one that was not approved; approved and finished work is not touched. Quarantined studies are
    left out, unless a rule excludes them by UID or `plan_quarantined` asks for them.

    Returns
    -------
    Plan or None
        None when no study is left to decide on.
    """
    made = decisions(policies)
    back = returning(policies, made, plan_quarantined)
    candidates = or_(_candidates(made), back)
    with ledger.write() as connection:
        decide(connection, candidates, made)
        draft = draft_plan(_read(connection, candidates), policies.strategy.waves)
        if not draft.included and not draft.excluded:
            return None
        draft.digest.update(policies.strategy.strategy.encode())
        _seal_generation(connection, draft)
        content = draft.digest.hexdigest()
        plan = _plan(draft, content)
        before = connection.scalar(
            select(schema.plan.c.state).where(schema.plan.c.plan_id == plan.plan_id)
        )
        chain = EventChain(f"plan/{plan.plan_id}")
        taken_back = take_back(connection, back, plan.plan_id, chain)
        if before != PROPOSED or taken_back:
            _supersede(connection, plan.plan_id)
            _write(connection, plan, draft, policies)
            _move(connection, plan, draft, candidates, back)
    return plan


def wave_id(plan_id: str, ordinal: int) -> str:
    """Return the id of a plan's wave; ordinals count from 1."""
    return f"{plan_id}-W{ordinal:04d}"


def _candidates(made: Decisions) -> ColumnElement[bool]:
    approved = select(schema.plan.c.plan_id).where(schema.plan.c.state == APPROVED)
    pending = _STUDY.state.in_([StudyState.PLANNED.value, StudyState.EXCLUDED.value])
    return or_(
        _STUDY.state == StudyState.DISCOVERED.value,
        and_(pending, _STUDY.plan_id.not_in(approved)),
        and_(_STUDY.state == StudyState.EXCLUDED.value, made.decision == INCLUDE),
    )


def _seal_generation(connection: Connection, draft: PlanDraft) -> None:
    """Tell a plan from an approved one of the same content: the studies have been taken back."""
    plans = schema.plan.c
    approved = connection.scalars(
        select(plans.plan_id).where(plans.state == APPROVED).order_by(plans.plan_id)
    ).all()
    if approved:
        draft.digest.update(canonical_json(list(approved)).encode())


def _read(connection: Connection, candidates: ColumnElement[bool]) -> Iterable[Any]:
    return connection.execute(
        select(
            _STUDY.study_date,
            _STUDY.study_instance_uid,
            _STUDY.decision,
            _STUDY.decision_rule,
            _STUDY.storage_class,
            _STUDY.purge_rule,
            _STUDY.number_of_instances,
            _STUDY.bytes_estimated,
        )
        .where(candidates)
        .order_by(_STUDY.study_date.desc(), _STUDY.study_instance_uid.desc())
        .execution_options(yield_per=10_000)
    )


def _plan(draft: PlanDraft, content: str) -> Plan:
    return Plan(
        plan_id=f"P{content[:10]}",
        content_sha256=content,
        state=PROPOSED,
        studies=draft.included,
        excluded=draft.excluded,
        purge_candidates=draft.purge_candidates,
        waves=len(draft.waves),
        instances=sum(wave.instances for wave in draft.waves),
        bytes_estimated=sum(wave.bytes_estimated for wave in draft.waves),
    )


def _supersede(connection: Connection, plan_id: str) -> None:
    plans, waves = schema.plan.c, schema.wave.c
    old = select(plans.plan_id).where(plans.state == PROPOSED, plans.plan_id != plan_id)
    connection.execute(
        update(schema.wave)
        .where(waves.plan_id.in_(old))
        .values(state=SUPERSEDED, updated_at=utc_now())
    )
    for replaced in connection.scalars(old.order_by(plans.plan_id)).all():
        EventChain(f"plan/{replaced}").append(
            connection, [("plan.superseded", "", {"plan": replaced, "by": plan_id})]
        )
    connection.execute(
        update(schema.plan)
        .where(plans.state == PROPOSED, plans.plan_id != plan_id)
        .values(state=SUPERSEDED)
    )


def _write(connection: Connection, plan: Plan, draft: PlanDraft, policies: PlanPolicies) -> None:
    now = utc_now()
    # A plan that was superseded before may come back: the same decisions have the same id.
    connection.execute(delete(schema.plan).where(schema.plan.c.plan_id == plan.plan_id))
    connection.execute(delete(schema.wave).where(schema.wave.c.plan_id == plan.plan_id))
    connection.execute(
        insert(schema.plan).values(
            plan_id=plan.plan_id,
            content_sha256=plan.content_sha256,
            strategy=policies.strategy.strategy,
            state=PROPOSED,
            created_at=now,
            summary=canonical_json(plan.summary()),
        )
    )
    if draft.waves:
        connection.execute(
            insert(schema.wave),
            [
                {
                    "wave_id": wave_id(plan.plan_id, wave.ordinal),
                    "plan_id": plan.plan_id,
                    "ordinal": wave.ordinal,
                    "state": "planned",
                    "studies": wave.studies,
                    "instances": wave.instances,
                    "bytes_estimated": wave.bytes_estimated,
                    "updated_at": now,
                }
                for wave in draft.waves
            ],
        )


def _move(
    connection: Connection,
    plan: Plan,
    draft: PlanDraft,
    candidates: ColumnElement[bool],
    back: ColumnElement[bool],
) -> None:
    chain = EventChain(f"plan/{plan.plan_id}")
    sealed: dict[str, object] = {"plan": plan.plan_id, "content_sha256": plan.content_sha256}
    chain.append(connection, [("plan.proposed", "", sealed)])
    move_where(connection, candidates, StudyState.DISCOVERED, chain, payload=sealed, wave_id="")
    fresh = or_(_STUDY.state == StudyState.DISCOVERED.value, back)
    move_where(
        connection,
        fresh & (_STUDY.decision == EXCLUDE),
        StudyState.EXCLUDED,
        chain,
        payload=sealed,
        plan_id=plan.plan_id,
        wave_id="",
    )
    key = tuple_(_STUDY.study_date, _STUDY.study_instance_uid)
    for wave in draft.waves:
        identifier = wave_id(plan.plan_id, wave.ordinal)
        move_where(
            connection,
            fresh & (_STUDY.decision == INCLUDE) & (key <= wave.first) & (key >= wave.last),
            StudyState.PLANNED,
            chain,
            payload={**sealed, "wave": identifier},
            plan_id=plan.plan_id,
            wave_id=identifier,
        )


def read_plan(connection: Connection, plan_id: str) -> Plan | None:
    """Return a plan as it stands."""
    row = connection.execute(
        select(schema.plan).where(schema.plan.c.plan_id == plan_id)
    ).one_or_none()
    if row is None:
        return None
    facts = {**json.loads(row.summary), "state": row.state, "approved_by": row.approved_by}
    return Plan(**facts)
