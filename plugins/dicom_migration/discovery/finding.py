"""Finding all studies of a window, however few the source is willing to return at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from dicom_migration.archive import ImageArchive, StudyQuery, StudyRecord, result_cap_of
from dicom_migration.discovery.answers import Answers
from dicom_migration.discovery.undated import find_undated
from dicom_migration.discovery.windows import UNDATED, Window, dicom_date
from dicom_migration.policies.discovery import DiscoveryPolicy

#: An open-ended window that must be halved is cut here first; DICOM has nothing older or newer.
OLDEST, NEWEST = date(1900, 1, 1), date(2100, 12, 31)


def find_in_window(
    archive: ImageArchive, window: Window, policy: DiscoveryPolicy, answers: Answers
) -> Iterator[list[StudyRecord]]:
    """Yield the studies of a window in lists, one a query; duplicates are left in.

    An answer that looks cut off is yielded nowhere but asked again in halves, down to one day.
    """
    if window.kind == UNDATED:
        yield from find_undated(archive, policy, answers)
        return
    yield from _find_range(archive, window.first, window.last, policy, answers)


def _find_range(
    archive: ImageArchive,
    first: date | None,
    last: date | None,
    policy: DiscoveryPolicy,
    answers: Answers,
) -> Iterator[list[StudyRecord]]:
    answers.queries += 1
    query = StudyQuery(date_from=dicom_date(first), date_to=dicom_date(last))
    found = list(archive.find_studies(query))
    capped = policy.looks_capped(len(found), result_cap_of(archive))
    halves = _halves(first, last) if capped else []
    if capped and not halves:
        answers.capped.append(f"{first or 'the beginning'} to {last or 'the future'}")
    if not halves:
        yield found
    for half_first, half_last in halves:
        yield from _find_range(archive, half_first, half_last, policy, answers)


def _halves(first: date | None, last: date | None) -> list[tuple[date | None, date | None]]:
    """Return two ranges that together are this one, none when it cannot be cut."""
    if first is None:
        if last is None or last < OLDEST:
            return []
        return [(None, OLDEST - timedelta(days=1)), (OLDEST, last)]
    if last is None:
        return [] if first > NEWEST else [(first, NEWEST), (NEWEST + timedelta(days=1), None)]
    if first >= last:
        return []
    middle = first + (last - first) // 2
    return [(first, middle), (middle + timedelta(days=1), last)]
