"""Many exceptions at once, on both databases of the ledger."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.operations.resolutions import Action, Resolution
from dicom_migration.operations.resolving import assign, resolve
from dicom_migration.operations.selecting import Selection, count_selected, export_list

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STUDIES = 1_500
WAVES = ("P1-W0001", "P1-W0002")


@pytest.fixture
def ledger(any_ledger: Ledger) -> Ledger:
    put_studies(any_ledger)
    return any_ledger


def put_studies(ledger: Ledger) -> None:
    seen = {"first_seen_at": NOW, "last_seen_at": NOW, "updated_at": NOW}
    with ledger.write() as connection:
        connection.execute(
            insert(schema.plan).values(
                plan_id="P1", content_sha256="0", state="approved", created_at=NOW, summary="{}"
            )
        )
        for ordinal, wave in enumerate(WAVES, start=1):
            connection.execute(
                insert(schema.wave).values(
                    wave_id=wave, plan_id="P1", ordinal=ordinal, state="cleansed", updated_at=NOW
                )
            )
        studies = [
            {
                "study_instance_uid": f"1.2.{n}",
                "state": "quarantined",
                "wave_id": WAVES[n % 2],
                "patient_name": "ZZCANARY",
                **seen,
            }
            for n in range(STUDIES)
        ]
        connection.execute(insert(schema.study), studies)
        notes = [
            ExceptionNote(
                ReasonCode.FIELD_INCOMPLETE, "cleansing", f"1.2.{n}", detail="=not a formula"
            )
            for n in range(STUDIES)
        ]
        note_exceptions(connection, notes, EventChain("test"))


def test_a_list_is_exported_and_one_decision_moves_all_of_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "exceptions.csv"
    chosen = Selection(reasons=("field_incomplete",))
    assert export_list(ledger, chosen, path) == STUDIES
    text = path.read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["wave_id"] for row in rows} == set(WAVES)
    assert {row["detail"] for row in rows} == {"'=not a formula"}
    assert "ZZCANARY" not in text
    assert assign(ledger, chosen, "bob", "ada", "run-1", STUDIES).assigned == STUDIES
    made = Resolution(Action.SEND_BACK, by="ada", run_id="run-2")
    outcome = resolve(ledger, Selection(assigned_to="bob"), made, STUDIES)
    assert (outcome.resolved, outcome.studies_sent_back) == (STUDIES, STUDIES)
    assert count_selected(ledger, chosen) == {}
    with ledger.read() as connection:
        waiting = select(func.count()).where(schema.study.c.state == "planned")
        assert connection.scalar(waiting) == STUDIES
        for wave in WAVES:
            sealed = verify_chain(connection, f"wave:{wave}/exceptions")
            assert sealed.sequence == 3 * STUDIES // 2, "assigned, planned, resolved"
