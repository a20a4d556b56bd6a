"""What an inventory, or a part of one, came across."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(slots=True)
class InventoryCounts:
    """Counts of studies, unless said otherwise.

    Attributes
    ----------
    windows, windows_skipped, windows_left
        Windows inventoried, found done, and left because the policy's hours ended.
    new, changed
        What the ledger did not know, and what the source tells otherwise than before.
    grown, shrunk
        Among the changed: those with more, and with fewer, instances.
    outdated
        Copied studies that are not at the source what they were when they were copied.
    empty, invalid
        Without instances; with an identifier that is no UID.
    uncounted
        Whose series and instances the source did not tell.
    capped_windows
        Parts of which it is not certain that every study was found.
    """

    windows: int = 0
    windows_skipped: int = 0
    windows_left: int = 0
    queries: int = 0
    found: int = 0
    new: int = 0
    changed: int = 0
    grown: int = 0
    shrunk: int = 0
    outdated: int = 0
    empty: int = 0
    invalid: int = 0
    uncounted: int = 0
    capped_windows: int = 0

    def summary(self) -> dict[str, int]:
        """Return the counts for XCom."""
        return asdict(self)

    def add(self, other: InventoryCounts) -> None:
        """Take in the counts of another part."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
