"""The studies of a plan as the cost model sees them: summed in the database, few rows in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, select

from dicom_migration.discovery.decisions import INCLUDE
from dicom_migration.discovery.tiering import INSTANCE, SERIES_ZIP
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.tiers import TiersPolicy

#: A lifecycle rule moves no smaller object to another class (S3, "Transitioning objects").
LIFECYCLE_BYTES = 128 * 1024
_ROW, _STUDY, _PLAN = schema.plan_study.c, schema.study.c, schema.plan.c


@dataclass(frozen=True, slots=True)
class YearForecast:
    """A year of the cost model: where a study is then, and how often it is retrieved.

    `rate` is in retrievals of a study in ``RATE_YEARS`` years.
    """

    storage_class: str
    rate: int


@dataclass(frozen=True, slots=True)
class Objects:
    """How a group of studies is stored in one layout.

    Attributes
    ----------
    count
        Objects.
    billed
        Bytes that are charged, by the size an object is charged for at least; 0: what it has.
    movable
        They are large enough for a lifecycle rule.
    """

    count: int
    billed: dict[int, int]
    movable: bool


@dataclass(frozen=True, slots=True)
class CostGroup:
    """Studies that cost the same a byte, now and later."""

    forecast: tuple[YearForecast, ...]
    layout: str
    studies: int
    bytes: int
    by_layout: dict[str, Objects]


def plan_groups(connection: Connection, draft: int, policy: TiersPolicy) -> list[CostGroup]:
    """Return what a draft would put into the cloud."""
    where = and_(_ROW.draft == draft, _ROW.decision == INCLUDE)
    return _groups(connection, select(*_columns(policy)).where(where), policy)


def groups_in_force(connection: Connection, draft: int, policy: TiersPolicy) -> list[CostGroup]:
    """Return what approved plans would put there of the studies that a draft decides on anew."""
    new = schema.plan_study.alias("new")
    query = (
        select(*_columns(policy))
        .join(schema.plan, and_(_PLAN.draft == _ROW.draft, _PLAN.state == "approved"))
        .join(
            schema.study,
            and_(
                _STUDY.study_instance_uid == _ROW.study_instance_uid,
                _STUDY.plan_id == _PLAN.plan_id,
            ),
        )
        .join(
            new,
            and_(new.c.draft == draft, new.c.study_instance_uid == _ROW.study_instance_uid),
        )
        .where(_ROW.decision == INCLUDE)
    )
    return _groups(connection, query, policy)


def _columns(policy: TiersPolicy) -> list[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = [
        _ROW.forecast,
        _ROW.layout,
        func.count().label("studies"),
        func.sum(_ROW.bytes).label("bytes"),
    ]
    for name, count in _counts():
        columns.append(func.sum(count).label(f"{name}_count"))
        columns.append(_movable(count).label(f"{name}_movable"))
        for least in _minimums(policy):
            billed = case((_ROW.bytes < count * least, count * least), else_=_ROW.bytes)
            columns.append(func.sum(billed).label(f"{name}_{least}"))
    return columns


def _movable(count: ColumnElement[int]) -> ColumnElement[int]:
    return case((_ROW.bytes >= count * literal_column(str(LIFECYCLE_BYTES)), 1), else_=0)


def _counts() -> Iterable[tuple[str, ColumnElement[int]]]:
    # A series has an instance at least; what the source counts otherwise is not believed.
    packed = case((_ROW.series > _ROW.instances, _ROW.instances), else_=_ROW.series)
    return ((INSTANCE, _ROW.instances), (SERIES_ZIP, packed))


def _minimums(policy: TiersPolicy) -> Sequence[int]:
    return sorted({each.min_billable_bytes for each in policy.storage_classes.values()} - {0})


def _groups(connection: Connection, query: Any, policy: TiersPolicy) -> list[CostGroup]:
    keys: list[ColumnElement[Any]] = [_ROW.forecast, _ROW.layout]
    keys += [literal_column(f'"{name}_movable"') for name, _ in _counts()]
    rows = connection.execute(query.group_by(*keys).order_by(*keys)).mappings()
    return [
        CostGroup(
            forecast=_years(row["forecast"]),
            layout=row["layout"],
            studies=int(row["studies"]),
            bytes=int(row["bytes"]),
            by_layout={
                name: Objects(
                    count=int(row[f"{name}_count"]),
                    billed={0: int(row["bytes"])}
                    | {least: int(row[f"{name}_{least}"]) for least in _minimums(policy)},
                    movable=bool(row[f"{name}_movable"]),
                )
                for name in (INSTANCE, SERIES_ZIP)
            },
        )
        for row in rows
    ]


def _years(text: str) -> tuple[YearForecast, ...]:
    years = (year.rpartition(":") for year in text.split(">"))
    return tuple(YearForecast(name, int(rate)) for name, _, rate in years)
