"""Cutting the archive's history into date windows that leave no gap.

One open-ended window before the first, one after the last, and a pass without a date for studies
that no range matches: together they cover everything a source can answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from dicom_migration.ledger import schema, utc_now

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import DiscoveryPolicy

DATED, UNDATED = "date", "undated"
PENDING, DONE = "pending", "done"


@dataclass(frozen=True, slots=True)
class Window:
    """A range of Study Dates, inclusive; None on a side: open-ended.

    `kind` is ``date``, or ``undated`` for the pass that asks without a date and keeps what no
    range can match.
    """

    window_id: str
    kind: str
    first: date | None = None
    last: date | None = None

    def __str__(self) -> str:
        """Name the range for a person."""
        if self.kind == UNDATED:
            return "studies without a usable date"
        return f"{self.first or 'the beginning'} to {self.last or 'the future'}"


def cut_windows(inventory_id: str, policy: DiscoveryPolicy, today: date) -> list[Window]:
    """Return the windows of an inventory, newest first (what is new matters most)."""
    start = min(policy.earliest_study_date, today)
    days = (today - start).days + 1
    width = max(policy.window_days, -(-days // (policy.max_windows - 3)))
    ranges: list[tuple[date | None, date | None]] = [(today + timedelta(days=1), None)]
    last = today
    while last >= start:
        first = max(start, last - timedelta(days=width - 1))
        ranges.append((first, last))
        last = first - timedelta(days=1)
    ranges.append((None, start - timedelta(days=1)))
    windows = [
        Window(f"{inventory_id}-{number:05d}", DATED, first, last)
        for number, (first, last) in enumerate(ranges)
    ]
    if policy.undated_pass:
        windows.append(Window(f"{inventory_id}-{len(windows):05d}", UNDATED))
    return windows


def inventory_id_of(run_id: str) -> str:
    """Return the inventory that a DAG run makes: the same run goes on where it stopped."""
    return "I" + hashlib.sha256(run_id.encode()).hexdigest()[:10]


def open_inventory(
    ledger: Ledger, inventory_id: str, policy: DiscoveryPolicy, today: date
) -> list[list[str]]:
    """Record the windows of an inventory, once, and deal them out to tasks.

    Returns
    -------
    list of list of str
        Window ids, one list a task; never empty. Windows are dealt in turn, so that busy years
        do not end up in one task.
    """
    table = schema.inventory_window.c
    with ledger.write() as connection:
        ids: Sequence[str] = connection.scalars(
            select(table.window_id)
            .where(table.inventory_id == inventory_id)
            .order_by(table.window_id)
        ).all()
        if not ids:
            windows = cut_windows(inventory_id, policy, today)
            connection.execute(
                insert(schema.inventory).values(inventory_id=inventory_id, opened_at=utc_now())
            )
            connection.execute(
                insert(schema.inventory_window),
                [_row(inventory_id, window) for window in windows],
            )
            ids = [window.window_id for window in windows]
    tasks = min(policy.parallel_tasks, len(ids))
    return [list(ids[number::tasks]) for number in range(tasks)]


def read_window(ledger: Ledger, window_id: str) -> tuple[Window, str, str]:
    """Return a window, its inventory, and its state, ``pending`` or ``done``."""
    with ledger.read() as connection:
        row = connection.execute(
            select(schema.inventory_window).where(schema.inventory_window.c.window_id == window_id)
        ).one()
    window = Window(window_id, row.kind, _date(row.date_from), _date(row.date_to))
    return window, row.inventory_id, row.state


def _row(inventory_id: str, window: Window) -> dict[str, object]:
    return {
        "window_id": window.window_id,
        "inventory_id": inventory_id,
        "kind": window.kind,
        "date_from": dicom_date(window.first) or "",
        "date_to": dicom_date(window.last) or "",
        "state": PENDING,
        "updated_at": utc_now(),
    }


def dicom_date(day: date | None) -> str | None:
    """Return a date as DICOM writes it, ``YYYYMMDD`` (PS3.5 section 6.2, DA)."""
    return None if day is None else f"{day:%Y%m%d}".zfill(8)


def _date(text: str) -> date | None:
    return date(int(text[:4]), int(text[4:6]), int(text[6:])) if text else None
