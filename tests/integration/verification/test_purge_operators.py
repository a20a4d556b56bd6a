"""The purge gate as Airflow runs it: real connections, the shipped retention policy, an answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.operators.purge import ProposePurgeOperator, SignPurgeListOperator
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.shards import verify_shard
from dicom_migration.verification.signing import read_public_key, signature_problem
from tests.integration.verification.test_signed_certificate import private_pem, public_pem
from tests.integration.verification.written_wave import WAVE, WrittenWave, part10, put

ROOT = Path(__file__).resolve().parents[3]
ADA = {"id": "ada", "name": "Ada Approver"}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def connections(
    wave: WrittenWave, client: Any, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """A verified wave of old studies, a second copy of it, and a signing key."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number, instance in enumerate(wave.archive.instances):
        (folder / f"{number}.dcm").write_bytes(part10(instance))
    second = S3Store(client, "archive", "second")
    for rows in wave.rows.values():
        for row in rows:
            put(second, row.object_key, wave.store.read(row.object_key))
    verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 100), VerificationPolicy())
    with wave.ledger.write() as connection:
        connection.execute(
            update(schema.study).values(study_date="19900101", patient_birth_date="19500101")
        )

    def bucket(**place: str) -> dict[str, Any]:
        service = {"s3": {"bucket_name": "archive", **place}}
        extra = {"endpoint_url": endpoint, "region_name": "us-east-1", "service_config": service}
        return {"conn_type": "aws", "login": "a-test-key", "password": "a-test-secret",
                "extra": extra}  # fmt: skip

    given = {
        "pacs_source": {"conn_type": "dicom_folder", "extra": {"path": str(folder)}},
        "migration_ledger": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        "cloud_target": bucket(),
        "cloud_second_copy": bucket(prefix="second"),
        "certificate_signing": {"conn_type": "generic", "password": private_pem(KEY).decode()},
    }
    names = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in given.items()}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return names


def propose() -> dict[str, Any]:
    return ProposePurgeOperator(task_id="propose").execute({})  # type: ignore[arg-type]


def sign(proposal: dict[str, Any], *, person: dict[str, str] | None = ADA) -> dict[str, Any]:
    response = {
        "chosen_options": ["Approve"],
        "responded_by_user": person,
        "asked_about": proposal["content_sha256"],
    }
    operator = SignPurgeListOperator(task_id="sign_list", proposal=proposal, response=response)
    return operator.execute({})  # type: ignore[arg-type]


def listed(wave: WrittenWave) -> dict[str, Any]:
    """Return the signed list out of the bucket, its signature checked."""
    with wave.ledger.read() as connection:
        key = connection.scalar(
            select(schema.report.c.object_key).where(
                schema.report.c.kind == "purge_list", schema.report.c.object_key.endswith(".json")
            )
        )
    document: dict[str, Any] = json.loads(wave.store.read(str(key)))
    assert signature_problem(document, "purge_list", read_public_key(public_pem(KEY))) == ""
    return document["purge_list"]  # type: ignore[no-any-return]


def test_an_approved_list_is_signed_and_names_every_study_and_rule(wave, connections) -> None:
    proposal = propose()
    assert proposal["studies"] == len(wave.studies)
    assert sign(proposal)["studies"] == len(wave.studies)
    body = listed(wave)
    assert [study["study_instance_uid"] for study in body["studies"]] == wave.studies
    assert {study["retention_rule"] for study in body["studies"]} == {
        "adult-studies-after-30-years"
    }
    assert body["approved_by"] == "Ada Approver"


def test_a_study_on_legal_hold_is_on_no_list(wave, connections, tmp_path, monkeypatch) -> None:
    include = tmp_path / "include"
    shutil.copytree(ROOT / "include", include)
    policy = include / "policies" / "retention.yaml"
    held = f"[{{name: case-1, reason: Asked for., study_instance_uids: ['{wave.studies[0]}']}}]"
    policy.write_text(policy.read_text().replace("legal_holds: []", f"legal_holds: {held}"))
    monkeypatch.setenv("DICOM_MIGRATION_INCLUDE", str(include))
    assert propose()["studies"] == len(wave.studies) - 1


def test_what_changed_after_it_was_shown_is_left_out_and_counted(wave, connections, client) -> None:
    proposal = propose()
    row = wave.rows[wave.studies[0]][0]
    client.delete_object(Bucket="archive", Key=f"second/{row.object_key}")
    signed = sign(proposal)
    assert (signed["studies"], signed["left_out"]) == (len(wave.studies) - 1, 1)
    body = listed(wave)
    assert [study["study_instance_uid"] for study in body["studies"]] == wave.studies[1:]
    (why,) = body["left_out_since_approval"]
    assert "the second copy differs" in why


def test_an_answer_about_another_list_signs_nothing(wave, connections) -> None:
    proposal = propose()
    response = {
        "chosen_options": ["Approve"],
        "responded_by_user": ADA,
        "asked_about": "0" * 64,
    }
    operator = SignPurgeListOperator(task_id="sign_list", proposal=proposal, response=response)
    with pytest.raises(PermanentError, match="nobody is named"):
        operator.execute({})  # type: ignore[arg-type]


def test_the_target_itself_is_no_second_copy(wave, connections, monkeypatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_SECOND_COPY", connections["AIRFLOW_CONN_CLOUD_TARGET"])
    with pytest.raises(PermanentError, match="name the same place") as caught:
        propose()
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID


def test_nobody_and_no_key_sign_nothing(wave, connections, monkeypatch) -> None:
    proposal = propose()
    with pytest.raises(PermanentError, match="nobody is named"):
        sign(proposal, person=None)
    monkeypatch.delenv("AIRFLOW_CONN_CERTIFICATE_SIGNING")
    with pytest.raises(PermanentError, match="no signing key"):
        sign(proposal)


def test_without_a_second_copy_the_reason_is_told_and_nobody_is_asked(
    wave, connections, monkeypatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CLOUD_SECOND_COPY")
    with pytest.raises(AirflowSkipException, match="no second copy"):
        propose()
