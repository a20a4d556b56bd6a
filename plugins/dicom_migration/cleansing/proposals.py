"""Proposing corrections: the rules applied to a wave's header facts, nothing changed yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from dicom_migration.cleansing.facts import COLUMN_OF, read_facts
from dicom_migration.errors import ReasonCode
from dicom_migration.header_facts import TEXT_ENCODING
from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions, schema, utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.corrections import CorrectionRule, RuleSet

PHASE = "cleansing"
PROPOSED, APPROVED = "proposed", "approved"


@dataclass(frozen=True, slots=True)
class Correction:
    """One value that one rule changes; `sop_instance_uid` "" means the whole series or study.

    ``old_value`` and ``new_value`` may be PHI: they stay in the ledger.

    ``expected_text_encoding`` is set for Specific Character Set only: how the text of the headers
    that were judged is encoded. Others of the series may declare the same and be encoded
    otherwise; the correction is not for them. ``text_charset`` is what all text is decoded with
    before it is written in UTF-8, None when it stays.
    """

    correction_id: str
    wave_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    keyword: str
    old_value: str
    new_value: str
    rule_id: str
    reason: str
    ruleset_sha256: str
    status: str = PROPOSED
    expected_text_encoding: str | None = None
    text_charset: str | None = None


def propose_corrections(
    ledger: Ledger, wave_id: str, ruleset: RuleSet, ruleset_sha256: str
) -> list[Correction]:
    """Apply the rules to the wave's headers and write the proposals into the ledger.

    Only studies that are still to be cleansed are looked at. What an earlier try proposed is
    replaced; what is approved stays. A new value that its value
    representation does not allow is not proposed but noted as an exception.
    """
    notes: list[ExceptionNote] = []
    with ledger.write() as connection:
        rows = read_facts(connection, wave_id, states=("planned",))
        found = []
        for _, members in groupby(rows, key=lambda row: str(row["study_instance_uid"])):
            for correction in _of_study(list(members), wave_id, ruleset, ruleset_sha256):
                if fits(correction.keyword, correction.new_value):
                    found.append(correction)
                else:
                    notes.append(_misfit(correction))
        table = schema.correction.c
        connection.execute(
            delete(schema.correction).where(table.wave_id == wave_id, table.status == PROPOSED)
        )
        kept = set(connection.scalars(select(table.correction_id).where(table.wave_id == wave_id)))
        now = utc_now()
        new = [
            {**asdict(correction), "updated_at": now}
            for correction in found
            if correction.correction_id not in kept
        ]
        if new:
            connection.execute(insert(schema.correction), new)
        chain = EventChain(f"wave:{wave_id}/cleansing")
        note_exceptions(connection, notes, chain)
        chain.append(
            connection,
            [
                (
                    "corrections.proposed",
                    "",
                    {"corrections": len(new), "ruleset_sha256": ruleset_sha256},
                )
            ],
        )
    return found


def read_corrections(connection: Connection, wave_id: str) -> list[Correction]:
    """Return the wave's corrections, proposed and approved, in fixed order."""
    columns = [schema.correction.c[name] for name in Correction.__dataclass_fields__]
    rows = connection.execute(
        select(*columns)
        .where(schema.correction.c.wave_id == wave_id)
        .order_by(schema.correction.c.correction_id)
    )
    return [Correction(**row._mapping) for row in rows]


def fits(keyword: str, value: str) -> bool:
    """Tell whether the attribute's value representation allows every part of `value`."""
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    try:
        for part in value.split("\\"):
            validate_value(dictionary_VR(keyword), part, RAISE)
    except ValueError:
        return False
    return True


