from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, select, update

from dicom_migration.certificate import main
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, schema
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.certificate import issue_certificate
from dicom_migration.verification.certificate_check import verify_document
from dicom_migration.verification.certificate_report import render_certificate
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.compaction import compact_wave
from dicom_migration.verification.pixel_audit import audit_pixels
from dicom_migration.verification.settlement import settle_mismatches
from dicom_migration.verification.shards import verify_shard
from tests.integration.verification.written_wave import WAVE, add_study, add_wave

POLICY = VerificationPolicy()
NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def document(wave):
    verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 100), POLICY)
    audit_pixels(wave.archive, wave.store, wave.ledger, WAVE, POLICY)
    settle_mismatches(wave.ledger, WAVE, POLICY)
    compact_wave(wave.store, wave.ledger, WAVE, POLICY)
    return issue_certificate(wave.ledger, WAVE, "0" * 64, NOW)


@pytest.fixture
def folder(document, wave, tmp_path):
    """The certificate and the compacted manifests, as an auditor is given them."""
    (tmp_path / "certificate.json").write_text(json.dumps(document, indent=1))
    parts = tmp_path / "manifests"
    parts.mkdir()
    for part in document["certificate"]["objects"]["manifest_parts"]:
        (parts / part["key"].rsplit("/", 1)[-1]).write_bytes(wave.store.read(part["key"]))
    return tmp_path


def test_a_complete_wave_is_certified_with_its_sums(document, wave):
    body = document["certificate"]
    assert body["status"] == "complete"
    assert body["counts"]["by_state"] == {"verified": len(wave.studies)}
    rows = [row for rows in wave.rows.values() for row in rows]
    assert body["counts"]["instances"] == len(rows) == body["objects"]["instances"]
    assert body["counts"]["bytes_stored"] == sum(r.object_bytes for r in rows)
    assert body["pixel_audit"]["compared"] > 0
    assert {chain["chain"] for chain in body["chains"]} >= {f"wave:{WAVE}/verify-0"}
    assert verify_document(document) == []


def test_it_holds_offline_with_compacted_and_with_single_manifests(folder, document, wave, capsys):
    file = folder / "certificate.json"
    assert main(["verify", str(file), "--manifests", str(folder / "manifests")]) == 0
    assert document["certificate"]["objects"]["merkle_root"] in capsys.readouterr().out
    single = folder / "single"
    single.mkdir()
    with wave.ledger.read() as connection:
        for (key,) in connection.execute(select(schema.study.c.manifest_key)):
            (single / key.replace("/", "_")).write_bytes(wave.store.read(key))
    assert verify_document(document, single) == []


@pytest.mark.parametrize("path", ["counts", "studies", "merkle", "plan", "hash"])
def test_any_change_is_found(document, path):
    changed = copy.deepcopy(document)
    body = changed["certificate"]
    if path == "counts":
        body["counts"]["instances"] += 1
    elif path == "studies":
        body["studies"][0]["instances"] += 1
    elif path == "merkle":
        body["objects"]["merkle_root"] = "f" + body["objects"]["merkle_root"][1:]
    elif path == "plan":
        body["wave"]["plan_approved_by"] = "somebody else"
    else:
        changed["sha256"] = changed["sha256"][:-1] + "x"
    assert verify_document(changed)


def test_every_byte_of_the_body_counts(folder, capsys):
    file = folder / "certificate.json"
    text = file.read_text()
    place = text.index('"bytes_received": ') + len('"bytes_received": ')
    digit = "1" if text[place] != "1" else "2"
    file.write_text(text[:place] + digit + text[place + 1 :])
    assert main(["verify", str(file)]) == 1
    assert "changed" in capsys.readouterr().out


def test_a_foreign_and_a_missing_manifest_are_found(folder, document):
    manifests = folder / "manifests"
    part = next(manifests.iterdir())
    data = part.read_bytes()
    part.write_bytes(data[:-1] + b"\0")
    problems = verify_document(document, manifests)
    assert any("not a file that the certificate seals" in problem for problem in problems)
    assert any("missing" in problem for problem in problems)
    part.unlink()
    assert verify_document(document, manifests)


def test_not_a_certificate(tmp_path, capsys):
    file = tmp_path / "x.json"
    file.write_text("{}")
    assert main(["verify", str(file)]) == 1
    file.write_text("no json")
    assert main(["verify", str(file)]) == 2


