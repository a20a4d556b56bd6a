"""The figures of a plan report: volumes, decisions, cost and timeline, counted in the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from dicom_migration.discovery.decisions import EXCLUDE, INCLUDE, PlanPolicies
from dicom_migration.ledger import open_exception_counts, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.discovery.planning import Plan
    from dicom_migration.policies.strategy import Throughput

_STUDY = schema.study.c
_PLAIN_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True, slots=True)
class Group:
    """Studies that share something."""

    name: str
    studies: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TierFigures:
    """What a storage class takes and costs; money in the policy's currency."""

    storage_class: str
    studies: int
    objects: int
    bytes: int
    month: float
    month_if_standard: float
    upload: float
    retrieval: str


@dataclass(frozen=True, slots=True)
class WaveFigures:
    """A wave and the days of migration after which it begins and ends."""

    wave_id: str
    studies: int
    instances: int
    bytes: int
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """Everything a plan report shows; no PHI."""

    by_year: list[Group]
    by_modality: list[Group]
    by_rule: list[tuple[str, Group]]
    tiers: list[TierFigures]
    waves: list[WaveFigures]
    exceptions: dict[str, int]
    purge: list[Group]

    @property
    def month(self) -> float:
        """Cost of storage a month."""
        return sum(tier.month for tier in self.tiers)

    @property
    def month_if_standard(self) -> float:
        """The same with everything in the first tier."""
        return sum(tier.month_if_standard for tier in self.tiers)

    @property
    def upload(self) -> float:
        """Cost of the requests that create the copy."""
        return sum(tier.upload for tier in self.tiers)

    @property
    def days(self) -> float:
        """Days from the first wave's start to the last one's end."""
        return self.waves[-1].ends if self.waves else 0.0


def plan_figures(connection: Connection, plan: Plan, policies: PlanPolicies) -> PlanFigures:
    """Count and reckon what the plan means."""
    mine = _STUDY.plan_id == plan.plan_id
    included = mine & (_STUDY.decision == INCLUDE)
    years = _groups(connection, func.substr(_STUDY.study_date, 1, 4), included)
    rules = [
        (action, group)
        for action in (INCLUDE, EXCLUDE)
        for group in _groups(connection, _STUDY.decision_rule, mine & (_STUDY.decision == action))
    ]
    return PlanFigures(
        by_year=_merged((year if year.isdigit() else "undated", row) for year, row in years),
        by_modality=_merged(_by_modality(connection, included)),
        by_rule=[(action, _named(name, row)) for action, (name, row) in rules],
        tiers=_tiers(_groups(connection, _STUDY.storage_class, included), policies),
        waves=_timeline(connection, plan.plan_id, policies.strategy.throughput),
        exceptions=open_exception_counts(connection),
        purge=[
            _named(name, row)
            for name, row in _groups(
                connection, _STUDY.purge_rule, mine & (_STUDY.purge_rule != "")
            )
        ],
    )


def _groups(connection: Connection, key: Any, where: Any) -> list[tuple[str, Any]]:
    rows = connection.execute(
        select(
            key.label("name"),
            func.count().label("studies"),
            func.coalesce(func.sum(_STUDY.number_of_instances), 0).label("instances"),
            func.coalesce(func.sum(_STUDY.bytes_estimated), 0).label("bytes"),
        )
        .where(where)
        .group_by(key)
        .order_by(key)
    )
    return [(str(row.name), row) for row in rows]


def _by_modality(connection: Connection, where: Any) -> Iterable[tuple[str, Any]]:
    for name, row in _groups(connection, _STUDY.modalities, where):
        plain = [part for part in name.split("\\") if _PLAIN_MODALITY.fullmatch(part)]
        yield " + ".join(plain) or "unknown", row


def _named(name: str, row: Any) -> Group:
    return Group(name, int(row.studies), int(row.instances), int(row.bytes))


def _merged(named: Iterable[tuple[str, Any]]) -> list[Group]:
    merged: dict[str, Group] = {}
    for name, row in named:
        more, old = _named(name, row), merged.get(name, Group(name, 0, 0, 0))
        merged[name] = Group(
            name,
            old.studies + more.studies,
            old.instances + more.instances,
            old.bytes + more.bytes,
        )
    return [merged[name] for name in sorted(merged)]


def _tiers(groups: list[tuple[str, Any]], policies: PlanPolicies) -> list[TierFigures]:
    figures = []
    standard = policies.tiers.tiers[0]
    for name, row in groups:
        tier = policies.tiers.named(name) or standard
        objects = int(row.instances if policies.tiers.objects == "instance" else row.studies)
        size = int(row.bytes)
        figures.append(
            TierFigures(
                storage_class=name,
                studies=int(row.studies),
                objects=objects,
                bytes=size,
                month=tier.monthly_cost(objects, size),
                month_if_standard=standard.monthly_cost(objects, size),
                upload=tier.upload_cost(objects),
                retrieval=tier.retrieval,
            )
        )
    return figures


def _timeline(connection: Connection, plan_id: str, speed: Throughput) -> list[WaveFigures]:
    waves, begins = [], 0.0
    table = schema.wave.c
    rows = connection.execute(
        select(schema.wave).where(table.plan_id == plan_id).order_by(table.ordinal)
    )
    for row in rows:
        seconds = max(
            row.bytes_estimated / (speed.megabytes_per_second * 1e6),
            row.instances / speed.instances_per_second,
        )
        ends = begins + seconds / 3600 / speed.hours_per_day
        waves.append(
            WaveFigures(row.wave_id, row.studies, row.instances, row.bytes_estimated, begins, ends)
        )
        begins = ends
    return waves
