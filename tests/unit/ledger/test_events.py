import pytest
from sqlalchemy import delete, update

from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import EventChain, Ledger, schema
from dicom_migration.ledger.events import GENESIS, chain_names, verify_chain

CHAIN = EventChain("wave:W1/shard-0")


@pytest.fixture
def three_events(ledger: Ledger) -> Ledger:
    with ledger.write() as connection:
        CHAIN.append(connection, [("a", "1.2", {"n": 1}), ("b", "1.2", {"n": 2})])
    with ledger.write() as connection:
        CHAIN.append(connection, [("c", "1.3", {"n": 3})])
    return ledger


def test_an_untouched_chain_verifies_to_its_head(three_events: Ledger) -> None:
    with three_events.read() as connection:
        assert verify_chain(connection, CHAIN.name) == CHAIN.head(connection)
        assert CHAIN.head(connection).sequence == 3
        assert chain_names(connection, "wave:W1") == [CHAIN.name]


def test_an_empty_chain_begins_at_the_genesis_hash(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert verify_chain(connection, "none").hash == GENESIS


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("payload", '{"n":9}'),
        ("kind", "z"),
        ("study_instance_uid", "1.9"),
        ("at", "2020-01-01T00:00:00+00:00"),
        ("hash", "0" * 64),
        ("previous_hash", "f" * 64),
    ],
)
def test_every_edited_field_shows(three_events: Ledger, column: str, value: str) -> None:
    with three_events.write() as connection:
        connection.execute(
            update(schema.event).where(schema.event.c.sequence == 2).values({column: value})
        )
    with pytest.raises(PermanentError) as caught, three_events.read() as connection:
        verify_chain(connection, CHAIN.name)
    assert caught.value.reason is ReasonCode.LEDGER_TAMPERED
    assert "Event 2" in str(caught.value)


def test_a_removed_event_shows(three_events: Ledger) -> None:
    with three_events.write() as connection:
        connection.execute(delete(schema.event).where(schema.event.c.sequence == 2))
    with pytest.raises(PermanentError, match="Event 2"), three_events.read() as connection:
        verify_chain(connection, CHAIN.name)


def test_the_second_of_two_writers_collides_and_may_try_again(three_events: Ledger) -> None:
    from sqlalchemy import insert

    with pytest.raises(TransientError) as caught, three_events.write() as connection:
        connection.execute(
            insert(schema.event).values(
                chain=CHAIN.name,
                sequence=3,
                at="",
                kind="x",
                payload="{}",
                previous_hash="",
                hash="",
            )
        )
    assert caught.value.reason is ReasonCode.LEDGER_CONFLICT


def test_a_chain_tells_whether_it_holds_an_event(three_events: Ledger) -> None:
    with three_events.read() as connection:
        assert CHAIN.holds(connection, "b", {"n": 2})
        assert not CHAIN.holds(connection, "b", {"n": 3})
        assert not EventChain("other").holds(connection, "b", {"n": 2})
