"""When the transfer may load the source: ``include/policies/windows.yaml``."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class MigrationWindow(Policy):
    """A daily span of site time in which transfers run.

    `opens` is inclusive, `closes` exclusive; when `closes` is not after `opens` the window ends
    on the next day, and `days` are the days on which it opens. Equal times mean all 24 hours.
    """

    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS
    opens: time
    closes: time

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _quoted_time(cls, value: object) -> object:
        # YAML reads an unquoted 18:00 as the number 1080.
        if isinstance(value, time):
            return value
        if not isinstance(value, str) or re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value) is None:
            raise ValueError('a time of day is written in quotes, as "HH:MM" (example: "19:00")')
        return time.fromisoformat(value)

    def span_on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """Return the UTC start and end of the window that opens on `day`, or None."""
        if WEEKDAYS[day.weekday()] not in self.days:
            return None
        last = day if self.closes > self.opens else day + timedelta(days=1)
        start = datetime.combine(day, self.opens, tzinfo=zone).astimezone(UTC)
        return start, datetime.combine(last, self.closes, tzinfo=zone).astimezone(UTC)


class WindowPolicy(Policy):
    """All windows of the site; none means that the migration may run at any time."""

    timezone: str = "UTC"
    windows: tuple[MigrationWindow, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"{name!r} is not a time zone of the IANA database (example: Europe/Berlin)"
            ) from None
        return name

    def is_open(self, at: datetime) -> bool:
        """Tell whether transfers may run at the aware time `at`."""
        return not self.windows or any(start <= at < end for start, end in self._spans(at))

    def next_opening(self, at: datetime) -> datetime:
        """Return the earliest UTC time from `at` on at which transfers may run."""
        if self.is_open(at):
            return at.astimezone(UTC)
        return min(start for start, _ in self._spans(at) if start >= at)

    def _spans(self, at: datetime) -> list[tuple[datetime, datetime]]:
        zone = ZoneInfo(self.timezone)
        today = at.astimezone(zone).date()
        days = [today + timedelta(days=offset) for offset in range(-1, 9)]
        spans = [window.span_on(day, zone) for day in days for window in self.windows]
        return [span for span in spans if span is not None]


def load_window_policy(path: Path | None = None) -> WindowPolicy:
    """Read the window policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(WindowPolicy, path or include_dir() / "policies" / "windows.yaml")
