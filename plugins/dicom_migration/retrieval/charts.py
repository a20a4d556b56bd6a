"""The geometry of the report's charts; the template draws them as inline SVG.

Sides are told apart by dashes and labels as well as by colour: a report is printed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_migration.retrieval.results import seconds_text
from dicom_migration.retrieval.samples import Sample

#: The plot of a chart, in SVG user units.
WIDTH, HEIGHT = 640, 220
_DECADES = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis, and what stands beside it."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line: its points as SVG takes them, its name, and how it is drawn (a CSS class)."""

    points: str
    label: str
    style: str
    end: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over two axes."""

    title: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its interval; lengths in user units of a plot that is `WIDTH` wide."""

    label: str
    length: float
    low: float
    high: float
    text: str
    style: str


def percentile_curves(
    title: str, groups: Sequence[tuple[str, str, Sequence[Sample]]]
) -> LineChart | None:
    """Return which part of the retrievals was there by when, for (label, style, samples).

    Failed retrievals never are: their curve ends below 100%. None without a finite sample.
    """
    finite = [s.seconds for _, _, samples in groups for s in samples if math.isfinite(s.seconds)]
    if not finite:
        return None
    axis = _LogAxis(min(finite), max(finite))
    lines = tuple(
        _curve(label, style, samples, axis) for label, style, samples in groups if samples
    )
    up = tuple(Tick(HEIGHT * (1 - part / 100), f"{part}%") for part in (0, 25, 50, 75, 95, 100))
    return LineChart(title, lines, axis.ticks, up)


def trend_lines(
    title: str, dates: Sequence[str], series: Sequence[tuple[str, str, Sequence[float]]]
) -> LineChart | None:
    """Return waiting times by run, for (label, style, seconds a run); NaN leaves a run out."""
    finite = [value for _, _, values in series for value in values if math.isfinite(value)]
    if len(dates) < 2 or not finite:
        return None
    axis = _LogAxis(min(finite), max(finite))
    step = WIDTH / (len(dates) - 1)
    lines = []
    for label, style, values in series:
        at = [
            (number * step, HEIGHT - axis.place(value) / WIDTH * HEIGHT)
            for number, value in enumerate(values)
            if math.isfinite(value)
        ]
        if at:
            lines.append(Line(_points(at), label, style, at[-1]))
    every = max(1, -(-len(dates) // 6))
    across = tuple(Tick(n * step, date) for n, date in enumerate(dates) if n % every == 0)
    up = tuple(Tick(HEIGHT - tick.at / WIDTH * HEIGHT, tick.label) for tick in axis.ticks)
    return LineChart(title, tuple(lines), across, up)


def stacked(parts: Sequence[float], top: float, width: float) -> list[tuple[float, float]]:
    """Return (start, length) of the parts of a bar whose scale ends at `top`."""
    placed, start = [], 0.0
    for part in parts:
        length = part / top * width if top else 0.0
        placed.append((start, length))
        start += length
    return placed


class _LogAxis:
    """Seconds on a logarithmic axis of length `WIDTH`, ends at 1, 2 or 5 of a decade."""

    def __init__(self, low: float, high: float) -> None:
        low, high = max(low, 1e-4), max(high, 2e-4)
        self._low = max(v for v in _round_values() if v <= low)
        self._high = min(v for v in _round_values() if v >= high and v > self._low)

    def place(self, seconds: float) -> float:
        part = math.log(max(seconds, self._low) / self._low) / math.log(self._high / self._low)
        return WIDTH * min(part, 1.0)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        values = [v for v in _round_values() if self._low <= v <= self._high]
        kept = values[:: max(1, -(-len(values) // 8))]
        return tuple(Tick(self.place(value), seconds_text(value)) for value in kept)


def _round_values() -> list[float]:
    return [step * 10.0**power for power in range(-4, 7) for step in _DECADES]


def _curve(label: str, style: str, samples: Sequence[Sample], axis: _LogAxis) -> Line:
    ordered = sorted(s.seconds for s in samples if math.isfinite(s.seconds))
    at = [(0.0, float(HEIGHT))]
    for number, seconds in enumerate(ordered, 1):
        x = axis.place(seconds)
        at += [(x, at[-1][1]), (x, HEIGHT * (1 - number / len(samples)))]
    return Line(_points(at), f"{label} (n={len(samples)})", style, at[-1])


def _points(at: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
