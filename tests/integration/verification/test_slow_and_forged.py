"""Slow ends accuse nobody; a ledger row that was edited is shown by its chain."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import data_store
import pytest
from sqlalchemy import select, update

from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import EventChain, StudyState, move_studies, schema
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.policies.verification import ReadBack, VerificationPolicy
from tests.integration.verification.test_faults_found import (
    SHARD,
    open_reasons,
    state_of,
    verify,
)
from tests.integration.verification.written_wave import WAVE, put, read_instance, write_wave

_CHAIN = EventChain(f"wave:{WAVE}/transfer-0")


def methods(ledger):
    table = schema.verification.c
    with ledger.read() as connection:
        return set(connection.scalars(select(table.method)))


def transfer_in_the_ledger(wave):
    """Let every study go through the transfer's own event, as a real transfer does."""
    table = schema.study
    with wave.ledger.write() as connection:
        rows = connection.execute(select(table)).all()
        connection.execute(update(table).values(state=StudyState.TRANSFERRING.value))
        for row in rows:
            told = {"manifest_sha256": row.manifest_sha256, "instances": row.stored_instances}
            move_studies(
                connection,
                [row.study_instance_uid],
                StudyState.TRANSFERRED,
                _CHAIN,
                payload=told,
            )


def edit(wave, uid, **columns):
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study).where(schema.study.c.study_instance_uid == uid).values(**columns)
        )


def test_a_slow_store_makes_verification_slower_and_accuses_nobody(wave, monkeypatch):
    delay, stream = 0.05, wave.store.stream_into
    objects = sum(len(rows) for rows in wave.rows.values())

    def late(key, *arguments):
        time.sleep(delay)  # the fault: the store's first byte comes late
        return stream(key, *arguments)

    monkeypatch.setattr(wave.store, "stream_into", late)
    began = time.perf_counter()
    summary = verify(wave, VerificationPolicy(read_threads=1))
    assert time.perf_counter() - began >= objects * delay
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert open_reasons(wave.ledger) == []


def test_a_store_that_breaks_off_gives_no_verdict_and_the_retry_does(wave, monkeypatch):
    uid, stream = wave.studies[2], wave.store.stream_into
    keys = {row.object_key for row in wave.rows[uid]}

    def broken(key, *arguments):
        if key in keys:
            raise TransientError("connection broken", reason=ReasonCode.TARGET_UNREACHABLE)
        return stream(key, *arguments)

    monkeypatch.setattr(wave.store, "stream_into", broken)
    with pytest.raises(TransientError):
        verify(wave)
    assert state_of(wave.ledger, uid) == "transferred"
    monkeypatch.setattr(wave.store, "stream_into", stream)
    verify(wave)
    assert {state_of(wave.ledger, each) for each in wave.studies} == {"verified"}
    assert open_reasons(wave.ledger) == []


def test_a_source_that_goes_offline_in_the_middle_blames_no_study(wave):
    wave.archive.failing = set(wave.studies[2:])
    with pytest.raises(TransientError):
        verify(wave)
    assert [state_of(wave.ledger, uid) for uid in wave.studies[:2]] == ["verified"] * 2
    assert {state_of(wave.ledger, uid) for uid in wave.studies[2:]} == {"transferred"}
    assert open_reasons(wave.ledger) == []


def test_rows_that_are_what_their_events_say_are_verified(wave):
    transfer_in_the_ledger(wave)
    assert verify(wave).outcomes == {"verified": len(wave.studies)}


def test_a_manifest_forged_together_with_its_ledger_row_is_shown_by_the_chain(wave, store):
    transfer_in_the_ledger(wave)
    uid = wave.studies[0]
    data, digest = encode_manifest(wave.rows[uid][:0])
    key = manifest_key(uid, digest)
    put(store, key, data)
    edit(wave, uid, manifest_key=key, manifest_sha256=digest)
    with pytest.raises(PermanentError, match=uid) as caught:
        verify(wave)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED
    assert {state_of(wave.ledger, each) for each in wave.studies} == {"transferred"}


def test_an_edited_count_is_shown_by_the_chain(wave):
    transfer_in_the_ledger(wave)
    uid = wave.studies[1]
    edit(wave, uid, stored_instances=99, received_instances=99)
    with pytest.raises(PermanentError, match="instances 99") as caught:
        verify(wave)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED


def test_an_edited_event_is_shown_by_its_own_hash(wave):
    transfer_in_the_ledger(wave)
    event = schema.event
    with wave.ledger.write() as connection:
        connection.execute(
            update(event)
            .where(event.c.chain == _CHAIN.name, event.c.sequence == 2)
            .values(payload='{"from":"cleansed","instances":1}')
        )
    with pytest.raises(PermanentError, match="Event 2") as caught:
        verify(wave)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED


@pytest.mark.parametrize(
    ("policy", "storage_class", "method"),
    [
        (ReadBack(), "STANDARD", "read_back"),
        (ReadBack(mode="sample", fraction=0.5), "STANDARD", "sample:0.5"),
        (ReadBack(mode="metadata"), "STANDARD", "checksum"),
        (ReadBack(), "DEEP_ARCHIVE", "checksum"),
    ],
)
def test_the_method_on_record_is_what_was_done(
    store, ledger, all_real_instances, policy, storage_class, method
):
    wave = write_wave(store, ledger, all_real_instances[:3], storage_class=storage_class)
    assert verify(wave, VerificationPolicy(read_back=policy), SHARD).outcomes == {
        "verified": len(wave.studies)
    }
    assert methods(ledger) == {method}


def test_what_the_transfer_claims_of_the_inside_is_proved_where_it_is_looked_into(
    store, ledger, all_real_instances
):
    wave = write_wave(store, ledger, all_real_instances)
    uid = wave.studies[0]
    data, digest = encode_manifest(
        [replace(row, dataset_sha256="0" * 64) for row in wave.rows[uid]]
    )
    key = manifest_key(uid, digest)
    put(store, key, data)
    edit(wave, uid, manifest_key=key, manifest_sha256=digest)
    verify(wave, VerificationPolicy(read_back=ReadBack(look_into=1)))
    assert (uid, ReasonCode.OBJECT_CORRUPT) in open_reasons(ledger)


@pytest.mark.parametrize("packed", [False, True])
def test_no_file_of_pydicom_data_is_accused(store, ledger, packed):
    folder = Path(data_store.__file__).parent / "data"
    read = (read_instance(path) for path in sorted(folder.iterdir()) if path.is_file())
    found = {i.record.sop_instance_uid: i for i in read if i is not None}
    assert len(found) > 30
    wave = write_wave(store, ledger, list(found.values()), packed=packed)
    policy = VerificationPolicy(read_back=ReadBack(look_into=1))
    assert verify(wave, policy).outcomes == {"verified": len(wave.studies)}
    assert open_reasons(ledger) == []
