"""The DAG with which a person lets studies go first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.operators.requests import RequestStudiesOperator
from dicom_migration.pacing.leases import Leases
from tests.dags.structure import parsed

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv(
        "AIRFLOW_CONN_MIGRATION_LEDGER", f'{{"conn_type": "sqlite", "host": "{path}"}}'
    )
    opened = Ledger(f"sqlite:///{path}")
    opened.upgrade()
    with opened.write() as connection:
        connection.execute(
            insert(schema.study),
            [
                {
                    "study_instance_uid": uid,
                    "state": state,
                    "first_seen_at": NOW,
                    "last_seen_at": NOW,
                    "updated_at": NOW,
                }
                for uid, state in (("1.2.1", "cleansed"), ("1.2.2", "verified"))
            ],
        )
    return opened


def request(uids: list[str], reason: str = "clinic at nine") -> dict[str, Any]:
    context: Any = {
        "params": {"study_instance_uids": uids, "reason": reason},
        "dag_run": SimpleNamespace(triggering_user_name="ada"),
    }
    return RequestStudiesOperator(task_id="request").execute(context)


def test_it_says_of_each_study_what_becomes_of_it(ledger: Ledger) -> None:
    Leases(ledger, "a worker").acquire("association", ["dimse:PACS#001"])
    told = request([" 1.2.1 ", "1.2.2", "1.9", "1.2.1"])
    assert [(s["study_instance_uid"], s["state"]) for s in told["studies"]] == [
        ("1.2.1", "cleansed"),
        ("1.2.2", "verified"),
        ("1.9", "unknown"),
    ]
    assert told["workers"] == 1
    with ledger.read() as connection:
        row = connection.execute(select(schema.study).where(schema.study.c.priority > 0)).one()
    assert (row.study_instance_uid, row.requested_by) == ("1.2.1", "ada")
    assert row.requested_at is not None


def test_without_a_running_transfer_the_person_is_told(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert request(["1.2.1"])["workers"] == 0
    assert "No transfer is running" in capsys.readouterr().out


def test_the_reason_is_kept_in_the_ledger_and_told_nowhere_else(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    told = request(["1.2.1"], "for MUSTERMANN")
    logged = capsys.readouterr()
    assert "goes next" in logged.out
    assert "MUSTERMANN" not in logged.out + logged.err + str(told)
    with ledger.read() as connection:
        assert "MUSTERMANN" in connection.scalars(select(schema.event.c.payload)).one()


@pytest.mark.parametrize(
    "uids", [[], ["1.2.1", "MUSTERMANN^ERIKA"], [f"1.{n}" for n in range(101)]]
)
def test_a_list_that_cannot_be_used_changes_nothing(ledger: Ledger, uids: list[str]) -> None:
    with pytest.raises(PermanentError) as caught:
        request(uids)
    assert caught.value.reason is ReasonCode.UID_INVALID
    assert "MUSTERMANN" not in str(caught.value), "what was typed may be a patient"
    with ledger.read() as connection:
        assert connection.scalars(select(schema.event.c.kind)).all() == []


def test_the_form_takes_a_list_and_a_reason() -> None:
    dag = parsed("request_studies")
    assert dag.params.get_param("study_instance_uids").schema["maxItems"] == 100
    assert dag.params.get_param("reason").schema["maxLength"] == 100