def test_the_same_evidence_gives_the_same_certificate(document, wave):
    audit_pixels(wave.archive, wave.store, wave.ledger, WAVE, POLICY)
    settle_mismatches(wave.ledger, WAVE, POLICY)
    compact_wave(wave.store, wave.ledger, WAVE, POLICY)
    assert issue_certificate(wave.ledger, WAVE, "0" * 64) == document
    with wave.ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(schema.certificate)) == 1


def test_an_edited_event_stops_the_certificate(document, wave):
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.event)
            .where(schema.event.c.chain == f"wave:{WAVE}/verify-0", schema.event.c.sequence == 2)
            .values(payload="{}")
        )
    with pytest.raises(PermanentError) as caught:
        issue_certificate(wave.ledger, WAVE, "0" * 64)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED


def test_events_cut_off_the_end_stop_the_next_certificate(document, wave):
    table = schema.event.c
    with wave.ledger.write() as connection:
        last = connection.scalar(
            select(func.max(table.sequence)).where(table.chain == f"wave:{WAVE}/verify-0")
        )
        connection.execute(
            delete(schema.event).where(
                table.chain == f"wave:{WAVE}/verify-0", table.sequence == last
            )
        )
    with pytest.raises(PermanentError, match="sealed"):
        issue_certificate(wave.ledger, WAVE, "0" * 64)


def decide_plan(ledger, *kinds):
    with ledger.write() as connection:
        EventChain("plan/plan-1").append(connection, [(kind, "", {"by": "ann"}) for kind in kinds])


def test_the_plans_chain_is_sealed_and_no_other_plans(store, ledger):
    add_wave(ledger, WAVE)
    decide_plan(ledger, "plan.made", "plan.approved")
    with ledger.write() as connection:
        EventChain("plan/plan-10").append(connection, [("plan.made", "", {})])
    compact_wave(store, ledger, WAVE, POLICY)
    chains = issue_certificate(ledger, WAVE, "0" * 64, NOW)["certificate"]["chains"]
    sealed = {chain["chain"]: chain["sequence"] for chain in chains}
    assert sealed["plan/plan-1"] == 2
    assert "plan/plan-10" not in sealed


@pytest.mark.parametrize("damage", ["edited", "cut off"])
def test_a_changed_plan_stops_the_certificate(store, ledger, damage):
    add_wave(ledger, WAVE)
    decide_plan(ledger, "plan.made", "plan.approved")
    compact_wave(store, ledger, WAVE, POLICY)
    issue_certificate(ledger, WAVE, "0" * 64, NOW)
    approval = (schema.event.c.chain == "plan/plan-1") & (schema.event.c.sequence == 2)
    with ledger.write() as connection:
        connection.execute(
            update(schema.event).where(approval).values(payload='{"by":"eve"}')
            if damage == "edited"
            else delete(schema.event).where(approval)
        )
    with pytest.raises(PermanentError) as caught:
        issue_certificate(ledger, WAVE, "0" * 64)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED


def test_a_wave_that_is_all_quarantined_is_certified_too(store, ledger):
    add_wave(ledger, WAVE)
    add_study(ledger, "1.2.3", WAVE, "quarantined")
    compact_wave(store, ledger, WAVE, POLICY)
    document = issue_certificate(ledger, WAVE, "0" * 64, NOW)
    assert document["certificate"]["status"] == "complete"
    assert verify_document(document) == []
    assert "of 1 studies verified" in render_certificate(document)


def test_a_wave_under_way_gets_an_interim_certificate(store, ledger):
    add_wave(ledger, WAVE)
    add_study(ledger, "1.2.3", WAVE, "cleansed")
    compact_wave(store, ledger, WAVE, POLICY)
    assert issue_certificate(ledger, WAVE, "0" * 64, NOW)["certificate"]["status"] == "interim"


def test_the_report_for_people_names_hashes_and_no_patient(document, wave):
    html = render_certificate(document)
    assert document["sha256"] in html
    assert document["certificate"]["objects"]["merkle_root"] in html
    names = {row.facts["patient_name"] for rows in wave.rows.values() for row in rows}
    assert not [name for name in names if name and name in html]
