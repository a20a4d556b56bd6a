"""A study becomes a purge candidate by two proofs, and one objection keeps it off the list."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import literal, select, update

from dicom_migration.certificate import main
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import ExceptionNote, note_exceptions, schema
from dicom_migration.policies.verification import ReadBack, VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.purge import PURGE_CHAIN, approve_purge, propose_purge
from dicom_migration.verification.shards import verify_shard
from dicom_migration.verification.signing import signed
from tests.integration.verification.written_wave import WAVE, put

NOW = datetime(2025, 3, 1, tzinfo=UTC)
RULE = literal("adults-after-30-years")


@pytest.fixture
def second(client, wave):
    """Another place with the same objects."""
    copy = S3Store(client, "archive", "second")
    for rows in wave.rows.values():
        for row in rows:
            put(copy, row.object_key, wave.store.read(row.object_key))
    return copy


def verified(wave, policy=None):
    shard = Shard(WAVE, 0, 100)
    verify_shard(wave.archive, wave.store, wave.ledger, shard, policy or VerificationPolicy())


def propose(wave, second, rule=RULE, limit=100):
    return propose_purge(wave.archive, wave.store, second, wave.ledger, rule, limit)


def test_studies_with_two_proofs_are_candidates(wave, second):
    verified(wave)
    proposal = propose(wave, second)
    assert [c.study_instance_uid for c in proposal.candidates] == wave.studies
    assert proposal.withheld == {}
    assert len(propose(wave, second, limit=2).candidates) == 2


def test_without_verification_second_copy_or_rule_there_is_no_candidate(wave, second):
    assert propose(wave, second).withheld == {"not verified": len(wave.studies)}
    verified(wave)
    assert propose(wave, None).withheld == {"no second copy": len(wave.studies)}
    assert propose(wave, second, literal("")).body()["studies"] == []


def test_a_study_that_was_only_attested_lacks_its_first_proof(wave, second):
    verified(wave, VerificationPolicy(read_back=ReadBack(mode="metadata")))
    assert not propose(wave, second).candidates


def object_missing(wave, client, uid):
    client.delete_object(Bucket="archive", Key=f"second/{wave.rows[uid][0].object_key}")


def object_changed(wave, client, uid):
    key = f"second/{wave.rows[uid][0].object_key}"
    client.put_object(Bucket="archive", Key=key, Body=b"something else")


def open_exception(wave, client, uid):
    note = ExceptionNote(ReasonCode.FIELD_INVALID, "cleansing", uid, detail="x")
    with wave.ledger.write() as connection:
        note_exceptions(connection, [note], PURGE_CHAIN)


def source_lost_one(wave, client, uid):
    gone = wave.rows[uid][0].sop_instance_uid
    wave.archive.instances = [
        i for i in wave.archive.instances if i.record.sop_instance_uid != gone
    ]


def vanished(wave, client, uid):
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == uid)
            .values(vanished_at=NOW)
        )


def manifest_deleted(wave, client, uid):
    with wave.ledger.read() as connection:
        key = connection.scalar(
            select(schema.study.c.manifest_key).where(schema.study.c.study_instance_uid == uid)
        )
    client.delete_object(Bucket="archive", Key=key)


@pytest.mark.parametrize(
    ("objection", "why"),
    [
        (object_missing, "the second copy differs"),
        (object_changed, "the second copy differs"),
        (open_exception, "an exception is open"),
        (source_lost_one, "the source changed"),
        (vanished, "the source changed"),
        (manifest_deleted, "the manifest changed"),
    ],
)
def test_one_objection_keeps_that_study_off_the_list(wave, second, client, objection, why):
    verified(wave)
    uid = wave.studies[0]
    objection(wave, client, uid)
    proposal = propose(wave, second)
    assert [c.study_instance_uid for c in proposal.candidates] == wave.studies[1:]
    assert proposal.withheld == {why: 1}


def test_a_source_offline_proposes_nothing(wave, second):
    verified(wave)
    wave.archive.failing = {wave.studies[2]}
    with pytest.raises(TransientError):
        propose(wave, second)


def test_the_administrator_can_tell_a_changed_list(wave, second, tmp_path):
    verified(wave)
    shown = propose(wave, second)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    document = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)
    document = signed(document, "purge_list", key)
    file, pem = tmp_path / "list.json", tmp_path / "public.pem"
    pem.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    file.write_text(json.dumps(document))
    assert main(["verify-list", str(file), "--public-key", str(pem)]) == 0
    document["purge_list"]["studies"].pop()
    file.write_text(json.dumps(document))
    assert main(["verify-list", str(file), "--public-key", str(pem)]) == 1
    del document["signature"]
    file.write_text(json.dumps(document))
    assert main(["verify-list", str(file), "--public-key", str(pem)]) == 1


def test_an_approval_is_for_what_was_shown_and_by_a_named_person(wave, second, client):
    verified(wave)
    shown = propose(wave, second)
    document = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)
    assert document["purge_list"]["approved_by"] == "ann"
    with pytest.raises(PermanentError, match="nobody"):
        approve_purge(wave.ledger, shown, shown.sha256, "", NOW)
    object_missing(wave, client, wave.studies[0])
    with pytest.raises(PermanentError, match="not what was shown"):
        approve_purge(wave.ledger, propose(wave, second), shown.sha256, "ann", NOW)
    with wave.ledger.read() as connection:
        assert PURGE_CHAIN.head(connection).sequence == 1
