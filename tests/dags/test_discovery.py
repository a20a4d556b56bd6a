from airflow.sdk import RetryAction
from airflow.sdk.definitions.mappedoperator import MappedOperator

from dicom_migration.operators.defaults import APPROVED_PLAN, INVENTORY, PACS_POOL
from tests.dags.structure import edges, heavy_imports, parsed, seconds_to_parse

READING = ("preflight", "take_inventory", "close_inventory")


def test_the_plan_is_made_after_the_inventory_and_recorded_after_its_approval() -> None:
    dag = parsed("discovery")
    assert {
        ("preflight", "open_inventory"),
        ("open_inventory", "take_inventory"),
        ("take_inventory", "close_inventory"),
        ("close_inventory", "profile"),
        ("profile", "make_plan"),
        ("make_plan", "approve_plan"),
        ("approve_plan", "record_approval"),
    } <= edges(dag)


def test_it_starts_by_hand_one_run_at_a_time() -> None:
    dag = parsed("discovery")
    assert dag.schedule is None
    assert dag.max_active_runs == 1
    assert not dag.catchup


def test_what_asks_the_source_is_bounded_by_the_pool_of_the_pacs() -> None:
    dag = parsed("discovery")
    assert isinstance(dag.get_task("take_inventory"), MappedOperator)
    assert {dag.get_task(task).pool for task in READING} == {PACS_POOL}


def test_only_a_recorded_approval_announces_the_plan() -> None:
    outlets = {task.task_id: list(task.outlets) for task in parsed("discovery").tasks}
    assert outlets["record_approval"] == [APPROVED_PLAN]
    assert outlets["profile"] == [INVENTORY]
    assert sum(map(len, outlets.values())) == 2


def test_quarantined_studies_are_planned_again_only_when_asked() -> None:
    dag = parsed("discovery")
    assert dag.params["plan_quarantined"] is False
    assert "plan_quarantined" in dag.get_task("make_plan").plan_quarantined  # type: ignore[union-attr]


def test_a_closed_port_fails_the_first_task_at_once_and_the_reading_is_tried_again() -> None:
    dag = parsed("discovery")
    assert dag.get_task("preflight").retries == 0
    assert dag.get_task("take_inventory").retries == 6


def test_no_answer_is_no_approval() -> None:
    approval = parsed("discovery").get_task("approve_plan")
    assert approval.defaults is None  # type: ignore[union-attr]
    assert approval.response_timeout  # type: ignore[union-attr]
    (rule,) = approval.retry_policy.rules  # type: ignore[union-attr]
    assert rule.exception.endswith("HITLTimeoutError")  # type: ignore[union-attr]
    assert rule.action is RetryAction.FAIL


def test_every_task_is_explained_to_the_operator() -> None:
    dag = parsed("discovery")
    for task in dag.tasks:
        assert f"`{task.task_id}`" in (dag.doc_md or "")


def test_parsing_is_fast() -> None:
    assert seconds_to_parse("discovery") < 0.3


def test_parsing_imports_nothing_heavy() -> None:
    assert heavy_imports("discovery") == []
