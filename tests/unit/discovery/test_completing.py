"""A study that the source cannot list does not stop the inventory; a source that is down does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select

from dicom_migration.archive import ArchiveCheck, SeriesRecord, StudyRecord
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import study
from tests.unit.discovery.test_inventory import state_of, take


def transient() -> TransientError:
    return TransientError(
        "PACS ended a C-FIND with status 0xC001.", reason=ReasonCode.SOURCE_FAILED
    )


def permanent(reason: ReasonCode = ReasonCode.SOURCE_ANSWER_INVALID) -> PermanentError:
    return PermanentError("PACS answered nonsense.", reason=reason)


@dataclass
class FailingArchive(CappedArchive):
    """Fails to list some studies, the first so many times."""

    failing: dict[str, tuple[MigrationError, int]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    down: bool = False

    def check(self) -> ArchiveCheck:
        if self.down:
            raise TransientError("PACS is down.", reason=ReasonCode.SOURCE_UNREACHABLE)
        return super().check()

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        self.asked[study_instance_uid] += 1
        error, times = self.failing.get(study_instance_uid, (None, 0))
        if error is not None and self.asked[study_instance_uid] <= times:
            raise error
        return super().find_series(study_instance_uid)


def untold(count: int) -> list[StudyRecord]:
    return [study(number, number_of_instances=None) for number in range(1, count + 1)]


def series(count: int) -> list[SeriesRecord]:
    return [
        SeriesRecord(f"1.2.{number}", f"1.2.{number}.1", "CT", number_of_instances=3)
        for number in range(1, count + 1)
    ]


def counts_of(ledger: Ledger) -> dict[str, int | None]:
    table = schema.study.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.study_instance_uid, table.number_of_instances))
        return {row.study_instance_uid: row.number_of_instances for row in rows}


@pytest.mark.parametrize("error", [transient(), permanent()])
def test_one_bad_study_is_noted_and_the_window_goes_on(
    ledger: Ledger, error: MigrationError
) -> None:
    archive = FailingArchive(untold(3), series(3), failing={"1.2.2": (error, 99)})
    counts = take(ledger, archive)
    assert counts.uncounted == 1
    assert counts_of(ledger) == {"1.2.1": 3, "1.2.2": None, "1.2.3": 3}
    assert state_of(ledger, "1.2.2") == "discovered"
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {error.reason.value: 1}


def test_what_fails_once_is_asked_again_at_once(ledger: Ledger) -> None:
    archive = FailingArchive(untold(1), series(1), failing={"1.2.1": (transient(), 1)})
    counts = take(ledger, archive)
    assert (counts.uncounted, counts_of(ledger)) == (0, {"1.2.1": 3})


def test_the_next_inventory_asks_again_and_closes_the_exception(ledger: Ledger) -> None:
    archive = FailingArchive(untold(1), series(1), failing={"1.2.1": (transient(), 2)})
    take(ledger, archive)
    counts = take(ledger, archive, inventory="I0000000002")
    assert (counts.uncounted, counts_of(ledger)) == (0, {"1.2.1": 3})
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {}


@pytest.mark.parametrize("error", [transient(), permanent()])
def test_five_in_a_row_are_the_sources_failure(ledger: Ledger, error: MigrationError) -> None:
    studies = untold(9)
    failing = {record.study_instance_uid: (error, 99) for record in studies}
    with pytest.raises(type(error)):
        take(ledger, FailingArchive(studies, series(9), failing=failing))


def test_a_source_that_is_down_is_nobodys_study(ledger: Ledger) -> None:
    archive = FailingArchive(untold(1), series(1), failing={"1.2.1": (transient(), 99)}, down=True)
    with pytest.raises(TransientError, match="down"):
        take(ledger, archive)


def test_a_refusal_of_us_is_nobodys_study(ledger: Ledger) -> None:
    refusal = permanent(ReasonCode.SOURCE_REJECTED)
    with pytest.raises(PermanentError):
        take(ledger, FailingArchive(untold(1), series(1), failing={"1.2.1": (refusal, 99)}))
