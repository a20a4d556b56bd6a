from __future__ import annotations

import dataclasses
import warnings

from sqlalchemy import select, update

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.pixel_audit import audit_pixels
from dicom_migration.verification.settlement import settle_mismatches
from dicom_migration.verification.shards import verify_shard
from tests.integration.verification.written_wave import WAVE, write_wave

POLICY = VerificationPolicy()


def verified(wave):
    verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 1000), POLICY)
    return wave


def audit(wave):
    return audit_pixels(wave.archive, wave.store, wave.ledger, WAVE, POLICY)


def test_equal_pixels_are_counted_and_accuse_nobody(store, ledger, all_real_instances):
    wave = verified(write_wave(store, ledger, all_real_instances))
    summary = audit(wave)
    assert summary.different == 0
    assert summary.compared > 30
    with ledger.read() as connection:
        reasons = set(connection.scalars(select(schema.exception.c.reason)))
    assert reasons <= {ReasonCode.PIXEL_DATA_INVALID.value}


def change_pixels(wave):
    """Change what the source delivers of one study, and return its UID."""
    uid = next(
        i.record.study_instance_uid
        for i in wave.archive.instances
        if i.identity.transfer_syntax_uid in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
    )
    for place, held in enumerate(wave.archive.instances):
        if held.record.study_instance_uid == uid and held.pixels in held.dataset:
            pixels = bytes(byte ^ 1 for byte in held.pixels)
            changed = held.dataset.replace(held.pixels, pixels)
            wave.archive.instances[place] = dataclasses.replace(held, dataset=changed)
    return uid


def test_a_source_whose_pixels_differ_now_is_a_mismatch(wave):
    verified(wave)
    uid = change_pixels(wave)
    summary = audit(wave)
    assert summary.different >= 1
    with wave.ledger.read() as connection:
        row = connection.execute(
            select(schema.study.c.state, schema.study.c.verified_instances).where(
                schema.study.c.study_instance_uid == uid
            )
        ).one()
        reasons = connection.scalars(
            select(schema.exception.c.reason).where(schema.exception.c.study_instance_uid == uid)
        ).all()
    assert tuple(row) == ("mismatched", 0)
    assert ReasonCode.PIXEL_MISMATCH in reasons


def test_a_difference_goes_to_a_person_and_is_found_again_after_a_redrive(wave):
    verified(wave)
    uid = change_pixels(wave)
    found = audit(wave).different
    settlement = settle_mismatches(wave.ledger, WAVE, POLICY)
    assert (settlement.redriven, settlement.quarantined) == (0, 1)
    with wave.ledger.write() as connection:  # released by a person, transferred to the same bytes
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(state="transferred")
        )
    verified(wave)
    with wave.ledger.read() as connection:
        table = schema.exception.c
        still_open = connection.scalars(
            select(table.reason).where(table.status == "open", table.study_instance_uid == uid)
        ).all()
    assert ReasonCode.PIXEL_MISMATCH in still_open
    assert audit(wave).different == found


def test_decoding_warns_of_nothing(wave):
    verified(wave)
    place, held = next(
        (place, i)
        for place, i in enumerate(wave.archive.instances)
        if i.identity.transfer_syntax_uid == "1.2.840.10008.1.2.1" and i.dataset.endswith(i.pixels)
    )
    # pydicom warns of Pixel Data that is longer than Rows and Columns demand
    longer = len(held.pixels) + 2
    head = held.dataset[: -len(held.pixels) - 4] + longer.to_bytes(4, "little")
    dataset = head + held.pixels + bytes(2)
    wave.archive.instances[place] = dataclasses.replace(held, dataset=dataset)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        summary = audit(wave)
    assert summary.compared > 0
    assert [str(warning.message) for warning in told] == []


def test_the_same_studies_are_not_audited_twice(wave):
    first = audit(verified(wave))
    wave.archive.instances = []
    again = audit(wave)
    assert again.as_dict() == first.as_dict()


def test_an_instance_that_the_source_no_longer_delivers_is_told_and_stops_nothing(wave):
    verified(wave)
    wave.archive.instances = wave.archive.instances[1:]
    summary = audit(wave)
    assert summary.undelivered == 1
    assert summary.compared > 0
    with wave.ledger.read() as connection:
        assert set(connection.scalars(select(schema.study.c.state))) == {"verified"}
