"""The inventory of one window: find, complete, record, and say what looks wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import update

from dicom_migration.archive import ImageArchive, SeriesRecord, StudyRecord
from dicom_migration.discovery.finding import Answers, find_in_window
from dicom_migration.discovery.recording import (
    BATCH,
    REPORTED,
    known_rows,
    record_studies,
    study_row,
)
from dicom_migration.discovery.windows import DONE, Window, read_window
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    StudyState,
    move_where,
    note_exceptions,
    schema,
    utc_now,
)
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import DiscoveryPolicy

PHASE = "discovery"


@dataclass(slots=True)
class InventoryCounts:
    """What an inventory, or a part of one, came across (studies, unless said otherwise)."""

    windows: int = 0
    windows_skipped: int = 0
    queries: int = 0
    found: int = 0
    new: int = 0
    changed: int = 0
    empty: int = 0
    invalid: int = 0
    capped_windows: int = 0

    def summary(self) -> dict[str, int]:
        """Return the counts for XCom."""
        return asdict(self)


def take_inventory(
    ledger: Ledger, archive: ImageArchive, window_ids: Sequence[str], policy: DiscoveryPolicy
) -> InventoryCounts:
    """Take the inventory of these windows; those done before are passed over."""
    counts = InventoryCounts()
    for window_id in window_ids:
        window, state = read_window(ledger, window_id)
        if state == DONE:
            counts.windows_skipped += 1
            continue
        _take_window(ledger, archive, window, policy, counts)
    return counts


def _take_window(
    ledger: Ledger,
    archive: ImageArchive,
    window: Window,
    policy: DiscoveryPolicy,
    counts: InventoryCounts,
) -> None:
    answers = Answers()
    notes: list[ExceptionNote] = []
    seen: set[str] = set()
    for answer in find_in_window(archive, window, policy, answers):
        fresh: dict[str, StudyRecord] = {}
        unnamed: dict[str, StudyRecord] = {}
        for record in answer:
            uid = record.study_instance_uid
            if not is_valid_uid(uid):
                notes.append(_invalid(uid))
                unnamed[stand_in(uid)] = replace(record, study_instance_uid=stand_in(uid))
            elif uid not in seen:
                fresh[uid] = record
        seen.update(fresh, unnamed)
        record_studies(
            ledger, archive.name, [study_row(item, _unknown) for item in unnamed.values()], (), ()
        )
        records = list(fresh.values())
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            notes += _take_batch(ledger, archive, batch, policy, counts)
    notes += [_capped(capped) for capped in answers.capped]
    counts.windows += 1
    counts.queries += answers.queries
    counts.found += len(seen)
    counts.capped_windows += len(answers.capped)
    counts.invalid += sum(note.reason is ReasonCode.UID_INVALID for note in notes)
    _close_window(ledger, window, len(seen), answers, notes)


def _take_batch(
    ledger: Ledger,
    archive: ImageArchive,
    batch: Sequence[StudyRecord],
    policy: DiscoveryPolicy,
    counts: InventoryCounts,
) -> list[ExceptionNote]:
    known = known_rows(ledger, [record.study_instance_uid for record in batch])

    def estimate(record: StudyRecord) -> int | None:
        if record.number_of_instances is None:
            return None
        sizes = policy.bytes_per_instance
        each = [sizes.by_modality.get(name, sizes.default) for name in record.modalities]
        return record.number_of_instances * max(each, default=sizes.default)

    rows, untouched, series, notes = [], [], [], []
    for reported in batch:
        uid = reported.study_instance_uid
        before = known.get(uid)
        if before is not None and _says_the_same(before, study_row(reported, estimate)):
            untouched.append(uid)
            record = reported
        else:
            record, found = _completed(archive, reported, policy)
            series += found
            rows.append(study_row(record, estimate))
            counts.new += before is None
            counts.changed += before is not None and not _says_the_same(before, rows[-1])
        if record.number_of_instances == 0:
            notes.append(_empty(uid))
    record_studies(ledger, archive.name, rows, untouched, series)
    counts.empty += len(notes)
    return notes


def _says_the_same(before: dict[str, object], now: dict[str, object]) -> bool:
    """Compare, passing over what the source did not tell and we asked for earlier."""
    return all(now[name] is None or before[name] == now[name] for name in REPORTED)


def _completed(
    archive: ImageArchive, record: StudyRecord, policy: DiscoveryPolicy
) -> tuple[StudyRecord, list[SeriesRecord]]:
    """Return the record with counts and modalities filled in, and the study's series."""
    uid = record.study_instance_uid
    ask = policy.count_instances == "when_missing" and record.number_of_instances is None
    if not (policy.list_series or ask):
        return record, []
    series = [item for item in archive.find_series(uid) if is_valid_uid(item.series_instance_uid)]
    changes: dict[str, object] = {}
    if record.number_of_series is None:
        changes["number_of_series"] = len(series)
    if not record.modalities:
        changes["modalities"] = tuple(sorted({item.modality for item in series if item.modality}))
    if ask:
        told = [item.number_of_instances for item in series]
        changes["number_of_instances"] = (
            sum(count for count in told if count is not None)
            if told and None not in told
            else sum(1 for _ in archive.find_instances(uid))
        )
    return replace(record, **changes), series  # type: ignore[arg-type]


def _close_window(
    ledger: Ledger, window: Window, found: int, answers: Answers, notes: list[ExceptionNote]
) -> None:
    chain = EventChain(f"inventory/{window.window_id}")
    stuck = {n.study_instance_uid for n in notes if n.reason in _STUCK}
    table = schema.inventory_window.c
    with ledger.write() as connection:
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


def stand_in(uid: str) -> str:
    """Return the key under which a study whose identifier is no UID is kept and counted.

    The identifier itself may be hostile; it becomes neither a key nor a message.
    """
    return "invalid-" + hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _unknown(_record: StudyRecord) -> int | None:
    return None


def _invalid(uid: str) -> ExceptionNote:
    return ExceptionNote(
        ReasonCode.UID_INVALID,
        PHASE,
        study_instance_uid=stand_in(uid),
        detail=f"The source reports a study whose identifier ({len(uid)} characters) is no UID.",
        suggested_fix="Find the study in the source's database and give it a valid UID there.",
    )


def _empty(uid: str) -> ExceptionNote:
    return ExceptionNote(
        ReasonCode.STUDY_EMPTY,
        PHASE,
        study_instance_uid=uid,
        detail="The source's database lists the study with no instances.",
        suggested_fix="Confirm that its images are lost or were never made; then exclude it.",
    )


def _capped(what: str) -> ExceptionNote:
    return ExceptionNote(
        ReasonCode.WINDOW_CAPPED,
        PHASE,
        subject=what,
        detail=f"The answer for {what} looks cut off and cannot be asked in smaller parts.",
        suggested_fix="Raise the result limit at the source, or compare its own count of studies.",
    )
