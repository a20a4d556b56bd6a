"""The transfer seals which instances it received, and verification compares the set."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.transfer.instance_pass import Examined
from dicom_migration.uids import uid_set_sha256
from dicom_migration.verification.claims import Shard as VerificationShard
from dicom_migration.verification.shards import verify_shard
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.test_packed_transfer import ct
from tests.integration.transfer.test_transfer_shard import manifests, reasons, states, transfer

STUDY = "1.2.3.1"
LAYOUTS = pytest.mark.parametrize("layout", ["instance", "series-zip"])


@pytest.fixture
def held() -> list[HeldInstance]:
    """One study of two series."""
    return [ct(series, number) for series in (1, 2) for number in (1, 2, 3)]


def policy(layout: str) -> TransferPolicy:
    return TransferPolicy.model_validate({"studies_per_shard": 100, "layout": layout})


def sealed(ledger: Ledger) -> list[dict[str, Any]]:
    event = schema.event.c
    with ledger.read() as connection:
        payloads = connection.scalars(
            select(event.payload)
            .where(event.kind == "study.transferred", event.study_instance_uid == STUDY)
            .order_by(event.at, event.sequence)
        )
        return [json.loads(payload) for payload in payloads]


def verify(archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str) -> dict[str, int]:
    shard = VerificationShard(wave, 0, 100)
    return dict(verify_shard(archive, store, ledger, shard, VerificationPolicy()).outcomes)


@LAYOUTS
@pytest.mark.parametrize("twin", [False, True])
def test_what_arrived_is_sealed_and_agrees_with_the_manifest(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str, twin: bool
) -> None:
    """An instance that the source sends twice is received once."""
    uids = {held.record.sop_instance_uid for held in archive.instances}
    if twin:
        archive.instances.append(archive.instances[0])
    transfer(archive, store, ledger, wave, policy=policy(layout))
    assert [told["received_uids_sha256"] for told in sealed(ledger)] == [uid_set_sha256(uids)]
    assert verify(archive, store, ledger, wave) == {"verified": 1}


@LAYOUTS
def test_a_study_sent_again_after_it_grew_is_sealed_anew(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    transfer(archive, store, ledger, wave, policy=policy(layout))
    archive.instances.append(ct(2, 4))
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(state="cleansed"))
    transfer(archive, store, ledger, wave, policy=policy(layout))
    first, second = (told["received_uids_sha256"] for told in sealed(ledger))
    assert first != second
    assert second == uid_set_sha256(row.sop_instance_uid for row in manifests(ledger, store)[STUDY])
    assert verify(archive, store, ledger, wave) == {"verified": 1}


@LAYOUTS
def test_a_transfer_that_takes_one_instance_for_another_is_found(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many rows as instances, and one of them under a UID that never came."""
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(number_of_instances=6))
    right = Examined.row

    def wrong(examined: Examined, *arguments: Any) -> ManifestRow:
        row = right(examined, *arguments)
        mistaken = row.sop_instance_uid == "1.2.3.1.1.1"
        return replace(row, sop_instance_uid="1.2.3.9") if mistaken else row

    monkeypatch.setattr(Examined, "row", wrong)
    transfer(archive, store, ledger, wave, policy=policy(layout))
    monkeypatch.undo()
    assert states(ledger) == {STUDY: "transferred"}
    assert {row.sop_instance_uid for row in manifests(ledger, store)[STUDY]} >= {"1.2.3.9"}
    uids = {held.record.sop_instance_uid for held in archive.instances}
    assert [told["received_uids_sha256"] for told in sealed(ledger)] == [uid_set_sha256(uids)]
    assert verify(archive, store, ledger, wave).get("verified") is None
    assert "receipt_mismatch" in reasons(ledger)
