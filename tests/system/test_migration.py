"""The whole migration under a real Airflow, with its transfer killed on the way.

One demonstration run serves all tests here: it takes minutes. It migrates the small sample
archive, into which a patient with unmistakable values has been put.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.manifest import ManifestRow, decode_manifest
from dicom_migration.verification.accounting import account_for
from include.demo.airflow_api import AirflowApi
from include.demo.running import recall, stop_all
from include.sample_archive.build import build

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500)]

PROJECT = Path(__file__).parents[2]
CANARIES = ("CANARYFAMILY", "CANARYPATID77", "19370131", "CANARYACC1")


@dataclass
class Run:
    """What a demonstration left behind, still running."""

    home: Path
    archive: Path
    exit_code: int
    output: str
    killed: list[str]

    @property
    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "summary.json").read_text())
        return content

    @property
    def endpoints(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.home / "endpoints.json").read_text())
        return content

    @property
    def api(self) -> AirflowApi:
        airflow = self.endpoints["airflow"]
        api = AirflowApi(airflow["url"], airflow["user"], airflow["password"])
        api.sign_in()
        return api

    def ledger(self) -> Ledger:
        return Ledger(self.endpoints["ledger"])

    def bucket(self) -> Any:
        s3 = self.endpoints["s3"]
        return boto3.resource(
            "s3",
            endpoint_url=s3["endpoint"],
            aws_access_key_id=s3["access_key"],
            aws_secret_access_key=s3["secret_key"],
            region_name="us-east-1",
        ).Bucket(s3["bucket"])

    def objects(self) -> dict[str, bytes]:
        prefix = self.endpoints["s3"]["prefix"] + "/"
        return {
            found.key.removeprefix(prefix): found.get()["Body"].read()
            for found in self.bucket().objects.filter(Prefix=f"{prefix}studies/")
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("demo")
    archive = tmp_path_factory.mktemp("archive")
    build(archive, scale="small")
    plant_canary(archive)
    environment = {
        **os.environ,
        "KEEP": "1",
        "DEMO_DIR": str(home),
        "ARCHIVE_DIR": str(archive),
        "DEMO_TIMEOUT": "1200",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "include.demo"],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killed: list[str] = []
    killer = threading.Thread(target=kill_a_transfer, args=(home, process, killed), daemon=True)
    killer.start()
    try:
        output, _ = process.communicate(timeout=1400)
        killer.join(timeout=10)
        yield Run(home, archive, process.returncode, output, killed)
    finally:
        process.kill()
        stop_all(home)
    assert recall(home) == {}


def plant_canary(archive: Path) -> None:
    """Give one clean CT study to a patient whose every identifier can be searched for."""
    source = next(
        path
        for path in sorted(archive.rglob("*.dcm"))
        if (header := dcmread(path, stop_before_pixels=True, force=True)).get("Modality") == "CT"
        and header.get("PatientID")
    )
    dataset = dcmread(source)
    dataset.PatientName = "CANARYFAMILY^Given"
    dataset.PatientID = "CANARYPATID77"
    dataset.PatientBirthDate = "19370131"
    dataset.AccessionNumber = "CANARYACC1"
    dataset.BodyPartExamined = "A BODY PART THAT IS MUCH TOO LONG"  # so that a rule handles it
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, f"{getattr(dataset, keyword)[:50]}.777")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(archive / "canary.dcm")


def kill_a_transfer(home: Path, process: subprocess.Popen[str], killed: list[str]) -> None:
    """SIGKILL the first transfer task as soon as one study has been moved and more are left."""
    api: AirflowApi | None = None
    while process.poll() is None and not killed:
        time.sleep(0.1)  # between two looks at the condition
        if not (home / "endpoints.json").exists() or moved(home) < 1:
            continue
        if api is None:
            airflow = json.loads((home / "endpoints.json").read_text())["airflow"]
            api = AirflowApi(airflow["url"], airflow["user"], airflow["password"])
            api.sign_in()
        for dag_run in api.runs("transfer"):
            for task in api.task_instances("transfer", dag_run["dag_run_id"]):
                if (task["task_id"], task["state"]) == ("transfer_shard", "running"):
                    os.kill(task["pid"], signal.SIGKILL)
                    killed.append(f"try {task['try_number']}")
                    return


def moved(home: Path) -> int:
    path = home / "ledger" / "ledger.db"
    if not path.exists():
        return 0
    with sqlite3.connect(path, timeout=5) as connection:
        try:
            (count,) = connection.execute(
                "select count(*) from study where state in ('transferred', 'transferring')"
            ).fetchone()
        except sqlite3.OperationalError:
            return 0  # the tables are not there yet
    return int(count)


def rows_of(run: Run) -> list[ManifestRow]:
    objects = run.objects()
    with run.ledger() as ledger, ledger.read() as connection:
        table = schema.study.c
        manifests = connection.execute(
            select(table.manifest_key, table.manifest_sha256).where(table.state == "verified")
        ).all()
    rows = []
    for manifest in manifests:
        data = objects[manifest.manifest_key]
        assert hashlib.sha256(data).hexdigest() == manifest.manifest_sha256
        rows.extend(decode_manifest(data))
    return rows


def test_it_ends_well_although_its_transfer_was_killed(run: Run) -> None:
    assert run.killed, run.output
    assert run.exit_code == 0, run.output
    tries = [
        task["try_number"]
        for dag_run in run.api.runs("transfer")
        for task in run.api.task_instances("transfer", dag_run["dag_run_id"])
        if task["task_id"] == "transfer_shard"
    ]
    assert max(tries) >= 2


def test_its_certificate_is_signed_and_holds_without_airflow_ledger_and_bucket(run: Run) -> None:
    reports = run.home / "reports"
    (file,) = reports.glob("certificate-*.json")
    command = [
        *(sys.executable, "-m", "dicom_migration.certificate", "verify", str(file)),
        *("--manifests", str(reports / "manifests")),
        *("--public-key", str(run.home / "keys" / "certificate.pub.pem")),
    ]
    environment = {"PATH": os.environ["PATH"]}  # no AIRFLOW_HOME, no credentials
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "UNSIGNED" not in said.stdout
    changed = file.read_text().replace('"verified"', '"verifies"', 1)
    other = run.home / "changed.json"
    other.write_text(changed)
    command[command.index(str(file))] = str(other)
    assert subprocess.run(command, env=environment, check=False).returncode == 1


def test_every_study_of_the_source_is_accounted_for(run: Run) -> None:
    studies = run.summary["studies"]
    assert studies["unfinished"] == 0
    assert studies["discovered"] == (
        studies["verified"] + studies["excluded"] + studies["quarantined"]
    )
    assert studies["verified"] > studies["quarantined"] > 0
    with run.ledger() as ledger:
        account = account_for(ledger)
    assert account["adds_up"], account
    assert account["discovered"] == studies["discovered"]
    assert run.summary["instances"]["verified"] == len(rows_of(run))


def test_a_referee_finds_every_dataset_as_the_source_file_has_it(run: Run) -> None:
    sources = datasets_by_uid(run.archive)
    objects = run.objects()
    rows = rows_of(run)
    untouched = [row for row in rows if not row.corrections]
    assert len(untouched) > 10
    for row in untouched:
        stored = dataset_bytes(objects[row.object_key])
        assert hashlib.sha256(stored).hexdigest() == row.dataset_sha256
        assert any(equal(stored, row, source) for source in sources[row.sop_instance_uid])


def test_a_corrected_dataset_differs_in_what_was_corrected_alone(run: Run) -> None:
    objects = run.objects()
    canary = next(row for row in rows_of(run) if row.facts["patient_id"] == "CANARYPATID77")
    assert canary.corrections
    stored = dcmread(BytesIO(objects[canary.object_key]))
    source = dcmread(run.archive / "canary.dcm")
    # The old value is longer than its VR allows: it is kept where such values belong.
    (kept,) = stored.OriginalAttributesSequence[0].NonconformingModifiedAttributesSequence
    assert kept.SelectorAttribute == tag_for_keyword("BodyPartExamined")
    old = bytes(kept.NonconformingDataElementValue).rstrip(b"\0 ")
    assert old == source.BodyPartExamined.encode()
    assert len(stored.BodyPartExamined) <= 16
    for dataset in (stored, source):
        dataset.pop("OriginalAttributesSequence", None)
        del dataset.BodyPartExamined
    assert stored == source


def test_a_transfer_that_was_not_killed_gives_the_same_manifests(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_migration.archive.dimse import DimseArchive
    from dicom_migration.archive.dimse_settings import DimseSettings
    from dicom_migration.cloud.s3 import S3Store
    from dicom_migration.policies.transfer import TransferPolicy
    from dicom_migration.transfer.shard_transfer import transfer_shard
    from dicom_migration.transfer.shards import cut_shards

    with run.ledger() as ledger, ledger.read() as connection:
        table = schema.study.c
        moved_studies = {
            row.study_instance_uid: row.manifest_sha256
            for row in connection.execute(select(schema.study).where(table.state == "verified"))
        }
    copy = tmp_path / "ledger.db"
    back_up(run.home / "ledger" / "ledger.db", copy)
    pacs = run.endpoints["pacs"]
    settings = DimseSettings(
        host=pacs["host"],
        port=pacs["port"],
        called_ae_title=pacs["aet"],
        calling_ae_title="MIGRATION",
    )
    policy = TransferPolicy(studies_per_shard=1000)
    with (
        Ledger(f"sqlite:///{copy}") as ledger,
        DimseArchive(settings) as source,
        S3Store(run.bucket().meta.client, run.endpoints["s3"]["bucket"], "undisturbed") as store,
    ):
        with ledger.write() as connection:
            reset = connection.execute(
                schema.study.update()
                .where(table.state == "verified")
                .values(state="cleansed", manifest_sha256="", manifest_key="")
            )
            assert reset.rowcount == len(moved_studies)
            (wave,) = connection.scalars(select(schema.wave.c.wave_id)).all()
        source.name = source_name(run)
        for shard in cut_shards(ledger, wave, policy):
            transfer_shard(source, store, ledger, shard, policy, last_try=True)
        with ledger.read() as connection:
            again = {
                row.study_instance_uid: row.manifest_sha256
                for row in connection.execute(
                    select(schema.study).where(table.state == "transferred")
                )
            }
    assert again == moved_studies


def test_no_patient_data_is_anywhere_but_in_ledger_manifests_and_objects(run: Run) -> None:
    looked_at = 0
    for path in sorted((run.home / "airflow").rglob("*")):
        if path.is_file() and path.suffix not in (".cfg",):
            content = path.read_bytes()
            looked_at += 1
            for canary in CANARIES:
                assert canary.encode() not in content, path
    assert looked_at > 20
    prefix = run.endpoints["s3"]["prefix"] + "/reports/"
    for report in run.bucket().objects.filter(Prefix=prefix):
        content = report.get()["Body"].read()
        assert not any(canary.encode() in content for canary in CANARIES), report.key
    assert not any(canary in run.output for canary in CANARIES)


def test_reports_are_shown_to_who_may_read_the_dags_and_to_nobody_else(run: Run) -> None:
    url = f"{run.endpoints['airflow']['url']}/migration/reports"
    assert httpx.get(url).status_code == 401
    headers = signed_in(run)
    listed = httpx.get(url, headers=headers)
    assert listed.status_code == 200
    assert "certificate" in listed.text
    with run.ledger() as ledger, ledger.read() as connection:
        key = connection.scalar(
            select(schema.report.c.object_key).where(schema.report.c.kind == "plan")
        )
    report = httpx.get(f"{url}/{key}", headers=headers, timeout=30)
    assert report.status_code == 200
    assert "Migration plan" in report.text
    assert "default-src 'none'" in report.headers["content-security-policy"]
    assert httpx.get(f"{url}/{key}").status_code == 401
    assert httpx.get(f"{url}/../ledger.db", headers=headers).status_code == 404


def test_the_connection_types_are_in_the_form(run: Run) -> None:
    answer = run.api.get("connections/pacs_source")
    assert answer["conn_type"] == "dicom"
    hooks = httpx.get(
        f"{run.endpoints['airflow']['url']}/ui/connections/hook_meta",
        headers=signed_in(run),
    )
    types = {hook["connection_type"] for hook in hooks.json()}
    assert {"dicom", "dicomweb", "dicom_folder"} <= types


def signed_in(run: Run) -> dict[str, str]:
    airflow = run.endpoints["airflow"]
    answer = httpx.post(
        f"{airflow['url']}/auth/token",
        json={"username": airflow["user"], "password": airflow["password"]},
    )
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def back_up(ledger: Path, copy: Path) -> None:
    """Copy a SQLite ledger whole: a copied file would lack what is still in its write-ahead log."""
    with (
        contextlib.closing(sqlite3.connect(ledger)) as live,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        live.backup(target)


def source_name(run: Run) -> str:
    with run.ledger() as ledger, ledger.read() as connection:
        name = connection.scalar(select(schema.study.c.source))
    assert name
    return str(name)


def datasets_by_uid(archive: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for path in sorted(archive.rglob("*")):
        if not path.is_file() or path.suffix == ".json":
            continue
        content = path.read_bytes()
        header = dcmread(BytesIO(content), stop_before_pixels=True, force=True)
        if "SOPInstanceUID" in header:
            found.setdefault(str(header.SOPInstanceUID), []).append(content)
    return found


def dataset_bytes(part10: bytes) -> bytes:
    """Return what follows group 0002, by its group length (PS3.10 section 7.1)."""
    assert part10[128:132] == b"DICM"
    return part10[144 + int.from_bytes(part10[140:144], "little") :]


def equal(stored: bytes, row: ManifestRow, source: bytes) -> bool:
    """Tell whether the source file holds this dataset, byte for byte.

    The embedded source drops trailing padding and group lengths when it sends; what it sends is
    then compared element by element.
    """
    if source.endswith(stored):
        return True
    mine = dcmread(BytesIO(bytes(128) + b"DICM" + meta_for(row) + stored))
    return bool(mine == dcmread(BytesIO(source), force=True))


def meta_for(row: ManifestRow) -> bytes:
    from dicom_migration.archive import InstanceIdentity
    from dicom_migration.transfer.part10 import part10_header

    identity = InstanceIdentity(row.sop_class_uid, row.sop_instance_uid, row.transfer_syntax_uid)
    return part10_header(identity)[132:]
