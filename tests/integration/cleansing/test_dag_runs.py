"""Both DAGs as Airflow runs them, approvals answered, in a process and a home of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from tests.integration.cleansing.test_sample_archive import connections  # noqa: F401 - fixture

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def airflow(tmp_path: Path, connections: Path) -> dict[str, str]:  # noqa: F811
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }
    environment["AIRFLOW_CONN_MIGRATION_LEDGER"] = json.dumps(
        {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    )
    command = [sys.executable, "-m", "airflow"]
    subprocess.run([*command, "db", "migrate"], env=environment, check=True, capture_output=True)
    for pool in ("pacs_associations", "cloud_transfers"):
        subprocess.run(
            [*command, "pools", "set", pool, "2", "test"],
            env=environment,
            check=True,
            capture_output=True,
        )
    return environment


def run(environment: dict[str, str], dag: str, answer: str) -> dict[str, Any]:
    out = Path(environment["AIRFLOW_HOME"]) / f"{dag}-{answer}.json"
    program = [sys.executable, "tests/dags/run_dag.py", f"dags/{dag}.py", answer, str(out)]
    finished = subprocess.run(
        program, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=480
    )
    assert out.exists(), finished.stdout[-3000:] + finished.stderr[-3000:]
    told: dict[str, Any] = json.loads(out.read_text())
    return told


def states(told: dict[str, Any]) -> dict[str, str]:
    return {name: tries[0]["state"] for name, tries in told["tasks"].items()}


def rejections(environment: dict[str, str]) -> str:
    host = json.loads(environment["AIRFLOW_CONN_MIGRATION_LEDGER"])["host"]
    with Ledger(f"sqlite:///{host}") as ledger, ledger.read() as connection:
        table = schema.event.c
        query = select(table.payload).where(table.kind == "plan.rejected")
        return str(connection.execute(query).scalar_one())


@pytest.mark.system
@pytest.mark.timeout(1000)
def test_a_rejected_plan_moves_nothing_and_an_approved_one_is_cleansed(
    airflow: dict[str, str],
) -> None:
    rejected = run(airflow, "discovery", "Reject")
    assert states(rejected)["record_approval"] == "skipped"
    assert "Ada Approver" in rejections(airflow)
    too_early = run(airflow, "cleansing", "Approve")
    assert states(too_early)["preflight"] == "failed"
    approved = run(airflow, "discovery", "Approve")
    assert set(states(approved).values()) == {"success"}
    assert approved["tasks"]["record_approval"][0]["result"]["approved_by"] == "Ada Approver"
    cleansed = run(airflow, "cleansing", "Approve")
    assert set(states(cleansed).values()) == {"success"}
    nothing_left = run(airflow, "cleansing", "Approve")
    assert set(states(nothing_left).values()) == {"skipped"}
