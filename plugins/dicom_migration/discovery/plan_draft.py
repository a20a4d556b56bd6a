"""Drafting a plan inside the database: decide, put in order, cut into waves, seal by a hash.

Nothing here looks at one study in Python. The order of the waves and the bytes up to each study
come from one window function; a wave is then two positions, found through an index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    Subquery,
    and_,
    case,
    cast,
    collate,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from dicom_migration.discovery.conditions import dated, first_match, has_modality
from dicom_migration.discovery.decisions import EXCLUDE, INCLUDE, Decisions
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.strategy import WaveLimits

_STUDY, _ROW = schema.study.c, schema.plan_study.c
_SEAL_BATCH = 10_000
_SEALED = ("study_instance_uid", "decision", "decision_rule", "storage_class", "layout")


@dataclass(frozen=True, slots=True)
class WaveDraft:
    """A wave of the draft, and its size."""

    ordinal: int
    studies: int
    instances: int
    bytes_estimated: int


@dataclass(frozen=True, slots=True)
class PlanDraft:
    """What a draft holds; its studies are in ``plan_study`` under `number`."""

    number: int
    waves: list[WaveDraft]
    included: int
    excluded: int
    purge_candidates: int


def draft_plan(
    connection: Connection,
    candidates: ColumnElement[bool],
    made: Decisions,
    limits: WaveLimits,
) -> PlanDraft:
    """Decide over the studies that fulfil `candidates`, and cut those that go into waves."""
    number = 1 + (connection.scalar(select(func.max(schema.plan.c.draft))) or 0)
    discard_draft(connection, number)
    _decide(connection, number, candidates, made, limits)
    for ordinal, (first, last) in enumerate(_cut(connection, number, limits), start=1):
        connection.execute(
            update(schema.plan_study)
            .where(_included(number), _ROW.position.between(first, last))
            .values(wave=ordinal)
        )
    counts = connection.execute(
        select(
            func.count().filter(_ROW.decision == INCLUDE).label("included"),
            func.count().filter(_ROW.decision == EXCLUDE).label("excluded"),
            func.count().filter(_ROW.purge_rule != "").label("purge_candidates"),
        ).where(_ROW.draft == number)
    ).one()
    return PlanDraft(number, _waves(connection, number), **counts._mapping)


def discard_draft(connection: Connection, number: int) -> None:
    """Forget the studies of a draft that nobody approved."""
    connection.execute(delete(schema.plan_study).where(_ROW.draft == number))


def seal_draft(connection: Connection, number: int, heading: str) -> str:
    """Return the SHA-256 (hexadecimal) over `heading` and what the draft says of every study.

    Decision, rule, storage class, layout, purge rule and wave of each, in the order of the waves:
    the same on every database.
    """
    digest = hashlib.sha256(f"{heading}\n".encode())
    line: ColumnElement[str] = _ROW[_SEALED[0]]
    for name in (*_SEALED[1:], "purge_rule"):
        line = line + literal("|") + _ROW[name]
    rows = connection.execute(
        select(line + literal("|") + cast(_ROW.wave, String))
        .where(_ROW.draft == number)
        .order_by(_ROW.decision, _ROW.position)
        .execution_options(yield_per=_SEAL_BATCH)
    ).scalars()
    for batch in rows.partitions(_SEAL_BATCH):
        digest.update(("\n".join(batch) + "\n").encode())
    return digest.hexdigest()


def _decide(
    connection: Connection,
    number: int,
    candidates: ColumnElement[bool],
    made: Decisions,
    limits: WaveLimits,
) -> None:
    decided = _decided(candidates, made, limits).c
    order = [
        *(decided[name] for name in ("rank", "need") if name in decided),
        decided.day.desc(),
        _bytewise(connection, decided.study_instance_uid).desc(),
    ]
    copied = [
        column.name
        for column in schema.plan_study.columns
        if column.name in decided and column.name != "draft"
    ]
    window: dict[str, Any] = {"partition_by": decided.decision, "order_by": order}
    so_far = func.sum(decided.bytes).over(**window, rows=(None, 0))
    rows = select(
        literal(number),
        *(decided[name] for name in copied),
        func.row_number().over(**window),
        cast(so_far, BigInteger),
    )
    connection.execute(
        insert(schema.plan_study).from_select(
            ["draft", *copied, "position", "bytes_so_far"], rows, include_defaults=False
        )
    )


def _decided(candidates: ColumnElement[bool], made: Decisions, limits: WaveLimits) -> Subquery:
    """Return the query of what is decided on each study, and what it is put in order by."""
    day = case((dated(), _STUDY.study_date), else_="")
    columns: list[ColumnElement[Any]] = [
        _STUDY.study_instance_uid,
        _STUDY.modalities,
        _STUDY.state.label("state_before"),
        made.decision.label("decision"),
        made.decision_rule.label("decision_rule"),
        made.storage_class.label("storage_class"),
        made.layout.label("layout"),
        made.purge_rule.label("purge_rule"),
        made.forecast.label("forecast"),
        func.substr(day, 1, 4).label("study_year"),
        func.coalesce(_STUDY.number_of_instances, 0).label("instances"),
        func.coalesce(_STUDY.number_of_series, 1).label("series"),
        func.coalesce(_STUDY.bytes_estimated, 0).label("bytes"),
        day.label("day"),
    ]
    if limits.order == "by_modality":
        ranks = [(has_modality((name,)), rank) for rank, name in enumerate(limits.modalities)]
        columns.append(first_match(ranks, len(ranks)).label("rank"))
    if limits.order == "upcoming_need":
        columns.append((-_STUDY.priority).label("rank"))
        columns.append(_last_visit(day).label("need"))
    return select(*columns).where(candidates).subquery()


def _last_visit(day: ColumnElement[str]) -> ColumnElement[int]:
    """Return a number that is smaller the later the patient was examined last."""
    # Without a Patient ID nobody knows whose study it is: it stands for itself.
    patient = case((_STUDY.patient_id == "", _STUDY.study_instance_uid), else_=_STUDY.patient_id)
    last = func.max(day).over(partition_by=[patient, _STUDY.issuer_of_patient_id])
    return case((last == "", 0), else_=-cast(last, BigInteger))


def _bytewise(connection: Connection, column: ColumnElement[str]) -> ColumnElement[str]:
    """Compare text byte by byte, whatever language the database was made for."""
    return collate(column, "BINARY" if connection.dialect.name == "sqlite" else "C")


def _included(number: int) -> ColumnElement[bool]:
    return and_(_ROW.draft == number, _ROW.decision == INCLUDE)


def _cut(connection: Connection, number: int, limits: WaveLimits) -> Iterator[tuple[int, int]]:
    """Yield the first and last position of each wave: as many studies as both limits allow."""
    first, before = 1, 0
    end = connection.scalar(select(func.max(_ROW.position)).where(_included(number))) or 0
    while first <= end:
        fitting = _ROW.position.between(first, first + limits.max_studies - 1) & (
            _ROW.bytes_so_far <= before + limits.max_bytes
        )
        last = connection.scalar(select(func.max(_ROW.position)).where(_included(number), fitting))
        last = first if last is None else last  # larger than a wave may be: one of its own
        yield first, last
        before = connection.execute(
            select(_ROW.bytes_so_far).where(_included(number), _ROW.position == last)
        ).scalar_one()
        first = last + 1


def _waves(connection: Connection, number: int) -> list[WaveDraft]:
    rows = connection.execute(
        select(_ROW.wave, func.count(), func.sum(_ROW.instances), func.sum(_ROW.bytes))
        .where(_included(number))
        .group_by(_ROW.wave)
        .order_by(_ROW.wave)
    )
    return [WaveDraft(*(int(value) for value in row)) for row in rows]
