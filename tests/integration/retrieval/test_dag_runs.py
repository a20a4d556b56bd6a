"""Both DAGs as Airflow runs them: restores waited for by the trigger, report and alert last."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from moto.moto_api import state_manager
from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.retrieval.samples import load_samples
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    store,
)
from tests.integration.verification.written_wave import part10, write_wave

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
SLAS = """
rules:
  - {name: impossible, operation: first_image, percentile: 95, seconds: 0.000001}
  - {name: possible, operation: whole_study, percentile: 50, seconds: 60}
sample: {studies: 3}
busy_hour: {arrivals_per_minute: 600, duration_seconds: 1, threads: 4}
archived: {studies: 2, poll_seconds: 0.3}
network: {latency_requests: 3, objects: 1, object_mib: 1}
"""


@pytest.fixture
def airflow(tmp_path, store, endpoint, all_real_instances):  # noqa: F811
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    uids = list(dict.fromkeys(i.record.study_instance_uid for i in small))
    recent = [i for i in small if i.record.study_instance_uid in uids[:3]]
    archived = [i for i in small if i.record.study_instance_uid in uids[3:5]]
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.upgrade()
        write_wave(store, ledger, recent, state="verified")
        write_wave(
            store, ledger, archived, state="verified", wave_id="wave-2", storage_class="GLACIER"
        )
    (tmp_path / "pacs").mkdir()
    for instance in recent:
        file = tmp_path / "pacs" / f"{instance.record.sop_instance_uid}.dcm"
        file.write_bytes(part10(instance))
    shutil.copytree(ROOT / "include", tmp_path / "include")
    (tmp_path / "include" / "policies" / "slas.yaml").write_text(SLAS)
    environment = {**os.environ, **settings(tmp_path, endpoint)}
    command = [sys.executable, "-m", "airflow"]
    subprocess.run([*command, "db", "migrate"], env=environment, check=True, capture_output=True)
    for pool in ("pacs_associations", "cloud_transfers"):
        subprocess.run(
            [*command, "pools", "set", pool, "2", "test"],
            env=environment,
            check=True,
            capture_output=True,
        )
    state_manager.set_transition("s3::keyrestore", {"progression": "time", "seconds": 1})
    yield environment
    state_manager.unset_transition("s3::keyrestore")


def settings(home: Path, endpoint: str) -> dict[str, str]:  # noqa: F811
    target = {"region_name": "us-east-1", "endpoint_url": endpoint}
    target["service_config"] = {"s3": {"bucket_name": "archive"}}
    account = {"login": "a-test-key", "password": "a-test-secret"}
    connections = {
        "PACS_SOURCE": {"conn_type": "dicom_folder", "extra": {"path": str(home / "pacs")}},
        "MIGRATION_LEDGER": {"conn_type": "sqlite", "host": str(home / "ledger.db")},
        "CLOUD_TARGET": {"conn_type": "aws", **account, "extra": target},
    }
    return {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "DICOM_MIGRATION_INCLUDE": str(home / "include"),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
        **{f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in connections.items()},
    }


def run(environment: dict[str, str], dag: str) -> tuple[dict[str, Any], str]:
    out = Path(environment["AIRFLOW_HOME"]) / f"{dag}.json"
    program = [sys.executable, "tests/dags/run_dag.py", f"dags/{dag}.py", "Approve", str(out)]
    finished = subprocess.run(
        program, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    log = finished.stdout + finished.stderr
    assert out.exists(), log[-4000:]
    return json.loads(out.read_text()), log


def ledger_of(environment: dict[str, str]) -> Ledger:
    host = json.loads(environment["AIRFLOW_CONN_MIGRATION_LEDGER"])["host"]
    return Ledger(f"sqlite:///{host}")


def test_restores_are_waited_for_then_all_is_measured_judged_and_told(airflow, store):  # noqa: F811
    network, log = run(airflow, "network_test")
    assert network["state"] == "success", log[-4000:]
    told, log = run(airflow, "retrieval_benchmark")
    assert {name: tries[0]["state"] for name, tries in told["tasks"].items()} == dict.fromkeys(
        ("preflight", "plan", "restore", "measure", "judge"), "success"
    ), log[-4000:]
    results = {name: tries[0]["result"] for name, tries in told["tasks"].items()}
    assert results["restore"]["asked"] >= 2
    assert results["restore"]["late"] == 0
    assert "to be restored" in log  # it deferred: the trigger waited
    assert (results["judge"]["kept"], results["judge"]["breached"]) == (1, 1)
    assert "ALERT [image migration] retrieval is too slow" in log
    assert "likely cause: " in log
    with ledger_of(airflow) as ledger, ledger.read() as connection:
        samples = load_samples(connection, results["measure"]["benchmark_id"])
        key = connection.scalar(select(schema.report.c.object_key))
    assert len([s for s in samples if s.operation == "restore"]) == 2
    assert {s.access for s in samples} == {"files", "s3-object"}
    page = store.read(key).decode()
    assert "What the migration costs clinicians" in page
    assert "likely cause" in page
