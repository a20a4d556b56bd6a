"""The inventory of one window: find, complete, record, and say what looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from dicom_migration.archive import ImageArchive, SeriesRecord, StudyRecord
from dicom_migration.discovery.answers import Answers
from dicom_migration.discovery.completing import StudyCompletion
from dicom_migration.discovery.exception_notes import (
    PHASE,
    cut_off,
    stand_in,
    without_images,
    without_uid,
)
from dicom_migration.discovery.finding import find_in_window
from dicom_migration.discovery.recording import (
    BATCH,
    REPORTED,
    known_rows,
    record_studies,
    study_row,
)
from dicom_migration.discovery.source_changes import (
    SourceChange,
    record_changes,
    row_to_record,
    source_change,
)
from dicom_migration.discovery.windows import DONE, Window, read_window
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    StudyState,
    move_where,
    note_exceptions,
    resolve_exceptions,
    schema,
    utc_now,
)
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import DiscoveryPolicy


@dataclass(slots=True)
class InventoryCounts:
    """What an inventory, or a part of one, came across (studies, unless said otherwise).

    `grown` counts copied studies that the source reports with other counts than before;
    `uncounted` those whose series and instances it did not tell.
    """

    windows: int = 0
    windows_skipped: int = 0
    queries: int = 0
    found: int = 0
    new: int = 0
    changed: int = 0
    empty: int = 0
    invalid: int = 0
    capped_windows: int = 0
    grown: int = 0
    uncounted: int = 0

    def summary(self) -> dict[str, int]:
        """Return the counts for XCom."""
        return asdict(self)


def take_inventory(
    ledger: Ledger, archive: ImageArchive, window_ids: Sequence[str], policy: DiscoveryPolicy
) -> InventoryCounts:
    """Take the inventory of these windows; those done before are passed over."""
    counts = InventoryCounts()
    completion = StudyCompletion(archive, policy)
    for window_id in window_ids:
        window, state = read_window(ledger, window_id)
        if state == DONE:
            counts.windows_skipped += 1
            continue
        _WindowInventory(ledger, archive, window, policy, completion, counts).take()
    return counts


@dataclass(slots=True)
class _Batch:
    """What is written of up to `BATCH` studies."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    series: list[SeriesRecord] = field(default_factory=list)
    changes: list[SourceChange] = field(default_factory=list)


