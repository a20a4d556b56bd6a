from airflow.sdk import AssetAny, RetryAction

from dicom_migration.operators.approval import approver_of
from dicom_migration.operators.defaults import (
    APPROVED_PLAN,
    CLEANSED_WAVE,
    PACS_POOL,
    SENT_BACK,
    VERIFIED_WAVE,
)
from tests.dags.structure import edges, heavy_imports, parsed, seconds_to_parse


def test_a_wave_is_settled_after_its_corrections_are_approved() -> None:
    assert {
        ("preflight", "cut_chunks"),
        ("cut_chunks", "collect_headers"),
        ("collect_headers", "propose"),
        ("propose", "dry_run"),
        ("dry_run", "approve_corrections"),
        ("approve_corrections", "record_approval"),
        ("record_approval", "settle"),
    } <= edges(parsed("cleansing"))


def test_it_starts_when_a_plan_is_approved_a_wave_verified_or_studies_sent_back() -> None:
    schedule = parsed("cleansing").timetable.asset_condition
    assert isinstance(schedule, AssetAny)
    assert list(schedule.objects) == [APPROVED_PLAN, VERIFIED_WAVE, SENT_BACK]


def test_only_the_settled_wave_is_announced() -> None:
    outlets = {task.task_id: list(task.outlets) for task in parsed("cleansing").tasks}
    assert outlets["settle"] == [CLEANSED_WAVE]
    assert sum(map(len, outlets.values())) == 1


def test_headers_are_read_within_the_pool_of_the_pacs() -> None:
    for task in ("collect_headers", "dry_run"):
        assert parsed("cleansing").get_task(task).pool == PACS_POOL


def test_a_closed_port_fails_the_first_task_at_once_and_the_reading_is_tried_again() -> None:
    dag = parsed("cleansing")
    assert dag.get_task("preflight").retries == 0
    assert dag.get_task("collect_headers").retries == 6


def test_no_answer_is_no_approval() -> None:
    approval = parsed("cleansing").get_task("approve_corrections")
    assert approval.defaults is None  # type: ignore[union-attr]
    (rule,) = approval.retry_policy.rules  # type: ignore[union-attr]
    assert rule.exception.endswith("HITLTimeoutError")  # type: ignore[union-attr]
    assert rule.action is RetryAction.FAIL


def test_only_an_approving_person_is_an_approver() -> None:
    ada = {"id": "1", "name": "Ada"}
    said = {"responded_by_user": ada, "asked_about": "aa"}
    assert approver_of({**said, "chosen_options": ["Approve"]}, "aa") == "Ada"
    assert approver_of({**said, "chosen_options": ["Reject"]}, "aa") == ""
    assert (
        approver_of({**said, "chosen_options": ["Approve"], "responded_by_user": None}, "aa") == ""
    )
    assert approver_of(None, "aa") == ""


def test_every_task_is_explained_to_the_operator() -> None:
    dag = parsed("cleansing")
    for task in dag.tasks:
        assert f"`{task.task_id}`" in (dag.doc_md or "")


def test_parsing_is_fast() -> None:
    assert seconds_to_parse("cleansing") < 0.3


def test_parsing_imports_nothing_heavy() -> None:
    assert heavy_imports("cleansing") == []
