"""Deciding over every study at once: policies become SQL conditions, the database does the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, false, func, literal, or_, true, update

from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.retention import RetentionPolicy, RetentionRule
    from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy
    from dicom_migration.policies.tiers import TiersPolicy

INCLUDE, EXCLUDE = "include", "exclude"
_STUDY = schema.study.c
#: UIDs of one rule that go into one IN; PostgreSQL and SQLite both take this many parameters.
_IN_BATCH = 500


@dataclass(frozen=True, slots=True)
class PlanPolicies:
    """The policies a plan is made from, and the day that ages are counted from."""

    strategy: StrategyPolicy
    tiers: TiersPolicy
    retention: RetentionPolicy
    as_of: date


@dataclass(frozen=True, slots=True)
class Decisions:
    """SQL expressions over the study table."""

    decision: ColumnElement[str]
    decision_rule: ColumnElement[str]
    storage_class: ColumnElement[str]
    purge_candidate: ColumnElement[bool]
    purge_rule: ColumnElement[str]

    def values(self) -> dict[str, ColumnElement[Any]]:
        """Return the expressions by column."""
        return {
            "decision": self.decision,
            "decision_rule": self.decision_rule,
            "storage_class": self.storage_class,
            "purge_candidate": self.purge_candidate,
            "purge_rule": self.purge_rule,
        }


def decisions(policies: PlanPolicies) -> Decisions:
    """Return what the policies say of a study."""
    purge = [(_retained(rule, policies.as_of), rule.name) for rule in policies.retention.rules]
    purgeable = or_(false(), *(condition for condition, _ in purge))
    branches = _branches(policies, purgeable)
    return Decisions(
        decision=_cases([(when, action) for when, action, _ in branches], INCLUDE),
        decision_rule=_cases([(when, name) for when, _, name in branches], ""),
        storage_class=_storage_class(policies),
        purge_candidate=case((purgeable, true()), else_=false()),
        purge_rule=_cases(purge, ""),
    )


def decide(connection: Connection, candidates: ColumnElement[bool], made: Decisions) -> int:
    """Write the decisions into the rows that fulfil `candidates`; returns how many."""
    return connection.execute(
        update(schema.study).where(candidates).values(**made.values())
    ).rowcount


def _branches(
    policies: PlanPolicies, purgeable: ColumnElement[bool]
) -> list[tuple[ColumnElement[bool], str, str]]:
    """Return (condition, action, rule name), first match wins; the last one always matches."""
    strategy = policies.strategy
    branches: list[tuple[ColumnElement[bool], str, str]] = [
        (_selected(rule), rule.action, rule.name) for rule in strategy.rules
    ]
    if strategy.exclude_purge_candidates:
        branches.append((purgeable, EXCLUDE, "purge-candidate"))
    recent = months_before(policies.as_of, strategy.keep_recent_months)
    if strategy.strategy == "hybrid":
        branches.append((_dated_from(recent), EXCLUDE, "hybrid-recent-stays-on-site"))
    if strategy.strategy == "continuity_copy":
        branches.append((_dated_before(recent), EXCLUDE, "continuity-older-is-left-out"))
    branches.append((true(), INCLUDE, f"strategy-{strategy.strategy.replace('_', '-')}"))
    return branches


def _cases(branches: Iterable[tuple[ColumnElement[bool], str]], default: str) -> ColumnElement[str]:
    whens = [(condition, literal(value)) for condition, value in branches]
    return case(*whens, else_=literal(default)) if whens else literal(default)


def _selected(rule: SelectionRule) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if rule.modalities:
        conditions.append(_has_modality(rule.modalities))
    if rule.institutions:
        conditions.append(_STUDY.institution_name.in_(rule.institutions))
    if rule.date_from:
        conditions.append(_dated_from(rule.date_from))
    if rule.date_to:
        conditions.append(and_(dated(), _STUDY.study_date <= rule.date_to))
    uids = rule.study_instance_uids
    if uids:
        batches = [uids[start : start + _IN_BATCH] for start in range(0, len(uids), _IN_BATCH)]
        conditions.append(or_(*(_STUDY.study_instance_uid.in_(batch) for batch in batches)))
    return and_(*conditions)


def _retained(rule: RetentionRule, as_of: date) -> ColumnElement[bool]:
    conditions = [_dated_before(months_before(as_of, 12 * rule.older_than_years))]
    if rule.modalities:
        conditions.append(_has_modality(rule.modalities))
    if rule.patient_at_least_years_old:
        born = months_before(as_of, 12 * rule.patient_at_least_years_old)
        birth = _STUDY.patient_birth_date
        conditions.append(and_(func.length(birth) == 8, birth.between("18000101", born)))
    return and_(*conditions)


def _storage_class(policies: PlanPolicies) -> ColumnElement[str]:
    branches: list[tuple[ColumnElement[bool], str]] = [(~dated(), policies.tiers.undated)]
    branches += [
        (
            _STUDY.study_date <= months_before(policies.as_of, tier.min_age_months),
            tier.storage_class,
        )
        for tier in reversed(policies.tiers.tiers)
    ]
    return _cases(branches, policies.tiers.tiers[0].storage_class)


def _has_modality(modalities: tuple[str, ...]) -> ColumnElement[bool]:
    listed = literal("\\") + _STUDY.modalities + literal("\\")
    return or_(*(listed.contains(f"\\{name}\\", autoescape=True) for name in modalities))


def dated() -> ColumnElement[bool]:
    """Tell in SQL whether Study Date has the form of a date, closely enough to tell an age."""
    return and_(
        func.length(_STUDY.study_date) == 8, _STUDY.study_date.between("18000101", "29991231")
    )


def _dated_from(day: str) -> ColumnElement[bool]:
    return and_(dated(), _STUDY.study_date >= day)


def _dated_before(day: str) -> ColumnElement[bool]:
    return and_(dated(), _STUDY.study_date < day)


def months_before(day: date, months: int) -> str:
    """Return the date so many months before `day` as ``YYYYMMDD``; day 29 to 31 become 28."""
    index = day.year * 12 + day.month - 1 - months
    if months == 0:
        return f"{day:%Y%m%d}"
    return f"{index // 12:04d}{index % 12 + 1:02d}{min(day.day, 28):02d}"
