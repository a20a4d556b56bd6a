"""What ADT^A40 messages say (HL7 v2.x, chapter 3: merge patient, patient identifier list)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.cleansing.list_reading import lines_of, refused
from dicom_migration.cleansing.patient_statements import (
    Identifier,
    Person,
    Statement,
    paired,
    person_of,
    statement,
)

if TYPE_CHECKING:
    from dicom_migration.policies.identity import PatientList

#: What frames a message on the wire (MLLP) and may have got into a file.
_FRAME = "\x0b\x1c\r\n"
_BATCH_SEGMENTS = ("FHS", "BHS", "BTS", "FTS")


@dataclass(frozen=True, slots=True)
class _Separators:
    """MSH-1 and MSH-2: field, component, repetition, escape, subcomponent."""

    field: str
    component: str
    repetition: str
    escape: str
    sub: str

    def plain(self, text: str) -> str:
        """Return text with its escape sequences undone (section 2.7)."""
        if self.escape not in text:
            return text
        said = (self.field, self.component, self.repetition, self.sub, self.escape)
        meant = dict(zip("FSRTE", said, strict=True))
        escape = re.escape(self.escape)
        return re.sub(f"{escape}([FSRTE]){escape}", lambda found: meant[found[1]], text)


def read_hl7(listed: PatientList) -> Iterator[Statement]:
    """Yield what the messages of a file say; segments end with CR, LF or both.

    In each group PID-3 holds the surviving identifiers, MRG-1 the old ones; PID-5, 7 and 8 are
    the surviving person.

    Raises
    ------
    PermanentError
        ``policy_invalid``: a message is no ADT^A40, or has no PID before its MRG.
    """
    separators: _Separators | None = None
    pid: list[str] | None = None
    merged = True
    number = 0
    for number, raw in enumerate(lines_of(listed), start=1):
        segment = raw.strip(_FRAME)
        if not segment or segment[:3] in _BATCH_SEGMENTS:
            continue
        if segment.startswith("MSH"):
            _must_have_merged(listed, number, merged)
            separators, pid, merged = _opened(listed, number, segment), None, False
            continue
        if separators is None:
            raise refused(listed, number, "a message begins with MSH")
        fields = segment.split(separators.field)
        if fields[0] == "PID":
            pid = fields
        elif fields[0] == "MRG":
            if pid is None:
                raise refused(listed, number, "MRG stands before its PID")
            yield from _merge(listed, number, pid, fields, separators)
            merged = True
    _must_have_merged(listed, max(number, 1), merged and separators is not None)


def _opened(listed: PatientList, line: int, segment: str) -> _Separators:
    if len(segment) < 9 or len({*segment[3:8]}) != 5:
        raise refused(listed, line, "MSH does not declare its separators")
    separators = _Separators(*segment[3:8])
    fields = segment.split(separators.field)
    kind = fields[8].split(separators.component) if len(fields) > 8 else []
    if kind[:2] != ["ADT", "A40"]:
        raise refused(listed, line, "the message is not ADT^A40")
    return separators


def _must_have_merged(listed: PatientList, line: int, merged: bool) -> None:
    if not merged:
        raise refused(listed, line, "the message before has no MRG, or there is none")


def _merge(
    listed: PatientList, line: int, pid: list[str], mrg: list[str], by: _Separators
) -> Iterator[Statement]:
    news, olds = _identifiers(_field(pid, 3), by), _identifiers(_field(mrg, 1), by)
    if not news or not olds:
        raise refused(listed, line, "PID-3 or MRG-1 is empty")
    person = _person(listed, line, pid, by)
    for old, new in paired(listed, line, olds, news):
        yield statement(listed, line, old, new, person)


def _field(fields: list[str], number: int) -> str:
    return fields[number] if len(fields) > number else ""


def _identifiers(field: str, by: _Separators) -> list[Identifier]:
    """Return the identifiers of a CX field: ID in CX.1, assigning authority in CX.4 (HD)."""
    found = []
    for repetition in field.split(by.repetition):
        parts = repetition.split(by.component)
        authority = parts[3].split(by.sub) if len(parts) > 3 else [""]
        issuer = next((by.plain(part) for part in authority[:2] if part), "")
        if parts[0]:
            found.append(Identifier(by.plain(parts[0]), issuer))
    return found


def _person(listed: PatientList, line: int, pid: list[str], by: _Separators) -> Person:
    """Return PID-5 (XPN: family, given, middle, suffix, prefix) as a DICOM name, PID-7, PID-8."""
    first = _field(pid, 5).split(by.repetition)[0]
    parts = [by.plain(part.split(by.sub)[0]) for part in first.split(by.component)]
    family, given, middle, suffix, prefix = (*parts, "", "", "", "", "")[:5]
    name = "^".join((family, given, middle, prefix, suffix)).rstrip("^")
    return person_of(listed, line, name, _field(pid, 7)[:8], _field(pid, 8))
