"""A shard goes to a real S3 endpoint with its series packed, undisturbed and disturbed."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from sqlalchemy import select

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.transfer import series_layout, series_stage
from dicom_migration.verification.claims import Shard as VerificationShard
from dicom_migration.verification.shards import verify_shard
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file
from tests.integration.cloud.fault_proxy import Fault, FaultProxy
from tests.integration.transfer.conftest import FILES
from tests.integration.transfer.test_transfer_shard import (
    KilledError,
    _approve,
    fingerprint,
    manifests,
    reasons,
    states,
    transfer,
)

PACKED = TransferPolicy(studies_per_shard=100, layout="series-zip")


def ct(series: int, number: int, study: int = 1) -> HeldInstance:
    """Return a CT image under UIDs of its own, with a byte of its own in the pixels."""
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    dataset.StudyInstanceUID = f"1.2.3.{study}"
    dataset.SeriesInstanceUID = f"1.2.3.{study}.{series}"
    dataset.SOPInstanceUID = f"1.2.3.{study}.{series}.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = bytes([series, number]) + dataset.PixelData[2:]
    buffer = BytesIO()
    dataset.save_as(buffer)
    return held_from(buffer.getvalue())


@pytest.fixture
def held() -> list[HeldInstance]:
    """One study of two series, one of one, and the real files."""
    images = [ct(series, number) for series in (1, 2) for number in (1, 2, 3)]
    return [*images, ct(1, 1, study=2), *(held_from(real_file(name)) for name in FILES)]


@pytest.fixture
def no_file_stays_open() -> Iterator[None]:
    def temporary() -> list[str]:
        found = []
        for entry in Path("/proc/self/fd").iterdir():
            try:
                found.append(str(entry.readlink()))
            except FileNotFoundError:
                continue
        return [name for name in found if name.endswith("(deleted)")]

    before = len(temporary())
    yield
    assert len(temporary()) == before


def pack(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, **changes: Any
) -> dict[str, int | float]:
    last_try = changes.pop("last_try", False)
    policy = PACKED.model_copy(update=changes)
    return transfer(archive, store, ledger, wave, policy=policy, last_try=last_try)


def zips(store: S3Store) -> list[str]:
    return [stored.key for stored in store.list("studies/") if stored.key.endswith(".zip")]


def test_every_row_of_the_manifest_is_one_range_that_is_the_whole_file(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, held: list[HeldInstance]
) -> None:
    pack(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}
    rows = {row.sop_instance_uid: row for rows in manifests(ledger, store).values() for row in rows}
    assert len(rows) == len(held)
    for instance in held:
        row = rows[instance.record.sop_instance_uid]
        file = store.read(row.object_key, row.offset, row.object_bytes)
        assert file.endswith(instance.dataset)
        assert hashlib.sha256(file).hexdigest() == row.object_sha256
        assert dcmread(BytesIO(file)).SOPInstanceUID == row.sop_instance_uid


def test_a_series_is_one_archive_that_anybody_can_unpack(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, held: list[HeldInstance]
) -> None:
    pack(archive, store, ledger, wave)
    series = {(h.record.study_instance_uid, h.record.series_instance_uid) for h in held}
    assert zips(store) == sorted(f"studies/{study}/{uid}.zip" for study, uid in series)
    assert not [o.key for o in store.list("studies/") if o.key.endswith(".dcm")]
    data = store.read("studies/1.2.3.1/1.2.3.1.2.zip")
    with zipfile.ZipFile(BytesIO(data)) as unpacked:
        assert unpacked.testzip() is None
        assert unpacked.namelist() == [f"1.2.3.1.2.{number}.dcm" for number in (1, 2, 3)]
    row = manifests(ledger, store)["1.2.3.1"][-1]
    assert (row.container_bytes, row.container_sha256) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    head = store.head("studies/1.2.3.1/1.2.3.1.2.zip")
    assert head is not None
    assert (head.sha256, head.storage_class) == (row.container_sha256, "GLACIER_IR")


def test_what_was_packed_is_verified(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    pack(archive, store, ledger, wave)
    summary = verify_shard(
        archive, store, ledger, VerificationShard(wave, 0, 100), VerificationPolicy()
    )
    assert summary.outcomes == {"verified": len(states(ledger))}


def test_a_series_is_stored_while_the_next_is_still_on_its_way(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def wait_for_the_first(held: HeldInstance) -> None:
        if held.record.series_instance_uid != "1.2.3.1.2":
            return
        deadline = time.monotonic() + 20
        while store.head("studies/1.2.3.1/1.2.3.1.1.zip") is None:
            assert time.monotonic() < deadline, "the first series waits for the end of the study"
            time.sleep(0.01)

    pack(replace(archive, before_delivery=wait_for_the_first), store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}


@pytest.mark.parametrize("memory", [0, 96])
@pytest.mark.parametrize("seed", [1, 2])
def test_neither_the_order_of_arrival_nor_memory_shows_in_the_bytes(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, memory: int, seed: int
) -> None:
    shuffled = random.Random(seed).sample(archive.instances, len(archive.instances))
    pack(replace(archive, instances=shuffled), store, ledger, wave, packed_memory_mib=memory)
    first = fingerprint(ledger, store)
    with ledger.write() as connection:
        connection.execute(schema.study.update().values(state="cleansed"))
    pack(archive, store, ledger, wave)
    assert fingerprint(ledger, store) == first
    assert len(zips(store)) == len({h.record.series_instance_uid for h in archive.instances})


@pytest.mark.parametrize("after", range(15))
def test_killed_after_any_instance_the_next_run_ends_as_if_nothing_had_been(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, after: int
) -> None:
    seen = 0

    def die(_held: HeldInstance) -> None:
        nonlocal seen
        seen += 1
        if seen > after:
            raise KilledError

    with pytest.raises(KilledError):
        pack(replace(archive, before_delivery=die), store, ledger, wave)
    pack(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}
    series = {h.record.series_instance_uid for h in archive.instances}
    assert len(list(store.list("studies/"))) == len(series) + len(states(ledger))


def test_a_corrected_instance_is_packed_corrected(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, held: list[HeldInstance]
) -> None:
    _approve(ledger, wave, held[0], "StudyDescription", "e+1", "CORRECTED")
    pack(archive, store, ledger, wave)
    row, *others = manifests(ledger, store)[held[0].record.study_instance_uid]
    stored = dcmread(BytesIO(store.read(row.object_key, row.offset, row.object_bytes)))
    assert row.corrections == ("c-StudyDescription",)
    assert stored.StudyDescription == "CORRECTED"
    assert stored.OriginalAttributesSequence
    assert all(other.corrections for other in others)
    verify_shard(archive, store, ledger, VerificationShard(wave, 0, 100), VerificationPolicy())
    assert set(states(ledger).values()) == {"verified"}


@pytest.mark.parametrize("place", [0, 1, 6], ids=["first", "in between", "after the series"])
def test_two_datasets_under_one_uid_are_both_kept_and_a_person_decides(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, place: int
) -> None:
    first = archive.instances[0]
    other = replace(first, dataset=first.dataset[:-2] + b"\x01\x02")
    instances = list(archive.instances)
    instances.insert(place, other)
    pack(replace(archive, instances=instances), store, ledger, wave)
    assert states(ledger)["1.2.3.1"] == "quarantined"
    assert reasons(ledger) == ["instance_conflict"]
    kept = b"".join(store.read(key) for key in zips(store) if key.startswith("studies/1.2.3.1/"))
    assert first.dataset in kept
    assert other.dataset in kept


def test_equal_twins_are_one(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    twins = [*archive.instances[:7], *archive.instances]
    pack(replace(archive, instances=twins), store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}
    verify_shard(archive, store, ledger, VerificationShard(wave, 0, 100), VerificationPolicy())
    assert set(states(ledger).values()) == {"verified"}


def test_an_incomplete_series_leaves_the_key_to_the_whole_one(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    missing = {"1.2.3.1.2.3": ReasonCode.SOP_CLASS_REFUSED.value}
    pack(replace(archive, undeliverable=missing), store, ledger, wave)
    assert states(ledger)["1.2.3.1"] == "quarantined"
    assert reasons(ledger) == ["sop_class_refused"]
    assert "studies/1.2.3.1/1.2.3.1.1.zip" in zips(store)
    assert "studies/1.2.3.1/1.2.3.1.2.zip" not in zips(store)
    with ledger.write() as connection:
        connection.execute(
            schema.study.update()
            .where(schema.study.c.study_instance_uid == "1.2.3.1")
            .values(state="cleansed")
        )
    pack(archive, store, ledger, wave)
    assert {row.object_key for row in manifests(ledger, store)["1.2.3.1"]} == {
        "studies/1.2.3.1/1.2.3.1.1.zip",
        "studies/1.2.3.1/1.2.3.1.2.zip",
    }


def test_what_else_came_of_an_incomplete_series_does_not_take_its_key(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    surprising = replace(
        archive,
        instances=[ct(2, 4), *archive.instances],
        unlisted={"1.2.3.1.2.4"},
        undeliverable={"1.2.3.1.2.3": ReasonCode.SOP_CLASS_REFUSED.value},
    )
    pack(surprising, store, ledger, wave)
    assert sorted(reasons(ledger)) == ["instance_unexpected", "sop_class_refused"]
    assert [key for key in zips(store) if key.startswith("studies/1.2.3.1/")] == [
        "studies/1.2.3.1/1.2.3.1.1.zip"
    ]


def test_an_instance_that_its_header_puts_into_another_series_is_packed_apart(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    moved = archive.instances[0]
    moved = replace(moved, record=replace(moved.record, series_instance_uid="1.2.3.1.9"))
    for order in (1, -1):
        instances = [moved, *archive.instances[1:]][::order]
        pack(replace(archive, instances=instances), store, ledger, wave)
        rows = manifests(ledger, store)["1.2.3.1"]
        assert len({row.object_key for row in rows}) == 3
        assert len([key for key in zips(store) if key.startswith("studies/1.2.3.1/")]) == 3
        with ledger.write() as connection:
            connection.execute(schema.study.update().values(state="cleansed"))


def test_an_instance_the_source_does_not_list_is_kept_and_told(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    surplus = ct(2, 4)
    surprising = replace(archive, instances=[surplus, *archive.instances], unlisted={"1.2.3.1.2.4"})
    pack(surprising, store, ledger, wave)
    assert reasons(ledger) == ["instance_unexpected"]
    kept = [store.read(key) for key in zips(store) if key.startswith("studies/1.2.3.1/1.2.3.1.2.")]
    assert len(kept) == 2
    assert surplus.dataset in b"".join(kept)


def test_a_key_that_holds_other_bytes_is_not_touched(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    taken = "studies/1.2.3.1/1.2.3.1.1.zip"
    digest = hashlib.sha256(b"something else").hexdigest()
    store.put(taken, b"something else", size=14, sha256=digest)
    pack(archive, store, ledger, wave)
    assert store.read(taken) == b"something else"
    row = manifests(ledger, store)["1.2.3.1"][0]
    assert row.object_key == f"studies/1.2.3.1/1.2.3.1.1.{row.container_sha256[:16]}.zip"


@pytest.mark.usefixtures("no_file_stays_open")
@pytest.mark.parametrize("own_files", [0, 2, 64])
def test_a_series_larger_than_the_bound_becomes_several_archives(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    monkeypatch: pytest.MonkeyPatch,
    own_files: int,
) -> None:
    monkeypatch.setattr(series_layout, "OWN_FILES", own_files)
    large = [_padded(ct(1, number, study=3), 1_500_000) for number in range(1, 6)]
    add_to_wave(ledger, wave, "1.2.3.3")
    instances = [*large, *archive.instances]
    bounds = {"max_packed_mib": 4, "spool_memory_mib": 4}
    pack(replace(archive, instances=instances), store, ledger, wave, **bounds)
    rows = manifests(ledger, store)["1.2.3.3"]
    assert [row.object_key.rsplit("/", 1)[-1] for row in rows] == [
        "1.2.3.3.1.part-0001.zip",
        "1.2.3.3.1.part-0001.zip",
        "1.2.3.3.1.part-0002.zip",
        "1.2.3.3.1.part-0002.zip",
        "1.2.3.3.1.part-0003.zip",
    ]
    whole = replace(archive, instances=instances)
    verify_shard(whole, store, ledger, VerificationShard(wave, 0, 100), VerificationPolicy())
    assert set(states(ledger).values()) == {"verified"}


def test_a_series_that_goes_up_in_parts_is_whole(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    large = [_padded(ct(1, number, study=3), 5_000_000) for number in range(1, 4)]
    add_to_wave(ledger, wave, "1.2.3.3")
    whole = replace(archive, instances=[*large, *archive.instances])
    pack(whole, store, ledger, wave)
    head = store.head("studies/1.2.3.3/1.2.3.3.1.zip")
    assert head is not None
    assert "-" in head.etag  # that of a multipart upload
    assert head.sha256 == manifests(ledger, store)["1.2.3.3"][0].container_sha256
    verify_shard(whole, store, ledger, VerificationShard(wave, 0, 100), VerificationPolicy())
    assert set(states(ledger).values()) == {"verified"}


@pytest.mark.parametrize(
    "fault",
    [Fault.error(503, "SlowDown"), Fault.connection_reset(), Fault.lost_answer()],
    ids=["busy", "reset", "answer lost"],
)
@pytest.mark.parametrize("size", [0, 5_000_000], ids=["one request", "in parts"])
def test_an_upload_that_is_interrupted_sends_the_same_bytes_again(
    archive: MemoryArchive,
    faulty_store: S3Store,
    proxy: FaultProxy,
    ledger: Ledger,
    wave: str,
    fault: Fault,
    size: int,
) -> None:
    images = [_padded(ct(1, number, study=3), size) for number in range(1, 4)]
    add_to_wave(ledger, wave, "1.2.3.3")
    with ledger.write() as connection:
        only = schema.study.c.study_instance_uid == "1.2.3.3"
        connection.execute(schema.study.delete().where(~only))
    proxy.script(fault, method="PUT")
    pack(replace(archive, instances=images), faulty_store, ledger, wave)
    assert states(ledger) == {"1.2.3.3": "transferred"}
    assert zips(faulty_store) == ["studies/1.2.3.3/1.2.3.3.1.zip"]
    row = manifests(ledger, faulty_store)["1.2.3.3"][0]
    whole = faulty_store.read(row.object_key)
    assert hashlib.sha256(whole).hexdigest() == row.container_sha256


def _padded(held: HeldInstance, size: int) -> HeldInstance:
    """Return the instance with Data Set Trailing Padding (PS3.10 section 7.2)."""
    padding = b"\xfc\xff\xfc\xffOB\0\0" + size.to_bytes(4, "little") + bytes(size)
    return replace(held, dataset=held.dataset + padding)


def add_to_wave(ledger: Ledger, wave: str, uid: str) -> None:
    with ledger.write() as connection:
        row = connection.execute(select(schema.study).limit(1)).one()._asdict()
        connection.execute(
            schema.study.insert().values({**row, "study_instance_uid": uid, "wave_id": wave})
        )


@pytest.mark.parametrize(
    ("layout", "planned", "packed"),
    [
        ("instance", "series-zip", True),
        ("series-zip", "instance", False),
        ("by-plan", "series-zip", True),
        ("by-plan", "", False),
    ],
)
def test_the_plan_decides_over_a_study_and_the_policy_over_the_rest(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    layout: str,
    planned: str,
    packed: bool,
) -> None:
    with ledger.write() as connection:
        connection.execute(schema.study.update().values(layout=planned))
    pack(archive, store, ledger, wave, layout=layout)
    assert set(states(ledger).values()) == {"transferred"}
    assert bool(zips(store)) is packed


@pytest.mark.usefixtures("no_file_stays_open")
def test_a_full_disk_is_a_passing_fault_and_leaves_nothing_open(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(series_stage.os, "pwrite", full)
        with pytest.raises(TransientError) as caught:
            pack(archive, store, ledger, wave, packed_memory_mib=0)
    assert caught.value.reason is ReasonCode.DISK_FULL
    assert zips(store) == []
    pack(archive, store, ledger, wave, packed_memory_mib=0)
    assert set(states(ledger).values()) == {"transferred"}


@pytest.mark.usefixtures("no_file_stays_open")
def test_a_broken_association_leaves_nothing_open(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def break_off(held: HeldInstance) -> None:
        if held.record.sop_instance_uid == "1.2.3.1.2.3":
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    broken = replace(archive, before_delivery=break_off)
    with pytest.raises(TransientError):
        pack(broken, store, ledger, wave, packed_memory_mib=0)
