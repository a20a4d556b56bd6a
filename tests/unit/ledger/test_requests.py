from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from dicom_migration.ledger import Ledger, StudyState, request_studies, schema
from dicom_migration.ledger.events import verify_chain

NOW = datetime(2026, 3, 2, 20, tzinfo=UTC)
LATER = datetime(2026, 3, 3, 8, tzinfo=UTC)


@pytest.fixture
def one_of_each(ledger: Ledger) -> dict[str, str]:
    """A study in every state, by its UID."""
    uids = {f"1.2.{number}": state.value for number, state in enumerate(StudyState)}
    with ledger.write() as connection:
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
                for uid, state in uids.items()
            ],
        )
    return uids


def test_what_is_still_to_be_moved_goes_first_and_the_rest_is_told(
    ledger: Ledger, one_of_each: dict[str, str]
) -> None:
    asked_for = [*one_of_each, "1.9.9"]
    answers = request_studies(
        ledger, asked_for, requested_by="ada", reason="clinic", clock=lambda: NOW
    )
    assert [answer.study_instance_uid for answer in answers] == asked_for
    told = {answer.state: answer.is_urgent for answer in answers}
    assert {state for state, urgent in told.items() if not urgent} == {
        "excluded",
        "transferred",
        "verified",
        "unknown",
    }
    assert all(answer.message for answer in answers)
    table = schema.study.c
    with ledger.read() as connection:
        urgent = connection.execute(
            select(table.state, table.requested_by, table.requested_at).where(table.priority > 0)
        ).all()
    assert {row.state for row in urgent} == {
        state for state, is_urgent in told.items() if is_urgent
    }
    assert {(row.requested_by, row.requested_at) for row in urgent} == {("ada", NOW)}


def test_asked_for_twice_the_first_request_stands(
    ledger: Ledger, one_of_each: dict[str, str]
) -> None:
    request_studies(
        ledger, list(one_of_each), requested_by="ada", reason="clinic", clock=lambda: NOW
    )
    with ledger.read() as connection:
        before = verify_chain(connection, "requests").sequence
    request_studies(
        ledger, list(one_of_each), requested_by="bob", reason="again", clock=lambda: LATER
    )
    table = schema.study.c
    with ledger.read() as connection:
        assert verify_chain(connection, "requests").sequence == before == 6
        asked_by = connection.scalars(select(table.requested_by).where(table.priority > 0))
        assert set(asked_by) == {"ada"}
