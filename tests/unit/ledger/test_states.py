import itertools
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, Ledger, StudyState, move_studies, move_where, schema
from dicom_migration.ledger.states import ENTERED_FROM

CHAIN = EventChain("test")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def put_study(ledger: Ledger, uid: str, state: StudyState) -> None:
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study).values(
                study_instance_uid=uid,
                state=state.value,
                first_seen_at=NOW,
                last_seen_at=NOW,
                updated_at=NOW,
            )
        )


def state_of(ledger: Ledger, uid: str) -> str:
    with ledger.read() as connection:
        return str(
            connection.scalar(
                select(schema.study.c.state).where(schema.study.c.study_instance_uid == uid)
            )
        )


def events(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.read() as connection:
        table = schema.event.c
        rows = connection.execute(
            select(table.kind, table.study_instance_uid).order_by(table.sequence)
        )
        return [(row.kind, row.study_instance_uid) for row in rows]


@pytest.mark.parametrize(("start", "to"), list(itertools.product(StudyState, StudyState)))
def test_only_the_documented_transitions_are_possible(
    ledger: Ledger, start: StudyState, to: StudyState
) -> None:
    put_study(ledger, "1.2.3", start)
    allowed = start in ENTERED_FROM[to]
    if allowed or start is to:
        with ledger.write() as connection:
            assert move_studies(connection, ["1.2.3"], to, CHAIN) == int(start is not to)
        assert state_of(ledger, "1.2.3") == to
    else:
        with pytest.raises(PermanentError) as caught, ledger.write() as connection:
            move_studies(connection, ["1.2.3"], to, CHAIN)
        assert caught.value.reason is ReasonCode.STATE_FORBIDDEN
        assert state_of(ledger, "1.2.3") == start


def test_a_step_done_twice_changes_nothing_the_second_time(ledger: Ledger) -> None:
    put_study(ledger, "1.2.3", StudyState.PLANNED)
    for source in ("first", "second"):
        with ledger.write() as connection:
            move_studies(connection, ["1.2.3"], StudyState.CLEANSED, CHAIN, source=source)
    assert events(ledger) == [("study.cleansed", "1.2.3")]
    with ledger.read() as connection:
        assert connection.scalar(select(schema.study.c.source)) == "first"


def test_one_forbidden_study_leaves_the_whole_call_undone(ledger: Ledger) -> None:
    put_study(ledger, "1.2.3", StudyState.PLANNED)
    put_study(ledger, "1.2.4", StudyState.VERIFIED)
    with pytest.raises(PermanentError, match=r"1\.2\.4"), ledger.write() as connection:
        move_studies(connection, ["1.2.3", "1.2.4"], StudyState.CLEANSED, CHAIN)
    assert state_of(ledger, "1.2.3") == StudyState.PLANNED
    assert events(ledger) == []


def test_an_unknown_study_is_named(ledger: Ledger) -> None:
    with pytest.raises(PermanentError, match=r"1\.9\.9"), ledger.write() as connection:
        move_studies(connection, ["1.9.9"], StudyState.PLANNED, CHAIN)


def test_a_move_of_many_is_one_event_and_skips_what_may_not_move(ledger: Ledger) -> None:
    put_study(ledger, "1.2.3", StudyState.DISCOVERED)
    put_study(ledger, "1.2.4", StudyState.VERIFIED)
    with ledger.write() as connection:
        everything = schema.study.c.study_instance_uid != ""
        moved = move_where(
            connection, everything, StudyState.PLANNED, CHAIN, payload={"plan": "P1"}, plan_id="P1"
        )
    assert moved == 1
    assert state_of(ledger, "1.2.4") == StudyState.VERIFIED
    assert events(ledger) == [("studies.planned", "")]
