"""What a FHIR Bundle of Patient resources says (R4: Patient.link, Identifier.use = old).

The entries are read one after the other: a bundle of a million patients needs no more memory than
the references among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dicom_migration.cleansing.list_reading import pieces_of, refused
from dicom_migration.cleansing.patient_statements import (
    Identifier,
    Statement,
    paired,
    person_of,
    statement,
)

if TYPE_CHECKING:
    from dicom_migration.policies.identity import PatientList

#: Characters: of one entry, and of what stands before and after all of them.
MAX_ENTRY = 1 << 20
_BEGINS = re.compile(r'"entry"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_Entry = tuple[int, str, dict[str, Any]]


def read_fhir(listed: PatientList) -> Iterator[Statement]:
    """Yield what a Bundle says: patients replaced by others, and identifiers that are old.

    Raises
    ------
    PermanentError
        ``policy_invalid``: the file is no Bundle, an entry is too large, a link leads nowhere.
    """
    wanted = {
        reference
        for _, _, patient in _patients(listed)
        for _, reference in _links(patient)
        if isinstance(reference, str)
    }
    known = {
        reference: identifiers
        for _, full_url, patient in _patients(listed)
        for reference in (full_url, f"Patient/{patient.get('id')}")
        if reference in wanted and (identifiers := _identifiers(patient, old=False))
    }
    for line, _, patient in _patients(listed):
        yield from _statements(listed, line, patient, known)


def _statements(
    listed: PatientList, line: int, patient: dict[str, Any], known: dict[str, list[Identifier]]
) -> Iterator[Statement]:
    person = person_of(listed, line, *_told(patient))
    mine = _identifiers(patient, old=False)
    pairs = [(_identifiers(patient, old=True), mine)]
    for kind, other in _links(patient):
        theirs = known.get(other) if isinstance(other, str) else [other]
        if not theirs:
            raise refused(listed, line, "a link leads to no Patient of the Bundle")
        pairs.append((mine, theirs) if kind == "replaced-by" else (theirs, mine))
    for olds, news in pairs:
        for old, new in paired(listed, line, olds, news):
            yield statement(listed, line, old, new, person)


def _links(patient: dict[str, Any]) -> Iterator[tuple[str, str | Identifier]]:
    """Yield the merges a Patient knows of: what kind, and the other's reference or identifier."""
    for link in patient.get("link", ()):
        if link.get("type") not in ("replaced-by", "replaces"):
            continue  # refer, seealso: two records that both stay
        other = link.get("other", {})
        if "reference" in other:
            yield link["type"], str(other["reference"])
        else:
            yield link["type"], _identifier(other.get("identifier", {}))


def _identifiers(patient: dict[str, Any], *, old: bool) -> list[Identifier]:
    listed = patient.get("identifier", ())
    return [_identifier(i) for i in listed if (i.get("use") == "old") is old and i.get("value")]


def _identifier(identifier: dict[str, Any]) -> Identifier:
    return Identifier(str(identifier.get("value", "")), str(identifier.get("system", "")))


def _told(patient: dict[str, Any]) -> tuple[str, str, str]:
    """Return name, birth date and sex as the resource writes them."""
    names = patient.get("name", ())
    name = next((n for n in names if n.get("use") == "official"), names[0] if names else {})
    given = " ".join(str(part) for part in name.get("given", ()))
    birth_date = str(patient.get("birthDate", ""))
    if len(birth_date) in (4, 7):  # the year, or year and month, compare with nothing
        birth_date = ""
    written = f"{name.get('family', '')}^{given}".strip("^")
    return written, birth_date, str(patient.get("gender", ""))


def _patients(listed: PatientList) -> Iterator[_Entry]:
    """Yield (line, full URL, Patient) of each entry that holds one."""
    for line, entry in _entries(listed):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            raise refused(listed, line, "the entry holds no resource")
        if resource.get("resourceType") != "Patient":
            continue
        try:
            list(_links(resource)), _identifiers(resource, old=True), _told(resource)
        except (AttributeError, TypeError, KeyError):
            raise refused(listed, line, "the Patient is not built as FHIR builds one") from None
        yield line, str(entry.get("fullUrl", "")), resource


def _entries(listed: PatientList) -> Iterator[tuple[int, Any]]:
    """Yield (line, entry); what stands around them must be a Bundle."""
    pieces = pieces_of(listed)
    text, begins = "", None
    while begins is None and len(text) <= MAX_ENTRY and (piece := next(pieces, "")):
        text += piece
        begins = _BEGINS.search(text)
    if begins is None:
        raise refused(listed, 1, "the file is no Bundle with entries")
    head, place = text[: begins.end()], begins.end()
    line = head.count("\n") + 1
    while True:
        entry, start, end = _next(text, place)
        if end < 0:
            if not (piece := next(pieces, "")) or len(text) - place > MAX_ENTRY:
                raise refused(listed, line, "the entry is not JSON, too large or cut off")
            text, place = text[place:] + piece, 0
            continue
        line += text.count("\n", place, start)
        if text[start] == "]":
            break
        yield line, entry
        line += text.count("\n", start, end)
        place = end
    _must_be_a_bundle(listed, line, head + text[start:], pieces)


def _next(text: str, place: int) -> tuple[Any, int, int]:
    """Return the entry after `place`, where it begins and ends; end -1: not all of it is there."""
    between = _BETWEEN.match(text, place)
    start = between.end() if between else place
    if start >= len(text):
        return None, start, -1
    if text[start] == "]":
        return None, start, start
    try:
        entry, end = json.JSONDecoder().raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError):
        return None, start, -1
    return entry, start, end


def _must_be_a_bundle(listed: PatientList, line: int, around: str, pieces: Iterator[str]) -> None:
    for piece in pieces:
        around += piece
        if len(around) > MAX_ENTRY:
            raise refused(listed, line, "too much follows the entries")
    try:
        bundle = json.loads(around)
    except (json.JSONDecodeError, RecursionError):
        bundle = None
    is_one = isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle"
    if not is_one or bundle.get("entry") != []:
        raise refused(listed, line, "the file is no Bundle, or is cut off")
