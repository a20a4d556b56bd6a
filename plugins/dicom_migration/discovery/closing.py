"""The end of an inventory: what vanished, which doubts are settled, and what it found in all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, func, select, update

from dicom_migration.archive import SearchableArchive, StudyQuery
from dicom_migration.discovery.counts import InventoryCounts
from dicom_migration.discovery.differences import VANISHED
from dicom_migration.discovery.exception_notes import (
    PHASE,
    found_by_uid_only,
    not_looked_for,
    vanished,
)
from dicom_migration.discovery.windows import DONE
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import (
    EventChain,
    StudyState,
    move_studies,
    note_exceptions,
    schema,
    utc_now,
)
from dicom_migration.ledger.events import canonical_json
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import DiscoveryPolicy

BATCH = 100
_STUDY, _NOTE, _INVENTORY = schema.study.c, schema.exception.c, schema.inventory.c


@dataclass(frozen=True, slots=True)
class ClosedInventory:
    """What an inventory found, all windows together; counts of studies.

    Attributes
    ----------
    vanished
        Known before, missed now, and not known to the source by their UID.
    found_by_uid
        Known before, missed by every window, and still there: the windows have a hole.
    not_asked
        Missed, and too many to be asked for.
    """

    counts: InventoryCounts
    vanished: int
    found_by_uid: int
    not_asked: int

    def summary(self) -> dict[str, int]:
        """Return the counts for XCom."""
        return {
            **self.counts.summary(),
            "vanished": self.vanished,
            "found_by_uid": self.found_by_uid,
            "not_asked": self.not_asked,
        }


def close_inventory(
    ledger: Ledger, archive: SearchableArchive, inventory_id: str, policy: DiscoveryPolicy
) -> dict[str, int]:
    """Look for what the inventory missed, and sum it up; a second call changes nothing.

    A study that was missed is asked for by its UID before it counts as vanished: the hole may be
    in a window. One that nobody has planned yet goes to quarantine.

    Raises
    ------
    PermanentError
        Some window of the inventory is not done.
    TransientError
        The source did not answer.
    """
    opened = _require_done(ledger, inventory_id)
    if opened.closed_at is not None:
        return dict(json.loads(opened.summary))
    chain = EventChain(f"inventory/{inventory_id}")
    gone = found = 0
    allowed = policy.vanished_checks
    with ledger.read() as connection:
        missed = _count(connection, _missed(archive.name, inventory_id))
    for uids in _batches(ledger, archive.name, inventory_id, min(missed, allowed)):
        here = _here(archive, uids)
        lost = sorted(set(uids) - here)
        with ledger.write() as connection:
            _touch(connection, sorted(here), inventory_id)
            _record_vanished(connection, lost, chain)
        gone, found = gone + len(lost), found + len(here)
    left = missed - gone - found
    closed = ClosedInventory(_sum_up(ledger, inventory_id), gone, found, left)
    with ledger.write() as connection:
        notes = [found_by_uid_only(found)] if found else []
        notes += [not_looked_for(left)] if left else []
        note_exceptions(connection, notes, chain)
        _settle_doubts(connection, opened, chain)
        _close(connection, inventory_id, closed.summary(), chain)
    return closed.summary()


def _require_done(ledger: Ledger, inventory_id: str) -> Row[Any]:
    window = schema.inventory_window.c
    with ledger.read() as connection:
        left = connection.scalar(
            select(func.count()).where(window.inventory_id == inventory_id, window.state != DONE)
        )
        row = connection.execute(
            select(schema.inventory).where(_INVENTORY.inventory_id == inventory_id)
        ).first()
    if row is None or left:
        raise PermanentError(
            f"Inventory {inventory_id} has {left} windows that are not done."
            if row is not None
            else f"There is no inventory {inventory_id}.",
            reason=ReasonCode.STATE_FORBIDDEN,
            next_step="Clear the task take_inventory of this run, so that it goes on.",
        )
    return row


def _missed(source: str, inventory_id: str) -> ColumnElement[bool]:
    return (
        (_STUDY.source == source)
        & (_STUDY.last_inventory_id != inventory_id)
        & _STUDY.vanished_at.is_(None)
    )


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(schema.study).where(condition)) or 0


def _batches(ledger: Ledger, source: str, inventory_id: str, limit: int) -> list[list[str]]:
    """Return the UIDs of missed studies in lists of at most `BATCH`, `limit` in all."""
    with ledger.read() as connection:
        uids = connection.scalars(
            select(_STUDY.study_instance_uid)
            .where(_missed(source, inventory_id))
            .order_by(_STUDY.study_instance_uid)
            .limit(limit)
        ).all()
    return [list(uids[start : start + BATCH]) for start in range(0, len(uids), BATCH)]


def _here(archive: SearchableArchive, uids: Sequence[str]) -> set[str]:
    """Return those of the studies that the source still has.

    A stand-in for an identifier that is no UID cannot be asked for.
    """
    valid = tuple(uid for uid in uids if is_valid_uid(uid))
    if not valid:
        return set()
    found = archive.find_studies(StudyQuery(study_instance_uids=valid))
    return {record.study_instance_uid for record in found} & set(valid)


def _touch(connection: Connection, uids: Sequence[str], inventory_id: str) -> None:
    if uids:
        connection.execute(
            update(schema.study)
            .where(_STUDY.study_instance_uid.in_(uids))
            .values(last_inventory_id=inventory_id, last_seen_at=utc_now())
        )


def _record_vanished(connection: Connection, uids: Sequence[str], chain: EventChain) -> None:
    if not uids:
        return
    connection.execute(
        update(schema.study)
        .where(_STUDY.study_instance_uid.in_(uids))
        .values(vanished_at=utc_now())
    )
    rows = connection.execute(
        select(_STUDY.study_instance_uid, _STUDY.state).where(_STUDY.study_instance_uid.in_(uids))
    ).all()
    states = {row.study_instance_uid: row.state for row in rows}
    chain.append(connection, [(VANISHED, uid, {"state": states[uid]}) for uid in uids])
    note_exceptions(connection, [vanished(uid) for uid in uids], chain)
    unplanned = [uid for uid in uids if states[uid] == StudyState.DISCOVERED.value]
    move_studies(
        connection,
        unplanned,
        StudyState.QUARANTINED,
        chain,
        payload={"why": ReasonCode.STUDY_VANISHED.value},
    )


def _settle_doubts(connection: Connection, opened: Row[Any], chain: EventChain) -> None:
    """Close what an earlier inventory could not prove and this one did not name again."""
    result = connection.execute(
        update(schema.exception)
        .where(
            _NOTE.phase == PHASE,
            _NOTE.reason == ReasonCode.WINDOW_CAPPED.value,
            _NOTE.status == "open",
            _NOTE.seen_at < opened.opened_at,
        )
        .values(
            status="resolved",
            resolved_by="discovery",
            resolved_at=utc_now(),
            resolution=f"Inventory {opened.inventory_id} had no such doubt.",
        )
    )
    if result.rowcount:
        told: dict[str, object] = {"reason": ReasonCode.WINDOW_CAPPED.value}
        chain.append(connection, [("exceptions.resolved", "", {**told, "count": result.rowcount})])


def _sum_up(ledger: Ledger, inventory_id: str) -> InventoryCounts:
    window = schema.inventory_window.c
    total = InventoryCounts()
    with ledger.read() as connection:
        for text in connection.scalars(
            select(window.counts).where(window.inventory_id == inventory_id)
        ):
            total.add(InventoryCounts(**json.loads(text)))
    return total


def _close(
    connection: Connection, inventory_id: str, summary: dict[str, int], chain: EventChain
) -> None:
    connection.execute(
        update(schema.inventory)
        .where(_INVENTORY.inventory_id == inventory_id)
        .values(closed_at=utc_now(), summary=canonical_json(summary))
    )
    chain.append(connection, [("inventory.closed", "", dict(summary))])
