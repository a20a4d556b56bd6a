"""The raw samples: one row of the ledger a retrieval, written and read here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.retrieval.measuring import Measurement
from dicom_migration.retrieval.stages import STAGES, UNKNOWN, Stages

_table = schema.retrieval_sample


@dataclass(frozen=True, slots=True)
class Sample:
    """One kept measurement; `seconds` is infinite when the retrieval failed."""

    side: str
    operation: str
    temperature: str
    modality: str
    storage_class: str
    seconds: float
    access: str = ""
    age_years: float | None = None
    error_reason: str = ""
    stages: Stages = UNKNOWN


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A benchmark of the past."""

    benchmark_id: str
    began_at: datetime
    samples: tuple[Sample, ...]


def keep_samples(ledger: Ledger, benchmark_id: str, measured: Iterable[Measurement]) -> None:
    """Write the samples of a benchmark in place of those of an earlier try."""
    rows = [
        {
            "benchmark_id": benchmark_id,
            "study_instance_uid": m.study.study_instance_uid,
            "side": m.side,
            "operation": m.operation,
            "temperature": m.temperature,
            "modality": m.study.modality,
            "storage_class": m.study.storage_class,
            "study_age_years": m.study.age_years,
            "started_at": m.started_at,
            "seconds": m.seconds,
            "bytes": m.bytes,
            "instances": m.instances,
            "error_reason": m.error_reason,
            "access": m.access,
            **asdict(m.stages),
        }
        for m in measured
    ]
    with ledger.write() as connection:
        connection.execute(delete(_table).where(_table.c.benchmark_id == benchmark_id))
        if rows:
            connection.execute(insert(_table), rows)


def load_samples(connection: Connection, benchmark_id: str) -> list[Sample]:
    """Return the samples of a benchmark in the order they were taken."""
    return _load(connection, [benchmark_id]).get(benchmark_id, [])


def load_earlier_runs(connection: Connection, benchmark_id: str, most: int) -> list[EarlierRun]:
    """Return up to `most` benchmarks before this one, oldest first."""
    column = _table.c
    first = func.min(column.sample_id)
    mine = select(first).where(column.benchmark_id == benchmark_id).scalar_subquery()
    rows = connection.execute(
        select(column.benchmark_id, func.min(column.started_at).label("began_at"))
        .group_by(column.benchmark_id)
        .having(first < mine)
        .order_by(first.desc())
        .limit(most)
    ).all()
    samples = _load(connection, [row.benchmark_id for row in rows])
    return [
        EarlierRun(row.benchmark_id, row.began_at, tuple(samples[row.benchmark_id]))
        for row in reversed(rows)
    ]


def began_at(connection: Connection, benchmark_id: str) -> datetime | None:
    """Return when the first retrieval of a benchmark began."""
    found: datetime | None = connection.scalar(
        select(func.min(_table.c.started_at)).where(_table.c.benchmark_id == benchmark_id)
    )
    return found


def _load(connection: Connection, benchmark_ids: Sequence[str]) -> dict[str, list[Sample]]:
    column = _table.c
    rows = connection.execute(
        select(
            column.benchmark_id,
            column.side,
            column.operation,
            column.temperature,
            column.modality,
            column.storage_class,
            column.seconds,
            column.access,
            column.study_age_years,
            column.error_reason,
            *(column[name] for name in STAGES),
        )
        .where(column.benchmark_id.in_(benchmark_ids))
        .order_by(column.sample_id)
    )
    loaded: dict[str, list[Sample]] = {}
    for row in rows:
        seconds = math.inf if row.seconds is None else float(row.seconds)
        sample = Sample(*row[1:6], seconds, *row[7:10], Stages(*row[10:]))
        loaded.setdefault(row.benchmark_id, []).append(sample)
    return loaded
