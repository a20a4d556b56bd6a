"""What the queries of a window brought, and how the dates and times in it are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.\d{1,6})?)?)?")


@dataclass(slots=True)
class Answers:
    """What a window's queries brought.

    Attributes
    ----------
    unproven
        Parts of which it is not certain that every study was found, each with the reason:
        somebody must look.
    caveats
        Attributes by which cut-off answers were asked for in parts: what lacks one of them, and
        was in no answer, no query can bring.
    queries
        How often the source was asked for studies.
    dates_ignored
        The source answered a range of dates with studies of other dates, mostly.
    """

    unproven: dict[str, str] = field(default_factory=dict)
    caveats: set[str] = field(default_factory=set)
    queries: int = 0
    dates_ignored: bool = False


@lru_cache(maxsize=65536)
def parse_date(text: str) -> date | None:
    """Return the date that ``YYYYMMDD`` says, None when it says none."""
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def parse_time(text: str) -> int | None:
    """Return the second of the day that a TM value says, None when it says none.

    ``HH:MM:SS`` of ACR-NEMA is understood, too (PS3.5 section 6.2).
    """
    found = _TIME.fullmatch(text.replace(":", "")) if text.isascii() else None
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600 + minutes * 60 + min(seconds, 59)
