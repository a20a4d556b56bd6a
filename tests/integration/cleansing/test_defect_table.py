"""The page's table of planted defects: each is found, and corrected, as its row says."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_migration.archive import InstanceIdentity
from dicom_migration.cleansing.facts import wave_frame
from dicom_migration.cleansing.headers import read_study
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.cleansing import load_cleansing_policy
from dicom_migration.quality import judge_frame, load_suite, suite_names
from dicom_migration.transfer.instance_pass import PassSettings, examine
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.spool import MemoryBudget, Spool
from include.sample_archive.defects import catalogue
from tests.archives import MemoryArchive, held_from
from tests.integration.cleansing.test_sample_archive import (
    Migration,
    connections,
    ledger,
    migrated,
)

__all__ = ["connections", "ledger", "migrated"]  # fixtures

TABLE = Path(__file__).resolve().parents[3] / "docs" / "cleansing.md"
NONE = "–"


def documented() -> dict[str, tuple[str, str, str]]:
    """Return the documented defects: expectation or check, reason code, rule."""
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("| `")
    ]
    return {row[0]: (row[1], row[2], row[3]) for row in rows if len(row) == 4}


def test_the_documented_table_has_every_defect_that_is_planted() -> None:
    assert set(documented()) == set(catalogue())


@pytest.mark.parametrize("defect", catalogue())
def test_a_planted_defect_is_found_as_the_table_says(
    migrated: Migration, ledger: Ledger, connections: Path, defect: str
) -> None:
    expectation, reason, rule = documented()[defect]
    planted = next(p for p in migrated.index.planted if p.code == defect)
    uid = planted.study_instance_uid
    with ledger.read() as connection:
        notes = connection.execute(
            select(schema.exception).where(schema.exception.c.study_instance_uid == uid)
        ).all()
        rules = connection.scalars(
            select(schema.correction.c.rule_id).where(schema.correction.c.study_instance_uid == uid)
        ).all()
    assert set(rules) == {rule} - {NONE}
    reasons = {note.reason for note in notes}
    if reason in ("instance_truncated", "pixel_data_invalid"):
        assert refused_by_the_transfer(connections / "archive" / planted.file) == reason
    elif reason == "study_empty":
        nothing = read_study(MemoryArchive([]), uid, load_cleansing_policy())
        assert nothing.refused_for is ReasonCode.STUDY_EMPTY
    elif reason == NONE:
        assert not reasons
    elif expectation in titles():
        assert reasons <= {reason}  # a warning is counted, and keeps nothing back
    else:
        assert reasons == {reason}
    details = " ".join(note.detail for note in notes)
    if expectation in titles():
        failing = unmet(ledger, migrated.told["choose"][0]["wave_id"], uid)
        assert expectation in details or failing.get(expectation) == reason


def titles() -> set[str]:
    return {
        expectation.meta.title
        for name in suite_names("header_")
        for expectation in load_suite(name).expectations
    }


def unmet(ledger: Ledger, wave_id: str, uid: str) -> dict[str, str]:
    """Return the expectations that the study's headers do not meet, with their reason codes."""
    frame = wave_frame(ledger, wave_id, date(2026, 1, 1))
    mine = frame[frame["study_instance_uid"] == uid]
    judged = [judge_frame(mine, name) for name in suite_names("header_")]
    return {f.title: f.reason_code for j in judged for f in j.findings if f.unexpected}


def refused_by_the_transfer(file: Path) -> str:
    held = held_from(file.read_bytes())
    record = held.record
    identity = InstanceIdentity(
        record.sop_class_uid, record.sop_instance_uid, held.transfer_syntax_uid
    )
    budget = MemoryBudget(1 << 26)
    spool = Spool(part10_header(identity), budget)
    spool.write(held.dataset)
    spool.seal()
    settings = PassSettings(record.study_instance_uid, "PACS", "STANDARD", ())
    with pytest.raises(PermanentError) as refused:
        examine(identity, spool, settings, budget)
    spool.close()
    return refused.value.reason.value
