"""A wave's header facts: as rows, and as a data frame for the suites to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, select

from dicom_migration.cleansing.derived import SOURCES, add_derived
from dicom_migration.header_attributes import with_attribute
from dicom_migration.header_facts import TEXT_ENCODING, TEXT_FACTS
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from pandas import DataFrame
    from pyarrow import Array, DataType
    from sqlalchemy import Column, Connection, Row

    from dicom_migration.cleansing.proposals import Correction
    from dicom_migration.ledger import Ledger

KEYS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
COLUMN_OF = {keyword: column for column, keyword in TEXT_FACTS}
#: Columns that a frame always has: for naming rows, for groups, and to correct and derive others.
ALWAYS = frozenset(
    (
        *KEYS,
        *SOURCES,
        "sop_class_uid",
        "modality",
        "institution_name",
        TEXT_ENCODING,
        "attributes",
    )
)
#: Rows that are in memory as rows, before they are columns.
CHUNK = 20_000
#: States whose headers are judged: cleansed ones too, so that judging again changes nothing.
JUDGED = ("planned", "cleansed")


def read_facts(
    connection: Connection, wave_id: str, states: tuple[str, ...] = JUDGED
) -> list[dict[str, Any]]:
    """Return the header facts of the wave's studies in these states, in fixed order."""
    names = [column.name for column in schema.header_fact.columns]
    return [
        dict(row._mapping) for rows in _chunks(connection, wave_id, names, states) for row in rows
    ]


def _chunks(
    connection: Connection,
    wave_id: str,
    columns: Iterable[str],
    states: tuple[str, ...] = JUDGED,
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows in fixed order, without holding more of them than a chunk."""
    facts = schema.header_fact
    rows = connection.execution_options(yield_per=CHUNK).execute(
        select(*(facts.c[column] for column in columns))
        .join(schema.study, schema.study.c.study_instance_uid == facts.c.study_instance_uid)
        .where(schema.study.c.wave_id == wave_id, schema.study.c.state.in_(states))
        .order_by(*(facts.c[key] for key in KEYS))
    )
    yield from rows.partitions()


def count_untouched(
    connection: Connection, wave_id: str, corrections: Iterable[Correction]
) -> tuple[int, int]:
    """Return how many headers the wave has, and how many of them no correction changes."""
    by_study, headers, free = _by_study(corrections), 0, 0
    for rows in _chunks(connection, wave_id, (*KEYS, TEXT_ENCODING)):
        headers += len(rows)
        for row in rows:
            mine = by_study.get(row[0])
            free += mine is None or not any(covers(each, dict(row._mapping)) for each in mine)
    return headers, free


def wave_frame(
    ledger: Ledger,
    wave_id: str,
    today: date,
    corrections: Iterable[Correction] = (),
    columns: Collection[str] | None = None,
) -> DataFrame:
    """Return the facts of a wave, one row a header, as they will be with `corrections` applied.

    Added columns: ``study_date_is`` and ``birth_date_is`` (``plausible``, ``malformed``,
    ``too early``, ``future``; missing when there is no date), ``birth_before_study``,
    ``laterality_known`` and ``study_year``. The frame is built column by column, a chunk of rows
    at a time, and holds text as Arrow does: a million headers are some hundred megabytes.

    Parameters
    ----------
    columns
        What will be looked at; identifiers and what they are grouped by are always there.
        None: every column.
    """
    wanted = [
        column
        for column in schema.header_fact.columns
        if columns is None or column.name in columns or column.name in ALWAYS
    ]
    by_study = _by_study(corrections)
    types = _types(wanted)
    with ledger.read() as connection:
        chunks = [
            _as_columns(_corrected(rows, by_study) if by_study else rows, types)
            for rows in _chunks(connection, wave_id, [column.name for column in wanted])
        ]
    return add_derived(_frame(chunks, wanted), today)


def facts_frame(rows: Iterable[Mapping[str, Any]], today: date) -> DataFrame:
    """Return header facts as the suites judge them, one row a header; see :func:`wave_frame`."""
    wanted = list(schema.header_fact.columns)
    values = [[row.get(column.name) for column in wanted] for row in rows]
    chunks = [_as_columns(values, _types(wanted))] if values else []
    return add_derived(_frame(chunks, wanted), today)


def _types(columns: Sequence[Column[Any]]) -> list[DataType]:
    from pyarrow import dictionary, int32, int64, string

    # A text of half a kilobyte, which the headers of a device share: each of them once.
    shared = dictionary(int32(), string())
    return [
        int64()
        if isinstance(each.type, Integer)
        else shared
        if each.name == "attributes"
        else string()
        for each in columns
    ]


def _frame(chunks: Sequence[Sequence[Array]], columns: Sequence[Column[Any]]) -> DataFrame:
    from pandas import Int64Dtype, StringDtype
    from pyarrow import Table, chunked_array, int64, string

    arrays = [
        chunked_array([chunk[place] for chunk in chunks], kind)
        .unify_dictionaries()
        .combine_chunks()
        for place, kind in enumerate(_types(columns))
    ]
    kinds = {string(): StringDtype(na_value=float("nan")), int64(): Int64Dtype()}
    names = [column.name for column in columns]
    frame: DataFrame = Table.from_arrays(arrays, names).to_pandas(types_mapper=kinds.get)
    return frame


def apply_corrections(rows: list[dict[str, Any]], corrections: Iterable[Correction]) -> None:
    """Change the rows to what the headers will say."""
    by_study = _by_study(corrections)
    for row in rows:
        for correction in by_study.get(row["study_instance_uid"], ()):
            if not covers(correction, row):
                continue
            row[COLUMN_OF[correction.keyword]] = correction.new_value or None
            row["attributes"] = with_attribute(
                row["attributes"], correction.keyword, correction.new_value
            )
            if correction.keyword == "SpecificCharacterSet":
                row[TEXT_ENCODING] = "declared"


def covers(correction: Correction, row: Mapping[str, Any]) -> bool:
    """Tell whether the correction is of this header."""
    return (
        correction.series_instance_uid in ("", row["series_instance_uid"])
        and correction.sop_instance_uid in ("", row["sop_instance_uid"])
        and correction.expected_text_encoding in (None, row[TEXT_ENCODING])
    )


def _by_study(corrections: Iterable[Correction]) -> dict[str, list[Correction]]:
    by_study: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_study.setdefault(correction.study_instance_uid, []).append(correction)
    return by_study


def _corrected(
    rows: Sequence[Row[Any]], by_study: dict[str, list[Correction]]
) -> list[Sequence[Any]]:
    """Return the rows with the corrections applied; most rows have none and stay as they are."""
    names = rows[0]._fields
    changed: list[Sequence[Any]] = []
    for row in rows:
        mine = by_study.get(row.study_instance_uid)
        if mine:
            one = dict(row._mapping)
            apply_corrections([one], mine)
            changed.append([one[name] for name in names])
        else:
            changed.append(row)
    return changed


def _as_columns(rows: Sequence[Sequence[Any]], types: Sequence[DataType]) -> list[Array]:
    from pyarrow import array

    return [
        array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)
    ]
