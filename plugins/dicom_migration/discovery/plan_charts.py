"""The geometry of the plan report's charts; the template draws them as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

from dicom_migration.discovery.archive_figures import UNDATED, Group
from dicom_migration.units import human_bytes

if TYPE_CHECKING:
    from dicom_migration.discovery.cost import Cost
    from dicom_migration.discovery.timeline import WaveDates

#: Units of the drawing (SVG user units) that a chart's plot takes.
WIDTH, HEIGHT = 900, 230
_STEPS = (1, 2, 2.5, 5, 10)
_NONE = Group("", 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Column:
    """A year: the heights of its parts from the bottom up."""

    x: float
    width: float
    parts: tuple[float, ...]
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Volume by year of the study: migrated, left out, and not in this plan."""

    columns: list[Column]
    ticks: list[Tick]
    has_others: bool


@dataclass(frozen=True, slots=True)
class Stack:
    """One way of storing: the parts of its total as (start, width) in the order of the legend."""

    title: str
    parts: list[tuple[float, float]]
    total: Decimal


@dataclass(frozen=True, slots=True)
class FanChart:
    """How much is copied by when: three lines as SVG points, and the area between."""

    optimistic: str
    expected: str
    pessimistic: str
    area: str
    ticks: list[Tick]


def column_chart(
    archive: Sequence[Group], migrated: Sequence[Group], left_out: Sequence[Group]
) -> ColumnChart:
    """Return the columns of all years from the first to the last; undated ones stand last."""
    whole, moved, out = (
        {group.name: group for group in groups} for groups in (archive, migrated, left_out)
    )
    years = _all_years(set(whole) | set(moved) | set(out))
    top, ticks = _scale(max((group.bytes for group in archive), default=0))
    step = WIDTH / max(len(years), 1)
    columns = []
    for number, name in enumerate(years):
        here, there = moved.get(name, _NONE).bytes, out.get(name, _NONE).bytes
        group = whole.get(name, _NONE)
        others = max(group.bytes - here - there, 0)
        columns.append(
            Column(
                x=step * (number + 0.12),
                width=min(step * 0.76, 46),
                parts=tuple(HEIGHT * part / top for part in (here, there, others)),
                label=_year_label(years, number),
                title=f"{name}: {group.studies:,} studies, {human_bytes(group.bytes)}",
            )
        )
    return ColumnChart(columns, ticks, any(column.parts[2] for column in columns))


def _year_label(years: Sequence[str], number: int) -> str:
    """Return the label below a column, "" where there is no room for it."""
    every = max(1, -(-len(years) // 16))
    dated = len(years) - (years[-1] == UNDATED)
    if years[number] == UNDATED:
        return UNDATED
    crowded = dated < len(years) and dated - number <= 2 and len(years) > 8
    return "" if number % every or crowded else years[number]


def cost_stacks(costs: Sequence[Cost], width: float) -> list[Stack]:
    """Return each way's upload, storage, transitions and retrievals, to one scale."""
    top = max((cost.total for cost in costs), default=Decimal(0)) or Decimal(1)
    stacks = []
    for cost in costs:
        storage = sum(cost.storage_by_year, Decimal(0))
        retrieval = cost.total - cost.upload - storage - cost.transition
        start, parts = 0.0, []
        for value in (storage, retrieval, cost.upload, cost.transition):
            length = float(value / top) * width
            parts.append((start, length))
            start += length
        stacks.append(Stack(cost.way.title, parts, cost.total))
    return stacks


def fan_chart(waves: Sequence[WaveDates], start: datetime) -> FanChart | None:
    """Return the copied volume over time; None when the worst case has no end to draw."""
    if not waves or waves[-1].pessimistic is None:
        return None
    span = max((waves[-1].pessimistic - start).total_seconds(), 1)
    total = sum(wave.bytes for wave in waves) or 1

    done = list(accumulate(wave.bytes for wave in waves))
    shown = [at for at in range(len(waves)) if at % max(1, len(waves) // 120) == 0]
    shown += [len(waves) - 1]

    def points(which: str) -> list[tuple[float, float]]:
        line = [(0.0, float(HEIGHT))]
        for at in shown:
            ends: datetime = getattr(waves[at], which)
            x = WIDTH * (ends - start).total_seconds() / span
            line.append((x, HEIGHT * (1 - done[at] / total)))
        return line

    best, expected, worst = (points(name) for name in ("optimistic", "expected", "pessimistic"))
    return FanChart(
        optimistic=_svg(best),
        expected=_svg(expected),
        pessimistic=_svg(worst),
        area=_svg([*best, (WIDTH, 0.0), *reversed(worst)]),
        ticks=_dates(start, span),
    )


def _dates(start: datetime, span: float) -> list[Tick]:
    days = [start + timedelta(seconds=span * part / 4) for part in range(5)]
    return [Tick(WIDTH * part / 4, f"{day.day} {day:%b %Y}") for part, day in enumerate(days)]


def spoken_date(day: date | datetime) -> str:
    """Return a date as it is written in a letter: ``4 March 2027``."""
    return f"{day.day} {day:%B %Y}"


def _svg(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _all_years(named: set[str]) -> list[str]:
    years = sorted(int(name) for name in named - {UNDATED})
    # One wrong date must not draw a column for each of two hundred years.
    if years and years[-1] - years[0] <= 60:
        years = list(range(years[0], years[-1] + 1))
    return [f"{year:04d}" for year in years] + ([UNDATED] if UNDATED in named else [])


def _scale(top: int) -> tuple[float, list[Tick]]:
    """Return a number of bytes at or above `top`, and round marks up to it."""
    if not top:
        return 1.0, []
    magnitude = 10.0 ** (len(str(top)) - 2)
    step = next(
        each * magnitude * ten
        for ten in (1, 10)
        for each in _STEPS
        if each * magnitude * ten * 5 >= top
    )
    marks = -int(-top // step)
    return step * marks, [
        Tick(HEIGHT * (1 - mark / marks), human_bytes(step * mark).replace(".0 ", " "))
        for mark in range(marks + 1)
    ]
