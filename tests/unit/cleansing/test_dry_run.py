"""The rules tried on real instances: told in forms, and stopped when they do more than they say."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from dicom_migration.archive import InstanceIdentity
from dicom_migration.cleansing.dry_run import DryRun, dry_run
from dicom_migration.cleansing.proposals import Correction, propose_corrections
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.operators.dry_run import correct_as_transfer
from dicom_migration.policies.cleansing import CleansingPolicy
from dicom_migration.policies.corrections import load_ruleset
from tests.archives import MemoryArchive, held_from, real_file
from tests.unit.cleansing.conftest import GOOD, NOW, PLAN, WAVE

HELD = held_from(real_file("ExplVR_BigEnd.dcm"))


@pytest.fixture
def wave(ledger: Ledger) -> Ledger:
    """A wave of one real study whose date has dots."""
    record = HELD.record
    uids = {
        "study_instance_uid": record.study_instance_uid,
        "series_instance_uid": record.series_instance_uid,
        "sop_instance_uid": record.sop_instance_uid,
    }
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study).values(
                study_instance_uid=record.study_instance_uid,
                source="test",
                state="planned",
                wave_id=WAVE,
                plan_id=PLAN,
                first_seen_at=NOW,
                last_seen_at=NOW,
                updated_at=NOW,
            )
        )
        facts = {**GOOD, "study_date": "1997.04.24"}
        connection.execute(insert(schema.header_fact).values(**uids, **facts))
    propose_corrections(ledger, WAVE, load_ruleset(), "a" * 64)
    return ledger


def tried(ledger: Ledger, archive: MemoryArchive) -> DryRun:
    return dry_run(ledger, WAVE, archive, CleansingPolicy(), correct_as_transfer)


def test_what_would_change_is_told_by_its_form(wave: Ledger) -> None:
    text = tried(wave, MemoryArchive([HELD])).text()
    assert "Tried on 1 instances" in text
    assert "- StudyDate: `9999.99.99` → `99999999` (1)" in text
    assert "1997" not in text


def test_an_instance_that_does_not_come_is_told_by_its_reason(wave: Ledger) -> None:
    assert tried(wave, MemoryArchive([])).refused == {"instance_missing": 1}


def test_a_correction_that_does_more_than_it_says_is_stopped(wave: Ledger) -> None:
    def careless(
        identity: InstanceIdentity, data: bytes, study: str, corrections: list[Correction]
    ) -> bytes:
        made = correct_as_transfer(identity, data, study, corrections)
        place = made.index(b"\x00\x08\x00\x60CS") + 8  # the value of Modality
        return made[:place] + b"ZZ" + made[place + 2 :]

    with pytest.raises(PermanentError) as stopped:
        dry_run(wave, WAVE, MemoryArchive([HELD]), CleansingPolicy(), careless)
    assert stopped.value.reason is ReasonCode.CORRECTION_FAILED
