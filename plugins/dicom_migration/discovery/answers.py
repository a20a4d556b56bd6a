"""What the queries of a window brought, and how the dates in it are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date


@dataclass(slots=True)
class Answers:
    """What a window's queries brought.

    Attributes
    ----------
    capped
        Ranges that still look cut off and cannot be halved: somebody must look.
    queries
        How often the source was asked.
    """

    capped: list[str] = field(default_factory=list)
    queries: int = 0


def parse_date(text: str) -> date | None:
    """Return the date that ``YYYYMMDD`` says, None when it says none."""
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
