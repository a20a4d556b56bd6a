"""A study becomes a purge candidate by two proofs, and one objection keeps it off the list."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import event, false, insert, literal, select, true, update

from dicom_migration.certificate import main
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import ExceptionNote, note_exceptions, schema
from dicom_migration.policies.verification import ReadBack, VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.compaction import compact_wave
from dicom_migration.verification.evidence import gather
from dicom_migration.verification.purge import AUDITED, COPIED, NO_SECOND_PROOF, PurgeGate
from dicom_migration.verification.purge_claims import HELD, Retention
from dicom_migration.verification.purge_list import (
    PURGE_CHAIN,
    approve_purge,
    as_csv,
    record_issue,
    render_purge,
    shown_candidates,
)
from dicom_migration.verification.sealed_events import STUDY_AUDITED_EVENT, audit_chain
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


def gate(wave, second, rule=RULE, held=None):
    retention = Retention(rule, false() if held is None else held)
    return PurgeGate(wave.archive, wave.store, second, wave.ledger, retention)


def propose(wave, second, rule=RULE, limit=100):
    return gate(wave, second, rule).propose(limit)


def uids(proposal):
    return [candidate.study_instance_uid for candidate in proposal.candidates]


def audited(wave, uid, **changes):
    """Record an audit of every instance of a study, as the audit of its wave does."""
    rows = wave.rows[uid]
    told = {
        "instances": len(rows),
        "audited": len(rows),
        "headers_proved": len(rows),
        "pixels_proved": sum(row.pixel_bytes is not None for row in rows),
        "outcome": "verified",
    }
    with wave.ledger.write() as connection:
        audit_chain(WAVE).append(connection, [(STUDY_AUDITED_EVENT, uid, {**told, **changes})])


def test_studies_with_two_proofs_are_candidates(wave, second):
    verified(wave)
    proposal = propose(wave, second)
    assert uids(proposal) == wave.studies
    assert {c.second_proof for c in proposal.candidates} == {COPIED}
    assert all(c.read_back_at and c.wave_id == WAVE for c in proposal.candidates)
    assert proposal.withheld == {}
    short = propose(wave, second, limit=2)
    assert uids(short) == wave.studies[:2]
    assert short.withheld == {"beyond the limit of one list": len(wave.studies) - 2}


def test_without_verification_second_copy_or_rule_there_is_no_candidate(wave, second):
    assert propose(wave, second).withheld == {"not verified": len(wave.studies)}
    verified(wave)
    assert propose(wave, None).withheld == {NO_SECOND_PROOF: len(wave.studies)}
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
        (object_missing, "no second proof: not audited in full, and the second copy differs"),
        (object_changed, "no second proof: not audited in full, and the second copy differs"),
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
    assert uids(proposal) == wave.studies[1:]
    assert proposal.withheld == {why: 1}


def test_a_source_offline_proposes_nothing(wave, second):
    verified(wave)
    wave.archive.failing = {wave.studies[2]}
    with pytest.raises(TransientError):
        propose(wave, second)


def publish(wave, proposal):
    """Keep a proposal as the operator does, and return its hash."""
    data = json.dumps(proposal.body(), sort_keys=True, separators=(",", ":")).encode()
    put(wave.store, "reports/proposal.json", data)
    with wave.ledger.write() as connection:
        connection.execute(
            insert(schema.report).values(
                object_key="reports/proposal.json",
                kind="purge_proposal",
                subject="purge",
                sha256=proposal.sha256,
                created_at=NOW,
            )
        )
    return proposal.sha256


def test_an_audit_of_every_instance_is_a_second_proof(wave):
    verified(wave)
    uid = wave.studies[1]
    audited(wave, uid)
    (candidate,) = propose(wave, None).candidates
    assert (candidate.study_instance_uid, candidate.second_proof) == (uid, AUDITED)


@pytest.mark.parametrize(
    "changes",
    [{"audited": 0}, {"headers_proved": 0}, {"pixels_proved": 0}, {"outcome": "undecided"}],
)
def test_an_audit_of_a_part_is_no_proof(wave, changes):
    verified(wave)
    audited(wave, wave.studies[1], **changes)
    assert propose(wave, None).withheld == {NO_SECOND_PROOF: len(wave.studies)}


def test_an_audit_from_before_the_last_transfer_is_no_proof(wave):
    audited(wave, wave.studies[1])
    verified(wave)
    assert not propose(wave, None).candidates


def test_an_audit_that_was_written_into_the_ledger_by_hand_is_found(wave):
    verified(wave)
    uid = wave.studies[1]
    audited(wave, uid, audited=0)
    event = schema.event.c
    with wave.ledger.write() as connection:
        chosen = event.kind == STUDY_AUDITED_EVENT
        text = connection.scalar(select(event.payload).where(chosen))
        whole = json.dumps({**json.loads(text), "audited": len(wave.rows[uid])})
        connection.execute(update(schema.event).where(chosen).values(payload=whole))
    with pytest.raises(PermanentError) as refused:
        propose(wave, None)
    assert refused.value.reason is ReasonCode.LEDGER_TAMPERED


def test_a_clean_audit_does_not_take_the_place_of_the_read_back(wave, second):
    verified(wave)
    row = {
        "study_instance_uid": wave.studies[0],
        "wave_id": WAVE,
        "verified_at": NOW,
        "method": "pixel-audit",
        "objects_read": 0,
        "outcome": "verified",
    }
    with wave.ledger.write() as connection:
        connection.execute(insert(schema.verification).values(row))
    assert uids(propose(wave, second)) == wave.studies
    compact_wave(wave.store, wave.ledger, WAVE, VerificationPolicy())
    with wave.ledger.read() as connection:
        studies = gather(connection, WAVE)["studies"]
    assert {study["method"] for study in studies} == {VerificationPolicy().read_back.label}


def test_a_legal_hold_keeps_its_studies_off_the_list(wave, second):
    verified(wave)
    held = schema.study.c.study_instance_uid == wave.studies[0]
    proposal = gate(wave, second, held=held).propose(100)
    assert uids(proposal) == wave.studies[1:]
    assert proposal.withheld == {HELD: 1}


def test_the_ledger_is_asked_as_often_for_many_studies_as_for_few(wave, second):
    verified(wave)
    asked = []
    event.listen(wave.ledger.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    propose(wave, second, limit=1)
    few = len(asked)
    propose(wave, second)
    assert len(asked) - few <= few + 3, "one page more, to see that there is none"


def test_what_moved_since_it_was_shown_is_left_out_and_nothing_is_added(wave, second):
    verified(wave)
    shown = propose(wave, second, limit=len(wave.studies) - 1)
    listed = shown_candidates(wave.ledger, wave.store, publish(wave, shown))
    assert listed == shown.candidates
    source_lost_one(wave, None, wave.studies[0])
    confirmed = gate(wave, second).confirm(listed)
    assert uids(confirmed) == wave.studies[1:-1]
    assert confirmed.withheld == {"the source changed": 1}
    again = [replace(listed[1], manifest_sha256="0" * 64)]
    assert not gate(wave, second).confirm(again).candidates
    held_by_now = gate(wave, second, held=true()).confirm(listed)
    assert held_by_now.withheld == {HELD: len(listed)}


def test_a_proposal_that_was_changed_or_never_shown_is_refused(wave, second):
    verified(wave)
    digest = publish(wave, propose(wave, second))
    with pytest.raises(PermanentError) as refused:
        shown_candidates(wave.ledger, wave.store, "0" * 64)
    assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    data = wave.store.read("reports/proposal.json").replace(b"adults", b"minors")
    client = wave.store._client
    client.put_object(Bucket="archive", Key="reports/proposal.json", Body=data)
    with pytest.raises(PermanentError, match="changed"):
        shown_candidates(wave.ledger, wave.store, digest)


def test_the_administrator_can_tell_a_changed_list(wave, second, tmp_path):
    verified(wave)
    shown = propose(wave, second)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    document = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)
    document = signed(document, "purge_list", key)
    file, sheet = tmp_path / "list.json", tmp_path / "list.csv"

    def check(trusted=key):
        pem = tmp_path / "public.pem"
        form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        pem.write_bytes(trusted.public_key().public_bytes(*form))
        told = ["verify-list", str(file), "--csv", str(sheet), "--public-key", str(pem)]
        return main(told)

    file.write_text(json.dumps(document))
    sheet.write_bytes(as_csv(shown.candidates))
    assert check() == 0
    assert check(Ed25519PrivateKey.from_private_bytes(bytes(32))) == 1, "another key"
    sheet.write_bytes(as_csv(shown.candidates[1:]))
    assert check() == 1, "a row less in the CSV"
    sheet.write_bytes(as_csv(shown.candidates))
    uid = wave.studies[0]
    file.write_text(json.dumps(document).replace(uid, uid[:-1] + str((int(uid[-1]) + 1) % 10)))
    assert check() == 1, "one byte of a UID"
    del document["signature"]
    file.write_text(json.dumps(document))
    assert check() == 1, "no signature"


def test_an_approval_is_by_a_named_person_and_for_studies_that_are_left(wave, second, client):
    verified(wave)
    shown = propose(wave, second)
    body = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)["purge_list"]
    assert (body["approved_by"], body["content_sha256"]) == ("ann", shown.sha256)
    assert body["counts"]["studies"] == len(wave.studies)
    with pytest.raises(PermanentError, match="nobody"):
        approve_purge(wave.ledger, shown, shown.sha256, "", NOW)
    nothing = gate(wave, None).confirm(shown.candidates)
    with pytest.raises(PermanentError, match="none of its studies"):
        approve_purge(wave.ledger, nothing, shown.sha256, "ann", NOW)
    with wave.ledger.read() as connection:
        assert PURGE_CHAIN.head(connection).sequence == 1


def test_a_listed_study_is_flagged_and_its_history_says_by_which_list(wave, second):
    verified(wave)
    shown = propose(wave, second, limit=2)
    document = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)
    record_issue(wave.ledger, document["purge_list"], "s3://archive/list.json")
    study, told = schema.study.c, schema.event.c
    with wave.ledger.read() as connection:
        flagged = connection.execute(
            select(study.study_instance_uid, study.purge_rule)
            .where(study.purge_candidate)
            .order_by(study.study_instance_uid)
        ).all()
        events = connection.scalars(
            select(told.study_instance_uid).where(told.kind == "purge.study_listed")
        ).all()
    assert [tuple(row) for row in flagged] == [
        (uid, "adults-after-30-years") for uid in wave.studies[:2]
    ]
    assert sorted(events) == wave.studies[:2]


def test_the_page_says_who_what_and_why_not(wave, second, client):
    verified(wave)
    object_missing(wave, client, wave.studies[0])
    shown = propose(wave, second)
    page = render_purge(shown)
    assert "authorises nobody" in page
    assert "the second copy differs" in page
    document = approve_purge(wave.ledger, shown, shown.sha256, "ann", NOW)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    page = render_purge(shown, signed(document, "purge_list", key))
    assert "Approved by ann" in page
    assert all(uid in page for uid in wave.studies[1:])
    assert wave.studies[0] not in page
