"""The exceptions DAG as Airflow runs it, its form answered by a person."""

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
from tests.dags.test_exceptions import put_quarantined_study

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def airflow(tmp_path: Path) -> dict[str, str]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
        "AIRFLOW_CONN_MIGRATION_LEDGER": json.dumps(
            {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
        ),
    }
    command = [sys.executable, "-m", "airflow"]
    for arguments in (["db", "migrate"], ["pools", "set", "cloud_transfers", "2", "test"]):
        subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True)
    return environment


def run(environment: dict[str, str], answer: str, **form: object) -> dict[str, Any]:
    out = Path(environment["AIRFLOW_HOME"]) / "out.json"
    program = [sys.executable, "tests/dags/run_dag.py", "dags/exceptions.py", answer, str(out)]
    finished = subprocess.run(
        [*program, json.dumps(form)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert out.exists(), finished.stdout[-3000:] + finished.stderr[-3000:]
    told: dict[str, Any] = json.loads(out.read_text())
    return {name: tries[0] for name, tries in told["tasks"].items()}


@pytest.mark.system
@pytest.mark.timeout(600)
def test_a_person_answers_the_form_and_the_study_goes_through_cleansing_again(
    tmp_path: Path, airflow: dict[str, str]
) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.upgrade()
        put_quarantined_study(ledger)
        tasks = run(airflow, "Send back", action="ask", exception_ids=[1])
        assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(
            ("find", "ask", "resolve", "announce"), "success"
        )
        assert tasks["resolve"]["result"]["studies_sent_back"] == 1
        with ledger.read() as connection:
            row = connection.execute(select(schema.exception)).one()
            assert connection.scalar(select(schema.study.c.state)) == "planned"
    assert (row.status, row.resolved_by) == ("resolved", "Ada Approver")
