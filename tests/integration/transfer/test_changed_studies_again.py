"""A study that changed at the source since its copy is sent again: only what is new is uploaded."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard as VerificationShard
from dicom_migration.verification.settlement import settle_mismatches
from dicom_migration.verification.shards import verify_shard
from tests.archives import HeldInstance, MemoryArchive
from tests.integration.transfer.test_packed_transfer import ct
from tests.integration.transfer.test_transfer_shard import manifests, states, transfer

STUDY = "1.2.3.1"
ADDED = "1.2.3.1.2.4"
LAYOUTS = pytest.mark.parametrize("layout", ["instance", "series-zip"])
VERIFICATION = VerificationPolicy()


class Requests:
    """Keys whose bytes were offered to the store, those of them it took, and those asked about."""

    def __init__(self, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.put: list[str] = []
        self.created: list[str] = []
        self.asked: list[str] = []
        put, head = store.put, store.head

        def watched_put(key: str, *arguments: Any, **named: Any) -> Any:
            self.put.append(key)
            result = put(key, *arguments, **named)
            if result.created:
                self.created.append(key)
            return result

        def watched_head(key: str) -> Any:
            self.asked.append(key)
            return head(key)

        monkeypatch.setattr(store, "put", watched_put)
        monkeypatch.setattr(store, "head", watched_head)


@pytest.fixture
def ledger(any_ledger: Ledger) -> Ledger:
    return any_ledger


@pytest.fixture
def held() -> list[HeldInstance]:
    """One study of two series of three."""
    return [ct(series, number) for series in (1, 2) for number in (1, 2, 3)]


def policy(layout: str) -> TransferPolicy:
    return TransferPolicy.model_validate({"studies_per_shard": 100, "layout": layout})


def copied(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> dict[str, int]:
    """Transfer the study as discovery counted it; return sizes of what is stored, by key."""
    with ledger.write() as connection:
        count = len(archive.instances)
        connection.execute(update(schema.study).values(number_of_instances=count))
    transfer(archive, store, ledger, wave, policy=policy(layout))
    assert states(ledger) == {STUDY: "transferred"}
    return {stored.key: stored.size for stored in store.list("studies/")}


def verify(archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str) -> dict[str, int]:
    shard = VerificationShard(wave, 0, 100)
    outcomes = verify_shard(archive, store, ledger, shard, VERIFICATION).outcomes
    settle_mismatches(ledger, wave, VERIFICATION)
    return dict(outcomes)


def send_again(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(state="cleansed"))
    transfer(archive, store, ledger, wave, policy=policy(layout))


def told(ledger: Ledger, kind: str) -> dict[str, Any]:
    """Return the payload of the last event of a kind."""
    event = schema.event.c
    with ledger.read() as connection:
        payload = connection.scalar(
            select(event.payload)
            .where(event.kind == kind, event.study_instance_uid == STUDY)
            .order_by(event.at.desc(), event.sequence.desc())
            .limit(1)
        )
    return dict(json.loads(payload or "{}"))


def exceptions(ledger: Ledger) -> dict[str, str]:
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.reason, table.detail).where(table.status == "open")
        ).all()
    return {row.reason: row.detail for row in rows}


@LAYOUTS
def test_of_a_study_that_grew_only_what_is_new_is_uploaded(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = copied(archive, store, ledger, wave, layout)
    archive.instances.append(ct(2, 4))
    assert verify(archive, store, ledger, wave) == {"mismatched": 1}
    assert states(ledger) == {STUDY: "cleansed"}
    assert f"against the copy 1 added ({ADDED}), 0 gone" in exceptions(ledger)["source_changed"]
    assert told(ledger, "study.mismatched")["source_delta"] == {
        "added": 1,
        "added_uids": [ADDED],
        "gone": 0,
    }
    requests = Requests(store, monkeypatch)
    transfer(archive, store, ledger, wave, policy=policy(layout))
    monkeypatch.undo()
    data = [key for key in requests.put if not key.endswith(".parquet")]
    assert len(data) == 1
    assert data[0] not in before
    assert ("1.2.3.1.2.4.dcm" if layout == "instance" else "1.2.3.1.2.") in data[0]
    held_back = [key for key in requests.asked if key in before]
    assert len(held_back) == len(set(held_back)) == len(before) - 1  # all but the manifest
    now = {stored.key: stored.size for stored in store.list("studies/")}
    assert before.items() <= now.items()
    assert len(now) == len(before) + 2  # the new object, and the new manifest
    assert told(ledger, "study.transferred")["delta"] == {
        "added": 1,
        "added_uids": [ADDED],
        "gone": 0,
        "changed": 0,
    }
    assert len(manifests(ledger, store)[STUDY]) == 7
    assert verify(archive, store, ledger, wave) == {"verified": 1}
    assert set(exceptions(ledger)) == {"object_unexpected"}  # the earlier manifest, the earlier ZIP


@LAYOUTS
def test_an_instance_replaced_under_its_uid_is_stored_beside_the_old_one(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    """No list shows it: verification agrees until the study is sent again, by whatever cause."""
    before = copied(archive, store, ledger, wave, layout)
    replaced = archive.instances[0]
    uid = replaced.record.sop_instance_uid
    archive.instances[0] = replace(replaced, dataset=replaced.dataset[:-1] + b"\x07")
    send_again(archive, store, ledger, wave, layout)
    assert told(ledger, "study.transferred")["delta"] == {
        "added": 0,
        "gone": 0,
        "changed": 1,
        "changed_uids": [uid],
    }
    now = {stored.key: stored.size for stored in store.list("studies/")}
    assert before.items() <= now.items()
    row = next(row for row in manifests(ledger, store)[STUDY] if row.sop_instance_uid == uid)
    assert row.object_key not in before
    assert verify(archive, store, ledger, wave) == {"verified": 1}
    assert set(exceptions(ledger)) == {"object_unexpected"}


@LAYOUTS
def test_a_study_that_lost_an_instance_waits_for_a_person_and_loses_nothing_in_the_cloud(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    before = copied(archive, store, ledger, wave, layout)
    gone = archive.instances.pop().record.sop_instance_uid
    assert verify(archive, store, ledger, wave) == {"undecided": 1}
    assert states(ledger) == {STUDY: "quarantined"}
    assert "source_changed" in exceptions(ledger)
    assert told(ledger, "study.mismatched")["source_delta"] == {
        "added": 0,
        "gone": 1,
        "gone_uids": [gone],
    }
    assert before.items() <= {s.key: s.size for s in store.list("studies/")}.items()


@LAYOUTS
def test_one_added_and_one_gone_is_told_as_both_and_a_person_decides(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    copied(archive, store, ledger, wave, layout)
    gone = archive.instances.pop().record.sop_instance_uid
    archive.instances.append(ct(2, 4))
    assert verify(archive, store, ledger, wave) == {"undecided": 1}
    table = schema.exception.c
    with ledger.read() as connection:
        details = list(connection.scalars(select(table.detail)))
    assert any(f"1 added ({ADDED}), 1 gone ({gone})" in detail for detail in details)


@LAYOUTS
def test_an_instance_gone_on_purpose_is_told_when_the_study_is_sent_again(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, layout: str
) -> None:
    before = copied(archive, store, ledger, wave, layout)
    gone = archive.instances.pop().record.sop_instance_uid
    with ledger.write() as connection:  # the inventory was taken again
        connection.execute(update(schema.study).values(number_of_instances=5))
    send_again(archive, store, ledger, wave, layout)
    delta = told(ledger, "study.transferred")["delta"]
    assert (delta["gone"], delta["gone_uids"], delta["changed"]) == (1, [gone], 0)
    assert before.items() <= {s.key: s.size for s in store.list("studies/")}.items()


@LAYOUTS
def test_an_object_that_was_lost_or_damaged_is_uploaded_again_and_no_other(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    layout: str,
    s3: Any,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied(archive, store, ledger, wave, layout)
    keys = sorted({row.object_key for row in manifests(ledger, store)[STUDY]})
    s3.delete_object(Bucket=bucket, Key=f"site-a/{keys[0]}")
    s3.put_object(
        Bucket=bucket, Key=f"site-a/{keys[1]}", Body=b"damaged", StorageClass="GLACIER_IR"
    )
    assert verify(archive, store, ledger, wave) == {"mismatched": 1}
    requests = Requests(store, monkeypatch)
    transfer(archive, store, ledger, wave, policy=policy(layout))
    monkeypatch.undo()
    data = sorted(key for key in requests.created if not key.endswith(".parquet"))
    assert len(data) == 2
    assert data[0] == keys[0]
    assert data[1].startswith(keys[1].rsplit(".", 1)[0])
    assert verify(archive, store, ledger, wave) == {"verified": 1}


def test_a_damaged_manifest_only_costs_the_knowledge_of_what_changed(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, s3: Any, bucket: str
) -> None:
    copied(archive, store, ledger, wave, "instance")
    with ledger.read() as connection:
        key = connection.scalar(select(schema.study.c.manifest_key))
    s3.put_object(Bucket=bucket, Key=f"site-a/{key}", Body=b"damaged")
    assert verify(archive, store, ledger, wave) == {"mismatched": 1}
    transfer(archive, store, ledger, wave, policy=policy("instance"))
    assert told(ledger, "study.transferred")["delta"] == "the earlier manifest could not be read"
    assert verify(archive, store, ledger, wave) == {"verified": 1}


def test_a_first_transfer_tells_no_delta(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    copied(archive, store, ledger, wave, "instance")
    assert "delta" not in told(ledger, "study.transferred")
