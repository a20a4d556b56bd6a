"""A shard goes from an archive to a real S3 endpoint, undisturbed and disturbed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from sqlalchemy import insert, select

from dicom_migration.archive import InstanceRecord, InstanceSink, RetrieveOutcome
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.manifest import ManifestRow, decode_manifest
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_chain, transfer_shard
from dicom_migration.transfer.shards import Shard, close_wave, cut_shards, waves_to_move
from tests.archives import HeldInstance, MemoryArchive, held_from, real_file

POLICY = TransferPolicy(studies_per_shard=100)


def transfer(
    archive: MemoryArchive,
    store: S3Store,
    ledger: Ledger,
    wave: str,
    *,
    last_try: bool = False,
    policy: TransferPolicy = POLICY,
) -> dict[str, int | float]:
    cut_shards(ledger, wave, policy)
    return transfer_shard(archive, store, ledger, Shard(wave, 0), policy, last_try=last_try)


def states(ledger: Ledger) -> dict[str, str]:
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study.c.study_instance_uid, schema.study.c.state))
        return {row.study_instance_uid: row.state for row in rows}


def reasons(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.scalars(select(schema.exception.c.reason)))


def manifests(ledger: Ledger, store: S3Store) -> dict[str, list[ManifestRow]]:
    found = {}
    with ledger.read() as connection:
        rows = connection.execute(
            select(
                schema.study.c.study_instance_uid,
                schema.study.c.manifest_key,
                schema.study.c.manifest_sha256,
            ).where(schema.study.c.manifest_key != "")
        ).all()
    for row in rows:
        data = store.read(row.manifest_key)
        assert hashlib.sha256(data).hexdigest() == row.manifest_sha256
        found[row.study_instance_uid] = decode_manifest(data)
    return found


def fingerprint(ledger: Ledger, store: S3Store) -> dict[str, Any]:
    """Everything that must be the same whatever happened on the way."""
    objects = {stored.key: (stored.size, stored.storage_class) for stored in store.list("studies/")}
    with ledger.read() as connection:
        table = schema.study.c
        rows = connection.execute(
            select(
                table.study_instance_uid,
                table.state,
                table.manifest_sha256,
                table.stored_instances,
                table.bytes_stored,
            ).order_by(table.study_instance_uid)
        ).all()
    return {"objects": objects, "studies": [tuple(row) for row in rows]}


def test_every_dataset_arrives_byte_for_byte(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, held: list[HeldInstance]
) -> None:
    summary = transfer(archive, store, ledger, wave)
    assert summary["transferred"] == len(states(ledger))
    assert set(states(ledger).values()) == {"transferred"}
    rows = {row.sop_instance_uid: row for rows in manifests(ledger, store).values() for row in rows}
    for instance in held:
        row = rows[instance.record.sop_instance_uid]
        stored = store.read(row.object_key)
        assert stored.endswith(instance.dataset)
        assert row.dataset_sha256 == hashlib.sha256(instance.dataset).hexdigest()
        assert row.object_sha256 == hashlib.sha256(stored).hexdigest()
        read = dcmread(BytesIO(stored))
        assert read.SOPInstanceUID == instance.record.sop_instance_uid
        assert read.file_meta.TransferSyntaxUID == instance.transfer_syntax_uid


def test_the_pixel_hash_is_of_the_value_as_encoded(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, held: list[HeldInstance]
) -> None:
    transfer(archive, store, ledger, wave)
    rows = {row.sop_instance_uid: row for rows in manifests(ledger, store).values() for row in rows}
    native = dcmread(BytesIO(real_file("CT_small.dcm")))
    row = rows[str(native.SOPInstanceUID)]
    assert row.pixel_sha256 == hashlib.sha256(native.PixelData).hexdigest()
    assert row.pixel_bytes == len(native.PixelData)
    compressed = dcmread(BytesIO(real_file("JPEG2000.dcm")))
    row = rows[str(compressed.SOPInstanceUID)]
    assert row.pixel_sha256 == hashlib.sha256(compressed.PixelData).hexdigest()
    plan = dcmread(BytesIO(real_file("rtplan.dcm")))
    assert rows[str(plan.SOPInstanceUID)].pixel_sha256 == ""


def test_the_storage_class_of_the_plan_is_used(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    transfer(archive, store, ledger, wave)
    classes = {o.storage_class for o in store.list("studies/") if o.key.endswith(".dcm")}
    assert classes == {"GLACIER_IR"}


def test_a_second_run_has_nothing_left_to_do(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    transfer(archive, store, ledger, wave)
    before = fingerprint(ledger, store)
    assert transfer(archive, store, ledger, wave)["studies"] == 0
    assert fingerprint(ledger, store) == before


class KilledError(BaseException):
    """Stands for the process's death: nothing of ours may catch it."""


