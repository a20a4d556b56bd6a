from __future__ import annotations

import pytest
from sqlalchemy import select, update

from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import schema
from dicom_migration.policies.verification import ReadBack, VerificationPolicy
from dicom_migration.verification.accounting import account_for
from dicom_migration.verification.claims import Shard, plan_shards
from dicom_migration.verification.settlement import settle_mismatches
from dicom_migration.verification.shards import verify_shard
from tests.integration.verification.written_wave import (
    WAVE,
    add_study,
    part10,
    put,
    write_wave,
)

POLICY = VerificationPolicy()
SHARD = Shard(WAVE, 0, 1000)


def verify(wave, policy=POLICY, shard=SHARD):
    return verify_shard(wave.archive, wave.store, wave.ledger, shard, policy)


def open_reasons(ledger):
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.reason).where(table.status == "open")
        ).all()
    return sorted({(row[0], row[1]) for row in rows})


def state_of(ledger, uid):
    with ledger.read() as connection:
        return connection.scalar(
            select(schema.study.c.state).where(schema.study.c.study_instance_uid == uid)
        )


def overwrite(client, key, data):
    client.put_object(Bucket="archive", Key=key, Body=data)


def test_an_undamaged_wave_is_verified_and_the_counts_add_up(wave):
    summary = verify(wave)
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert summary.objects_read == sum(len(rows) for rows in wave.rows.values())
    assert open_reasons(wave.ledger) == []
    accounts = account_for(wave.ledger)
    assert accounts["verified"] == accounts["discovered"] == len(wave.studies)
    assert accounts["adds_up"] is True


def test_no_readable_real_file_is_falsely_accused(store, ledger, all_real_instances):
    wave = write_wave(store, ledger, all_real_instances)
    assert len(all_real_instances) > 60
    summary = verify(wave)
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert open_reasons(ledger) == []


def test_verifying_twice_reads_nothing_again(wave):
    verify(wave)
    again = verify(wave)
    assert again.objects_read == 0
    assert sum(again.outcomes.values()) == 0


def test_a_missing_object_is_named(wave, client):
    uid = wave.studies[0]
    row = wave.rows[uid][0]
    client.delete_object(Bucket="archive", Key=row.object_key)
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.OBJECT_MISSING)]
    assert state_of(wave.ledger, uid) == "mismatched"


@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "bit flipped in the header"])
def test_a_damaged_object_is_named(wave, client, store, damage):
    uid = wave.studies[1]
    key = wave.rows[uid][0].object_key
    data = bytearray(store.read(key))
    if damage == "truncated":
        del data[-10:]
    else:
        data[-10 if damage == "bit flipped" else 400] ^= 0x10
    overwrite(client, key, bytes(data))
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.OBJECT_CORRUPT)]


def test_an_object_in_another_storage_class_is_named_and_blocks_verified(wave, client, store):
    uid = wave.studies[1]
    key = wave.rows[uid][0].object_key
    body = store.read(key)
    client.put_object(Bucket="archive", Key=key, Body=body, StorageClass="STANDARD_IA")
    summary = verify(wave)
    assert summary.outcomes["verified"] == len(wave.studies) - 1
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.STORAGE_CLASS_WRONG)]


def test_the_class_the_plan_chose_is_right(store, ledger, all_real_instances):
    wave = write_wave(store, ledger, all_real_instances[:3], storage_class="GLACIER_IR")
    assert verify(wave).outcomes["verified"] == len(wave.studies)


def test_an_object_swapped_with_another_studys_is_named(wave, client, store):
    first, second = wave.studies[:2]
    keys = [wave.rows[uid][0].object_key for uid in (first, second)]
    bodies = [store.read(key) for key in keys]
    overwrite(client, keys[0], bodies[1])
    overwrite(client, keys[1], bodies[0])
    verify(wave)
    assert open_reasons(wave.ledger) == [
        (first, ReasonCode.OBJECT_CORRUPT),
        (second, ReasonCode.OBJECT_CORRUPT),
    ]


@pytest.mark.parametrize("damage", ["deleted", "edited", "not a manifest"])
def test_a_damaged_manifest_is_named(wave, client, store, damage):
    uid = wave.studies[2]
    with wave.ledger.read() as connection:
        key = connection.scalar(
            select(schema.study.c.manifest_key).where(schema.study.c.study_instance_uid == uid)
        )
    if damage == "deleted":
        client.delete_object(Bucket="archive", Key=key)
    elif damage == "edited":
        overwrite(client, key, store.read(key)[:-1] + b"\0")
    else:
        overwrite(client, key, b"hello")
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.MANIFEST_CORRUPT)]


