"""A plan as CSV and Parquet, for those who want to compute themselves; no PHI.

Both are written while the ledger is read, so that a million studies need no more memory than ten
thousand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dicom_migration.discovery.archive_figures import main_modality
from dicom_migration.discovery.planning import draft_of
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.discovery.planning import Plan
    from dicom_migration.ledger import Ledger

_ROW = schema.plan_study.c
_BATCH = 20_000
_TEXTS = ("decision", "rule", "wave", "study_year", "modality", "storage_class", "layout")
_NUMBERS = ("series", "instances", "bytes")
COLUMNS = ("study_instance_uid", *_TEXTS, "purge_rule", *_NUMBERS)


def export_plan(ledger: Ledger, plan: Plan, folder: Path) -> tuple[Path, Path]:
    """Write the plan's studies into `folder`, in the order of the waves.

    Returns
    -------
    tuple of Path
        The CSV file (UTF-8, a header line) and the Parquet file, whose metadata name the plan
        and its content hash.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = folder / "plan.csv", folder / "plan.parquet"
    types = [pa.int64() if name in _NUMBERS else pa.string() for name in COLUMNS]
    known = {"plan_id": plan.plan_id, "content_sha256": plan.content_sha256}
    arrow = pa.schema(list(zip(COLUMNS, types, strict=True)), metadata=known)
    with ExitStack() as stack:
        text = stack.enter_context(paths[0].open("w", encoding="utf-8", newline=""))
        parquet = stack.enter_context(pq.ParquetWriter(paths[1], arrow, compression="zstd"))
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        for batch in _batches(ledger, plan):
            lines.writerows(batch)
            columns = [
                pa.array(values, type_)
                for values, type_ in zip(zip(*batch, strict=True), types, strict=True)
            ]
            parquet.write_table(pa.Table.from_arrays(columns, schema=arrow))
    return paths


def _batches(ledger: Ledger, plan: Plan) -> Iterator[list[tuple[Any, ...]]]:
    modalities: dict[str, str] = {}

    def row(found: Any) -> tuple[Any, ...]:
        uid, decision, rule, wave, year, told, *rest = found
        if told not in modalities:
            modalities[told] = main_modality(told)
        return uid, decision, rule, f"W{wave:04d}" if wave else "", year, modalities[told], *rest

    with ledger.read() as connection:
        rows = connection.execute(
            select(
                _ROW.study_instance_uid,
                _ROW.decision,
                _ROW.decision_rule,
                _ROW.wave,
                _ROW.study_year,
                _ROW.modalities,
                _ROW.storage_class,
                _ROW.layout,
                _ROW.purge_rule,
                _ROW.series,
                _ROW.instances,
                _ROW.bytes,
            )
            .where(_ROW.draft == draft_of(connection, plan.plan_id))
            .order_by(_ROW.decision.desc(), _ROW.position)
            .execution_options(yield_per=_BATCH)
        )
        for batch in rows.partitions(_BATCH):
            yield [row(found) for found in batch]
