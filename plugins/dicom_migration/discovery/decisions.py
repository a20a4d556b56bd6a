"""Deciding over every study at once: policies become SQL conditions, the database does the work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, true

from dicom_migration.discovery.conditions import (
    dated_before,
    dated_from,
    dated_to,
    first_match,
    has_modality,
    in_list,
    load_list,
    months_before,
)
from dicom_migration.discovery.retention import hold_list, purge_branches
from dicom_migration.discovery.tiering import forecast, layout, storage_class
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.retention import RetentionPolicy
    from dicom_migration.policies.strategy import SelectionRule, StrategyPolicy
    from dicom_migration.policies.tiers import TiersPolicy

INCLUDE, EXCLUDE = "include", "exclude"
_STUDY = schema.study.c


@dataclass(frozen=True, slots=True)
class PlanPolicies:
    """The policies a plan is made from, and the day that ages are counted from."""

    strategy: StrategyPolicy
    tiers: TiersPolicy
    retention: RetentionPolicy
    as_of: date

    def described(self) -> dict[str, Any]:
        """Return them as plain values, so that a plan can be made again."""
        return {
            "as_of": self.as_of.isoformat(),
            "strategy": self.strategy.model_dump(mode="json"),
            "tiers": self.tiers.model_dump(mode="json"),
            "retention": self.retention.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class Decisions:
    """SQL expressions over the study table.

    Attributes
    ----------
    forecast
        Storage class and access of each year of the cost model; see ``tiering.forecast``.
    """

    decision: ColumnElement[str]
    decision_rule: ColumnElement[str]
    storage_class: ColumnElement[str]
    layout: ColumnElement[str]
    purge_rule: ColumnElement[str]
    forecast: ColumnElement[str]


def decisions(policies: PlanPolicies) -> Decisions:
    """Return what the policies say of a study; :func:`load_lists` has to have been called."""
    purge_rule = first_match(purge_branches(policies.retention, policies.as_of), "")
    branches = _branches(policies, purge_rule != "")
    return Decisions(
        decision=first_match([(when, action) for when, action, _ in branches], INCLUDE),
        decision_rule=first_match([(when, name) for when, _, name in branches], ""),
        storage_class=storage_class(policies.tiers, policies.as_of),
        layout=layout(policies.tiers, policies.as_of),
        purge_rule=purge_rule,
        forecast=forecast(policies.tiers, policies.as_of),
    )


def load_lists(connection: Connection, policies: PlanPolicies) -> None:
    """Put the studies that the policies name one by one where the conditions look for them."""
    for rule in policies.strategy.rules:
        if rule.study_instance_uids:
            load_list(connection, _rule_list(rule), rule.study_instance_uids)
    for hold in policies.retention.legal_holds:
        if hold.study_instance_uids:
            load_list(connection, hold_list(hold), hold.study_instance_uids)


def _branches(
    policies: PlanPolicies, purgeable: ColumnElement[bool]
) -> list[tuple[ColumnElement[bool], str, str]]:
    """Return (condition, action, rule name), first match wins; the last one always matches."""
    strategy: StrategyPolicy = policies.strategy
    branches: list[tuple[ColumnElement[bool], str, str]] = [
        (_selected(rule), rule.action, rule.name) for rule in strategy.rules
    ]
    if strategy.exclude_purge_candidates:
        branches.append((purgeable, EXCLUDE, "purge-candidate"))
    recent = months_before(policies.as_of, strategy.keep_recent_months)
    if strategy.strategy == "hybrid":
        branches.append((dated_from(recent), EXCLUDE, "hybrid-recent-stays-on-site"))
    if strategy.strategy == "continuity_copy":
        branches.append((dated_before(recent), EXCLUDE, "continuity-older-is-left-out"))
    branches.append((true(), INCLUDE, f"strategy-{strategy.strategy.replace('_', '-')}"))
    return branches


def _selected(rule: SelectionRule) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = []
    if rule.modalities:
        conditions.append(has_modality(rule.modalities))
    for column, values in (
        (_STUDY.institution_name, rule.institutions),
        (_STUDY.issuer_of_patient_id, rule.sites),
        (_STUDY.source, rule.sources),
    ):
        if values:
            conditions.append(column.in_(values))
    if rule.date_from:
        conditions.append(dated_from(rule.date_from))
    if rule.date_to:
        conditions.append(dated_to(rule.date_to))
    if rule.study_instance_uids:
        conditions.append(in_list(_rule_list(rule)))
    return and_(*conditions)


def _rule_list(rule: SelectionRule) -> str:
    return f"strategy/{rule.name}"