def _of_study(
    rows: list[dict[str, Any]], wave_id: str, ruleset: RuleSet, ruleset_sha256: str
) -> Iterator[Correction]:
    corrected: set[tuple[str, str]] = set()
    for rule in ruleset.rules:
        made = {
            number: new
            for number, row in enumerate(rows)
            if (row["sop_instance_uid"], rule.keyword) not in corrected
            and (new := rule.correct(_by_keyword(row))) is not None
        }
        if not made:
            continue
        corrected |= {(rows[number]["sop_instance_uid"], rule.keyword) for number in made}
        if rule.level == "study":
            agreed = _agreed(rows, rule, made)
            made = dict.fromkeys(made, agreed)
        yield from _scoped(rows, rule, made, wave_id, ruleset_sha256)


def _agreed(rows: list[dict[str, Any]], rule: CorrectionRule, made: dict[int, str]) -> str:
    """Return the one value for a study: what its other headers say, else the smallest made."""
    column = COLUMN_OF[rule.keyword]
    present = {
        str(row[column])
        for number, row in enumerate(rows)
        if number not in made and row[column] and fits(rule.keyword, str(row[column]))
    }
    return min(present or set(made.values()))


def _scoped(
    rows: list[dict[str, Any]],
    rule: CorrectionRule,
    made: dict[int, str],
    wave_id: str,
    ruleset_sha256: str,
) -> Iterator[Correction]:
    """Yield one correction for the study when all its headers get the same, else one a series."""
    column = COLUMN_OF[rule.keyword]
    olds = {str(rows[number][column] or "") for number in made}
    alike = {(new, _encoding(rows[number], rule)) for number, new in made.items()}
    whole = len(made) == len(rows) and len(alike) == 1 and len(olds) == 1
    done: set[tuple[str, str]] = set()
    for number, new in sorted(made.items()):
        row = rows[number]
        series, sop = ("", "") if whole else _scope(rows, rule, made, number)
        if (series, sop) in done:
            continue
        done.add((series, sop))
        scope = (str(row["study_instance_uid"]), series, sop)
        key = "|".join((wave_id, *scope, rule.keyword, rule.id, ruleset_sha256))
        yield Correction(
            hashlib.sha256(key.encode()).hexdigest(),
            wave_id,
            *scope,
            keyword=rule.keyword,
            old_value=str(row[column] or ""),
            new_value=new,
            rule_id=rule.id,
            reason=rule.reason,
            ruleset_sha256=ruleset_sha256,
            expected_text_encoding=_encoding(row, rule),
            text_charset=rule.operation.reencode_from or None,
        )


def _encoding(row: dict[str, Any], rule: CorrectionRule) -> str | None:
    """Return how the header's text is encoded, when that is what the rule judges."""
    return str(row[TEXT_ENCODING] or "") if rule.keyword == "SpecificCharacterSet" else None


def _scope(
    rows: list[dict[str, Any]], rule: CorrectionRule, made: dict[int, str], number: int
) -> tuple[str, str]:
    """Return the series when all of it that was read gets the same value, else the instance."""
    series = str(rows[number]["series_instance_uid"])
    members = [i for i, row in enumerate(rows) if row["series_instance_uid"] == series]
    encoding = _encoding(rows[number], rule)
    same = all(
        made.get(member) == made[number] and _encoding(rows[member], rule) == encoding
        for member in members
    )
    return series, "" if same else str(rows[number]["sop_instance_uid"])


def _by_keyword(row: dict[str, Any]) -> dict[str, str]:
    header = {keyword: str(row[column] or "") for keyword, column in COLUMN_OF.items()}
    header[TEXT_ENCODING] = str(row[TEXT_ENCODING] or "")
    return header


def _misfit(correction: Correction) -> ExceptionNote:
    return ExceptionNote(
        ReasonCode.CORRECTION_FAILED,
        PHASE,
        study_instance_uid=correction.study_instance_uid,
        series_instance_uid=correction.series_instance_uid,
        sop_instance_uid=correction.sop_instance_uid,
        subject=f"{correction.rule_id}/{correction.keyword}",
        detail=f"Rule {correction.rule_id} makes a value that {correction.keyword} cannot hold.",
        suggested_fix="Correct the rule, or the value at the source.",
    )