def test_a_source_that_lost_an_instance_is_a_matter_for_a_person(wave):
    uid = wave.studies[3]
    wave.archive.instances = [
        i for i in wave.archive.instances if i.record.study_instance_uid != uid
    ]
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.SOURCE_CHANGED)]
    settlement = settle_mismatches(wave.ledger, WAVE, POLICY)
    assert (settlement.redriven, settlement.quarantined) == (0, 1)
    assert state_of(wave.ledger, uid) == "quarantined"


def test_a_source_that_grew_is_transferred_again(wave, all_real_instances):
    import dataclasses

    uid = wave.studies[3]
    old = next(i for i in wave.archive.instances if i.record.study_instance_uid == uid)
    record = dataclasses.replace(old.record, sop_instance_uid="1.2.3.4.5")
    wave.archive.instances.append(dataclasses.replace(old, record=record))
    verify(wave)
    assert open_reasons(wave.ledger) == [
        (uid, ReasonCode.INSTANCE_MISSING),
        (uid, ReasonCode.SOURCE_CHANGED),
    ]
    assert settle_mismatches(wave.ledger, WAVE, POLICY).redriven == 1
    assert state_of(wave.ledger, uid) == "cleansed"


def test_a_count_that_disagrees_is_named(wave):
    uid = wave.studies[0]
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(received_instances=99)
        )
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.COUNT_MISMATCH)]


def set_columns(wave, uid, **columns):
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study).where(schema.study.c.study_instance_uid == uid).values(**columns)
        )


def test_a_list_that_the_source_cuts_off_is_not_believed(wave):
    uid = wave.studies[0]
    set_columns(wave, uid, number_of_instances=len(wave.rows[uid]) + 500)
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.COUNT_MISMATCH)]
    assert state_of(wave.ledger, uid) == "mismatched"


def test_a_source_that_counted_nothing_at_discovery_accuses_nobody(wave):
    set_columns(wave, wave.studies[0], number_of_instances=None)
    set_columns(wave, wave.studies[1], number_of_instances=0)
    assert verify(wave).outcomes == {"verified": len(wave.studies)}


def test_a_superseded_copy_is_reported_and_hurts_nobody(wave, store):
    uid = wave.studies[0]
    row = wave.rows[uid][0]
    put(store, row.object_key.replace(".dcm", ".0123456789abcdef.dcm"), b"an earlier attempt")
    verify(wave)
    assert open_reasons(wave.ledger) == [(uid, ReasonCode.OBJECT_UNEXPECTED)]
    assert state_of(wave.ledger, uid) == "verified"


def test_a_foreign_object_is_a_matter_for_a_person(wave, store):
    uid = wave.studies[0]
    put(store, f"studies/{uid}/9.9.9/9.9.9.9.dcm", b"who wrote this?")
    verify(wave)
    settle_mismatches(wave.ledger, WAVE, POLICY)
    assert state_of(wave.ledger, uid) == "quarantined"


def test_redrives_end_with_a_person(wave, client):
    uid = wave.studies[0]
    client.delete_object(Bucket="archive", Key=wave.rows[uid][0].object_key)
    policy = VerificationPolicy(max_redrives=1)
    for expected in ("cleansed", "quarantined"):
        verify(wave, policy)
        settle_mismatches(wave.ledger, WAVE, policy)
        assert state_of(wave.ledger, uid) == expected
        with wave.ledger.write() as connection:  # as if transferred again, in vain
            connection.execute(
                update(schema.study)
                .where(schema.study.c.study_instance_uid == uid, schema.study.c.state == "cleansed")
                .values(state="transferred")
            )
    assert account_for(wave.ledger)["adds_up"] is True


def test_a_healed_study_closes_its_exceptions(wave, client):
    uid = wave.studies[0]
    row = wave.rows[uid][0]
    client.delete_object(Bucket="archive", Key=row.object_key)
    verify(wave)
    settle_mismatches(wave.ledger, WAVE, POLICY)
    instance = next(
        i for i in wave.archive.instances if i.record.sop_instance_uid == row.sop_instance_uid
    )
    put(wave.store, row.object_key, part10(instance))
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(state="transferred")
        )
    verify(wave)
    assert open_reasons(wave.ledger) == []
    assert state_of(wave.ledger, uid) == "verified"


