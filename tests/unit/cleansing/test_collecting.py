from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from dicom_migration.archive import InstanceRecord
from dicom_migration.cleansing.collecting import CollectCounts, collect_headers
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.operators.preflight import for_a_person
from dicom_migration.policies.cleansing import CleansingPolicy
from tests.archives import MemoryArchive, held_from, real_file
from tests.unit.cleansing.conftest import NOW, WAVE, AddStudy

NAMES = ("CT_small.dcm", "MR_small.dcm")
GOOD = [held_from(real_file(name)) for name in NAMES]


class FailingArchive(MemoryArchive):
    """Answers with the errors it is given, by Study Instance UID, and keeps count of questions."""

    def __init__(self, errors: dict[str, MigrationError]) -> None:
        super().__init__(list(GOOD))
        self.errors, self.asked = errors, Counter[str]()

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        self.asked[study_instance_uid] += 1
        if error := self.errors.get(study_instance_uid):
            raise error
        yield from super().find_instances(study_instance_uid, series_instance_uid)


def refused(reason: ReasonCode) -> PermanentError:
    return PermanentError("refused", reason=reason, next_step="Look.")


def busy() -> TransientError:
    return TransientError("refused with 0xC421", reason=ReasonCode.SOURCE_FAILED)


@pytest.fixture
def good(ledger: Ledger) -> list[str]:
    uids = [held.record.study_instance_uid for held in GOOD]
    with ledger.write() as connection:
        for uid in uids:
            values = {"study_instance_uid": uid, "source": "t", "state": "planned"}
            times = dict.fromkeys(("first_seen_at", "last_seen_at", "updated_at"), NOW)
            connection.execute(schema.study.insert().values(wave_id=WAVE, **values, **times))
    return uids


@pytest.fixture
def collect(ledger: Ledger) -> Callable[..., CollectCounts]:
    def call(archive: MemoryArchive, uids: list[str], **tries: bool) -> CollectCounts:
        return collect_headers(ledger, archive, WAVE, uids, CleansingPolicy(), **tries)

    return call


def states(ledger: Ledger, *uids: str) -> list[str]:
    with ledger.read() as connection:
        table = schema.study.c
        found = {
            row.study_instance_uid: row.state
            for row in connection.execute(select(table.study_instance_uid, table.state))
        }
    return [found[uid] for uid in uids]


def test_the_first_task_says_that_nobody_tries_again() -> None:
    with pytest.raises(TransientError, match="first task does not try again"), for_a_person():
        raise TransientError("closed port", next_step="Start it.")


def test_a_source_that_turns_us_away_is_no_study_s_fault(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = add_study(1)
    archive = FailingArchive({bad: refused(ReasonCode.SOURCE_REJECTED)})
    with pytest.raises(PermanentError) as raised:
        collect(archive, [bad, *good])
    assert raised.value.reason is ReasonCode.SOURCE_REJECTED
    assert states(ledger, bad) == ["planned"]


def test_five_refusals_in_a_row_are_the_source_s_and_quarantine_nobody(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = [add_study(number) for number in range(5)]
    reason = ReasonCode.SOURCE_REFUSED_OPERATION
    archive = FailingArchive(dict.fromkeys(bad, refused(reason)))
    with pytest.raises(PermanentError, match="in a row") as raised:
        collect(archive, [*bad, *good])
    assert raised.value.reason is reason
    assert set(states(ledger, *bad)) == {"planned"}


def test_refusals_that_a_success_interrupts_are_the_studies_own(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = [add_study(number) for number in range(6)]
    error = refused(ReasonCode.SOURCE_REFUSED_OPERATION)
    collect(FailingArchive(dict.fromkeys(bad, error)), [*bad[:3], good[0], *bad[3:]])
    assert set(states(ledger, *bad)) == {"quarantined"}
    assert states(ledger, good[0]) == ["planned"]


def test_a_malformed_series_uid_keeps_only_its_own_study_back(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = add_study(1)
    counts = collect(FailingArchive({bad: refused(ReasonCode.UID_INVALID)}), [bad, *good])
    assert counts == CollectCounts(studies=3, headers=2, quarantined=1)
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"uid_invalid": 1}


def test_a_study_that_fails_in_passing_is_left_while_the_others_go_on(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = add_study(1)
    archive = FailingArchive({bad: busy()})
    with pytest.raises(TransientError, match="1 studies"):
        collect(archive, [bad, *good])
    assert archive.asked == {bad: 2, good[0]: 1, good[1]: 1}
    assert states(ledger, bad, *good) == ["planned"] * 3
    with pytest.raises(TransientError):
        collect(archive, [bad, *good], first_try=False)
    assert archive.asked == {bad: 4, good[0]: 1, good[1]: 1}, "what is read is not read again"
    collect(archive, [bad, *good], first_try=False, last_try=True)
    assert states(ledger, bad, *good) == ["quarantined", "planned", "planned"]
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"source_failed": 1}


def test_a_new_run_reads_all_anew(good: list[str], collect: Any) -> None:
    archive = FailingArchive({})
    collect(archive, good)
    collect(archive, good)
    assert archive.asked == dict.fromkeys(good, 2)


def test_a_source_that_is_down_quarantines_nobody_on_the_last_try_either(
    ledger: Ledger, add_study: AddStudy, good: list[str], collect: Any
) -> None:
    bad = [add_study(number) for number in range(5)]
    archive = FailingArchive(dict.fromkeys(bad, busy()))
    with pytest.raises(TransientError, match="7 studies"):
        collect(archive, [*bad, *good], last_try=True)
    assert set(states(ledger, *bad)) == {"planned"}
    assert archive.asked[good[0]] == 0
