"""A wave's header facts as a data frame, with the columns that expectations cannot compute."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dicom_migration.header_attributes import with_attribute
from dicom_migration.header_facts import TEXT_ENCODING, TEXT_FACTS
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame
    from sqlalchemy import Connection

    from dicom_migration.cleansing.proposals import Correction
    from dicom_migration.ledger import Ledger

KEYS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
COLUMN_OF = {keyword: column for column, keyword in TEXT_FACTS}
#: Nobody was imaged before Röntgen, and no patient was born much earlier.
FIRST_STUDY, FIRST_BIRTH = date(1900, 1, 1), date(1850, 1, 1)
#: States whose headers are judged: cleansed ones too, so that judging again changes nothing.
JUDGED = ("planned", "cleansed")


def read_facts(
    connection: Connection, wave_id: str, states: tuple[str, ...] = JUDGED
) -> list[dict[str, Any]]:
    """Return the header facts of the wave's studies in these states, in fixed order."""
    facts = schema.header_fact
    rows = connection.execute(
        select(facts)
        .join(schema.study, schema.study.c.study_instance_uid == facts.c.study_instance_uid)
        .where(schema.study.c.wave_id == wave_id, schema.study.c.state.in_(states))
        .order_by(*(facts.c[key] for key in KEYS))
    )
    return [dict(row._mapping) for row in rows]


def wave_frame(
    ledger: Ledger, wave_id: str, today: date, corrections: Iterable[Correction] = ()
) -> DataFrame:
    """Return the facts of a wave, one row a header, as they will be with `corrections` applied.

    Added columns: ``study_date_is`` and ``birth_date_is`` (``plausible``, ``malformed``,
    ``too early``, ``future``; empty when there is no date), ``birth_before_study`` and
    ``laterality_known``.
    """
    from pandas import DataFrame

    with ledger.read() as connection:
        rows = read_facts(connection, wave_id)
    apply_corrections(rows, corrections)
    for row in rows:
        row.update(_derived(row, today))
    columns = [column.name for column in schema.header_fact.columns]
    derived = ["study_date_is", "birth_date_is", "birth_before_study", "laterality_known"]
    return DataFrame(rows, columns=[*columns, *derived], dtype=object)


def apply_corrections(rows: list[dict[str, Any]], corrections: Iterable[Correction]) -> None:
    """Change the rows to what the headers will say."""
    by_study: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_study.setdefault(correction.study_instance_uid, []).append(correction)
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


def untouched(rows: Iterable[dict[str, Any]], corrections: Iterable[Correction]) -> int:
    """Return how many of the headers no correction changes."""
    by_study: dict[str, list[Correction]] = {}
    for correction in corrections:
        by_study.setdefault(correction.study_instance_uid, []).append(correction)
    return sum(
        not any(covers(correction, row) for correction in by_study.get(key, ()))
        for row in rows
        for key in (row["study_instance_uid"],)
    )


def covers(correction: Correction, row: dict[str, Any]) -> bool:
    """Tell whether the correction is of this header."""
    return (
        correction.series_instance_uid in ("", row["series_instance_uid"])
        and correction.sop_instance_uid in ("", row["sop_instance_uid"])
        and correction.expected_text_encoding in (None, row[TEXT_ENCODING])
    )


def _derived(row: dict[str, Any], today: date) -> dict[str, Any]:
    study, birth = _parsed(row["study_date"]), _parsed(row["patient_birth_date"])
    return {
        "study_date_is": _plausible(row["study_date"], study, FIRST_STUDY, today),
        "birth_date_is": _plausible(row["patient_birth_date"], birth, FIRST_BIRTH, today),
        "birth_before_study": None if study is None or birth is None else birth <= study,
        "laterality_known": bool(row["laterality"] or row["image_laterality"]),
    }


def _plausible(text: str | None, parsed: date | None, first: date, today: date) -> str | None:
    if not text:
        return None
    if parsed is None:
        return "malformed"
    if parsed < first:
        return "too early"
    return "future" if parsed > today else "plausible"


def _parsed(text: str | None) -> date | None:
    """Return the date that ``YYYYMMDD`` says (PS3.5 section 6.2, DA), None when it says none."""
    if not text or len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
