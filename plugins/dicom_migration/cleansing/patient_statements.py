"""What a master patient list says: one identifier became another; read from CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.cleansing.list_reading import check_text, csv_rows, refused

if TYPE_CHECKING:
    from dicom_migration.policies.identity import PatientList

_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_SEXES = {"M": "M", "F": "F", "O": "O", "MALE": "M", "FEMALE": "F", "OTHER": "O"}
_UNTOLD = ("", "U", "UNKNOWN", "A", "N")
#: Longest Patient ID and Issuer of Patient ID (PS3.5 section 6.2, LO).
MAX_ID, MAX_NAME = 64, 324


@dataclass(frozen=True, slots=True)
class Identifier:
    """A Patient ID (0010,0020) and its Issuer (0010,0021), "" where the list tells none."""

    value: str
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is, as far as a list tells: name (PN), birth date (``YYYYMMDD``), M, F or O."""

    name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """`old` became `new`, or is still itself; said on `line` of the list."""

    line: int
    old: Identifier
    new: Identifier
    person: Person


def statement(
    listed: PatientList, line: int, old: Identifier, new: Identifier, person: Person
) -> Statement:
    """Return a checked statement, issuers under the names that headers use.

    Raises
    ------
    PermanentError
        ``policy_invalid``: an identifier is missing or too long, or a value cannot be.
    """
    old, new = (
        Identifier(i.value.strip(), listed.issuers.get(i.issuer.strip(), i.issuer.strip()))
        for i in (old, new)
    )
    for what, identifier in (("old", old), ("surviving", new)):
        if not identifier.value:
            raise refused(listed, line, f"the {what} identifier is missing")
        if len(identifier.value) > MAX_ID or len(identifier.issuer) > MAX_ID:
            raise refused(listed, line, f"the {what} identifier or its issuer is too long")
    if len(person.name) > MAX_NAME:
        raise refused(listed, line, "the name is too long")
    said = (old.value, old.issuer, new.value, new.issuer, person.name)
    check_text(listed, line, {"a value": "".join(said)})
    return Statement(line, old, new, person)


def person_of(listed: PatientList, line: int, name: str, birth_date: str, sex: str) -> Person:
    """Return a person with checked values.

    Raises
    ------
    PermanentError
        ``policy_invalid``: the birth date or the sex is none.
    """
    date = _DATE.fullmatch(birth_date)
    if birth_date and date is None:
        raise refused(listed, line, "the birth date is not YYYYMMDD or YYYY-MM-DD")
    code = sex.strip().upper()
    if code not in _UNTOLD and code not in _SEXES:
        raise refused(listed, line, "the sex is none of M, F, O, U")
    return Person(name, "".join(date.groups()) if date else "", _SEXES.get(code, ""))


def paired(
    listed: PatientList, line: int, olds: Sequence[Identifier], news: Sequence[Identifier]
) -> Iterator[tuple[Identifier, Identifier]]:
    """Pair each old identifier with the surviving one of the same issuer, or the only one.

    Raises
    ------
    PermanentError
        ``policy_invalid``: there is none, or it cannot be told which.
    """
    for old in olds:
        same = [new for new in news if new.issuer == old.issuer] or list(news)
        if len(set(same)) != 1:
            raise refused(listed, line, "it cannot be told which identifier survives which")
        yield old, same[0]


def read_csv(listed: PatientList) -> Iterator[Statement]:
    """Yield what a CSV file says.

    Raises
    ------
    PermanentError
        ``policy_invalid``: see :mod:`dicom_migration.cleansing.list_reading`.
    """
    named = listed.columns.model_dump()
    needed = {name: named.pop(name) for name in ("old_id", "surviving_id")}
    needed |= {name: column for name, column in named.items() if column}
    for line, row in csv_rows(listed, needed, {}):
        get = row.get
        yield statement(
            listed,
            line,
            Identifier(row["old_id"], get("old_issuer", "")),
            Identifier(row["surviving_id"], get("surviving_issuer", "")),
            person_of(listed, line, get("name", ""), get("birth_date", ""), get("sex", "")),
        )
