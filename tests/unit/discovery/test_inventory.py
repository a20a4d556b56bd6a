from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from weakref import WeakSet

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from dicom_migration.archive import InstanceRecord, SeriesRecord, StudyQuery, StudyRecord
from dicom_migration.discovery.inventory import InventoryCounts, take_inventory
from dicom_migration.discovery.windows import cut_windows, open_inventory
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.discovery import DiscoveryPolicy
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import TODAY, study

POLICY = DiscoveryPolicy(earliest_study_date=date(2015, 1, 1), list_series=False)


def take(
    ledger: Ledger,
    archive: CappedArchive,
    policy: DiscoveryPolicy = POLICY,
    inventory: str = "I0000000001",
) -> InventoryCounts:
    total = InventoryCounts()
    for windows in open_inventory(ledger, inventory, policy, TODAY):
        counts = take_inventory(ledger, archive, windows, policy)
        for name, value in counts.summary().items():
            setattr(total, name, getattr(total, name) + value)
    return total


def state_of(ledger: Ledger, uid: str) -> str | None:
    table = schema.study.c
    with ledger.read() as connection:
        return connection.scalar(select(table.state).where(table.study_instance_uid == uid))


def studies_in(ledger: Ledger) -> set[str]:
    with ledger.read() as connection:
        return set(connection.scalars(select(schema.study.c.study_instance_uid)))


DATES = st.one_of(
    st.dates(date(1985, 1, 1), date(2035, 1, 1)).map(lambda day: f"{day:%Y%m%d}"),
    st.sampled_from(["", "2019-03-04", "20190230", "abc", "18991230", "99999999"]),
)


@settings(max_examples=40, deadline=None)
@given(dates=st.lists(DATES, max_size=60), cap=st.integers(8, 20), days=st.integers(20, 4000))
def test_no_study_is_lost_or_else_the_window_is_named(
    tmp_path_factory: pytest.TempPathFactory, dates: list[str], cap: int, days: int
) -> None:
    folder: Path = tmp_path_factory.mktemp("ledger")
    policy = POLICY.model_copy(
        update={"result_cap": cap, "window_days": days, "undated_queries": 80}
    )
    archive = CappedArchive([study(n, text) for n, text in enumerate(dates)], cap=cap)
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        ledger.upgrade()
        counts = take(ledger, archive, policy)
        lost = {s.study_instance_uid for s in archive.studies} - studies_in(ledger)
        with ledger.read() as connection:
            named = open_exception_counts(connection).get("window_capped", 0)
    assert bool(counts.capped_windows) is bool(named)
    assert not lost or named


def test_windows_cover_every_day_once() -> None:
    windows = [w for w in cut_windows("I1", POLICY, TODAY) if w.kind == "date"]
    assert windows[0].last is None
    assert windows[-1].first is None
    for newer, older in pairwise(windows):
        assert newer.first is not None
        assert older.last == newer.first - timedelta(days=1)


def test_windows_grow_rather_than_exceed_their_number() -> None:
    policy = POLICY.model_copy(update={"window_days": 1, "max_windows": 50})
    assert len(cut_windows("I1", policy, TODAY)) <= 50


def test_an_inventory_taken_again_changes_nothing(ledger: Ledger) -> None:
    archive = CappedArchive([study(n, f"201{n}0101") for n in range(5, 9)])
    first = take(ledger, archive)
    again = take(ledger, archive)
    other = take(ledger, archive, inventory="I0000000002")
    assert first.new == 4
    assert again.windows == 0
    assert again.windows_skipped == first.windows
    assert (other.new, other.changed, other.found) == (0, 0, 4)


def test_a_study_that_changed_at_the_source_is_counted_and_updated(ledger: Ledger) -> None:
    take(ledger, CappedArchive([study(1)]))
    counts = take(
        ledger, CappedArchive([study(1, number_of_instances=11)]), inventory="I0000000002"
    )
    assert (counts.new, counts.changed) == (0, 1)
    with ledger.read() as connection:
        assert connection.scalar(select(schema.study.c.number_of_instances)) == 11


def test_a_study_returned_twice_is_one_study(ledger: Ledger) -> None:
    counts = take(ledger, CappedArchive([study(1), study(1), study(2)]))
    assert (counts.found, counts.new) == (2, 2)


def test_one_day_that_is_still_cut_off_is_an_exception(ledger: Ledger) -> None:
    archive = CappedArchive([study(n, "20200101", patient_id="P") for n in range(9)], cap=5)
    counts = take(ledger, archive, POLICY.model_copy(update={"result_cap": 5}))
    with ledger.read() as connection:
        subjects = connection.scalars(select(schema.exception.c.subject)).all()
    assert counts.capped_windows == 2  # the day, and the pass without a date
    assert "2020-01-01 to 2020-01-01" in subjects


def test_a_cap_nobody_told_of_is_suspected_by_its_size(ledger: Ledger) -> None:
    days = [date(2016, 1, 1) + timedelta(days=n) for n in range(60)]
    archive = CappedArchive([study(n, f"{day:%Y%m%d}") for n, day in enumerate(days)], cap=50)
    policy = POLICY.model_copy(update={"suspicious_counts": (50,), "window_days": 4000})
    take(ledger, archive, policy)
    assert len(studies_in(ledger)) == 60


