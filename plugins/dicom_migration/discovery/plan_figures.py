"""The figures of a plan report: decisions, purge candidates, cost, timeline and risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from dicom_migration.discovery.archive_figures import (
    UNDATED,
    ArchiveFigures,
    Group,
    archive_figures,
    merged,
)
from dicom_migration.discovery.comparison import Changes, changes
from dicom_migration.discovery.cost import Cost, compare_ways
from dicom_migration.discovery.cost_groups import plan_groups
from dicom_migration.discovery.decisions import INCLUDE
from dicom_migration.discovery.planning import draft_of
from dicom_migration.discovery.throughput import SpeedRange, speed_range
from dicom_migration.discovery.timeline import WaveDates, timeline
from dicom_migration.ledger import open_exception_counts, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.discovery.decisions import PlanPolicies
    from dicom_migration.discovery.planning import Plan
    from dicom_migration.policies.windows import WindowPolicy

_ROW = schema.plan_study.c
#: Why the rules decide so that no policy file names.
_REASONS = {
    "strategy-full": "Everything is migrated.",
    "strategy-dr-copy": "Everything is copied, for disaster recovery.",
    "strategy-hybrid": "Older studies are migrated.",
    "strategy-continuity-copy": "Recent studies are copied, to go on working in an outage.",
    "hybrid-recent-stays-on-site": "Recent studies stay on site.",
    "continuity-older-is-left-out": "Older studies are not needed in an outage.",
    "purge-candidate": "The retention policy would let it be deleted.",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule decided: to migrate or not, and why."""

    action: str
    rule: str
    reason: str
    group: Group


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """Everything a plan report shows; no PHI.

    Attributes
    ----------
    migrated_by_year, left_out_by_year
        The plan's studies by year of the study.
    costs
        In each way of storing them; the first is the plan's.
    """

    archive: ArchiveFigures
    decisions: list[Decision]
    purge: list[Decision]
    migrated_by_year: list[Group]
    left_out_by_year: list[Group]
    costs: list[Cost]
    waves: list[WaveDates]
    speeds: SpeedRange
    exceptions: dict[str, int]
    changes: Changes | None

    @property
    def cost(self) -> Cost:
        """What the plan costs as it is."""
        return self.costs[0]

    @property
    def standard(self) -> Cost:
        """What it would cost with everything in S3 Standard."""
        return next(cost for cost in self.costs if cost.way.name == "standard")


def plan_figures(
    connection: Connection, plan: Plan, policies: PlanPolicies, windows: WindowPolicy
) -> PlanFigures:
    """Count and reckon what the plan means."""
    draft = draft_of(connection, plan.plan_id)
    rows = _decided(connection, draft)
    migrated = [row for row in rows if row.decision == INCLUDE]
    left_out = [row for row in rows if row.decision != INCLUDE]
    speeds = speed_range(connection, policies.strategy.throughput)
    reasons = _reasons(policies)
    return PlanFigures(
        archive=archive_figures(connection),
        decisions=_decisions(migrated, "include", reasons)
        + _decisions(left_out, "exclude", reasons),
        purge=[
            Decision("purge", group.name, reasons.get(group.name, ""), group)
            for group in merged((row.purge_rule, row) for row in rows if row.purge_rule)
        ],
        migrated_by_year=merged((row.study_year or UNDATED, row) for row in migrated),
        left_out_by_year=merged((row.study_year or UNDATED, row) for row in left_out),
        costs=compare_ways(plan_groups(connection, draft, policies.tiers), policies.tiers),
        waves=timeline(
            connection,
            plan.plan_id,
            speeds,
            windows,
            policies.strategy.throughput.hours_per_day,
            policies.as_of,
        ),
        speeds=speeds,
        exceptions=open_exception_counts(connection),
        changes=changes(connection, plan.plan_id, draft, policies.tiers),
    )


def _decided(connection: Connection, draft: int) -> list[Any]:
    keys = (_ROW.decision, _ROW.decision_rule, _ROW.purge_rule, _ROW.study_year)
    return list(
        connection.execute(
            select(
                *keys,
                func.count().label("studies"),
                func.sum(_ROW.instances).label("instances"),
                func.sum(_ROW.bytes).label("bytes"),
            )
            .where(_ROW.draft == draft)
            .group_by(*keys)
        )
    )


def _decisions(rows: list[Any], action: str, reasons: dict[str, str]) -> list[Decision]:
    groups = merged((row.decision_rule, row) for row in rows)
    groups.sort(key=lambda group: -group.studies)
    return [Decision(action, group.name, reasons.get(group.name, ""), group) for group in groups]


def _reasons(policies: PlanPolicies) -> dict[str, str]:
    selecting = {rule.name: rule.reason for rule in policies.strategy.rules}
    purging = {rule.name: rule.reason for rule in policies.retention.rules}
    return {**_REASONS, **selecting, **purging}
