"""Manifests as Parquet: the same rows always give the same bytes, so that a rerun is provable."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.header_facts import INTEGER_COLUMNS, TEXT_COLUMNS
from dicom_migration.manifest.rows import ManifestRow

#: 2 added the columns of recompression and of the packing object.
FORMAT_VERSION = "2"
_READABLE = ("1", FORMAT_VERSION)

_OWN_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("study_instance_uid", pa.string()),
    ("series_instance_uid", pa.string()),
    ("sop_instance_uid", pa.string()),
    ("sop_class_uid", pa.string()),
    ("transfer_syntax_uid", pa.string()),
    ("dataset_bytes", pa.int64()),
    ("dataset_sha256", pa.string()),
    ("object_bytes", pa.int64()),
    ("object_sha256", pa.string()),
    ("pixel_bytes", pa.int64()),
    ("pixel_sha256", pa.string()),
    ("object_key", pa.string()),
    ("offset", pa.int64()),
    ("container_bytes", pa.int64()),
    ("container_sha256", pa.string()),
    ("source", pa.string()),
    ("corrections", pa.list_(pa.string())),
    ("recompression", pa.string()),
    ("stored_transfer_syntax_uid", pa.string()),
    ("source_pixel_sha256", pa.string()),
)

SCHEMA = pa.schema(
    [
        *_OWN_COLUMNS,
        *((name, pa.string()) for name in TEXT_COLUMNS),
        *((name, pa.int64()) for name in INTEGER_COLUMNS),
    ],
    metadata={"dicom_migration.manifest": FORMAT_VERSION},
)
_OWN_SCHEMA = pa.schema([SCHEMA.field(name) for name, _ in _OWN_COLUMNS], SCHEMA.metadata)
_OWN_NAMES = tuple(name for name, _ in _OWN_COLUMNS)
_FACTS = (*TEXT_COLUMNS, *INTEGER_COLUMNS)
_FIELDS = tuple(field.name for field in fields(ManifestRow))
assert set(_OWN_NAMES) | {"facts"} == set(_FIELDS)  # noqa: S101


def manifest_key(study_instance_uid: str, sha256: str, distinct: str = "") -> str:
    """Return the object key of a study's manifest: next to its data, named by its content.

    `distinct` makes another key, for when that one holds something else.
    """
    more = f"-{distinct}" if distinct else ""
    return f"studies/{study_instance_uid}/manifest-{sha256[:16]}{more}.parquet"


def encode_manifest(rows: Iterable[ManifestRow]) -> tuple[bytes, str]:
    """Return the Parquet file of `rows` and its SHA-256 (hexadecimal).

    Rows are sorted by series, instance and object key, so that the order of arrival, which no
    two runs share, does not show in the file.
    """
    ordered = sorted(
        rows, key=lambda row: (row.series_instance_uid, row.sop_instance_uid, row.object_key)
    )
    table = pa.Table.from_pylist([_flat(row) for row in ordered], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_statistics=False)
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def decode_table(data: bytes) -> pa.Table:
    """Return the manifest as an Arrow table with the columns of this release.

    Raises
    ------
    PermanentError
        With reason ``manifest_corrupt`` when it is not a manifest of a version we know.
    """
    return _decoded(data, SCHEMA)


def decode_manifest(data: bytes, *, facts: bool = True) -> list[ManifestRow]:
    """Return the rows of a manifest file; see :func:`decode_table` for errors.

    Parameters
    ----------
    facts
        Without them only a third of the columns is read.
    """
    schema = SCHEMA if facts else _OWN_SCHEMA
    table = _decoded(data, schema)
    columns = {name: table.column(name).to_pylist() for name in schema.names}
    columns["corrections"] = [tuple(ids or ()) for ids in columns["corrections"]]
    columns["facts"] = (
        [dict(zip(_FACTS, values, strict=True)) for values in _rows(columns, _FACTS)]
        if facts
        else [{} for _ in range(table.num_rows)]
    )
    return [ManifestRow(*values) for values in _rows(columns, _FIELDS)]


def compact(tables: Sequence[pa.Table]) -> pa.Table:
    """Return one table with the rows of many manifests."""
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _decoded(data: bytes, schema: pa.Schema) -> pa.Table:
    """Return the columns of `schema`, which is that of this release or a part of it."""
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            # Small: threads cost more. Columns that an older version lacks are left out.
            table = file.read(columns=schema.names, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise PermanentError(
            "A manifest is not a readable Parquet file.",
            reason=ReasonCode.MANIFEST_CORRUPT,
            next_step="Send the study back to transfer; its objects are compared, not sent twice.",
        ) from error
    version = (table.schema.metadata or {}).get(b"dicom_migration.manifest", b"none").decode()
    if version not in _READABLE:
        raise PermanentError(
            f"A manifest has format version {version}, this release reads "
            f"{' and '.join(_READABLE)}.",
            reason=ReasonCode.MANIFEST_CORRUPT,
            next_step="Use the release that wrote it, or a newer one.",
        )
    return table if version == FORMAT_VERSION else _upgraded(table, schema)


def _rows(columns: Mapping[str, list[Any]], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name] for name in names), strict=True)


def _upgraded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table of an older version with today's columns; what it lacks is empty or null."""
    columns = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.array(["" if pa.types.is_string(field.type) else None] * len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _flat(row: ManifestRow) -> dict[str, object]:
    record: dict[str, object] = {name: getattr(row, name) for name in _OWN_NAMES}
    record["corrections"] = list(row.corrections)
    record.update(row.facts)
    return record
