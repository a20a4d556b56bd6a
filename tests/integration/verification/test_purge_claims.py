"""What the ledger objects to is asked of either database in pages, not study by study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import event, insert

from dicom_migration.discovery.conditions import first_match, load_list
from dicom_migration.discovery.retention import expired_branches, hold_list, is_held
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from dicom_migration.policies.retention import RetentionPolicy
from dicom_migration.verification.purge_claims import (
    PAGE,
    Retention,
    claims_for_purge,
    count_objections,
    unobjected,
)

NOW = datetime(2025, 3, 1, tzinfo=UTC)
POLICY = RetentionPolicy.model_validate(
    {
        "rules": [{"name": "old", "reason": "Long enough.", "older_than_years": 5}],
        "legal_holds": [
            {"name": "case", "reason": "A court asked.", "study_instance_uids": ["1.2.1"]}
        ],
    }
)
RETENTION = Retention(first_match(expired_branches(POLICY, date(2025, 3, 1)), ""), is_held(POLICY))
MANY = 2 * PAGE + 1


def add(ledger: Ledger, uids: list[str], *, read: int = 3, **columns: object) -> None:
    """Add verified studies of three objects each, of which `read` were read back."""
    study = {
        "state": "verified",
        "wave_id": "w1",
        "study_date": "20100304",
        "stored_instances": 3,
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "updated_at": NOW,
        **columns,
    }
    verdict = {
        "wave_id": "w1",
        "verified_at": NOW,
        "method": "full",
        "objects_read": read,
        "outcome": "verified",
    }
    with ledger.write() as connection:
        for table, row in ((schema.study, study), (schema.verification, verdict)):
            connection.execute(insert(table), [{**row, "study_instance_uid": uid} for uid in uids])


@pytest.fixture
def judged(any_ledger: Ledger) -> Ledger:
    """A ledger with one study for each objection and many that meet none."""
    add(any_ledger, ["1.2.1"])
    add(any_ledger, ["1.2.2"], state="transferred")
    add(any_ledger, ["1.2.3"])
    add(any_ledger, ["1.2.4"], vanished_at=NOW)
    add(any_ledger, ["1.2.5"], read=2)
    add(any_ledger, ["1.2.6"], study_date="20240101")
    add(any_ledger, [f"1.3.{number}" for number in range(MANY)])
    note = ExceptionNote(ReasonCode.FIELD_INVALID, "cleansing", "1.2.3", detail="x")
    with any_ledger.write() as connection:
        note_exceptions(connection, [note], EventChain("test"))
        load_list(connection, hold_list(POLICY.legal_holds[0]), ["1.2.1"])
    return any_ledger


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    asked: list[str] = []

    def note(*about: object) -> None:
        asked.append(str(about[2]))

    event.listen(ledger.engine, "before_cursor_execute", note)
    yield asked
    event.remove(ledger.engine, "before_cursor_execute", note)


def test_each_objection_is_named_and_counted_by_one_question(judged: Ledger) -> None:
    with judged.read() as connection, statements(judged) as asked:
        counted = count_objections(connection, RETENTION)
    assert counted == {
        "a legal hold names it": 1,
        "not verified": 1,
        "an exception is open": 1,
        "the source changed": 1,
        "not every object was read back": 1,
        "": MANY,
    }
    assert len(asked) == 1


def test_those_without_objection_come_in_pages_each_once(judged: Ledger) -> None:
    found: list[str] = []
    with judged.read() as connection, statements(judged) as asked:
        while page := unobjected(connection, RETENTION, found[-1] if found else ""):
            found += [claim.study.study_instance_uid for claim in page]
    assert found == sorted(f"1.3.{number}" for number in range(MANY))
    assert len(asked) <= 2 * (MANY // PAGE + 2), "two questions a page: studies, their audits"


def test_studies_that_were_shown_are_judged_anew_by_name(judged: Ledger) -> None:
    uids = ["1.2.1", "1.2.6", *(f"1.3.{number}" for number in range(MANY))]
    with judged.read() as connection:
        claims = claims_for_purge(connection, RETENTION, uids)
    assert len(claims) == len(uids)
    assert claims["1.2.1"].objection == "a legal hold names it"
    assert claims["1.2.6"].objection == "retention keeps it"
    assert claims["1.3.7"].objection == ""
    assert claims["1.3.7"].rule == "old"
