"""The DAG of the purge gate: nobody but a named person lets a list be signed."""

from __future__ import annotations

from airflow.sdk import RetryAction

from dicom_migration.operators.defaults import PACS_POOL
from tests.dags.structure import edges, parsed


def test_a_list_is_signed_only_after_it_was_shown_and_approved() -> None:
    assert edges(parsed("purge_candidates")) == {
        ("propose", "approve_list"),
        ("propose", "sign_list"),
        ("approve_list", "sign_list"),
    }
    assert parsed("purge_candidates").get_task("sign_list").trigger_rule == "all_success"


def test_nothing_starts_it_but_a_person() -> None:
    dag = parsed("purge_candidates")
    assert dag.timetable.can_be_scheduled is False
    assert not any(task.outlets for task in dag.tasks)


def test_no_answer_is_no_approval_and_none_stands_from_before() -> None:
    approval = parsed("purge_candidates").get_task("approve_list")
    assert approval.defaults is None  # type: ignore[union-attr]
    assert approval.standing_approver == ""  # type: ignore[union-attr]
    (rule,) = approval.retry_policy.rules  # type: ignore[union-attr]
    assert rule.action is RetryAction.FAIL  # type: ignore[union-attr]


def test_the_source_is_asked_within_the_pool_of_the_pacs() -> None:
    for task in ("propose", "sign_list"):
        assert parsed("purge_candidates").get_task(task).pool == PACS_POOL
