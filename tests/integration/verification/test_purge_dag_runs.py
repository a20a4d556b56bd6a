"""The purge gate as Airflow runs it, while things change before the person answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import select

from dicom_migration.certificate import main
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import schema
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.shards import verify_shard
from tests.integration.verification.written_wave import WAVE, WrittenWave, part10, put

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
RETENTION = """
rules:
  - {name: after-one-year, reason: Long enough for a test., older_than_years: 1}
legal_holds: [%s]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("airflow")
    environment = {**os.environ, **of_airflow(folder)}
    command = [sys.executable, "-m", "airflow"]
    for arguments in (["db", "migrate"], ["pools", "set", "pacs_associations", "2", "test"]):
        subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True)
    return folder


def of_airflow(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }


@pytest.fixture
def airflow(home: Path, wave: WrittenWave, client, endpoint: str, tmp_path: Path):
    """A verified wave with its second copy, the source in a folder, a signing key."""
    verify_shard(wave.archive, wave.store, wave.ledger, Shard(WAVE, 0, 100), VerificationPolicy())
    copy = S3Store(client, "archive", "second")
    for row in (row for rows in wave.rows.values() for row in rows):
        put(copy, row.object_key, wave.store.read(row.object_key))
    for instance in wave.archive.instances:
        file = tmp_path / "pacs" / instance.record.study_instance_uid
        file.mkdir(parents=True, exist_ok=True)
        (file / f"{instance.record.sop_instance_uid}.dcm").write_bytes(part10(instance))
    shutil.copytree(ROOT / "include", tmp_path / "include")
    hold(tmp_path)
    account = {"conn_type": "aws", "login": "a-test-key", "password": "a-test-secret"}
    place = {"region_name": "us-east-1", "endpoint_url": endpoint}

    def bucket(prefix: str) -> dict[str, Any]:
        s3 = {"bucket_name": "archive", "prefix": prefix}
        return {**account, "extra": {**place, "service_config": {"s3": s3}}}

    connections = {
        "PACS_SOURCE": {"conn_type": "dicom_folder", "extra": {"path": str(tmp_path / "pacs")}},
        "MIGRATION_LEDGER": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        "CLOUD_TARGET": bucket(""),
        "CLOUD_SECOND_COPY": bucket("second"),
        "CERTIFICATE_SIGNING": {"conn_type": "generic", "password": PEM},
    }
    return {
        **os.environ,
        **of_airflow(home),
        "DICOM_MIGRATION_INCLUDE": str(tmp_path / "include"),
        **{f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()},
    }


def hold(folder: Path, uid: str = "") -> None:
    named = f"{{name: case-1, reason: A court asked., study_instance_uids: ['{uid}']}}"
    policy = folder / "include" / "policies" / "retention.yaml"
    policy.write_text(RETENTION % (named if uid else ""))


def run(environment: dict[str, str], folder: Path, answer: str, meanwhile: str = "") -> Any:
    out = folder / "out.json"
    program = [sys.executable, "tests/dags/run_dag.py", "dags/purge_candidates.py", answer]
    finished = subprocess.run(
        [*program, str(out), "{}", meanwhile],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    log = finished.stdout + finished.stderr
    assert out.exists(), log[-4000:]
    tasks = json.loads(out.read_text())["tasks"]
    return {name: tries[0] for name, tries in tasks.items()}, log


def stored(wave: WrittenWave, uri: str) -> bytes:
    return wave.store.read(uri.removeprefix("s3://archive/"))


def events(wave: WrittenWave) -> list[tuple[str, str]]:
    told = schema.event.c
    with wave.ledger.read() as connection:
        rows = connection.execute(
            select(told.kind, told.payload).where(told.chain == "purge").order_by(told.sequence)
        )
        return [(row.kind, row.payload) for row in rows]


def test_what_a_person_approved_is_signed_less_what_changed_meanwhile(
    airflow, wave: WrittenWave, tmp_path: Path
) -> None:
    gone, kept = wave.studies[0], wave.studies[1:]
    meanwhile = f"import shutil; shutil.rmtree({str(tmp_path / 'pacs' / gone)!r})"
    tasks, log = run(airflow, tmp_path, "Approve", meanwhile)
    assert {task["state"] for task in tasks.values()} == {"success"}, log[-4000:]
    shown, signed = tasks["propose"]["result"], tasks["sign_list"]["result"]
    assert shown["studies"] == len(wave.studies)
    assert (signed["studies"], signed["left_out"]) == (len(kept), 1)

    body = json.loads(stored(wave, signed["list_uri"]))["purge_list"]
    assert [study["study_instance_uid"] for study in body["studies"]] == kept
    assert body["left_out_since_approval"] == {"the source changed": 1}
    assert body["approved_by"] == "Ada Approver"
    for name in ("list", "csv"):
        (tmp_path / f"signed.{name}").write_bytes(stored(wave, signed[f"{name}_uri"]))
    public = tmp_path / "public.pem"
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(KEY.public_key().public_bytes(*form))
    asked = ["verify-list", str(tmp_path / "signed.list"), "--public-key", str(public)]
    assert main([*asked, "--csv", str(tmp_path / "signed.csv")]) == 0
    assert "Approved by Ada Approver" in stored(wave, signed["report_uri"]).decode()
    kinds = [kind for kind, _ in events(wave)]
    assert kinds == ["purge.approved", "purge.list_issued", *["purge.study_listed"] * len(kept)]


def test_a_rejection_is_on_record_and_nothing_is_signed(airflow, wave, tmp_path: Path) -> None:
    tasks, log = run(airflow, tmp_path, "Reject")
    assert tasks["sign_list"]["state"] == "skipped", log[-4000:]
    ((kind, payload),) = events(wave)
    assert kind == "purge.rejected"
    assert "Ada Approver" in payload
    with wave.ledger.read() as connection:
        kinds = connection.scalars(select(schema.report.c.kind)).all()
        flagged = connection.scalars(select(schema.study.c.purge_candidate)).all()
    assert "purge_list" not in kinds
    assert not any(flagged)


def test_a_legal_hold_keeps_a_study_off_and_is_counted(airflow, wave, tmp_path: Path) -> None:
    hold(tmp_path, wave.studies[0])
    tasks, log = run(airflow, tmp_path, "Approve")
    assert tasks["sign_list"]["state"] == "success", log[-4000:]
    assert "a legal hold names it: 1" in tasks["propose"]["result"]["approval_text"]
    assert wave.studies[0].encode() not in stored(wave, tasks["sign_list"]["result"]["csv_uri"])


def test_without_a_key_nothing_is_signed_and_the_message_says_what_to_do(
    airflow, wave, tmp_path: Path
) -> None:
    del airflow["AIRFLOW_CONN_CERTIFICATE_SIGNING"]
    tasks, log = run(airflow, tmp_path, "Approve")
    assert tasks["sign_list"]["state"] == "failed"
    assert "there is no signing key" in log
    assert "certificate_signing" in log
    assert events(wave) == []
