"""What a policy may ask of a study, as SQL that SQLite and PostgreSQL both run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
)

from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

_STUDY, _LIST = schema.study.c, schema.study_list.c
_DIGITS = "0123456789"
_INSERT_BATCH = 5000


def first_match(
    branches: Iterable[tuple[ColumnElement[bool], Any]], default: Any
) -> ColumnElement[Any]:
    """Return the value of the first condition that holds."""
    whens = [(condition, literal(value)) for condition, value in branches]
    return case(*whens, else_=literal(default)) if whens else literal(default)


def has_modality(modalities: Sequence[str]) -> ColumnElement[bool]:
    """Tell whether the study contains one of `modalities`."""
    listed = literal("\\") + _STUDY.modalities + literal("\\")
    return or_(*(listed.contains(f"\\{name}\\", autoescape=True) for name in modalities))


def dated() -> ColumnElement[bool]:
    """Tell whether Study Date has the form of a date, closely enough to tell an age."""
    return _is_date(_STUDY.study_date)


def dated_from(day: str) -> ColumnElement[bool]:
    """Tell whether the study is of `day` (``YYYYMMDD``) or later."""
    return and_(dated(), _STUDY.study_date >= day)


def dated_to(day: str) -> ColumnElement[bool]:
    """Tell whether the study is of `day` (``YYYYMMDD``) or earlier."""
    return and_(dated(), _STUDY.study_date <= day)


def dated_before(day: str) -> ColumnElement[bool]:
    """Tell whether the study is of before `day` (``YYYYMMDD``)."""
    return and_(dated(), _STUDY.study_date < day)


def born_by(day: str) -> ColumnElement[bool]:
    """Tell whether the patient's birth date is known and not after `day` (``YYYYMMDD``)."""
    return and_(_is_date(_STUDY.patient_birth_date), _STUDY.patient_birth_date <= day)


def age_at_study() -> ColumnElement[int]:
    """Return the years the patient had completed on the day of the study, NULL when unknown.

    Of two dates written as the numbers YYYYMMDD, the difference's ten thousands are whole years.
    """
    both = and_(dated(), _is_date(_STUDY.patient_birth_date))
    days = cast(_STUDY.study_date, Integer) - cast(_STUDY.patient_birth_date, Integer)
    # CASE, not AND: PostgreSQL may try the cast before the guard.
    return case((both, days / 10_000), else_=None)


def in_list(name: str) -> ColumnElement[bool]:
    """Tell whether the list `name` of :func:`load_list` holds the study."""
    return (
        select(_LIST.list_name)
        .where(_LIST.list_name == name, _LIST.study_instance_uid == _STUDY.study_instance_uid)
        .correlate(schema.study)
        .exists()
    )


def load_list(connection: Connection, name: str, uids: Sequence[str]) -> None:
    """Put `uids` into the ledger as the list `name`, in the place of what it held."""
    connection.execute(delete(schema.study_list).where(_LIST.list_name == name))
    for start in range(0, len(uids), _INSERT_BATCH):
        batch = [
            {"list_name": name, "study_instance_uid": uid}
            for uid in uids[start : start + _INSERT_BATCH]
        ]
        connection.execute(insert(schema.study_list), batch)


def months_before(day: date, months: int) -> str:
    """Return the date so many months before `day` as ``YYYYMMDD``; day 29 to 31 become 28.

    A negative number of months gives a date after `day`.
    """
    index = day.year * 12 + day.month - 1 - months
    if months == 0:
        return f"{day:%Y%m%d}"
    return f"{index // 12:04d}{index % 12 + 1:02d}{min(day.day, 28):02d}"


def _is_date(column: ColumnElement[str]) -> ColumnElement[bool]:
    return and_(
        func.length(column) == 8,
        func.ltrim(column, _DIGITS) == "",
        column.between("18000101", "29991231"),
    )
