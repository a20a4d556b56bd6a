"""What the source does not tell of a study by itself: its series, and how many instances it has.

A study that cannot be listed must not keep its window open for ever; a source that is down must
not fill the ledger with studies to blame. So one study is left without counts, several in a row
are the source's failure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_migration.archive import ImageArchive, SeriesRecord, StudyRecord
from dicom_migration.discovery.exception_notes import without_counts
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MAY_CONCERN_EVERYBODY,
    MigrationError,
    TransientError,
)
from dicom_migration.ledger import ExceptionNote
from dicom_migration.policies.discovery import DiscoveryPolicy
from dicom_migration.uids import is_valid_uid

GIVE_UP_AFTER = 5
"""Studies in a row that could not be listed: the source fails, not the studies."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A study with what the source told when asked; `note` says why it told nothing."""

    record: StudyRecord
    series: tuple[SeriesRecord, ...] = ()
    note: ExceptionNote | None = None


class StudyCompletion:
    """Completes the studies of a task, and remembers how many in a row failed.

    Parameters
    ----------
    archive
        The source, asked for series and instances.
    policy
        What to ask for.
    """

    def __init__(self, archive: ImageArchive, policy: DiscoveryPolicy) -> None:
        self._archive = archive
        self._policy = policy
        self._failed_in_a_row = 0

    def owed(self, record: StudyRecord) -> bool:
        """Tell whether the number of instances must be asked for."""
        ask = self._policy.count_instances == "when_missing"
        return ask and record.number_of_instances is None

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
        if not (self._policy.list_series or self.owed(record)):
            return Completed(record)
        try:
            completed = self._asked_twice(record)
        except MigrationError as error:
            self._failed_in_a_row += 1
            if self._is_everybodys(error):
                raise
            return Completed(record, note=without_counts(record.study_instance_uid, error))
        self._failed_in_a_row = 0
        return completed

    def _is_everybodys(self, error: MigrationError) -> bool:
        if isinstance(error, TransientError):
            self._archive.check()  # raises when the source is down
            return self._failed_in_a_row >= GIVE_UP_AFTER
        many = self._failed_in_a_row >= GIVE_UP_AFTER and error.reason in MAY_CONCERN_EVERYBODY
        return many or error.reason in CONCERNS_EVERYBODY

    def _asked_twice(self, record: StudyRecord) -> Completed:
        try:
            return self._ask(record)
        except TransientError:
            return self._ask(record)

    def _ask(self, record: StudyRecord) -> Completed:
        uid = record.study_instance_uid
        told = self._archive.find_series(uid)
        series = tuple(item for item in told if is_valid_uid(item.series_instance_uid))
        changes: dict[str, object] = {}
        if record.number_of_series is None:
            changes["number_of_series"] = len(series)
        if not record.modalities:
            found = {item.modality for item in series if item.modality}
            changes["modalities"] = tuple(sorted(found))
        if self.owed(record):
            counts = [item.number_of_instances for item in series]
            known = [count for count in counts if count is not None]
            changes["number_of_instances"] = (
                sum(known)
                if counts and len(known) == len(counts)
                else sum(1 for _ in self._archive.find_instances(uid))
            )
        return Completed(replace(record, **changes), series)  # type: ignore[arg-type]
