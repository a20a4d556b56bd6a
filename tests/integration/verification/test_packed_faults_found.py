"""Series packed into ZIPs: what is wrong with one is found, and named for what it is."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from sqlalchemy import select, update

from dicom_migration.cloud.timed_read import PortReader
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.manifest import encode_manifest, manifest_key
from dicom_migration.policies.verification import ReadBack, VerificationPolicy
from dicom_migration.retrieval.measuring import Stopwatch, Target
from dicom_migration.retrieval.sample import SampledStudy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.compaction import compact_wave
from dicom_migration.verification.pixel_audit import audit_pixels
from dicom_migration.verification.shards import verify_shard
from tests.integration.verification.written_wave import (
    WAVE,
    pack,
    part10,
    put,
    write_wave,
)

POLICY = VerificationPolicy()


def packed_wave(store, ledger, instances, **options):
    return write_wave(store, ledger, instances, packed=True, **options)


@pytest.fixture
def wave(store, ledger, all_real_instances):
    """Three studies, the first one with a series of three instances."""
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    first = small[0]
    siblings = [_sibling(first, number) for number in (1, 2)]
    return packed_wave(store, ledger, [first, *siblings, *small[1:3]])


def _sibling(instance, number):
    """Return the instance under another SOP Instance UID of the same length."""
    old = instance.record.sop_instance_uid
    new = old[:-1] + str((int(old[-1]) + number) % 10)
    return dataclasses.replace(
        instance,
        record=dataclasses.replace(instance.record, sop_instance_uid=new),
        identity=dataclasses.replace(instance.identity, sop_instance_uid=new),
        dataset=instance.dataset.replace(old.encode(), new.encode()),
    )


def verify(wave, policy=POLICY):
    return verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 1000), policy)


def open_exceptions(ledger):
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.reason, table.series_instance_uid, table.sop_instance_uid).where(
                table.status == "open"
            )
        ).all()
    return sorted(tuple(row) for row in rows)


def three(wave):
    """Return the rows of the series of three, in the order of its archive."""
    rows = next(rows for rows in wave.rows.values() if len(rows) == 3)
    return sorted(rows, key=lambda row: row.offset)


def overwrite(client, key, data):
    client.put_object(Bucket="archive", Key=key, Body=bytes(data))


def test_an_undamaged_packed_wave_is_verified(wave):
    summary = verify(wave)
    assert summary.outcomes == {"verified": 3}
    assert summary.objects_read == 5
    assert open_exceptions(wave.ledger) == []


def test_no_readable_real_file_is_falsely_accused_when_packed(store, ledger, all_real_instances):
    wave = packed_wave(store, ledger, all_real_instances)
    assert verify(wave).outcomes == {"verified": len(wave.studies)}
    assert open_exceptions(ledger) == []


def test_a_packed_series_is_read_with_one_request(wave, monkeypatch):
    asked = Counter()
    stream, read = wave.store.stream_into, wave.store.read
    monkeypatch.setattr(
        wave.store, "stream_into", lambda key, *rest: asked.update([key]) or stream(key, *rest)
    )
    monkeypatch.setattr(
        wave.store, "read", lambda key, *rest: asked.update([key]) or read(key, *rest)
    )
    verify(wave)
    assert asked[three(wave)[0].object_key] == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bit_that_flips_in_an_instance_accuses_that_one_alone(wave, client, store, place):
    row = three(wave)[place]
    data = bytearray(store.read(row.object_key))
    data[row.offset + row.object_bytes - 5] ^= 0x10
    overwrite(client, row.object_key, data)
    verify(wave)
    assert open_exceptions(wave.ledger) == [
        (ReasonCode.OBJECT_CORRUPT, row.series_instance_uid, row.sop_instance_uid)
    ]


@pytest.mark.parametrize("where", ["header", "directory"])
def test_a_bit_that_flips_around_the_instances_accuses_the_series(wave, client, store, where):
    row = three(wave)[2]
    data = bytearray(store.read(row.object_key))
    data[row.offset - 20 if where == "header" else -30] ^= 0x10
    overwrite(client, row.object_key, data)
    verify(wave)
    assert open_exceptions(wave.ledger) == [
        (ReasonCode.OBJECT_CORRUPT, row.series_instance_uid, "")
    ]


def test_a_truncated_archive_is_found_before_it_is_read(wave, client, store):
    row = three(wave)[0]
    overwrite(client, row.object_key, store.read(row.object_key)[:-40])
    verify(wave)
    assert {reason for reason, *_ in open_exceptions(wave.ledger)} == {ReasonCode.OBJECT_CORRUPT}


def test_an_archive_that_ends_while_it_is_read_loses_what_was_behind(wave, monkeypatch):
    rows = three(wave)
    stream = wave.store.stream_into

    def broken(key, *rest):
        data = b"".join(stream(key, *rest))
        if key != rows[0].object_key:
            yield data
            return
        yield data[: rows[1].offset + 10]
        raise PermanentError("Checksum does not match.", reason=ReasonCode.OBJECT_CORRUPT)

    monkeypatch.setattr(wave.store, "stream_into", broken)
    verify(wave)
    assert open_exceptions(wave.ledger) == sorted(
        (ReasonCode.OBJECT_CORRUPT, row.series_instance_uid, row.sop_instance_uid)
        for row in rows[1:]
    )


def test_a_missing_archive_misses_every_instance(wave, client):
    rows = three(wave)
    client.delete_object(Bucket="archive", Key=rows[0].object_key)
    verify(wave)
    assert open_exceptions(wave.ledger) == sorted(
        (ReasonCode.OBJECT_MISSING, row.series_instance_uid, row.sop_instance_uid) for row in rows
    )


def test_archives_swapped_are_both_found(wave, client, store):
    singles = [rows[0] for rows in wave.rows.values() if len(rows) == 1]
    bodies = [store.read(row.object_key) for row in singles]
    for row, body in zip(singles, reversed(bodies), strict=True):
        overwrite(client, row.object_key, body)
    verify(wave)
    assert open_exceptions(wave.ledger) == sorted(
        (ReasonCode.OBJECT_CORRUPT, row.series_instance_uid, row.sop_instance_uid)
        for row in singles
    )


@pytest.mark.parametrize("where", ["in front", "between", "behind"])
def test_a_file_that_the_manifest_does_not_list_is_found(wave, store, where):
    """The archive is the one that the manifest seals, but holds one file too many."""
    rows = three(wave)
    files = {
        f"{i.record.sop_instance_uid}.dcm": part10(i)
        for uid in [row.sop_instance_uid for row in rows]
        for i in wave.archive.instances
        if i.record.sop_instance_uid == uid
    }
    surplus = {"in front": "0.1", "between": next(iter(files)) + ".1", "behind": "9.9"}[where]
    files[surplus] = b"who put this here?" * 100
    ordered = dict(sorted(files.items()))
    data, offsets = pack(ordered)
    key = f"studies/{rows[0].study_instance_uid}/{rows[0].series_instance_uid}.again.zip"
    digest = put(store, key, data)
    at = dict(zip(ordered, offsets, strict=True))
    reseal(
        wave,
        [row.at(key, at[f"{row.sop_instance_uid}.dcm"], len(data), digest) for row in rows],
    )
    verify(wave)
    found = open_exceptions(wave.ledger)
    assert (ReasonCode.OBJECT_UNEXPECTED, rows[0].series_instance_uid, "") in found
    with wave.ledger.read() as connection:
        states = connection.scalars(select(schema.study.c.state)).all()
    assert sorted(states) == ["mismatched", "verified", "verified"]


def reseal(wave, rows):
    """Write another manifest of one study and let the ledger believe it."""
    uid = rows[0].study_instance_uid
    data, digest = encode_manifest(rows)
    put(wave.store, manifest_key(uid, digest), data)
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(manifest_key=manifest_key(uid, digest), manifest_sha256=digest)
        )


def test_a_superseded_archive_is_reported_and_hurts_nobody(wave, store):
    row = three(wave)[0]
    put(store, row.object_key.replace(".zip", ".0123456789abcdef.zip"), b"an earlier attempt")
    put(store, row.object_key.replace(".zip", ".part-0002.zip"), b"under another bound")
    assert verify(wave).outcomes == {"verified": 3}
    assert {reason for reason, *_ in open_exceptions(wave.ledger)} == {ReasonCode.OBJECT_UNEXPECTED}


def test_archives_in_deep_archive_are_attested_by_their_own_hash(store, ledger, all_real_instances):
    wave = packed_wave(store, ledger, all_real_instances[:3], storage_class="DEEP_ARCHIVE")
    summary = verify(wave)
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert summary.objects_read == 0


def test_another_hash_at_the_store_is_found_without_reading(wave, client, store):
    row = three(wave)[0]
    data = bytearray(store.read(row.object_key))
    data[-30] ^= 0x10
    client.put_object(
        Bucket="archive", Key=row.object_key, Body=bytes(data), ChecksumAlgorithm="SHA256"
    )
    verify(wave, VerificationPolicy(read_back=ReadBack(mode="metadata")))
    assert {reason for reason, *_ in open_exceptions(wave.ledger)} == {ReasonCode.OBJECT_CORRUPT}


def test_a_sample_is_read_by_ranges(store, ledger, all_real_instances):
    wave = packed_wave(store, ledger, all_real_instances)
    summary = verify(wave, VerificationPolicy(read_back=ReadBack(mode="sample", fraction=0.5)))
    assert summary.outcomes == {"verified": len(wave.studies)}
    assert 0 < summary.objects_read < len(all_real_instances)


def test_the_pixel_audit_decodes_packed_instances(wave):
    verify(wave)
    summary = audit_pixels(wave.archive, wave.store, wave.ledger, WAVE, POLICY)
    assert (summary.compared, summary.different) == (5, 0)


def test_a_packed_wave_is_compacted_instance_by_instance(wave):
    verify(wave)
    compaction = compact_wave(wave.store, wave.ledger, WAVE, POLICY)
    assert compaction.instances == 5


def test_retrieval_takes_one_range_for_an_image_and_one_get_a_series(wave, monkeypatch):
    rows = three(wave)
    asked = []
    stream, read = wave.store.stream, wave.store.read
    monkeypatch.setattr(wave.store, "stream", lambda *a: asked.append(a) or stream(*a))
    monkeypatch.setattr(wave.store, "read", lambda *a: asked.append(a) or read(*a))
    study = SampledStudy(rows[0].study_instance_uid, "CT", "STANDARD", 1.0, "", "", 3, 0)

    class Inline:
        map = staticmethod(map)

    stopwatch = Stopwatch(PortReader(wave.store), wave.archive, Inline())
    target = Target(study, tuple(rows))
    first = stopwatch.measure(target, "cloud", "first_image", "cold")
    assert (first.bytes, first.instances) == (rows[0].object_bytes, 1)
    whole = stopwatch.measure(target, "cloud", "whole_study", "cold")
    assert (whole.bytes, whole.instances) == (rows[0].container_bytes, 3)
    assert asked == [
        (rows[0].object_key, rows[0].offset, rows[0].object_bytes),
        (rows[0].object_key,),
    ]
