"""The plan: which studies go, in which waves, and a hash that an approval is bound to.

A plan is a proposal until somebody signs: the studies themselves are not touched before, so that
what was approved earlier goes on, and a proposal costs nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, delete, false, insert, or_, select, update

from dicom_migration.discovery.decisions import (
    INCLUDE,
    Decisions,
    PlanPolicies,
    decisions,
    load_lists,
)
from dicom_migration.discovery.plan_draft import PlanDraft, discard_draft, draft_plan, seal_draft
from dicom_migration.discovery.returning import returning
from dicom_migration.ledger import (
    EXCLUDED_BY_A_PERSON,
    EventChain,
    StudyState,
    schema,
    utc_now,
)
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

PROPOSED, APPROVED, SUPERSEDED = "proposed", "approved", "superseded"
_STUDY, _PLAN, _WAVE = schema.study.c, schema.plan.c, schema.wave.c


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the ledger keeps it; `approved_by` is "" until somebody signs.

    Attributes
    ----------
    content_sha256
        Over the decision, rule, storage class, layout, purge rule and wave of every study.
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
    ledger: Ledger,
    policies: PlanPolicies,
    *,
    plan_quarantined: bool = False,
    replan: bool = False,
) -> Plan | None:
    """Decide over all studies that no approved plan has taken, and cut them into waves.

    The same studies and policies give the same plan, under the same id. A new plan supersedes
    one that was not approved; work that has begun or is finished is never touched. Quarantined
    studies are left out, unless a rule excludes them by UID or `plan_quarantined` asks for them.
    With `replan` it also decides anew over what an approved plan has excluded or not begun.

    Returns
    -------
    Plan or None
        None when no study is left to decide on.
    """
    with ledger.write() as connection:
        load_lists(connection, policies)
        made = decisions(policies)
        candidates = or_(
            _undecided(made),
            returning(policies, made, plan_quarantined),
            not_begun() if replan else false(),
        )
        draft = draft_plan(connection, candidates, made, policies.strategy.waves)
        if not draft.included and not draft.excluded:
            return None
        heading = heading_of(connection, policies.strategy.strategy)
        content = seal_draft(connection, draft.number, heading)
        plan = _plan(draft, content)
        before = read_plan(connection, plan.plan_id)
        if before is not None and before.state == PROPOSED:
            discard_draft(connection, draft.number)
            return before
        _supersede(connection, plan.plan_id)
        _write(connection, plan, draft, policies)
    return plan


def wave_id(plan_id: str, ordinal: int) -> str:
    """Return the id of a plan's wave; ordinals count from 1."""
    return f"{plan_id}-W{ordinal:04d}"


def heading_of(connection: Connection, strategy: str) -> str:
    """Return what a plan's hash begins with: its strategy and the plans approved before it.

    The latter tell it from an approved plan of the same content, when studies were taken back.
    """
    approved = connection.scalars(
        select(_PLAN.plan_id).where(_PLAN.state == APPROVED).order_by(_PLAN.plan_id)
    ).all()
    return canonical_json([strategy, list(approved)])


def not_begun() -> ColumnElement[bool]:
    """Tell in SQL whether a plan left the study out, or nothing was done yet in its wave."""
    fact = schema.header_fact.c
    waiting = select(_WAVE.wave_id).where(_WAVE.state == "planned")
    touched = select(fact.sop_instance_uid).where(
        fact.study_instance_uid == _STUDY.study_instance_uid
    )
    return or_(
        and_(_STUDY.state == StudyState.EXCLUDED.value, ~_left_out_by_a_person()),
        and_(
            _STUDY.state == StudyState.PLANNED.value,
            _STUDY.wave_id.in_(waiting),
            ~touched.correlate(schema.study).exists(),
        ),
    )


def read_plan(connection: Connection, plan_id: str) -> Plan | None:
    """Return a plan as it stands."""
    row = connection.execute(select(schema.plan).where(_PLAN.plan_id == plan_id)).one_or_none()
    if row is None:
        return None
    facts = {**json.loads(row.summary), "state": row.state, "approved_by": row.approved_by}
    return Plan(**facts)


def draft_of(connection: Connection, plan_id: str) -> int:
    """Return under what number the studies of a plan are in ``plan_study``; 0: nowhere."""
    return int(connection.scalar(select(_PLAN.draft).where(_PLAN.plan_id == plan_id)) or 0)


def _undecided(made: Decisions) -> ColumnElement[bool]:
    approved = select(_PLAN.plan_id).where(_PLAN.state == APPROVED)
    decided = _STUDY.state.in_([StudyState.PLANNED.value, StudyState.EXCLUDED.value])
    anew = and_(_STUDY.state == StudyState.EXCLUDED.value, made.decision == INCLUDE)
    return or_(
        _STUDY.state == StudyState.DISCOVERED.value,
        and_(or_(and_(decided, _STUDY.plan_id.not_in(approved)), anew), ~_left_out_by_a_person()),
    )


def _left_out_by_a_person() -> ColumnElement[bool]:
    """Tell in SQL whether a person excluded the study: only a person takes it back."""
    return and_(
        _STUDY.state == StudyState.EXCLUDED.value, _STUDY.decision_rule == EXCLUDED_BY_A_PERSON
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
    """Put every other proposal out of force, and forget what an earlier life of this one said."""
    old = connection.execute(
        select(_PLAN.plan_id, _PLAN.draft, _PLAN.state)
        .where(or_(_PLAN.state == PROPOSED, _PLAN.plan_id == plan_id))
        .order_by(_PLAN.plan_id)
    ).all()
    for row in old:
        if row.draft:
            discard_draft(connection, row.draft)
        if row.plan_id == plan_id:
            # The same decisions have the same id: a plan that was superseded comes back.
            connection.execute(delete(schema.plan).where(_PLAN.plan_id == plan_id))
            connection.execute(delete(schema.wave).where(_WAVE.plan_id == plan_id))
            continue
        EventChain(f"plan/{row.plan_id}").append(
            connection, [("plan.superseded", "", {"plan": row.plan_id, "by": plan_id})]
        )
        connection.execute(
            update(schema.wave)
            .where(_WAVE.plan_id == row.plan_id)
            .values(state=SUPERSEDED, updated_at=utc_now())
        )
        connection.execute(
            update(schema.plan).where(_PLAN.plan_id == row.plan_id).values(state=SUPERSEDED)
        )


def _write(connection: Connection, plan: Plan, draft: PlanDraft, policies: PlanPolicies) -> None:
    now = utc_now()
    connection.execute(
        insert(schema.plan).values(
            plan_id=plan.plan_id,
            content_sha256=plan.content_sha256,
            strategy=policies.strategy.strategy,
            state=PROPOSED,
            created_at=now,
            summary=canonical_json(plan.summary()),
            draft=draft.number,
            policies=canonical_json(policies.described()),
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
    sealed: dict[str, object] = {"plan": plan.plan_id, "content_sha256": plan.content_sha256}
    EventChain(f"plan/{plan.plan_id}").append(connection, [("plan.proposed", "", sealed)])