class _WindowInventory:
    """The inventory of one window, on its way."""

    def __init__(
        self,
        ledger: Ledger,
        archive: ImageArchive,
        window: Window,
        policy: DiscoveryPolicy,
        completion: StudyCompletion,
        counts: InventoryCounts,
    ) -> None:
        self._ledger = ledger
        self._archive = archive
        self._window = window
        self._policy = policy
        self._completion = completion
        self._counts = counts
        self._chain = EventChain(f"inventory/{window.window_id}")
        self._notes: list[ExceptionNote] = []
        self._counted: list[str] = []

    def take(self) -> None:
        """Find, complete and record the studies of the window, and close it."""
        answers = Answers()
        seen: set[str] = set()
        for answer in find_in_window(self._archive, self._window, self._policy, answers):
            fresh: dict[str, StudyRecord] = {}
            unnamed: dict[str, StudyRecord] = {}
            for record in answer:
                uid = record.study_instance_uid
                if not is_valid_uid(uid):
                    self._notes.append(without_uid(record))
                    unnamed[stand_in(record)] = replace(record, study_instance_uid=stand_in(record))
                elif uid not in seen:
                    fresh[uid] = record
            seen.update(fresh, unnamed)
            rows = [study_row(item, _unknown) for item in unnamed.values()]
            record_studies(self._ledger, self._archive.name, rows, (), ())
            records = list(fresh.values())
            for start in range(0, len(records), BATCH):
                self._take_batch(records[start : start + BATCH])
        self._notes += [cut_off(capped) for capped in answers.capped]
        self._count(answers, len(seen))
        _close_window(
            self._ledger, self._window, len(seen), answers, self._notes, self._counted, self._chain
        )

    def _count(self, answers: Answers, found: int) -> None:
        reasons = [note.reason for note in self._notes]
        self._counts.windows += 1
        self._counts.queries += answers.queries
        self._counts.found += found
        self._counts.capped_windows += len(answers.capped)
        self._counts.invalid += reasons.count(ReasonCode.UID_INVALID)
        self._counts.empty += reasons.count(ReasonCode.STUDY_EMPTY)

    def _take_batch(self, reported: Sequence[StudyRecord]) -> None:
        known = known_rows(self._ledger, [record.study_instance_uid for record in reported])
        batch = _Batch()
        for record in reported:
            self._take_study(record, known.get(record.study_instance_uid), batch)
        record_changes(self._ledger, batch.changes, self._chain)
        record_studies(self._ledger, self._archive.name, batch.rows, batch.untouched, batch.series)
        self._counts.grown += len(batch.changes)

    def _take_study(
        self, record: StudyRecord, before: dict[str, Any] | None, batch: _Batch
    ) -> None:
        uid = record.study_instance_uid
        owed = self._completion.owed(record)
        uncounted = before is not None and owed and before["number_of_instances"] is None
        if before is not None and not uncounted and self._same(before, record):
            batch.untouched.append(uid)
        else:
            completed = self._completion.complete(record)
            record = completed.record
            batch.series += completed.series
            if completed.note is not None:
                self._notes.append(completed.note)
                self._counts.uncounted += 1
            elif uncounted:
                self._counted.append(uid)
            self._add_row(record, before, batch)
        if record.number_of_instances == 0:
            self._notes.append(without_images(uid))

    def _add_row(self, record: StudyRecord, before: dict[str, Any] | None, batch: _Batch) -> None:
        row = study_row(record, self._estimate)
        self._counts.new += before is None
        if before is not None:
            self._counts.changed += not _says_the_same(before, row)
            change = source_change(before, row)
            if change is not None:
                batch.changes.append(change)
            row = row_to_record(before, row, change)
        batch.rows.append(row)

    def _same(self, before: dict[str, Any], record: StudyRecord) -> bool:
        return _says_the_same(before, study_row(record, self._estimate))

    def _estimate(self, record: StudyRecord) -> int | None:
        if record.number_of_instances is None:
            return None
        sizes = self._policy.bytes_per_instance
        each = [sizes.by_modality.get(name, sizes.default) for name in record.modalities]
        return record.number_of_instances * max(each, default=sizes.default)


def _says_the_same(before: dict[str, object], now: dict[str, object]) -> bool:
    """Compare, passing over what the source did not tell and we asked for earlier."""
    return all(now[name] is None or before[name] == now[name] for name in REPORTED)


def _close_window(
    ledger: Ledger,
    window: Window,
    found: int,
    answers: Answers,
    notes: list[ExceptionNote],
    counted: list[str],
    chain: EventChain,
) -> None:
    stuck = {n.study_instance_uid for n in notes if n.reason in _STUCK}
    table = schema.inventory_window.c
    with ledger.write() as connection:
        for uid in counted:
            resolve_exceptions(
                connection,
                chain,
                study_instance_uid=uid,
                phase=PHASE,
                resolved_by="discovery",
                resolution="The source listed the study.",
            )
        note_exceptions(connection, notes, chain)
        quarantined = sorted(stuck)
        for start in range(0, len(quarantined), BATCH):
            move_where(
                connection,
                schema.study.c.study_instance_uid.in_(quarantined[start : start + BATCH])
                & (schema.study.c.state == StudyState.DISCOVERED.value),
                StudyState.QUARANTINED,
                chain,
                payload={"window": str(window)},
            )
        connection.execute(
            update(schema.inventory_window)
            .where(table.window_id == window.window_id)
            .values(
                state=DONE,
                studies_found=found,
                note=f"{answers.queries} queries, {len(answers.capped)} still capped",
                updated_at=utc_now(),
            )
        )
        chain.append(
            connection,
            [("window.inventoried", "", {"window": str(window), "studies": found})],
        )


#: Studies that the source itself keeps from being planned: a person must decide at once.
_STUCK = (ReasonCode.STUDY_EMPTY, ReasonCode.UID_INVALID)


def _unknown(_record: StudyRecord) -> int | None:
    return None
