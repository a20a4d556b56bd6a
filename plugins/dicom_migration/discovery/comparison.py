"""What a new plan would change of what has been approved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select

from dicom_migration.discovery.cost import cost_of
from dicom_migration.discovery.cost_groups import groups_in_force, plan_groups
from dicom_migration.discovery.decisions import EXCLUDE, INCLUDE
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.tiers import TiersPolicy

_NEW, _OLD = schema.plan_study.c, schema.plan_study.alias("old")
_STUDY, _PLAN = schema.study.c, schema.plan.c


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference to what is in force; counts of studies, money in the policy's currency.

    Attributes
    ----------
    last_plan_id, approved_by, approved_at
        The plan that was approved last.
    kept
        In an approved plan and not touched by this one: begun, or done, or simply not asked for.
    month, total
        What the cost of these studies changes by: a month's storage, and over all years.
    added
        No approved plan has decided on them yet.
    let_in, let_out
        Left out before and migrated now; migrated before and left out now.
    other_class, other_layout, other_rule, other_wave
        Migrated before and now, but otherwise.
    unchanged
        Decided on anew, with the same outcome in all of this.
    """

    last_plan_id: str
    approved_by: str
    approved_at: datetime
    kept: int
    month: Decimal
    total: Decimal
    added: int
    let_in: int
    let_out: int
    other_class: int
    other_layout: int
    other_rule: int
    other_wave: int
    unchanged: int


def changes(
    connection: Connection, plan_id: str, draft: int, policy: TiersPolicy
) -> Changes | None:
    """Compare a draft with what is approved; None when nothing is."""
    last = connection.execute(
        select(_PLAN.plan_id, _PLAN.approved_by, _PLAN.approved_at)
        .where(_PLAN.state == "approved", _PLAN.plan_id != plan_id)
        .order_by(_PLAN.approved_at.desc(), _PLAN.plan_id)
        .limit(1)
    ).first()
    if last is None:
        return None
    before = cost_of(groups_in_force(connection, draft, policy), policy)
    after = cost_of(plan_groups(connection, draft, policy), policy)
    return Changes(
        last.plan_id,
        last.approved_by,
        last.approved_at,
        _kept(connection, draft),
        after.month - before.month,
        after.total - before.total,
        **_counts(connection, draft),
    )


def _counts(connection: Connection, draft: int) -> dict[str, int]:
    old = _OLD.c
    known = old.decision.is_not(None)
    both = and_(old.decision == INCLUDE, _NEW.decision == INCLUDE)
    differs = {
        "other_class": and_(both, old.storage_class != _NEW.storage_class),
        "other_layout": and_(both, old.layout != _NEW.layout),
        "other_rule": and_(known, old.decision_rule != _NEW.decision_rule),
        "other_wave": and_(both, old.wave != _NEW.wave),
    }
    kinds: dict[str, ColumnElement[bool]] = {
        "added": ~known,
        "let_in": and_(old.decision == EXCLUDE, _NEW.decision == INCLUDE),
        "let_out": and_(old.decision == INCLUDE, _NEW.decision == EXCLUDE),
        **differs,
        "unchanged": and_(known, old.decision == _NEW.decision, ~or_(*differs.values())),
    }
    row = connection.execute(
        select(*(func.count().filter(kind).label(name) for name, kind in kinds.items()))
        .select_from(schema.plan_study)
        .join(schema.study, _STUDY.study_instance_uid == _NEW.study_instance_uid)
        .outerjoin(schema.plan, and_(_PLAN.plan_id == _STUDY.plan_id, _PLAN.state == "approved"))
        .outerjoin(
            _OLD,
            and_(
                old.draft == _PLAN.draft,
                old.study_instance_uid == _NEW.study_instance_uid,
            ),
        )
        .where(_NEW.draft == draft)
    ).one()
    return {name: int(count) for name, count in row._mapping.items()}


def _kept(connection: Connection, draft: int) -> int:
    new = select(_NEW.study_instance_uid).where(
        _NEW.draft == draft, _NEW.study_instance_uid == _STUDY.study_instance_uid
    )
    return int(
        connection.scalar(
            select(func.count())
            .select_from(schema.study)
            .join(schema.plan, and_(_PLAN.plan_id == _STUDY.plan_id, _PLAN.state == "approved"))
            .where(~new.correlate(schema.study).exists())
        )
        or 0
    )
