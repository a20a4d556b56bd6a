"""The inventory of one window: find, complete, record, and say what looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, update

from dicom_migration.archive import StudyRecord
from dicom_migration.discovery.answers import Answers
from dicom_migration.discovery.completing import StudyCompletion
from dicom_migration.discovery.counts import InventoryCounts
from dicom_migration.discovery.differences import (
    APPEARED,
    REAPPEARED,
    Event,
    changed_columns,
    difference,
    keep_untold,
)
from dicom_migration.discovery.exception_notes import (
    PHASE,
    beyond_queries,
    dates_ignored,
    stand_in,
    unproven,
    without_images,
    without_uid,
)
from dicom_migration.discovery.finding import WindowSearch
from dicom_migration.discovery.recording import (
    BATCH,
    ListedSeries,
    known_rows,
    record_studies,
    study_row,
)
from dicom_migration.discovery.sizes import UNKNOWN_SIZE, SizeModel
from dicom_migration.discovery.source_changes import (
    SourceChange,
    record_changes,
    row_to_record,
    source_change,
)
from dicom_migration.discovery.windows import DONE, Window
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
from dicom_migration.ledger.events import canonical_json
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger

#: Studies that the source itself keeps from being planned: a person must decide at once.
_STUCK = (ReasonCode.STUDY_EMPTY, ReasonCode.UID_INVALID)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the windows of a task share.

    `is_first`: no inventory of this source was ever closed, so that nothing can be said to have
    appeared.
    """

    ledger: Ledger
    source: str
    inventory_id: str
    search: WindowSearch
    completion: StudyCompletion
    sizes: SizeModel
    is_first: bool


