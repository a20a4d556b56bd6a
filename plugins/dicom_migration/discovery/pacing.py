"""Asking the source no faster than the policy allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from dicom_migration.archive import (
    ArchiveCheck,
    ImageArchive,
    InstanceRecord,
    SearchableArchive,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)


class Pace:
    """Spaces requests evenly.

    Parameters
    ----------
    per_second
        Requests a second; None never waits.
    clock, wait
        Seconds that only go forward, and how to let some pass.
    """

    def __init__(
        self,
        per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 0.0 if per_second is None else 1.0 / per_second
        self._clock = clock
        self._wait = wait
        self._next = 0.0

    def take(self) -> None:
        """Wait until the next request may be sent."""
        now = self._clock()
        if self._next > now:
            self._wait(self._next - now)
        self._next = max(now, self._next) + self._interval


class PacedSearch:
    """The searching half of an archive, at a pace; what it retrieves is not ours to bound.

    Parameters
    ----------
    archive
        The source.
    pace
        Asked before every request.
    """

    def __init__(self, archive: ImageArchive, pace: Pace) -> None:
        self.name = archive.name
        self.result_cap: int | None = getattr(archive, "result_cap", None)
        self._archive = archive
        self._pace = pace

    def check(self) -> ArchiveCheck:
        """Check the source."""
        self._pace.take()
        return self._archive.check()

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield the studies of a query."""
        self._pace.take()
        return self._archive.find_studies(query)

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of a study."""
        self._pace.take()
        return self._archive.find_series(study_instance_uid)

    def find_instances(self, study_instance_uid: str) -> Iterator[InstanceRecord]:
        """Yield the instances of a study, series by series: each is a request."""
        for series in list(self.find_series(study_instance_uid)):
            self._pace.take()
            yield from self._archive.find_instances(study_instance_uid, series.series_instance_uid)


def paced(archive: ImageArchive, per_second: float | None) -> SearchableArchive:
    """Return the archive to search with: itself when there is no limit."""
    return archive if per_second is None else PacedSearch(archive, Pace(per_second))