def test_a_hostile_identifier_becomes_an_exception_without_its_text(ledger: Ledger) -> None:
    evil = [StudyRecord(text, study_date="20200101") for text in ("../../etc", "1.2;drop", "")]
    counts = take(ledger, CappedArchive([*evil, study(1)]))
    assert counts.invalid == 3
    named = {uid for uid in studies_in(ledger) if not uid.startswith("invalid-")}
    assert named == {"1.2.1"}
    assert len(studies_in(ledger)) == 4  # each is counted, and stands in quarantine
    assert {state_of(ledger, uid) for uid in studies_in(ledger) - named} == {"quarantined"}
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"uid_invalid": 3}
        rows = connection.execute(select(schema.exception)).all()
    assert not any("etc" in str(row) or "drop" in str(row) for row in rows)


def test_an_empty_study_is_quarantined_with_its_reason(ledger: Ledger) -> None:
    take(ledger, CappedArchive([study(1, number_of_instances=0), study(2)]))
    with ledger.read() as connection:
        counted = connection.execute(
            select(schema.study.c.state, func.count().label("studies")).group_by(
                schema.study.c.state
            )
        )
        states = {row.state: row.studies for row in counted}
        assert states == {"quarantined": 1, "discovered": 1}
        assert open_exception_counts(connection) == {"study_empty": 1}


def test_what_the_source_does_not_count_is_counted_by_asking(ledger: Ledger) -> None:
    untold = study(1, number_of_instances=None, number_of_series=None, modalities=())
    archive = CappedArchive(
        [untold],
        series=[SeriesRecord("1.2.1", "1.2.1.1", "MR", number_of_instances=None)],
        instances=[InstanceRecord("1.2.1", "1.2.1.1", f"1.2.1.1.{n}") for n in range(7)],
    )
    take(ledger, archive)
    with ledger.read() as connection:
        row = connection.execute(select(schema.study)).one()
        assert (row.number_of_series, row.number_of_instances, row.modalities) == (1, 7, "MR")
        assert connection.scalar(select(func.count()).select_from(schema.series)) == 1


def test_overlong_text_from_the_source_is_cut_to_what_the_ledger_holds(ledger: Ledger) -> None:
    take(ledger, CappedArchive([study(1, patient_id="x" * 100_000, study_description="\0y" * 9)]))
    with ledger.read() as connection:
        row = connection.execute(select(schema.study)).one()
    assert len(row.patient_id) == 255
    assert "\0" not in row.study_description


def test_text_that_no_database_stores_is_stored_without_it(ledger: Ledger) -> None:
    take(ledger, CappedArchive([study(1, study_description="a\ud800\0b")]))
    with ledger.read() as connection:
        assert connection.scalar(select(schema.study.c.study_description)) == "a?b"


def test_two_studies_without_any_identifier_are_two(ledger: Ledger) -> None:
    nameless = [
        StudyRecord("", study_date="20200101", patient_id="P1"),
        StudyRecord("", study_date="20200101", patient_id="P2"),
    ]
    counts = take(ledger, CappedArchive(nameless))
    assert counts.invalid == 2
    assert {state_of(ledger, uid) for uid in studies_in(ledger)} == {"quarantined"}
    assert len(studies_in(ledger)) == 2
    again = take(ledger, CappedArchive(nameless), inventory="I0000000002")
    assert (again.invalid, len(studies_in(ledger))) == (2, 2)


def test_a_capped_pass_without_a_date_goes_on_by_patient(ledger: Ledger) -> None:
    dated = [study(n, "20200101", patient_id=f"A{n}") for n in range(50)]
    undated = [study(100 + n, "", patient_id=f"Z-{n}") for n in range(8)]
    archive = CappedArchive([*dated, *undated], cap=5)
    take(ledger, archive, POLICY.model_copy(update={"result_cap": 5}))
    assert {record.study_instance_uid for record in undated} <= studies_in(ledger)
    with ledger.read() as connection:
        subjects = connection.scalars(select(schema.exception.c.subject)).all()
    assert "studies without a usable date and without a usual Patient ID" in subjects


def test_a_source_that_ignores_the_patient_is_not_asked_for_ever(ledger: Ledger) -> None:
    class Deaf(CappedArchive):
        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            return super().find_studies(replace(query, patient_id_prefix=None))

    archive = Deaf([study(n, "") for n in range(9)], cap=5)
    counts = take(ledger, archive, POLICY.model_copy(update={"result_cap": 5}))
    assert counts.queries == counts.windows + 1
    with ledger.read() as connection:
        subjects = connection.scalars(select(schema.exception.c.subject)).all()
    assert subjects == ["studies without a usable date"]


class ToldCap(CappedArchive):
    """Says at how many studies it stops, as the Airflow connection of a PACS may."""

    result_cap = 7


def test_the_cap_that_the_connection_names_is_heeded(ledger: Ledger) -> None:
    days = [date(2016, 1, 1) + timedelta(days=n) for n in range(40)]
    archive = ToldCap([study(n, f"{day:%Y%m%d}") for n, day in enumerate(days)], cap=7)
    take(ledger, archive, POLICY.model_copy(update={"window_days": 4000}))
    assert len(studies_in(ledger)) == 40


def test_the_pass_without_a_date_holds_only_what_it_keeps(ledger: Ledger) -> None:
    alive: WeakSet[StudyRecord] = WeakSet()
    most = 0

    class Endless(CappedArchive):
        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            nonlocal most
            for number in range(5_000 if query == StudyQuery() else 0):
                record = Tracked(f"1.2.{number}", study_date="" if number == 0 else "20200101")
                alive.add(record)
                most = max(most, len(alive))
                yield record
                del record

    take(ledger, Endless())
    assert studies_in(ledger) == {"1.2.0"}
    assert most < 10


@dataclass(frozen=True)
class Tracked(StudyRecord):
    """A record that can be watched."""
