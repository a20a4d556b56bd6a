"""Which identifier a header should carry by the master patient list; contradictions, no guesses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dicom_migration.cleansing.patient_list import CYCLE, TWO_SURVIVORS
from dicom_migration.cleansing.patient_statements import Identifier, Person
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.identity import PatientList

_LINK, _ASKED = schema.patient_link.c, 500
_DATE = re.compile(r"\d{8}")
#: Why a person must decide: the detail and the suggested fix of the exception.
CONFLICTS = {
    TWO_SURVIVORS: (
        "The master patient list merges this identifier into two others.",
        "Have the master patient index say which survives; then send the study back.",
    ),
    CYCLE: (
        "The merges of this identifier lead in a circle in the master patient list.",
        "Have the master patient index corrected; then send the study back.",
    ),
    "issuer-unclear": (
        "The list knows this identifier of several issuers; the header names none of them.",
        "Add the issuer with a rule, or at the source; then send the study back.",
    ),
    "name-differs": (
        "The patient's name in the header is not the one in the master patient list.",
        "Compare both persons; correct the list, or the study at the source.",
    ),
    "birth_date-differs": (
        "The birth date in the header is not the one in the master patient list.",
        "Compare both persons; correct the list, or the study at the source.",
    ),
    "sex-differs": (
        "The patient's sex in the header is not the one in the master patient list.",
        "Compare both persons; correct the list, or the study at the source.",
    ),
    "nothing-to-compare": (
        "Too little of name, birth date and sex is known to tell that it is the same person.",
        "Have the list made with names and birth dates, or complete the study at the source.",
    ),
}


@dataclass(frozen=True, slots=True)
class Match:
    """What the list says of a header: the surviving identifier, or why a person must decide."""

    survivor: Identifier | None = None
    conflicts: tuple[str, ...] = ()


class PatientMatcher:
    """Compares headers with what the ledger keeps of the list; holds what concerns `patient_ids`.

    Read once for all headers of a wave: a list of a million patients stays in the database.
    """

    def __init__(
        self, connection: Connection, listed: PatientList, patient_ids: Iterable[str]
    ) -> None:
        self._listed = listed
        self._by_id: dict[str, list[Any]] = {}
        asked = sorted(set(patient_ids) - {""})
        for start in range(0, len(asked), _ASKED):
            query = select(schema.patient_link).where(
                _LINK.old_id.in_(asked[start : start + _ASKED])
            )
            for row in connection.execute(query.order_by(_LINK.entry)):
                self._by_id.setdefault(row.old_id, []).append(row)

    def match(self, header: Mapping[str, Any]) -> Match:
        """Return what the list says of a header (values by column of ``header_fact``)."""
        issuer = _text(header, "issuer_of_patient_id")
        known = self._by_id.get(_text(header, "patient_id"), [])
        mine = [row for row in known if not issuer or row.old_issuer in ("", issuer)]
        if not mine:
            return Match()
        verdicts = {row.verdict for row in mine} - {""}
        if verdicts:
            return Match(conflicts=tuple(sorted(verdicts)))
        survivors = {Identifier(row.final_id, row.final_issuer) for row in mine}
        if len(survivors) > 1 or (not issuer and len({row.old_issuer for row in mine}) > 1):
            return Match(conflicts=("issuer-unclear",))
        (survivor,) = survivors
        conflicts = {conflict for row in mine for conflict in self._contradictions(header, row)}
        return Match(survivor, tuple(sorted(conflicts)))

    def _contradictions(self, header: Mapping[str, Any], row: Any) -> Iterable[str]:
        said = Person(row.patient_name, row.birth_date, row.sex)
        same = {
            check: outcome
            for check in self._listed.cross_checks
            if (outcome := _same(check, header, said)) is not None
        }
        yield from (f"{check}-differs" for check, outcome in same.items() if not outcome)
        if all(same.values()) and len(same) < self._listed.least_agreeing:
            yield "nothing-to-compare"


def _same(check: str, header: Mapping[str, Any], said: Person) -> bool | None:
    """Tell whether header and list agree on this; None when one of them does not say."""
    if check == "birth_date":
        mine, theirs = _text(header, "patient_birth_date"), said.birth_date
        return mine == theirs if theirs and _DATE.fullmatch(mine) else None
    if check == "sex":
        mine, theirs = _text(header, "patient_sex"), said.sex
        return mine == theirs if theirs and mine in ("M", "F", "O") else None
    return _same_name(_text(header, "patient_name"), said.name)


def _same_name(mine: str, theirs: str) -> bool | None:
    """Compare family and given names, whatever their case, width and spacing (PS3.5, PN)."""
    both = [_folded(name) for name in (mine, theirs)]
    if not all(family for family, _ in both):
        return None
    (family, given), (other_family, other_given) = both
    return family == other_family and (given == other_given or not given or not other_given)


def _folded(name: str) -> tuple[str, str]:
    parts = [
        " ".join(unicodedata.normalize("NFKC", part).casefold().split())
        for part in name.split("=", maxsplit=1)[0].split("^")
    ]
    return parts[0], parts[1] if len(parts) > 1 else ""


def _text(header: Mapping[str, Any], column: str) -> str:
    return str(header.get(column) or "")
