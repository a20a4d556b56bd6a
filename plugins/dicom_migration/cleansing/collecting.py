"""Collecting the headers of many studies: one study's trouble told from everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from dicom_migration.cleansing.headers import StudyHeaders, note_of, read_study
from dicom_migration.errors import (
    CONCERNS_EVERYBODY,
    MAY_CONCERN_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
    TransientError,
)
from dicom_migration.ledger import EventChain, StudyState, move_studies, note_exceptions, schema

if TYPE_CHECKING:
    from dicom_migration.archive import ImageArchive
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.cleansing import CleansingPolicy

#: Studies in a row that fare the same before it is taken for everybody's trouble.
GIVE_UP_AFTER = 5
_BATCH = 500
_FACT = schema.header_fact


@dataclass(slots=True)
class CollectCounts:
    """What collecting came across."""

    studies: int = 0
    headers: int = 0
    quarantined: int = 0

    def summary(self) -> dict[str, int]:
        """Return it for XCom."""
        return asdict(self)


def collect_headers(
    ledger: Ledger,
    archive: ImageArchive,
    wave_id: str,
    study_uids: Sequence[str],
    policy: CleansingPolicy,
    *,
    first_try: bool = True,
    last_try: bool = False,
) -> CollectCounts:
    """Read the headers of these studies into the ledger.

    A study with an instance that cannot be retrieved or read is quarantined with an exception,
    and the rest goes on. One that the source fails in passing is asked for twice, then left for
    the next try; on the `last_try` it is quarantined. The `first_try` reads all anew, later ones
    pass over what is read.

    Raises
    ------
    TransientError
        Studies are left for the next try, or the source is down; the others are recorded.
    PermanentError
        The source refuses us altogether, or refused several studies in a row for one reason;
        those are not quarantined.
    """
    unread = _unread(ledger, study_uids, first_try)
    collection = _Collection(ledger, archive, wave_id, policy)
    for uid in unread:
        if not collection.is_source_down:
            collection.collect(uid)
    collection.settle()
    waiting = len(unread) - collection.counts.studies
    if waiting and (collection.is_source_down or not last_try):
        raise _unfinished(wave_id, waiting, collection.left)
    collection.give_up()
    return collection.counts


@dataclass(slots=True)
class _Collection:
    ledger: Ledger
    archive: ImageArchive
    wave_id: str
    policy: CleansingPolicy
    counts: CollectCounts = field(default_factory=CollectCounts)
    left: dict[str, TransientError] = field(default_factory=dict)
    _refused: list[StudyHeaders] = field(default_factory=list)
    _failed_in_a_row: int = 0

    @property
    def is_source_down(self) -> bool:
        return self._failed_in_a_row >= GIVE_UP_AFTER

    def collect(self, uid: str) -> None:
        """Read one study; record it now, or when the next ones show that it is alone."""
        try:
            study = self._read_twice(uid)
        except TransientError as error:
            if error.reason in CONCERNS_EVERYBODY:
                raise
            self.left[uid] = error
            self._failed_in_a_row += 1
            return
        self._failed_in_a_row = 0
        reason = study.refused_for
        if reason not in MAY_CONCERN_EVERYBODY:
            self.settle()
            self._record(study)
            return
        if self._refused and self._refused[0].refused_for is not reason:
            self.settle()
        self._refused.append(study)
        if len(self._refused) >= GIVE_UP_AFTER:
            raise _refused(self.wave_id, reason, study)

    def settle(self) -> None:
        """Record the refusals that turned out to be the studies' own."""
        for study in self._refused:
            self._record(study)
        self._refused.clear()

    def give_up(self) -> None:
        """Quarantine the studies that are left, with what the source said last."""
        for uid, error in self.left.items():
            note = note_of(error.reason, uid, error.message, suggested_fix=error.next_step)
            self._record(StudyHeaders(uid, [], [note]))

    def _read_twice(self, uid: str) -> StudyHeaders:
        try:
            return read_study(self.archive, uid, self.policy)
        except TransientError:
            pass
        return read_study(self.archive, uid, self.policy)

    def _record(self, study: StudyHeaders) -> None:
        chain = EventChain(f"wave:{self.wave_id}/cleansing/{study.uid}")
        with self.ledger.write() as connection:
            connection.execute(delete(_FACT).where(_FACT.c.study_instance_uid == study.uid))
            if study.facts:
                unique = {row["sop_instance_uid"]: row for row in study.facts}
                connection.execute(insert(_FACT), list(unique.values()))
            if study.notes:
                note_exceptions(connection, study.notes, chain)
                reasons = sorted({note.reason.value for note in study.notes})
                move_studies(
                    connection,
                    [study.uid],
                    StudyState.QUARANTINED,
                    chain,
                    payload={"reasons": reasons},
                )
        self.counts.studies += 1
        self.counts.headers += len(study.facts)
        self.counts.quarantined += bool(study.notes)


def _unread(ledger: Ledger, uids: Sequence[str], first_try: bool) -> list[str]:
    """Return the studies without headers in the ledger; on the first try forget those it has."""
    column = _FACT.c.study_instance_uid
    read: set[str] = set()
    for start in range(0, len(uids), _BATCH):
        batch = uids[start : start + _BATCH]
        if first_try:
            with ledger.write() as connection:
                connection.execute(delete(_FACT).where(column.in_(batch)))
        else:
            with ledger.read() as connection:
                read |= set(connection.scalars(select(column).where(column.in_(batch))))
    return [uid for uid in uids if uid not in read]


def _unfinished(wave_id: str, waiting: int, left: dict[str, TransientError]) -> TransientError:
    uid, error = next(reversed(left.items()))
    return TransientError(
        f"{waiting} studies of wave {wave_id} are left for another try; the last one failed so: "
        f"{error.message}",
        reason=error.reason,
        next_step=error.next_step or "Clear the task when the source answers again.",
        study_instance_uid=uid,
    )


def _refused(wave_id: str, reason: ReasonCode | None, study: StudyHeaders) -> MigrationError:
    return PermanentError(
        f"The source refused {GIVE_UP_AFTER} studies of wave {wave_id} in a row; nobody is "
        f"quarantined. The last one: {study.notes[0].detail}",
        reason=reason,
        next_step=study.notes[0].suggested_fix,
        study_instance_uid=study.uid,
    )
