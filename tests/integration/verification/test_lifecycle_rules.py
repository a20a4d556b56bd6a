"""A move that the bucket's lifecycle rules make is right where the policy names it."""

from __future__ import annotations

import pytest

from dicom_migration.errors import ReasonCode
from dicom_migration.policies.verification import VerificationPolicy
from tests.integration.verification.test_faults_found import open_reasons, verify
from tests.integration.verification.written_wave import write_wave

ALLOWED = VerificationPolicy.model_validate(
    {"lifecycle_transitions": {"STANDARD": ["STANDARD_IA", "DEEP_ARCHIVE"]}}
)


def move(client, key, storage_class):
    """Do to an object what a lifecycle rule does: the same bytes, another class."""
    client.copy_object(
        Bucket="archive",
        Key=key,
        CopySource={"Bucket": "archive", "Key": key},
        StorageClass=storage_class,
        MetadataDirective="COPY",
        ChecksumAlgorithm="SHA256",
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_move_that_the_policy_names_is_no_fault(
    store, ledger, client, all_real_instances, packed
):
    wave = write_wave(store, ledger, all_real_instances[:6], packed=packed)
    for key in {row.object_key for row in wave.rows[wave.studies[0]]}:
        move(client, key, "STANDARD_IA")
    assert verify(wave, ALLOWED).outcomes == {"verified": len(wave.studies)}
    assert open_reasons(ledger) == []


def test_what_was_moved_into_an_archive_class_is_attested(wave, client):
    uid = wave.studies[0]
    for row in wave.rows[uid]:
        move(client, row.object_key, "DEEP_ARCHIVE")
    summary = verify(wave, ALLOWED)
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert summary.objects_read == sum(len(wave.rows[other]) for other in wave.studies[1:])


def test_a_class_that_the_policy_does_not_name_is_still_wrong(wave, client):
    uid = wave.studies[0]
    move(client, wave.rows[uid][0].object_key, "GLACIER_IR")
    verify(wave, ALLOWED)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.STORAGE_CLASS_WRONG)]


def test_a_move_is_allowed_from_the_planned_class_alone(store, ledger, client, all_real_instances):
    wave = write_wave(store, ledger, all_real_instances[:3], storage_class="GLACIER_IR")
    uid = wave.studies[0]
    move(client, wave.rows[uid][0].object_key, "STANDARD_IA")
    verify(wave, ALLOWED)
    assert open_reasons(ledger) == [(uid, ReasonCode.STORAGE_CLASS_WRONG)]
