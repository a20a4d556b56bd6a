"""When each wave is over: the plan's waves one after the other, in the hours that are allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import select

from dicom_migration.discovery.throughput import Speed, SpeedRange
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.windows import WindowPolicy

#: A forecast beyond this is not a date but a sign that the hours or the speed are wrong.
FARTHEST = timedelta(days=365 * 50)


@dataclass(frozen=True, slots=True)
class WaveDates:
    """A wave, when it begins as expected, and when it ends at best, as expected, and at worst.

    Times are the site's; None: not within fifty years.
    """

    wave_id: str
    studies: int
    instances: int
    bytes: int
    begins: datetime | None
    optimistic: datetime | None
    expected: datetime | None
    pessimistic: datetime | None


def timeline(
    connection: Connection,
    plan_id: str,
    speeds: SpeedRange,
    windows: WindowPolicy,
    hours_per_day: float,
    start: date,
) -> list[WaveDates]:
    """Return the dates of a plan's waves when transfers begin on `start`."""
    table = schema.wave.c
    rows = connection.execute(
        select(schema.wave).where(table.plan_id == plan_id).order_by(table.ordinal)
    ).all()
    sizes = [(int(row.bytes_estimated), int(row.instances)) for row in rows]
    best, expected, worst = (
        _ends(sizes, speed, open_spans(windows, hours_per_day, start))
        for speed in (speeds.optimistic, speeds.expected, speeds.pessimistic)
    )
    first = next(open_spans(windows, hours_per_day, start))[0]
    zone = ZoneInfo(windows.timezone)
    local = [
        [None if at is None else at.astimezone(zone) for at in dates]
        for dates in ([first, *expected][: len(rows)], best, expected, worst)
    ]
    return [
        WaveDates(
            row.wave_id, int(row.studies), int(row.instances), int(row.bytes_estimated), *dates
        )
        for row, *dates in zip(rows, *local, strict=True)
    ]


def open_spans(
    windows: WindowPolicy, hours_per_day: float, start: date
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the UTC spans in which transfers may run, from `start` on; they do not overlap.

    Without windows: `hours_per_day` from midnight UTC on.
    """
    zone = ZoneInfo(windows.timezone)
    last_end = datetime.combine(start, time(), tzinfo=zone).astimezone(UTC)
    day = start - timedelta(days=1)  # a window that opened the evening before
    while (day - start) < FARTHEST:
        if windows.windows:
            spans = sorted(filter(None, (each.span_on(day, zone) for each in windows.windows)))
        else:
            opens = datetime.combine(day, time(), tzinfo=UTC)
            spans = [(opens, opens + timedelta(hours=hours_per_day))]
        for opens, closes in spans:
            begins = max(opens, last_end)
            if begins < closes:
                yield begins, closes
                last_end = closes
        day += timedelta(days=1)


def _ends(
    sizes: Sequence[tuple[int, int]], speed: Speed, spans: Iterator[tuple[datetime, datetime]]
) -> list[datetime | None]:
    """Return when each piece of work is done; None once the spans are used up."""
    ends: list[datetime | None] = []
    span = next(spans, None)
    for size, instances in sizes:
        left = speed.seconds(size, instances)
        while span is not None:
            begins, closes = span
            available = (closes - begins).total_seconds()
            if left <= available:
                done = begins + timedelta(seconds=left)
                span = (done, closes)
                ends.append(done)
                break
            left -= available
            span = next(spans, None)
        else:
            ends.append(None)
    return ends