@pytest.mark.parametrize("after", range(8))
def test_killed_after_any_instance_the_next_run_ends_the_same(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, after: int
) -> None:
    seen = 0

    def die(_held: HeldInstance) -> None:
        nonlocal seen
        seen += 1
        if seen > after:
            raise KilledError

    with pytest.raises(KilledError):
        transfer(replace(archive, before_delivery=die), store, ledger, wave)
    transfer(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}
    assert len(list(store.list("studies/"))) == len(archive.instances) + len(states(ledger))
    with ledger.read() as connection:
        outcomes = set(connection.scalars(select(schema.attempt.c.outcome)))
        assert verify_chain(connection, transfer_chain(Shard(wave, 0)).name).sequence > 0
    assert outcomes <= {"transferred", "interrupted"}


def test_a_killed_and_an_undisturbed_run_give_identical_manifests(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def die(held: HeldInstance) -> None:
        if held is archive.instances[-1]:
            raise KilledError

    with pytest.raises(KilledError):
        transfer(replace(archive, before_delivery=die), store, ledger, wave)
    transfer(archive, store, ledger, wave)
    disturbed = fingerprint(ledger, store)
    with ledger.write() as connection:
        connection.execute(
            schema.study.update().values(state="cleansed", manifest_key="", manifest_sha256="")
        )
    transfer(archive, store, ledger, wave)
    assert fingerprint(ledger, store) == disturbed


def test_a_passing_fault_leaves_the_study_for_the_next_try(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    victim = archive.instances[0].record.study_instance_uid

    def break_off(held: HeldInstance) -> None:
        if held.record.study_instance_uid == victim:
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    broken = replace(archive, before_delivery=break_off)
    with pytest.raises(TransientError, match="1 studies are left"):
        transfer(broken, store, ledger, wave)
    assert states(ledger)[victim] == "transferring"
    assert sorted(states(ledger).values()).count("transferred") == len(states(ledger)) - 1
    transfer(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}


def test_on_the_last_try_it_is_quarantined_with_the_reason(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    victim = archive.instances[0].record.study_instance_uid

    def break_off(held: HeldInstance) -> None:
        if held.record.study_instance_uid == victim:
            raise TransientError("The association broke.", reason=ReasonCode.SOURCE_FAILED)

    summary = transfer(
        replace(archive, before_delivery=break_off), store, ledger, wave, last_try=True
    )
    assert summary["quarantined"] == 1
    assert states(ledger)[victim] == "quarantined"
    assert reasons(ledger) == ["source_failed"]


def test_a_source_that_is_down_is_not_asked_for_every_study(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    asked = set()

    def down(held: HeldInstance) -> None:
        asked.add(held.record.study_instance_uid)
        raise TransientError("Connection refused.", reason=ReasonCode.SOURCE_UNREACHABLE)

    policy = TransferPolicy(studies_per_shard=100, give_up_after_studies=2)
    with pytest.raises(TransientError):
        transfer(replace(archive, before_delivery=down), store, ledger, wave, policy=policy)
    assert len(asked) == 2


def test_an_instance_that_never_comes_quarantines_its_study_alone(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    record = archive.instances[0].record
    missing = {record.sop_instance_uid: ReasonCode.SOP_CLASS_REFUSED.value}
    transfer(replace(archive, undeliverable=missing), store, ledger, wave)
    assert states(ledger)[record.study_instance_uid] == "quarantined"
    assert sorted(states(ledger).values()).count("quarantined") == 1
    assert reasons(ledger) == ["sop_class_refused"]


def test_a_study_the_source_lists_empty_is_quarantined(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    uid = archive.instances[0].record.study_instance_uid
    emptied = [i for i in archive.instances if i.record.study_instance_uid != uid]
    transfer(replace(archive, instances=emptied), store, ledger, wave)
    assert states(ledger)[uid] == "quarantined"
    assert reasons(ledger) == ["study_empty"]


def test_an_instance_the_source_does_not_list_is_kept_and_told(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    twin = replace(archive.instances[0], record=replace(archive.instances[0].record))
    second = _with_uid(twin, "1.2.3.4.5")
    surprising = replace(archive, instances=[*archive.instances, second], unlisted={"1.2.3.4.5"})
    transfer(surprising, store, ledger, wave)
    assert states(ledger)[twin.record.study_instance_uid] == "quarantined"
    assert reasons(ledger) == ["instance_unexpected"]


def test_a_dataset_that_ends_early_is_never_stored_as_whole(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    cut = replace(archive.instances[0], dataset=archive.instances[0].dataset[:-1000])
    transfer(replace(archive, instances=[cut, *archive.instances[1:]]), store, ledger, wave)
    assert states(ledger)[cut.record.study_instance_uid] == "quarantined"
    assert reasons(ledger) == ["instance_truncated"]
    assert store.head(_key(cut)) is None


def test_equal_twins_are_one_and_different_ones_a_conflict(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    first = archive.instances[0]
    transfer(replace(archive, instances=[first, *archive.instances]), store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}


def test_two_datasets_under_one_uid_are_both_kept_and_a_person_decides(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    first = archive.instances[0]
    other = replace(first, dataset=first.dataset[:-2] + b"\x01\x02")
    transfer(replace(archive, instances=[other, *archive.instances]), store, ledger, wave)
    assert states(ledger)[first.record.study_instance_uid] == "quarantined"
    assert reasons(ledger) == ["instance_conflict"]
    prefix = _key(first).removesuffix(".dcm")
    assert len(list(store.list(prefix))) == 2


def test_a_header_of_another_study_is_refused(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    first, second = archive.instances[0], archive.instances[1]
    swapped = replace(first, dataset=second.dataset, transfer_syntax_uid=second.transfer_syntax_uid)
    transfer(replace(archive, instances=[swapped, *archive.instances[1:]]), store, ledger, wave)
    assert states(ledger)[first.record.study_instance_uid] == "quarantined"
    assert reasons(ledger) == ["instance_unexpected"]


def test_a_bucket_that_is_gone_stops_the_task_and_blames_no_study(
    archive: MemoryArchive, open_store: Any, ledger: Ledger, wave: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        transfer(archive, open_store(bucket="no-such-bucket"), ledger, wave)
    assert caught.value.reason is ReasonCode.TARGET_MISSING
    assert "quarantined" not in states(ledger).values()


def test_approved_corrections_are_applied_and_what_was_there_is_kept(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    ct = archive.instances[0]
    _approve(ledger, wave, ct, "StudyDescription", "e+1", "CORRECTED")
    transfer(archive, store, ledger, wave)
    rows = manifests(ledger, store)[ct.record.study_instance_uid]
    row = next(r for r in rows if r.sop_instance_uid == ct.record.sop_instance_uid)
    stored = dcmread(BytesIO(store.read(row.object_key)))
    before = dcmread(BytesIO(real_file("CT_small.dcm")))
    assert row.corrections == ("c-StudyDescription",)
    assert stored.StudyDescription == "CORRECTED"
    assert row.facts["study_description"] == "CORRECTED"
    assert row.dataset_sha256 == hashlib.sha256(ct.dataset).hexdigest()
    assert stored.PixelData == before.PixelData
    item = stored.OriginalAttributesSequence[0]
    assert item.ModifiedAttributesSequence[0].StudyDescription == before.StudyDescription
    assert item.ReasonForTheAttributeModification == "CORRECT"
    del stored.OriginalAttributesSequence
    del stored.StudyDescription
    del before.StudyDescription
    assert stored == before


def test_an_instance_that_says_something_else_keeps_it(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    ct = archive.instances[0]
    _approve(ledger, wave, ct, "StudyDescription", "another text", "CORRECTED")
    transfer(archive, store, ledger, wave)
    (row,) = manifests(ledger, store)[ct.record.study_instance_uid]
    assert row.corrections == ()
    assert store.read(row.object_key).endswith(ct.dataset)


def test_a_charset_declared_leaves_the_text_bytes_as_they_were(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    raw = "Müller^Jörg".encode()
    dataset.PatientName = "X" * len(raw)
    buffer = BytesIO()
    dataset.save_as(buffer)
    undeclared = held_from(buffer.getvalue().replace(b"X" * len(raw), raw))
    archive = replace(archive, instances=[undeclared, *archive.instances[1:]])
    _approve(ledger, wave, undeclared, "SpecificCharacterSet", "ISO_IR 100", "ISO_IR 192")
    transfer(archive, store, ledger, wave)
    (row,) = manifests(ledger, store)[undeclared.record.study_instance_uid]
    stored = store.read(row.object_key)
    assert raw in stored
    assert str(dcmread(BytesIO(stored)).PatientName) == "Müller^Jörg"
    assert row.facts["patient_name"] == "Müller^Jörg"


def test_a_charset_judged_on_other_text_is_not_declared_here(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    ct = archive.instances[0]  # its text is ASCII, whatever it declares
    _approve(ledger, wave, ct, "SpecificCharacterSet", "ISO_IR 100", "ISO_IR 192")
    with ledger.write() as connection:
        connection.execute(schema.correction.update().values(expected_text_encoding="utf-8"))
    transfer(archive, store, ledger, wave)
    (row,) = manifests(ledger, store)[ct.record.study_instance_uid]
    assert row.corrections == ()


def test_when_nothing_gets_through_no_study_is_blamed_even_on_the_last_try(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def down(_held: HeldInstance) -> None:
        raise TransientError("Connection refused.", reason=ReasonCode.SOURCE_UNREACHABLE)

    policy = TransferPolicy(studies_per_shard=100, give_up_after_studies=3)
    with pytest.raises(TransientError):
        transfer(
            replace(archive, before_delivery=down),
            store,
            ledger,
            wave,
            last_try=True,
            policy=policy,
        )
    assert "quarantined" not in states(ledger).values()
    transfer(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}


def test_the_same_refusal_again_and_again_stops_the_task(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def refuse(_held: HeldInstance) -> None:
        raise PermanentError(
            "Move destination unknown.", reason=ReasonCode.SOURCE_REFUSED_OPERATION
        )

    policy = TransferPolicy(studies_per_shard=100, give_up_after_studies=2)
    with pytest.raises(PermanentError, match="2 studies in a row"):
        transfer(replace(archive, before_delivery=refuse), store, ledger, wave, policy=policy)
    assert sorted(states(ledger).values()).count("quarantined") == 2


def test_a_refusal_of_everybody_blames_nobody(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    def reject(_held: HeldInstance) -> None:
        raise PermanentError("AE title not recognised.", reason=ReasonCode.SOURCE_REJECTED)

    with pytest.raises(PermanentError, match="AE title"):
        transfer(replace(archive, before_delivery=reject), store, ledger, wave)
    assert "quarantined" not in states(ledger).values()


def test_a_list_shorter_than_the_database_promised_is_not_taken_for_the_whole(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    uid = archive.instances[0].record.study_instance_uid
    with ledger.write() as connection:
        connection.execute(
            schema.study.update()
            .where(schema.study.c.study_instance_uid == uid)
            .values(number_of_instances=400)
        )
    transfer(archive, store, ledger, wave)
    assert states(ledger)[uid] == "quarantined"
    assert reasons(ledger) == ["count_mismatch"]


def test_what_verification_sends_back_is_compared_with_the_list_and_not_with_the_count(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    """A source that counts, and sends, images alone: a report is missing from both."""
    image = archive.instances[0]
    report = _with_uid(image, "1.2.3.4.5")
    uid, table = image.record.study_instance_uid, schema.study
    forgetful = _SendsOnlyWhatItIsAskedFor([*archive.instances, report], forgets="1.2.3.4.5")
    with ledger.write() as connection:
        study = table.update().where(table.c.study_instance_uid == uid)
        connection.execute(study.values(number_of_instances=1))
    transfer(forgetful, store, ledger, wave)
    assert len(manifests(ledger, store)[uid]) == 1
    with ledger.write() as connection:  # verification misses the report
        connection.execute(study.values(state="cleansed"))
    transfer(forgetful, store, ledger, wave)
    assert len(manifests(ledger, store)[uid]) == 2


@dataclass
class _SendsOnlyWhatItIsAskedFor(MemoryArchive):
    forgets: str = ""

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        sent = [held for held in self.instances if held.record.sop_instance_uid != self.forgets]
        return MemoryArchive(sent).retrieve_study(study_instance_uid, sink, expected)


def test_an_unlisted_failure_is_a_fault_of_the_study(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    second = _with_uid(archive.instances[0], "1.2.3.4.5")
    refusing = replace(
        archive,
        instances=[*archive.instances, second],
        unlisted={"1.2.3.4.5"},
        undeliverable={"1.2.3.4.5": ReasonCode.INSTANCE_UNEXPECTED.value},
    )
    transfer(refusing, store, ledger, wave)
    assert states(ledger)[second.record.study_instance_uid] == "quarantined"
    assert reasons(ledger) == ["instance_unexpected"]


def test_a_damaged_manifest_is_written_again_under_another_key(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str, s3: Any, bucket: str
) -> None:
    transfer(archive, store, ledger, wave)
    before = manifests(ledger, store)
    with ledger.read() as connection:
        key = connection.scalar(select(schema.study.c.manifest_key))
    s3.put_object(Bucket=bucket, Key=f"site-a/{key}", Body=b"damaged")
    with ledger.write() as connection:
        connection.execute(schema.study.update().values(state="cleansed"))
    transfer(archive, store, ledger, wave)
    assert manifests(ledger, store).keys() == before.keys()
    assert set(states(ledger).values()) == {"transferred"}


def test_a_shard_stops_between_studies_when_the_window_closes_and_goes_on_later(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    cut_shards(ledger, wave, POLICY)
    answers = iter([True, True, False])
    summary = transfer_shard(
        archive,
        store,
        ledger,
        Shard(wave, 0),
        POLICY,
        last_try=False,
        may_go_on=lambda: next(answers),
    )
    assert (summary["transferred"], summary["left"]) == (2, len(states(ledger)) - 2)
    assert close_wave(ledger, wave)["cleansed"] == summary["left"]
    assert waves_to_move(ledger, []) == [wave]
    transfer(archive, store, ledger, wave)
    assert set(states(ledger).values()) == {"transferred"}


def test_one_hostile_instance_stops_no_other_study(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    dataset.NumberOfFrames = "1234567"
    buffer = BytesIO()
    dataset.save_as(buffer)
    hostile = held_from(buffer.getvalue().replace(b"1234567", b"inf    "))
    transfer(replace(archive, instances=[hostile, *archive.instances[1:]]), store, ledger, wave)
    final = states(ledger)
    assert set(final.values()) <= {"transferred", "quarantined"}
    assert sorted(final.values()).count("transferred") >= len(final) - 1


@pytest.mark.parametrize("wave_id", ["Pnone-W0001", "Ptest-W0002"])
def test_a_wave_that_is_unknown_or_not_cleansed_is_refused(
    ledger: Ledger, wave: str, wave_id: str
) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.wave).values(
                wave_id="Ptest-W0002",
                plan_id="Ptest",
                ordinal=2,
                state="planned",
                updated_at=datetime(2026, 1, 2, tzinfo=UTC),
            )
        )
    with pytest.raises(PermanentError, match=wave_id):
        waves_to_move(ledger, [wave_id])


def test_only_studies_that_are_left_are_cut_into_shards_and_the_wave_closes(
    archive: MemoryArchive, store: S3Store, ledger: Ledger, wave: str
) -> None:
    policy = TransferPolicy(studies_per_shard=3)
    assert waves_to_move(ledger, []) == [wave]
    shards = cut_shards(ledger, wave, policy)
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert len(shards) == -(-len(states(ledger)) // 3)
    for shard in shards:
        transfer_shard(archive, store, ledger, shard, policy, last_try=False)
    assert cut_shards(ledger, wave, policy) == []
    assert close_wave(ledger, wave) == {"transferred": len(states(ledger))}
    assert waves_to_move(ledger, []) == []
    assert waves_to_move(ledger, [wave]) == [wave]


def _approve(
    ledger: Ledger,
    wave: str,
    instance: HeldInstance,
    keyword: str,
    old_value: str,
    value: str,
) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.correction).values(
                correction_id=f"c-{keyword}",
                wave_id=wave,
                study_instance_uid=instance.record.study_instance_uid,
                keyword=keyword,
                old_value=old_value,
                new_value=value,
                rule_id="test-rule",
                ruleset_sha256="0" * 64,
                status="approved",
                updated_at=datetime(2026, 1, 2, tzinfo=UTC),
            )
        )


def _key(instance: HeldInstance) -> str:
    record = instance.record
    return (
        f"studies/{record.study_instance_uid}/{record.series_instance_uid}/"
        f"{record.sop_instance_uid}.dcm"
    )


def _with_uid(instance: HeldInstance, sop_instance_uid: str) -> HeldInstance:
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_instance_uid
    buffer = BytesIO()
    dataset.save_as(buffer)
    return held_from(buffer.getvalue())
