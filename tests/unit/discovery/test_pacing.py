"""The source is asked no faster than the policy allows."""

from __future__ import annotations

import pytest

from dicom_migration.archive import InstanceRecord, SeriesRecord, StudyQuery
from dicom_migration.discovery.pacing import Pace, PacedSearch, paced
from tests.capped_archive import CappedArchive


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


def pace(per_second: float, clock: Clock) -> Pace:
    return Pace(per_second, lambda: clock.now, clock.wait)


def archive() -> CappedArchive:
    return CappedArchive(
        series=[SeriesRecord("1.2", f"1.2.{n}") for n in range(3)],
        instances=[InstanceRecord("1.2", f"1.2.{n}", f"1.2.{n}.1") for n in range(3)],
    )


def test_requests_are_spaced_evenly_and_the_first_does_not_wait() -> None:
    clock = Clock()
    search = PacedSearch(archive(), pace(4, clock))
    for _ in range(9):
        list(search.find_studies(StudyQuery()))
    assert clock.now == pytest.approx(100 + 8 / 4)


def test_time_that_passed_unused_is_not_made_up_for() -> None:
    clock = Clock()
    search = PacedSearch(archive(), pace(1, clock))
    search.check()
    clock.now += 60
    began = clock.now
    for _ in range(3):
        search.check()
    assert clock.now - began == pytest.approx(2)


def test_every_level_of_a_listing_is_a_request() -> None:
    clock = Clock()
    search = PacedSearch(archive(), pace(1, clock))
    assert len(list(search.find_instances("1.2"))) == 3
    assert clock.now == pytest.approx(100 + 3)  # the series, and each one's instances


def test_without_a_limit_the_source_is_asked_as_it_is() -> None:
    source = archive()
    assert paced(source, None) is source
