"""A shard is transferred with recompression, verified, audited; killed and run again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from sqlalchemy import select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger, schema
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.transfer import Recompression, TransferPolicy
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.transfer.outcomes import Outcome
from dicom_migration.verification.claims import Shard as VerificationShard
from dicom_migration.verification.part10 import read_stored_instance
from dicom_migration.verification.pixel_audit import audit_pixels
from dicom_migration.verification.readback import compare_instance
from dicom_migration.verification.shards import verify_shard
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file, real_files
from tests.integration.transfer.test_transfer_shard import (
    KilledError,
    _approve,
    fingerprint,
    manifests,
    states,
    transfer,
)
from tests.recompression import TARGETS, ct

FILES = (
    "MR_small_implicit.dcm",
    "emri_small.dcm",
    "SC_rgb_expb_2frame.dcm",
    "MR_small_RLE.dcm",
    "rtdose.dcm",
    "waveform_ecg.dcm",
)
VERIFICATION = VerificationPolicy()


def policy(target: str) -> TransferPolicy:
    recompression = Recompression(target=target, minimum_kib=0, minimum_saving_percent=5)
    return TransferPolicy(studies_per_shard=100, recompression=recompression)


@pytest.fixture
def held() -> list[HeldInstance]:
    files = {path.name: path for path in real_files()}
    found = [held_from(files[name].read_bytes()) for name in FILES] + [ct()]
    return list({instance.record.sop_instance_uid: instance for instance in found}.values())


def rows_of(ledger: Ledger, store: S3Store) -> dict[str, ManifestRow]:
    return {r.sop_instance_uid: r for rows in manifests(ledger, store).values() for r in rows}


@pytest.mark.parametrize("target", TARGETS)
def test_the_manifest_says_what_was_received_and_what_is_stored(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, target: str
) -> None:
    summary = transfer(archive, store, ledger, wave, policy=policy(target))
    assert set(states(ledger).values()) == {"transferred"}
    rows = rows_of(ledger, store)
    for instance in archive.instances:
        row = rows[instance.record.sop_instance_uid]
        stored = store.read(row.object_key)
        assert row.transfer_syntax_uid == instance.transfer_syntax_uid
        assert row.dataset_sha256 == hashlib.sha256(instance.dataset).hexdigest()
        assert row.object_sha256 == hashlib.sha256(stored).hexdigest()
        assert row.object_bytes == len(stored)
        if row.recompression != Outcome.RECOMPRESSED:
            assert stored.endswith(instance.dataset)
            assert (row.stored_transfer_syntax_uid, row.source_pixel_sha256) == ("", "")
            continue
        assert row.stored_transfer_syntax_uid == TARGETS[target]
        read = dcmread(BytesIO(stored))
        assert read.file_meta.TransferSyntaxUID == TARGETS[target]
        assert row.object_bytes < row.dataset_bytes
        if read.get("SamplesPerPixel") == 1:
            decoded = read.pixel_array.tobytes()
            assert row.source_pixel_sha256 == hashlib.sha256(decoded).hexdigest()
    outcomes = [row.recompression for row in rows.values()]
    assert outcomes.count("recompressed") == summary["recompression.recompressed"] >= 3
    assert summary["recompression.no_pixel_data"] == 1


@pytest.mark.parametrize("target", TARGETS)
def test_verification_and_pixel_audit_find_nothing(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, target: str
) -> None:
    transfer(archive, store, ledger, wave, policy=policy(target))
    verify_shard(archive, store, ledger, VerificationShard(wave, 0, 1000), VERIFICATION)
    assert set(states(ledger).values()) == {"verified"}
    audit = audit_pixels(archive, store, ledger, wave, VERIFICATION)
    assert (audit.different, audit.undecodable) == (0, 0)
    assert audit.compared == len(archive.instances) - 1  # the ECG has no pixels
    with ledger.read() as connection:
        assert connection.scalars(select(schema.exception.c.reason)).all() == []


def test_the_audit_sees_a_source_that_differs_from_the_recompressed_copy(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    transfer(archive, store, ledger, wave, policy=policy("jpeg-ls"))
    verify_shard(archive, store, ledger, VerificationShard(wave, 0, 1000), VERIFICATION)
    place, instance = next(
        (place, held) for place, held in enumerate(archive.instances) if held == ct()
    )
    changed = bytearray(instance.dataset)
    changed[len(changed) // 2] ^= 1
    archive.instances[place] = replace(instance, dataset=bytes(changed))
    assert audit_pixels(archive, store, ledger, wave, VERIFICATION).different == 1


def test_verification_sees_a_manifest_that_names_another_transfer_syntax(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    transfer(archive, store, ledger, wave, policy=policy("jpeg-ls"))
    row = next(r for r in rows_of(ledger, store).values() if r.stored_transfer_syntax_uid)
    stored = read_stored_instance([store.read(row.object_key)], 1 << 20)
    assert compare_instance(row, stored) == []
    lying = replace(row, stored_transfer_syntax_uid=TARGETS["jpeg-2000"])
    assert [finding.reason for finding in compare_instance(lying, stored)] == ["object_corrupt"]


def test_a_corrected_instance_is_recompressed_with_its_corrections(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    instance = archive.instances[-1]
    before = dcmread(BytesIO(real_file("CT_small.dcm")))
    old = str(before.StudyDescription)
    _approve(ledger, wave, instance, "StudyDescription", old, "CORRECTED")
    transfer(archive, store, ledger, wave, policy=policy("jpeg-ls"))
    row = rows_of(ledger, store)[instance.record.sop_instance_uid]
    assert (row.recompression, row.corrections) == ("recompressed", ("c-StudyDescription",))
    read = dcmread(BytesIO(store.read(row.object_key)))
    assert read.StudyDescription == "CORRECTED"
    assert read.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].StudyDescription == old
    assert np.array_equal(read.pixel_array, before.pixel_array)
    assert row.dataset_sha256 == hashlib.sha256(instance.dataset).hexdigest()


@pytest.mark.parametrize("after", [0, 2, 4])
def test_killed_and_run_again_everything_is_as_if_undisturbed(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    after: int,
    s3: Any,
    bucket: str,
) -> None:
    transfer(archive, store, ledger, wave, policy=policy("jpeg-2000"))
    undisturbed = fingerprint(ledger, store)
    _forget(ledger, s3, bucket)
    seen = 0

    def die(_held: HeldInstance) -> None:
        nonlocal seen
        seen += 1
        if seen > after:
            raise KilledError

    dying = replace(archive, before_delivery=die)
    with pytest.raises(KilledError):
        transfer(dying, store, ledger, wave, policy=policy("jpeg-2000"))
    transfer(archive, store, ledger, wave, policy=policy("jpeg-2000"))
    assert fingerprint(ledger, store) == undisturbed


def _forget(ledger: Ledger, s3: Any, bucket: str) -> None:
    """Begin again with an empty bucket and a cleansed wave."""
    for item in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=item["Key"])
    with ledger.write() as connection:
        connection.execute(
            update(schema.study).values(state="cleansed", manifest_key="", manifest_sha256="")
        )
