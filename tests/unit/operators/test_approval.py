"""An answer counts for what was shown, and for nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskAwaitingInput

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.operators.approval import approver_of
from dicom_migration.operators.planning import ApprovePlanOperator

APPROVED = {
    "chosen_options": ["Approve"],
    "params_input": {},
    "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
    "responded_by_user": {"id": "7", "name": "Ada"},
}


def approval(content: str, **more: Any) -> ApprovePlanOperator:
    plan = {"plan_id": "P1", "content_sha256": content}
    return ApprovePlanOperator(task_id="approve", subject="Plan", body="text", plan=plan, **more)


def test_a_waiting_task_carries_the_hash_of_what_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None
    )

    class Instance:
        id = "1"

    with pytest.raises(TaskAwaitingInput) as waiting:
        approval("aa").execute({"task_instance": Instance()})  # type: ignore[typeddict-item]
    assert waiting.value.kwargs == {"asked_about": "aa"}


def test_an_answer_names_its_content() -> None:
    answer = approval("aa").execute_complete({}, dict(APPROVED), asked_about="aa")  # type: ignore[typeddict-item]
    assert approver_of(answer, "aa") == "Ada"
    assert approver_of(answer, "bb") == ""


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
def test_an_answer_to_an_older_text_is_asked_for_again(choice: str) -> None:
    event = {**APPROVED, "chosen_options": [choice]}
    with pytest.raises(TransientError, match="asks again") as changed:
        approval("bb").execute_complete({}, event, asked_about="aa")  # type: ignore[typeddict-item]
    assert changed.value.reason is ReasonCode.APPROVAL_MISSING


def test_a_standing_approval_is_for_the_same_content() -> None:
    answer = approval("aa", standing_approver="Ada").execute({})  # type: ignore[typeddict-item]
    assert approver_of(answer, "aa") == "Ada"
    assert approver_of(answer, "bb") == ""
