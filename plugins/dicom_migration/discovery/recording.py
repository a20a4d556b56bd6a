"""Writing what the source reported into the ledger: a study once, however often it is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_migration.archive import SeriesRecord, StudyRecord
from dicom_migration.discovery.sizes import StudySize
from dicom_migration.ledger import StudyState, schema, utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger

BATCH = 500
#: Longest text the ledger takes, by column; a hostile archive may send megabytes.
_LIMITS = {"study_date": 16, "patient_id": 255, "accession_number": 255, "modalities": 255}
_DEFAULT_LIMIT = 1024
_TEXTS = (
    "study_date",
    "study_time",
    "patient_id",
    "issuer_of_patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "study_id",
    "study_description",
    "institution_name",
)
#: What the source says, and what is compared with what it said before.
TOLD = (*_TEXTS, "modalities", "number_of_series", "number_of_instances", "sop_classes")
SIZES = ("bytes_estimated", "bytes_basis", "bytes_error")
REPORTED = (*TOLD, *SIZES)
_BOOKKEEPING = ("state", "wave_id", "received_instances", "last_inventory_id", "vanished_at")


def study_row(record: StudyRecord, size: StudySize) -> dict[str, Any]:
    """Return the columns that `record` fills; what is a list is sorted, joined by a backslash."""
    row: dict[str, Any] = {"study_instance_uid": record.study_instance_uid}
    for name in _TEXTS:
        row[name] = _clean(getattr(record, name), _LIMITS.get(name, _DEFAULT_LIMIT))
    modalities = "\\".join(sorted({text for text in record.modalities if text}))
    row["modalities"] = _clean(modalities, _LIMITS["modalities"])
    row["number_of_series"] = record.number_of_series
    row["number_of_instances"] = record.number_of_instances
    row["sop_classes"] = "\\".join(record.sop_classes)
    row["bytes_estimated"], row["bytes_basis"], row["bytes_error"] = size
    return row


def _clean(text: str, limit: int) -> str:
    """Cut text to `limit`, without what no database stores: NULs, and halves of surrogate pairs."""
    if text.isascii() and "\0" not in text:
        return text[:limit]
    storable = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return storable[:limit]


def known_rows(ledger: Ledger, uids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the ledger holds of these studies (at most `BATCH`), by UID.

    What the source reported, where the study stands, and whether its series are ``listed``.
    """
    table, series = schema.study.c, schema.series.c
    columns = [table[name] for name in ("study_instance_uid", *REPORTED, *_BOOKKEEPING)]
    listed = exists().where(series.study_instance_uid == table.study_instance_uid).label("listed")
    with ledger.read() as connection:
        rows = connection.execute(
            select(*columns, listed).where(table.study_instance_uid.in_(uids))
        )
        return {row.study_instance_uid: dict(row._mapping) for row in rows}


def record_studies(
    connection: Connection,
    source: str,
    inventory_id: str,
    rows: Sequence[dict[str, Any]],
    seen: Sequence[str],
    series: Iterable[ListedSeries],
) -> None:
    """Insert or update new and changed studies with their series; touch those only `seen`.

    A study keeps its state and what was decided; a new one is ``discovered``.
    """
    now = utc_now()
    sighting = {"last_seen_at": now, "last_inventory_id": inventory_id, "vanished_at": None}
    fixed = {
        "source": source,
        "state": StudyState.DISCOVERED.value,
        "first_seen_at": now,
        "updated_at": now,
        **sighting,
    }
    upsert(
        connection,
        schema.study,
        [{**row, **fixed} for row in rows],
        (*REPORTED, *sighting, "updated_at"),
    )
    if seen:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid.in_(seen))
            .values(**sighting)
        )
    upsert(connection, schema.series, [_series_row(item) for item in series], _SERIES_COLUMNS)


_SERIES_COLUMNS = (
    "modality",
    "series_number",
    "series_description",
    "body_part_examined",
    "number_of_instances",
    "sop_classes",
)


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series with the SOP classes that a listing of its instances showed, () without one."""

    record: SeriesRecord
    sop_classes: tuple[str, ...] = ()


def _series_row(listed: ListedSeries) -> dict[str, Any]:
    record = listed.record
    row: dict[str, Any] = {
        "sop_classes": "\\".join(listed.sop_classes),
        "study_instance_uid": record.study_instance_uid,
        "series_instance_uid": record.series_instance_uid,
        "number_of_instances": record.number_of_instances,
    }
    for name in _SERIES_COLUMNS[:4]:
        row[name] = _clean(getattr(record, name), _DEFAULT_LIMIT)
    return row


def upsert(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], updated: Sequence[str]
) -> None:
    """Insert `rows`, or set the `updated` columns where the primary key exists."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    unique = list({tuple(row[key] for key in keys): row for row in rows}.values())
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    changes = {name: statement.excluded[name] for name in updated}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), unique)
