"""The ledger on both databases it supports, for real."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, select

from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import EventChain, Ledger, StudyState, move_studies, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.ledger.migrate import alembic_config

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(any_ledger: Ledger) -> Ledger:
    return any_ledger


def put_studies(ledger: Ledger, count: int) -> list[str]:
    uids = [f"1.2.{number}" for number in range(count)]
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study),
            [
                {
                    "study_instance_uid": uid,
                    "state": "planned",
                    "first_seen_at": NOW,
                    "last_seen_at": NOW,
                    "updated_at": NOW,
                }
                for uid in uids
            ],
        )
    return uids


def test_the_migrations_build_exactly_the_schema(ledger: Ledger) -> None:
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            difference
            for difference in compare_metadata(context, schema.metadata)
            if "alembic_version" not in str(difference)
        ]
    assert differences == []


def test_a_ledger_of_the_first_version_keeps_its_studies(ledger: Ledger) -> None:
    put_studies(ledger, 2)
    with ledger.write() as connection:
        command.downgrade(alembic_config(connection), "0001")
    ledger.upgrade()
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.priority, table.layout, table.requested_at)
        ).all()
    assert sorted(rows) == [("1.2.0", 0, "", None), ("1.2.1", 0, "", None)]


def test_headers_of_an_older_ledger_are_kept_and_their_attributes_are_not_known(
    ledger: Ledger,
) -> None:
    uids = dict.fromkeys(("study_instance_uid", "series_instance_uid", "sop_instance_uid"), "1.2")
    with ledger.write() as connection:
        connection.execute(insert(schema.header_fact).values(**uids, attributes=" 00080016 "))
        command.downgrade(alembic_config(connection), "0007")
    ledger.upgrade()
    table = schema.header_fact.c
    with ledger.read() as connection:
        row = connection.execute(
            select(table.sop_instance_uid, table.attributes, table.pixel_bytes)
        ).one()
    assert tuple(row) == ("1.2", None, None)


def test_upgrading_twice_and_at_once_is_harmless(ledger: Ledger) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            with Ledger(ledger.url) as other:
                other.upgrade()
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_times_come_back_aware_or_comparable(ledger: Ledger) -> None:
    put_studies(ledger, 1)
    with ledger.read() as connection:
        seen = connection.scalar(select(schema.study.c.first_seen_at))
    assert seen is not None
    assert seen == NOW


def test_a_failed_transaction_leaves_nothing(ledger: Ledger) -> None:
    uids = put_studies(ledger, 3)

    def fail_after_moving() -> None:
        with ledger.write() as connection:
            move_studies(connection, uids, StudyState.CLEANSED, EventChain("c"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_moving()
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(schema.event)) == 0


def test_many_writers_at_once_lose_no_study_and_keep_their_chains(ledger: Ledger) -> None:
    uids = put_studies(ledger, 400)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Ledger(ledger.url) as own:
                for uid in uids[number::4]:
                    with own.write() as connection:
                        chain = EventChain(f"shard-{number}")
                        move_studies(connection, [uid], StudyState.CLEANSED, chain)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with ledger.read() as connection:
        cleansed = select(func.count()).where(schema.study.c.state == "cleansed")
        assert connection.scalar(cleansed) == 400
        heads = [verify_chain(connection, f"shard-{number}") for number in range(4)]
    assert [head.sequence for head in heads] == [100] * 4


def test_a_ledger_that_is_away_is_a_passing_trouble() -> None:
    with (
        Ledger("postgresql+psycopg://nobody:nothing@127.0.0.1:1/none") as ledger,
        pytest.raises(TransientError) as caught,
        ledger.read(),
    ):
        pass
    assert caught.value.reason is ReasonCode.LEDGER_UNAVAILABLE
    assert "nothing" not in str(caught.value)


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(PermanentError, match="migration_ledger"):
        Ledger("not a url")


def test_tables_that_were_never_made_are_explained(tmp_path: Path) -> None:
    with (
        Ledger(f"sqlite:///{tmp_path / 'empty.db'}") as ledger,
        pytest.raises(PermanentError, match="discovery"),
        ledger.read() as connection,
    ):
        connection.execute(select(schema.study))
