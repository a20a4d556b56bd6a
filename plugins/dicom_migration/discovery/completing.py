"""What the source does not tell of a study by itself: its series, instances and SOP classes.

A study that cannot be listed must not keep its window open for ever; a source that is down must
not fill the ledger with studies to blame. So one study is left without counts, several in a row
are the source's failure. A source that refuses a level is not asked at it any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dicom_migration.archive import SearchableArchive, SeriesRecord, StudyRecord
from dicom_migration.discovery.exception_notes import level_refused, lists_fewer, without_counts
from dicom_migration.discovery.recording import ListedSeries
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MAY_CONCERN_EVERYBODY,
    MigrationError,
    ReasonCode,
    TransientError,
)
from dicom_migration.ledger import ExceptionNote
from dicom_migration.policies.discovery import DiscoveryPolicy
from dicom_migration.uids import is_valid_uid

GIVE_UP_AFTER = 5
"""Studies in a row that could not be listed: the source fails, not the studies."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A study with what the source told when asked; `notes` say what it did not tell."""

    record: StudyRecord
    series: tuple[ListedSeries, ...] = ()
    notes: tuple[ExceptionNote, ...] = ()
    failed: bool = False


@dataclass(slots=True)
class _Listing:
    """The instances of a study, counted by series."""

    counts: dict[str, int] = field(default_factory=dict)
    classes: dict[str, set[str]] = field(default_factory=dict)

    def of(self, series: SeriesRecord) -> ListedSeries:
        uid = series.series_instance_uid
        if series.number_of_instances is None:
            series = replace(series, number_of_instances=self.counts.get(uid, 0))
        return ListedSeries(series, tuple(sorted(self.classes.get(uid, ()))))


class StudyCompletion:
    """Completes the studies of a task, and remembers how many in a row failed.

    Parameters
    ----------
    archive
        The source, asked for series and instances.
    policy
        What to ask for.
    """

    def __init__(self, archive: SearchableArchive, policy: DiscoveryPolicy) -> None:
        self._archive = archive
        self._policy = policy
        self._failed_in_a_row = 0
        self._refused = False

    def owed(self, record: StudyRecord, before: Mapping[str, Any] | None) -> bool:
        """Tell whether the ledger lacks what the policy wants to know of a study."""
        if self._refused:
            return False
        if before is None:
            return True
        if self._uncounted(record) and before["number_of_instances"] is None:
            return True
        if record.number_of_instances == 0:
            return False
        unlisted = self._policy.list_series and not before["listed"]
        return unlisted or (self._policy.list_instances and not before["sop_classes"])

    def complete(self, record: StudyRecord) -> Completed:
        """Return the record with counts and modalities filled in, and the study's series.

        What fails for the moment is asked once more.

        Raises
        ------
        TransientError
            The source is down, or failed for several studies in a row.
        PermanentError
            The source refuses us, and not the study.
        """
        wanted = self._policy.list_series or self._policy.list_instances
        if self._refused or not (wanted or self._uncounted(record)):
            return Completed(record)
        try:
            completed = self._asked_twice(record)
        except MigrationError as error:
            self._failed_in_a_row += 1
            if self._is_everybodys(error):
                raise
            notes = [without_counts(record.study_instance_uid, error)]
            if self._refused:
                notes.append(level_refused(error))
            return Completed(record, notes=tuple(notes), failed=True)
        self._failed_in_a_row = 0
        return completed

    def _uncounted(self, record: StudyRecord) -> bool:
        ask = self._policy.count_instances == "when_missing"
        return ask and record.number_of_instances is None

    def _is_everybodys(self, error: MigrationError) -> bool:
        many = self._failed_in_a_row >= GIVE_UP_AFTER
        if isinstance(error, TransientError):
            self._archive.check()  # raises when the source is down
            return many
        if error.reason is ReasonCode.SOURCE_REFUSED_OPERATION:
            self._refused = many
            return False
        return (many and error.reason in MAY_CONCERN_EVERYBODY) or (
            error.reason in CONCERNS_EVERYBODY
        )

    def _asked_twice(self, record: StudyRecord) -> Completed:
        try:
            return self._ask(record)
        except TransientError:
            return self._ask(record)

    def _ask(self, record: StudyRecord) -> Completed:
        uid = record.study_instance_uid
        told = self._archive.find_series(uid)
        series = [item for item in told if is_valid_uid(item.series_instance_uid)]
        if not record.modalities:
            found = tuple(sorted({item.modality for item in series if item.modality}))
            record = replace(record, modalities=found)
        uncounted = self._uncounted(record) and (
            not series or any(item.number_of_instances is None for item in series)
        )
        listing = self._list(uid) if self._policy.list_instances or uncounted else None
        counts = _counts(series, listing)
        notes = _missing(record, series, listing)
        if record.number_of_series is None:
            record = replace(record, number_of_series=len(series))
        if self._uncounted(record):
            record = replace(record, number_of_instances=counts)
        if listing is not None and not record.sop_classes:
            shown = {name for names in listing.classes.values() for name in names}
            record = replace(record, sop_classes=tuple(sorted(shown)))
        listed = [ListedSeries(item) if listing is None else listing.of(item) for item in series]
        return Completed(record, tuple(listed), notes)

    def _list(self, uid: str) -> _Listing:
        listing = _Listing()
        for instance in self._archive.find_instances(uid):
            series = instance.series_instance_uid
            listing.counts[series] = listing.counts.get(series, 0) + 1
            if is_valid_uid(instance.sop_class_uid):
                listing.classes.setdefault(series, set()).add(instance.sop_class_uid)
        return listing


def _counts(series: Sequence[SeriesRecord], listing: _Listing | None) -> int | None:
    if listing is not None:
        return sum(listing.counts.values())
    counts = [item.number_of_instances for item in series]
    return sum(count for count in counts if count is not None) if None not in counts else None


def _missing(
    record: StudyRecord, series: Sequence[SeriesRecord], listing: _Listing | None
) -> tuple[ExceptionNote, ...]:
    """Return a note when the source lists less of a study than it counts."""
    uid = record.study_instance_uid
    if len(series) < (record.number_of_series or 0):
        return (lists_fewer(uid, "series", len(series), record.number_of_series or 0),)
    listed = _counts((), listing) if listing is not None else None
    if listed is not None and listed < (record.number_of_instances or 0):
        return (lists_fewer(uid, "instances", listed, record.number_of_instances or 0),)
    return ()
