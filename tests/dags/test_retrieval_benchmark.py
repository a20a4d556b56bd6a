from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from airflow.sdk import DAG

from dicom_migration.operators.defaults import BENCHMARK, CLOUD_POOL, PACS_POOL, VERIFIED_WAVE


@pytest.fixture(scope="module")
def dag() -> DAG:
    found = runpy.run_path(str(Path(__file__).parents[2] / "dags" / "retrieval_benchmark.py"))
    assert isinstance(found["dag"], DAG)
    return found["dag"]


def test_it_checks_both_ends_once_then_measures_then_judges(dag):
    assert dag.get_task("preflight").downstream_task_ids == {"plan"}
    assert dag.get_task("plan").downstream_task_ids == {"restore"}
    assert dag.get_task("restore").downstream_task_ids == {"measure"}
    assert dag.get_task("preflight").retries == 0
    assert dag.get_task("measure").downstream_task_ids == {"judge"}


def test_what_touches_the_source_is_in_its_pool(dag):
    pools = {task.task_id: task.pool for task in dag.tasks}
    assert {name for name, pool in pools.items() if pool == PACS_POOL} == {"preflight", "measure"}
    assert pools["judge"] == pools["restore"] == CLOUD_POOL


def test_it_follows_verification_and_tells_who_follows_it(dag):
    assert list(dag.timetable.asset_condition.objects) == [VERIFIED_WAVE]
    assert dag.get_task("judge").outlets == [BENCHMARK]


def test_its_form_bounds_the_size(dag):
    schema = dag.params.get_param("studies").schema
    assert (schema["minimum"], schema["maximum"]) == (0, 5000)
    assert dag.max_active_runs == 1
