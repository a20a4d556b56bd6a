"""From a merge message and an order list to the object in the cloud; the patient stays inside."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import insert, select, update

from dicom_migration.cleansing.approval import approve_corrections
from dicom_migration.cleansing.judging import WaveJudgement
from dicom_migration.cleansing.list_loading import load_lists
from dicom_migration.cleansing.proposals import propose_corrections
from dicom_migration.cleansing.reconciling import reconcile_wave
from dicom_migration.cleansing.report import report_wave
from dicom_migration.cleansing.settlement import settle_wave
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.header_facts import read_header_facts
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.corrections import load_ruleset
from dicom_migration.policies.identity import IdentityPolicy, OrderList, PatientList
from dicom_migration.transfer.shards import Shard
from tests.archives import MemoryArchive, held_from, real_file
from tests.integration.transfer.conftest import WAVE

RULES = "a" * 64
MERGE = (
    "MSH|^~\\&|MPI|H|MIG|H|20260101||ADT^A40|1|P|2.5\r"
    "PID|1||ZZSURVIVOR^^^ZZISSUER||CompressedSamples^CT1||\r"
    "MRG|1CT1\r"
)


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive([held_from(real_file("CT_small.dcm"))])


@pytest.fixture
def policy(tmp_path: Path, archive: MemoryArchive) -> IdentityPolicy:
    uid = archive.instances[0].record.study_instance_uid
    merges, orders = tmp_path / "merges.hl7", tmp_path / "orders.csv"
    merges.write_text(MERGE)
    orders.write_text(f"StudyInstanceUID,AccessionNumber,PatientID\n{uid},ZZORDER,ZZSURVIVOR\n")
    return IdentityPolicy(
        patients=PatientList(file=merges, format="hl7"),
        orders=OrderList(file=orders, fill=("AccessionNumber",)),
    )


def cleanse(ledger: Ledger, policy: IdentityPolicy) -> str:
    """Do what the cleansing DAG does with the real headers of the wave; return its report."""
    load_lists(ledger, policy)
    ruleset = load_ruleset()
    found = propose_corrections(ledger, WAVE, ruleset, RULES)
    found = reconcile_wave(ledger, WAVE, policy, RULES, found)
    judged = WaveJudgement()
    report = report_wave(ledger, WAVE, ruleset, RULES, found, judged, judged)
    approve_corrections(ledger, WAVE, RULES, "Ada")
    settle_wave(ledger, WAVE, RULES, {})
    return report


def wait_for_cleansing(ledger: Ledger, archive: MemoryArchive) -> None:
    record = archive.instances[0].record
    facts = read_header_facts(dcmread(io.BytesIO(real_file("CT_small.dcm"))))
    with ledger.write() as connection:
        connection.execute(update(schema.wave).values(state="planned", approved_at=None))
        connection.execute(update(schema.study).values(state="planned"))
        connection.execute(
            insert(schema.header_fact).values(
                study_instance_uid=record.study_instance_uid,
                series_instance_uid=record.series_instance_uid,
                sop_instance_uid=record.sop_instance_uid,
                **facts,
            )
        )


def test_lists_correct_the_copy_and_the_original_is_kept(
    ledger: Ledger,
    wave: str,
    archive: MemoryArchive,
    policy: IdentityPolicy,
    store: S3Store,
    transfer: Callable[..., dict[str, int | float]],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    wait_for_cleansing(ledger, archive)
    report = cleanse(ledger, policy)
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(shard=0))
    told = transfer(archive, Shard(wave, 0))
    record = archive.instances[0].record
    (key,) = [o.key for o in store.list("studies/") if o.key.endswith(".dcm")]
    stored = dcmread(io.BytesIO(store.read(key)))
    assert (stored.PatientID, stored.IssuerOfPatientID) == ("ZZSURVIVOR", "ZZISSUER")
    assert stored.AccessionNumber == "ZZORDER"
    modified = stored.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (modified.PatientID, modified.AccessionNumber) == ("1CT1", "")
    assert record.study_instance_uid == stored.StudyInstanceUID
    with ledger.read() as connection:
        events = connection.scalars(select(schema.event.c.payload)).all()
        notes = connection.execute(select(schema.exception)).all()
    outside = "".join((report, str(told), *events, str(notes), caplog.text, *capsys.readouterr()))
    for canary in ("ZZSURVIVOR", "ZZISSUER", "ZZORDER", "CompressedSamples"):
        assert canary not in outside
    assert "master-patient-list" in report
