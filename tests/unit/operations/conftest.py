"""A wave with studies that cleansing quarantined, and what a person does about them."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from dicom_migration.cleansing.approval import approve_corrections
from dicom_migration.cleansing.judging import Failure
from dicom_migration.cleansing.settlement import settle_wave
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, Ledger, note_exceptions, schema
from tests.unit.cleansing.conftest import WAVE, add_study, ledger  # noqa: F401 - fixtures

RULES = "a" * 64
Settle = Callable[..., None]


@pytest.fixture
def settle(ledger: Ledger) -> Settle:  # noqa: F811
    """Settle the wave; the named studies fail so many expectations."""
    approve_corrections(ledger, WAVE, RULES, "Ada")

    def run(**failing: int) -> None:
        faults = {
            f"1.2.{name.removeprefix('study')}": [
                Failure(f"Field {place} is there", ReasonCode.FIELD_INCOMPLETE, "", "", "Fill it.")
                for place in range(count)
            ]
            for name, count in failing.items()
        }
        settle_wave(ledger, WAVE, RULES, faults)

    return run


def note(ledger: Ledger, reason: ReasonCode, phase: str, uid: str = "") -> None:  # noqa: F811
    with ledger.write() as connection:
        note_exceptions(connection, [ExceptionNote(reason, phase, uid)], EventChain("test"))


def states(ledger: Ledger) -> dict[str, str]:  # noqa: F811
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.study_instance_uid, table.state))
        return {row.study_instance_uid: row.state for row in rows}


def statuses(ledger: Ledger) -> list[str]:  # noqa: F811
    table = schema.exception.c
    with ledger.read() as connection:
        return list(connection.scalars(select(table.status).order_by(table.exception_id)))


def told(ledger: Ledger, kind: str) -> list[str]:  # noqa: F811
    table = schema.event.c
    with ledger.read() as connection:
        return list(connection.scalars(select(table.payload).where(table.kind == kind)))