@dataclass(slots=True)
class _Batch:
    """What is written of up to `BATCH` studies, in one transaction."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    series: list[ListedSeries] = field(default_factory=list)
    changes: list[SourceChange] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    notes: list[ExceptionNote] = field(default_factory=list)


class WindowInventory:
    """The inventory of one window, on its way.

    Parameters
    ----------
    window
        What to take the inventory of.
    tools
        Source, ledger, and what was learnt before.
    """

    def __init__(self, window: Window, tools: Tools) -> None:
        self._window = window
        self._tools = tools
        self._counts = InventoryCounts(windows=1)
        self._chain = EventChain(f"inventory/{window.window_id}")

    def take(self) -> InventoryCounts:
        """Find, complete and record the studies of the window, and close it."""
        answers = Answers()
        seen: set[str] = set()
        for found in self._tools.search.find(self._window, answers):
            fresh: dict[str, StudyRecord] = {}
            for record in found:
                uid = record.study_instance_uid
                key = uid if is_valid_uid(uid) else stand_in(record)
                if key not in seen:
                    fresh[key] = record
            seen.update(fresh)
            records = list(fresh.items())
            for start in range(0, len(records), BATCH):
                self._take_batch(records[start : start + BATCH])
        self._counts.queries, self._counts.found = answers.queries, len(seen)
        self._counts.capped_windows = len(answers.unproven)
        self._close(answers)
        return self._counts

    def _take_batch(self, reported: Sequence[tuple[str, StudyRecord]]) -> None:
        tools = self._tools
        known = known_rows(tools.ledger, [key for key, _ in reported])
        batch = _Batch()
        for key, record in reported:
            if key == record.study_instance_uid:
                self._take_study(record, known.get(key), batch)
            else:
                batch.notes.append(without_uid(record))
                self._counts.invalid += 1
                batch.rows.append(study_row(replace(record, study_instance_uid=key), UNKNOWN_SIZE))
        with tools.ledger.write() as connection:
            record_changes(connection, batch.changes, self._chain)
            record_studies(
                connection,
                tools.source,
                tools.inventory_id,
                batch.rows,
                batch.untouched,
                batch.series,
            )
            self._chain.append(connection, batch.events)
            self._settle(connection, batch)
        self._counts.outdated += len(batch.changes)

    def _take_study(
        self, record: StudyRecord, before: dict[str, Any] | None, batch: _Batch
    ) -> None:
        uid = record.study_instance_uid
        owed = self._tools.completion.owed(record, before)
        if before is not None and not owed and not self._differs(before, record):
            batch.untouched.append(uid)
            self._tell(before, before, batch)
        else:
            completed = self._tools.completion.complete(record)
            record = completed.record
            batch.series += completed.series
            batch.notes += completed.notes
            self._counts.uncounted += completed.failed
            if before is not None and owed and not completed.failed:
                batch.settled.append(uid)
            self._add_row(completed.record, completed.series, before, batch)
        if record.number_of_instances == 0:
            batch.notes.append(without_images(uid))
            self._counts.empty += 1

    def _differs(self, before: dict[str, Any], record: StudyRecord) -> bool:
        return bool(changed_columns(before, study_row(record, UNKNOWN_SIZE)))

    def _add_row(
        self,
        record: StudyRecord,
        series: Sequence[ListedSeries],
        before: dict[str, Any] | None,
        batch: _Batch,
    ) -> None:
        size = self._tools.sizes.of(record, [each.record for each in series])
        row = study_row(record, size)
        self._counts.new += before is None
        if before is not None:
            row = keep_untold(before, row)
            self._counts.changed += bool(changed_columns(before, row))
            change = source_change(before, row)
            if change is not None:
                batch.changes.append(change)
            self._tell(before, row, batch)
            row = row_to_record(before, row, change)
        elif not self._tools.is_first:
            self._tell(None, row, batch)
        batch.rows.append(row)

    def _tell(self, before: dict[str, Any] | None, row: dict[str, Any], batch: _Batch) -> None:
        """Note what became of a study; once an inventory, however often it is seen."""
        event = difference(before, row)
        if event is None:
            return
        counts = None if before is None else before["number_of_instances"]
        now = row["number_of_instances"]
        if counts is not None and now is not None:
            self._counts.grown += now > counts
            self._counts.shrunk += now < counts
        if event[0] == REAPPEARED:
            batch.settled.append(event[1])
        if event[0] == APPEARED or not self._is_first_sighting(before):
            batch.events.append(event)

    def _is_first_sighting(self, before: dict[str, Any] | None) -> bool:
        """Tell whether this inventory itself recorded the study, before it was interrupted."""
        first = before is not None and before["last_inventory_id"] == self._tools.inventory_id
        return first and self._tools.is_first

    def _settle(self, connection: Connection, batch: _Batch) -> None:
        """Close what is settled, note what is not, and put before a person who is stuck."""
        for uid in batch.settled:
            resolve_exceptions(
                connection,
                self._chain,
                study_instance_uid=uid,
                phase=PHASE,
                resolved_by="discovery",
                resolution="The source listed the study.",
            )
        note_exceptions(connection, batch.notes, self._chain)
        stuck = sorted({n.study_instance_uid for n in batch.notes if n.reason in _STUCK})
        if stuck:
            move_where(
                connection,
                schema.study.c.study_instance_uid.in_(stuck)
                & (schema.study.c.state == StudyState.DISCOVERED.value),
                StudyState.QUARANTINED,
                self._chain,
                payload={"window": str(self._window)},
            )

    def _close(self, answers: Answers) -> None:
        notes = [unproven(what, why) for what, why in answers.unproven.items()]
        notes += [beyond_queries(attribute) for attribute in sorted(answers.caveats)]
        if answers.dates_ignored:
            notes.append(dates_ignored())
        counts = self._counts.summary()
        with self._tools.ledger.write() as connection:
            note_exceptions(connection, notes, self._chain)
            connection.execute(
                update(schema.inventory_window)
                .where(schema.inventory_window.c.window_id == self._window.window_id)
                .values(
                    state=DONE,
                    studies_found=self._counts.found,
                    queries=self._counts.queries,
                    counts=canonical_json(counts),
                    note="; ".join(f"{what} {why}" for what, why in answers.unproven.items()),
                    updated_at=utc_now(),
                )
            )
            self._chain.append(
                connection,
                [
                    (
                        "window.inventoried",
                        "",
                        {"window": str(self._window), "studies": self._counts.found},
                    )
                ],
            )
