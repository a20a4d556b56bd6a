"""What holds for each DAG: it parses fast and alone, and tells the operator what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).parents[2]
NAMES = (
    "cleansing",
    "discovery",
    "exceptions",
    "network_test",
    "purge_candidates",
    "request_studies",
    "retrieval_benchmark",
    "transfer",
    "verification",
)
HEAVY = ("great_expectations", "pydicom", "pynetdicom", "pandas", "numpy", "pyarrow", "boto3")
PARSE_SECONDS = 0.3

_TIME_PARSING = f"""
import json, sys, time
import airflow.sdk, airflow.providers.standard.operators.hitl
began = time.process_time()
source = open(sys.argv[1]).read()
exec(compile(source, sys.argv[1], "exec"), {{"__name__": "parsed"}})
took = time.process_time() - began
print(json.dumps([took, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(ROOT / "dags"), collect_dags=True)


def test_every_file_parses_into_its_dag(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_parsing_is_fast_and_imports_nothing_heavy(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _TIME_PARSING, str(ROOT / "dags" / f"{name}.py")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    seconds, heavy = json.loads(run.stdout.splitlines()[-1])
    assert heavy == []
    assert seconds < PARSE_SECONDS


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_file_fits_on_a_few_screens(name: str) -> None:
    assert len((ROOT / "dags" / f"{name}.py").read_text().splitlines()) <= 120


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented_for_whom_it_wakes(bag: DagBag, name: str) -> None:
    dag = bag.dags[name]
    assert dag.doc_md
    assert all(f"`{task.task_id}`" in dag.doc_md for task in dag.tasks)
    assert "image-migration" in dag.tags
    assert all(param.schema.get("title") for param in _params(dag))
    assert dag.max_active_runs == 1
    assert dag.catchup is False


@pytest.mark.parametrize("name", NAMES)
def test_every_task_retries_by_kind_of_error_and_alerts(bag: DagBag, name: str) -> None:
    for task in bag.dags[name].tasks:
        assert task.retry_policy is not None, task.task_id
        assert task.on_failure_callback, task.task_id
        assert task.owner == "image-migration"
    first = bag.dags[name].roots[0]
    assert first.retries == 0, "the first task fails at once, for a person"
    later = [task for task in bag.dags[name].tasks if task.upstream_task_ids]
    assert not later or any(t.retries > 0 and t.retry_exponential_backoff for t in later)
    assert all(task.retry_delay <= timedelta(minutes=5) for task in later)


def _params(dag: Any) -> list[Any]:
    return [dag.params.get_param(key) for key in dag.params]
