"""The project's own rules applied to single instances, as the cleansing and the transfer do."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

from dicom_migration.archive import InstanceIdentity
from dicom_migration.datasets import inflate, read_header
from dicom_migration.header_facts import (
    COLUMN_OF_KEYWORD,
    TEXT_ENCODING,
    read_header_facts,
    storable,
)
from dicom_migration.policies.corrections import RuleSet
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.part10 import part10_header
from tests.archives import HeldInstance

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEFLATED, EXPLICIT = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1"


def corrections_of(header: bytes, syntax: str, ruleset: RuleSet) -> list[Correction]:
    """Return what the rules make of one header; of those for one attribute the first."""
    facts = read_header_facts(read_header(BytesIO(header), syntax))
    values = {
        keyword: storable(str(facts.get(column) or ""))
        for keyword, column in COLUMN_OF_KEYWORD.items()
    }
    values[TEXT_ENCODING] = str(facts[TEXT_ENCODING])
    made: dict[str, Correction] = {}
    for rule in ruleset.rules:
        new = rule.correct(values)
        if new is not None and rule.keyword not in made:
            made[rule.keyword] = Correction(
                f"c-{rule.id}",
                rule.keyword,
                new,
                values[rule.keyword],
                rule.id,
                WHEN,
                text_charset=rule.operation.reencode_from,
            )
    return list(made.values())


def parts_of(held: HeldInstance) -> tuple[bytes, bytes, str]:
    """Return the header, Pixel Data with what follows it, and the transfer syntax of both.

    A deflated dataset comes inflated, as explicit little endian: what it is inside.
    """
    plain, syntax = held.dataset, held.transfer_syntax_uid
    if syntax == DEFLATED:
        plain, syntax = inflate(plain), EXPLICIT
    file = BytesIO(plain)
    read_header(file, syntax)
    return plain[: file.tell()], plain[file.tell() :], syntax


def before_and_after(
    held: HeldInstance, ruleset: RuleSet, extra: tuple[Correction, ...] = ()
) -> tuple[bytes, bytes] | None:
    """Return the instance as two Part 10 files, None when no rule changes it."""
    header, tail, syntax = parts_of(held)
    corrections = [*corrections_of(header, syntax, ruleset), *extra]
    if not corrections:
        return None
    charset = str(read_header(BytesIO(header), syntax).get("SpecificCharacterSet") or "")
    made = correct_header(header, syntax, charset, corrections, "ARCHIVE").header
    record = held.record
    meta = part10_header(InstanceIdentity(record.sop_class_uid, record.sop_instance_uid, syntax))
    return meta + header + tail, meta + made + tail
