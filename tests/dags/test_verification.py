from __future__ import annotations

import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from airflow.sdk import DAG

from dicom_migration.operators.defaults import (
    CLEANSED_WAVE,
    CLOUD_POOL,
    PACS_POOL,
    TRANSFERRED_WAVE,
    VERIFIED_WAVE,
)

ROOT = Path(__file__).parents[2]
HEAVY = ("great_expectations", "pydicom", "pandas", "numpy", "pyarrow")


@pytest.fixture(scope="module")
def dag() -> DAG:
    found = runpy.run_path(str(ROOT / "dags" / "verification.py"))
    assert isinstance(found["dag"], DAG)
    return found["dag"]


def test_the_tasks_run_in_the_order_of_proof(dag):
    order = ["preflight", "plan", "verify_shard", "audit_pixels", "settle", "seal_manifests"]
    order += ["certify", "unanswered"]
    for before, after in pairwise(order):
        assert after in dag.get_task(before).downstream_task_ids
    assert {"request_transfer", "announce"} <= dag.get_task("certify").downstream_task_ids


def test_what_touches_the_source_is_in_the_pool_of_the_source(dag):
    pools = {task.task_id: task.pool for task in dag.tasks}
    assert {name for name, pool in pools.items() if pool == PACS_POOL} == {
        "preflight",
        "verify_shard",
        "audit_pixels",
    }
    assert pools["seal_manifests"] == pools["certify"] == CLOUD_POOL


def test_a_wrong_end_and_missing_answers_are_told_at_once(dag):
    assert dag.get_task("preflight").retries == dag.get_task("unanswered").retries == 0
    assert dag.get_task("unanswered").on_failure_callback
    assert dag.get_task("unanswered").downstream_task_ids == set()  # its failure is the run's
    assert dag.get_task("verify_shard").retries > 0


def test_it_is_chained_by_assets(dag):
    assert list(dag.timetable.asset_condition.objects) == [TRANSFERRED_WAVE]
    assert dag.get_task("request_transfer").outlets == [CLEANSED_WAVE]
    assert dag.get_task("announce").outlets == [VERIFIED_WAVE]


def test_it_runs_once_at_a_time_and_tells_the_operator_what_to_do(dag):
    assert dag.max_active_runs == 1
    assert all(task.task_id in dag.doc_md for task in dag.tasks)
    assert "wave_id" in dag.params


@pytest.mark.parametrize("name", ["verification", "retrieval_benchmark"])
def test_parsing_imports_nothing_heavy_and_takes_no_time(name):
    program = (
        "import runpy, sys, time\n"
        "import dicom_migration.operators.defaults, airflow.sdk\n"
        "from airflow.sdk import DAG, Param, XComArg\n"
        "start = time.process_time()\n"
        f"runpy.run_path({str(ROOT / 'dags' / f'{name}.py')!r})\n"
        "print(time.process_time() - start)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "plugins"), "HOME": "/nonexistent", "AIRFLOW_HOME": "/tmp"},
    )
    seconds, heavy = done.stdout.strip().splitlines()[-2:]
    assert heavy == "[]"
    assert float(seconds) < 0.3
