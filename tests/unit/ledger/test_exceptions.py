from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    note_exceptions,
    open_exception_counts,
    resolve_exceptions,
)

CHAIN = EventChain("test")
NOTE = ExceptionNote(ReasonCode.INSTANCE_MISSING, "transfer", "1.2.3", "", "1.2.3.4")


def record(ledger: Ledger, *notes: ExceptionNote) -> int:
    with ledger.write() as connection:
        return note_exceptions(connection, notes, CHAIN)


def resolve(ledger: Ledger) -> int:
    with ledger.write() as connection:
        return resolve_exceptions(
            connection,
            CHAIN,
            study_instance_uid="1.2.3",
            phase="transfer",
            resolved_by="tester",
            resolution="repaired",
        )


def counts(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return open_exception_counts(connection)


def test_the_same_trouble_seen_twice_is_one_exception(ledger: Ledger) -> None:
    assert record(ledger, NOTE, NOTE) == 1
    assert record(ledger, NOTE) == 0
    assert counts(ledger) == {"instance_missing": 1}


def test_a_resolved_exception_opens_again_when_it_comes_back(ledger: Ledger) -> None:
    record(ledger, NOTE)
    assert resolve(ledger) == 1
    assert counts(ledger) == {}
    assert record(ledger, NOTE) == 1
    assert counts(ledger) == {"instance_missing": 1}


def test_resolving_when_nothing_is_open_does_nothing(ledger: Ledger) -> None:
    assert resolve(ledger) == 0
