"""What was received is compared with the manifest as a set of UIDs, not by its number."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, StudyState, move_studies, schema
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.uids import uid_set_sha256
from dicom_migration.verification.certificate import issue_certificate
from dicom_migration.verification.certificate_check import verify_document
from dicom_migration.verification.certificate_report import render_certificate
from dicom_migration.verification.compaction import compact_wave
from dicom_migration.verification.settlement import settle_mismatches
from tests.integration.verification.test_faults_found import (
    open_reasons,
    state_of,
    verify,
)
from tests.integration.verification.written_wave import WAVE, put, write_wave

CHAIN = EventChain(f"wave:{WAVE}/transfer-0")
NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def transferred(wave, received, *, without_hash=()):
    """Write the event of each study's transfer, which received what `received` says by study."""
    table = schema.study
    with wave.ledger.write() as connection:
        rows = connection.execute(select(table)).all()
        connection.execute(update(table).values(state=StudyState.TRANSFERRING.value))
        for row in rows:
            uid = row.study_instance_uid
            told = {"manifest_sha256": row.manifest_sha256, "instances": row.stored_instances}
            if uid not in without_hash:
                told["received_uids_sha256"] = uid_set_sha256(received[uid])
            move_studies(connection, [uid], StudyState.TRANSFERRED, CHAIN, payload=told)


def as_stored(wave):
    return {uid: {row.sop_instance_uid for row in rows} for uid, rows in wave.rows.items()}


def exchanged(received, uid):
    """Return `received` with one instance of a study exchanged for another: all counts stay."""
    others = sorted(received[uid])[1:]
    return {**received, uid: {*others, "1.2.3.4.5.6"}}


def certificate(wave):
    settle_mismatches(wave.ledger, WAVE, VerificationPolicy())
    compact_wave(wave.store, wave.ledger, WAVE, VerificationPolicy())
    return issue_certificate(wave.ledger, WAVE, "0" * 64, NOW)


@pytest.mark.parametrize("packed", [False, True])
def test_an_undisturbed_wave_is_verified_and_certified_as_compared_by_sets(
    store, any_ledger, all_real_instances, packed
):
    wave = write_wave(store, any_ledger, all_real_instances[:20], packed=packed)
    transferred(wave, as_stored(wave))
    assert verify(wave).outcomes == {"verified": len(wave.studies)}
    assert open_reasons(any_ledger) == []
    document = certificate(wave)
    body = document["certificate"]
    assert body["receipts"] == {"set": len(wave.studies)}
    assert {study["receipt"] for study in body["studies"]} == {"set"}
    assert verify_document(document) == []
    assert f"as sets of UIDs in {len(wave.studies)} studies" in render_certificate(document)


@pytest.mark.parametrize("packed", [False, True])
def test_an_instance_exchanged_for_another_is_found_by_this_alone(
    store, any_ledger, all_real_instances, packed
):
    """Source, manifest and cloud agree, all counts are equal: only the receipt knows better."""
    wave = write_wave(store, any_ledger, all_real_instances[:20], packed=packed)
    uid = wave.studies[0]
    transferred(wave, exchanged(as_stored(wave), uid))
    assert verify(wave).outcomes["verified"] == len(wave.studies) - 1
    assert open_reasons(any_ledger) == [(uid, ReasonCode.RECEIPT_MISMATCH)]
    assert settle_mismatches(any_ledger, WAVE, VerificationPolicy()).redriven == 1
    assert state_of(any_ledger, uid) == "cleansed"


def test_the_exception_tells_whether_the_source_agrees_with_the_receipt(wave):
    uid = wave.studies[0]
    received = exchanged(as_stored(wave), uid)
    transferred(wave, received)
    lost = sorted(wave.rows[uid], key=lambda row: row.sop_instance_uid)[0].sop_instance_uid
    for place, held in enumerate(wave.archive.instances):
        if held.record.sop_instance_uid == lost:
            record = dataclasses.replace(held.record, sop_instance_uid="1.2.3.4.5.6")
            wave.archive.instances[place] = dataclasses.replace(held, record=record)
    verify(wave)
    table = schema.exception.c
    with wave.ledger.read() as connection:
        detail = connection.scalar(
            select(table.detail).where(table.reason == ReasonCode.RECEIPT_MISMATCH.value)
        )
    assert "they are just those that the source lists now" in detail


def test_studies_transferred_before_the_hash_was_kept_are_not_accused_and_said_to_be_counted(wave):
    old = wave.studies[:2]
    transferred(wave, as_stored(wave), without_hash=old)
    assert verify(wave).outcomes == {"verified": len(wave.studies)}
    assert open_reasons(wave.ledger) == []
    document = certificate(wave)
    body = document["certificate"]
    assert body["receipts"] == {"counts": 2, "set": len(wave.studies) - 2}
    assert [s["study_instance_uid"] for s in body["studies"] if s["receipt"] == "counts"] == old
    assert "by their number alone in 2" in render_certificate(document)


def test_the_hash_is_sealed_by_the_chain(wave):
    """To exchange it along with the manifest breaks the chain, and nothing moves."""
    uid = wave.studies[0]
    transferred(wave, exchanged(as_stored(wave), uid))
    event = schema.event.c
    right = uid_set_sha256(as_stored(wave)[uid])
    wrong = uid_set_sha256(exchanged(as_stored(wave), uid)[uid])
    with wave.ledger.write() as connection:
        mine = event.study_instance_uid == uid
        payload = connection.scalar(select(event.payload).where(mine))
        forged = payload.replace(wrong, right)
        assert forged != payload
        connection.execute(update(schema.event).where(mine).values(payload=forged))
    with pytest.raises(PermanentError) as caught:
        verify(wave)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED
    assert {state_of(wave.ledger, study) for study in wave.studies} == {"transferred"}


def test_a_study_sent_again_is_judged_by_what_came_then(wave):
    uid = wave.studies[0]
    transferred(wave, exchanged(as_stored(wave), uid))
    transferred(wave, as_stored(wave))
    assert verify(wave).outcomes == {"verified": len(wave.studies)}


def test_a_manifest_that_lost_a_row_is_found_by_set_and_count(wave):
    uid = max(wave.studies, key=lambda study: len(wave.rows[study]))
    received = as_stored(wave)
    rows = wave.rows[uid][:-1]
    if not rows:
        received[uid] = {*received[uid], "1.2.3.4.5.6"}
        rows = wave.rows[uid]
    data, digest = encode_manifest(rows)
    key = manifest_key(uid, digest)
    put(wave.store, key, data)
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(manifest_key=key, manifest_sha256=digest, received_instances=len(received[uid]))
        )
    transferred(wave, received)
    verify(wave)
    reasons = {reason for study, reason in open_reasons(wave.ledger) if study == uid}
    assert {ReasonCode.RECEIPT_MISMATCH, ReasonCode.COUNT_MISMATCH} <= reasons
