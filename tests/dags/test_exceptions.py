"""The DAG with which a person works the exceptions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy import insert, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.operators.defaults import SENT_BACK
from dicom_migration.operators.exceptions import (
    ACTIONS,
    AnnounceSentBackOperator,
    AskAboutExceptionOperator,
    FindExceptionsOperator,
    ResolveExceptionsOperator,
)
from tests.dags.structure import edges, parsed

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)
PATIENT = "MUSTERMANN^ERIKA"
FORM = {key: parsed("exceptions").params[key] for key in parsed("exceptions").params}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv(
        "AIRFLOW_CONN_MIGRATION_LEDGER", f'{{"conn_type": "sqlite", "host": "{path}"}}'
    )
    opened = Ledger(f"sqlite:///{path}")
    opened.upgrade()
    put_quarantined_study(opened)
    return opened


def put_quarantined_study(ledger: Ledger) -> None:
    seen = {"first_seen_at": NOW, "last_seen_at": NOW, "updated_at": NOW}
    with ledger.write() as connection:
        connection.execute(
            insert(schema.plan).values(
                plan_id="P1", content_sha256="0", state="approved", created_at=NOW, summary="{}"
            )
        )
        connection.execute(
            insert(schema.wave).values(
                wave_id="P1-W0001", plan_id="P1", ordinal=1, state="cleansed", updated_at=NOW
            )
        )
        connection.execute(
            insert(schema.study).values(
                study_instance_uid="1.2.1",
                state="quarantined",
                wave_id="P1-W0001",
                patient_name=PATIENT,
                **seen,
            )
        )
        notes = [
            ExceptionNote(ReasonCode.FIELD_INCOMPLETE, "cleansing", "1.2.1", subject="Sex is there")
        ]
        note_exceptions(connection, notes, EventChain("test"))


def work(user: str | None = "ada", answer: Any = None, run: str = "r1", **form: Any) -> Any:
    """Run the tasks as Airflow does; returns what `find` and `resolve` told."""
    context: Any = {
        "params": {**FORM, **form},
        "dag_run": SimpleNamespace(triggering_user_name=user, run_id=run),
    }
    found = FindExceptionsOperator(task_id="find").execute(context)
    resolver = ResolveExceptionsOperator(task_id="resolve", found=found, answer=answer)
    return found, resolver.execute(context)


def state(ledger: Ledger) -> str:
    with ledger.read() as connection:
        return str(connection.scalar(select(schema.study.c.state)))


def test_what_is_decided_is_announced_after_it_is_carried_out() -> None:
    dag = parsed("exceptions")
    assert edges(dag) == {
        ("find", "ask"),
        ("find", "resolve"),
        ("ask", "resolve"),
        ("resolve", "announce"),
    }
    assert [task.task_id for task in dag.tasks if task.outlets] == ["announce"]
    assert dag.get_task("announce").outlets == [SENT_BACK]
    assert dag.params.get_param("action").schema["enum"] == list(ACTIONS)
    assert FORM["action"] == "list", "a run that was triggered by mistake changes nothing"


def test_one_form_decides_for_all_that_the_filters_choose(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    found, done = work(action="send_back", reasons=["field_incomplete"])
    assert found["by_reason"] == {"field_incomplete": 1}
    assert done["studies_sent_back"] == 1
    assert state(ledger) == "planned"
    assert AnnounceSentBackOperator(task_id="announce", outcome=done).execute({}) == 1
    logged = capsys.readouterr()
    assert "1.2.1" in logged.out
    assert PATIENT not in logged.out + logged.err + str((found, done))


def test_nothing_sent_back_announces_nothing(ledger: Ledger) -> None:
    _, done = work(action="accept", exception_ids=[99])
    with pytest.raises(AirflowSkipException):
        AnnounceSentBackOperator(task_id="announce", outcome=done).execute({})


def test_a_run_that_nobody_is_known_to_have_triggered_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(PermanentError) as refused:
        work(None, action="send_back", exception_ids=[1])
    assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    assert state(ledger) == "quarantined"


def test_without_a_filter_nothing_is_changed(ledger: Ledger) -> None:
    with pytest.raises(PermanentError, match="every exception"):
        work(action="accept")


def test_a_rule_that_does_not_exist_is_not_applied(ledger: Ledger) -> None:
    with pytest.raises(PermanentError, match="no rule of that id"):
        work(action="apply_rule", rule_id="sex-as-a-cde", exception_ids=[1])
    assert state(ledger) == "quarantined"


def test_a_person_decides_about_one_exception_in_a_form_without_patient_data(
    ledger: Ledger,
) -> None:
    answer = {
        "chosen_options": ["Exclude"],
        "params_input": {"reason": "phantom scan", "rule_id": ""},
        "responded_by_user": {"id": "7", "name": "bob"},
    }
    found, done = work(answer=answer, action="ask", exception_ids=[1])
    assert "field_incomplete" in found["text"]
    assert "1.2.1" in found["text"]
    assert PATIENT not in found["text"]
    assert done["studies_excluded"] == 1
    with ledger.read() as connection:
        row = connection.execute(select(schema.exception)).one()
    assert (row.status, row.resolved_by) == ("resolved", "bob"), "who answered, not who asked"
    assert row.resolution == "exclude: phantom scan"


@pytest.mark.parametrize("person", [None, {"id": "", "name": ""}])
def test_an_answer_of_nobody_changes_nothing(ledger: Ledger, person: Any) -> None:
    answer = {"chosen_options": ["Send back"], "params_input": {}, "responded_by_user": person}
    with pytest.raises(PermanentError) as refused:
        work(answer=answer, action="ask", exception_ids=[1])
    assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    assert state(ledger) == "quarantined"


def test_left_open_is_left_open(ledger: Ledger) -> None:
    answer = {"chosen_options": ["Leave open"], "responded_by_user": {"name": "bob"}}
    _, done = work(answer=answer, action="ask", exception_ids=[1])
    assert done["resolved"] == done["accepted"] == 0


def test_an_exception_that_changed_since_it_was_shown_is_not_decided(ledger: Ledger) -> None:
    context: Any = {
        "params": {**FORM, "action": "ask", "exception_ids": [1]},
        "dag_run": SimpleNamespace(triggering_user_name="ada", run_id="r1"),
    }
    found = FindExceptionsOperator(task_id="find").execute(context)
    with ledger.write() as connection:
        connection.execute(schema.exception.update().values(detail="Not met in 7 header(s)."))
    answer = {"chosen_options": ["Send back"], "responded_by_user": {"name": "bob"}}
    with pytest.raises(PermanentError, match="changed since"):
        ResolveExceptionsOperator(task_id="r", found=found, answer=answer).execute(context)
    assert state(ledger) == "quarantined"


def test_only_one_exception_is_asked_about(ledger: Ledger) -> None:
    with pytest.raises(PermanentError, match="none fit"):
        work(action="ask", exception_ids=[2])


def test_no_answer_is_no_decision() -> None:
    ask = parsed("exceptions").get_task("ask")
    assert isinstance(ask, AskAboutExceptionOperator)
    assert ask.defaults is None
    assert ask.response_timeout is not None
    assert ask.retry_policy.rules[0].exception.endswith("HITLTimeoutError")