def test_a_study_without_an_answer_does_not_stop_the_others(wave):
    uid = wave.studies[0]
    wave.archive.failing = {uid}
    with pytest.raises(TransientError, match="1 studies"):
        verify(wave)
    assert state_of(wave.ledger, uid) == "transferred"
    assert {state_of(wave.ledger, other) for other in wave.studies[1:]} == {"verified"}
    wave.archive.failing = set()
    verify(wave)
    assert state_of(wave.ledger, uid) == "verified"


def refuse(monkeypatch, wave, refused, reason=ReasonCode.SOURCE_REFUSED_OPERATION):
    find = wave.archive.find_instances

    def find_instances(uid, series=None):
        if uid in refused:
            raise PermanentError("The source will not do this.", reason=reason)
        return find(uid, series)

    monkeypatch.setattr(wave.archive, "find_instances", find_instances)


def test_the_same_refusal_of_five_studies_in_a_row_blames_none_of_them(wave, monkeypatch):
    refuse(monkeypatch, wave, wave.studies[1:])
    with pytest.raises(PermanentError, match="5 studies in a row") as caught:
        verify(wave)
    assert caught.value.reason is ReasonCode.SOURCE_REFUSED_OPERATION
    assert state_of(wave.ledger, wave.studies[0]) == "verified"
    assert {state_of(wave.ledger, uid) for uid in wave.studies[1:]} == {"transferred"}
    assert open_reasons(wave.ledger) == []


def test_a_refusal_of_some_studies_is_theirs(wave, monkeypatch):
    refused = wave.studies[:2] + wave.studies[3:]
    refuse(monkeypatch, wave, refused)
    summary = verify(wave)
    assert summary.outcomes == {"undecided": len(refused), "verified": 1}
    assert {state_of(wave.ledger, uid) for uid in refused} == {"mismatched"}


@pytest.mark.parametrize("reason", sorted(CONCERNS_EVERYBODY))
def test_a_refusal_that_concerns_everybody_stops_the_shard_at_once(wave, monkeypatch, reason):
    refuse(monkeypatch, wave, wave.studies[:1], reason)
    with pytest.raises(PermanentError):
        verify(wave)
    assert {state_of(wave.ledger, uid) for uid in wave.studies} == {"transferred"}


def test_objects_in_deep_archive_are_attested_not_read(store, ledger, all_real_instances):
    wave = write_wave(store, ledger, all_real_instances[:3], storage_class="DEEP_ARCHIVE")
    summary = verify(wave)
    assert summary.outcomes["verified"] == len(wave.studies)
    assert summary.objects_read == 0


def test_an_object_that_turns_out_archived_is_attested_and_stops_nothing(wave, monkeypatch):
    uid = wave.studies[0]
    archived = {row.object_key for row in wave.rows[uid]}
    stream = wave.store.stream_into

    def refuse_archived(key, *arguments):
        if key in archived:
            raise PermanentError("InvalidObjectState", reason=ReasonCode.OBJECT_ARCHIVED)
        return stream(key, *arguments)

    monkeypatch.setattr(wave.store, "stream_into", refuse_archived)
    summary = verify(wave)
    assert summary.outcomes["verified"] == len(wave.studies)
    assert summary.objects_read == sum(len(wave.rows[other]) for other in wave.studies[1:])


def test_sampling_reads_some_and_says_so(store, ledger, all_real_instances):
    wave = write_wave(store, ledger, all_real_instances)
    policy = VerificationPolicy(read_back=ReadBack(mode="sample", fraction=0.5))
    summary = verify(wave, policy)
    assert 0 < summary.objects_read < len(all_real_instances)
    with ledger.read() as connection:
        methods = connection.scalars(select(schema.verification.c.method).distinct()).all()
    assert methods == ["sample:0.5"]


def test_shards_cover_the_wave_once_whatever_their_size(wave):
    policy = VerificationPolicy(studies_per_shard=2)
    with wave.ledger.read() as connection:
        shards = plan_shards(connection, [WAVE], policy)
    assert [shard.number for shard in shards] == [0, 1, 2]
    verified = sum(verify(wave, policy, shard).outcomes["verified"] for shard in shards)
    assert verified == len(wave.studies)


def test_a_wave_without_transferred_studies_has_one_empty_shard(ledger):
    add_study(ledger, "1.2.3", WAVE, "quarantined")
    with ledger.read() as connection:
        assert plan_shards(connection, [WAVE], POLICY) == [Shard(WAVE, 0, 200)]
