"""Write the header suites: ``python -m include.expectations.generate``.

A suite is what the standard's module tables require (``attributes.csv``: PS3.3, Type 1, 1C, 2 and
2C at the top level of a header) after what a migration needs (``migration_checks.py``), for the
SOP classes of ``iods.py``. The JSON files are committed; a test compares them with this output.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword

from include.expectations.iods import SELECTIONS
from include.expectations.migration_checks import CHECKS, COVERED, Check, check

FOLDER = Path(__file__).resolve().parent
TABLE = FOLDER / "attributes.csv"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row of the table: what a module of the standard requires of a suite's headers."""

    suite: str
    keyword: str
    type: str
    section: str
    severity: str = ""
    condition: str = ""

    def expectation(self) -> Check:
        """Return it as an expectation; a condition reads ``column>number``."""
        need = "filled" if self.type.startswith("1") else "present"
        kwargs: dict[str, Any] = {"keyword": self.keyword, "need": need}
        column, _, above = self.condition.partition(">")
        if column:
            kind = "attribute_to_be_known_above"
            kwargs |= {"column_A": "attributes", "column_B": column, "above": int(above)}
        else:
            kind = "attribute_to_be_known"
            kwargs |= {"column": "attributes"}
        fix = f"Type {self.type} in PS3.3 {self.section}: enter it at the source, or by a rule."
        return check(kind, self._severity(), self._title(need), "field_incomplete", fix, **kwargs)

    def _severity(self) -> str:
        if self.severity:
            return self.severity
        unconditional = self.condition or not self.type.endswith("C")
        return "warning" if unconditional and self.type.startswith("1") else "info"

    def _title(self, need: str) -> str:
        tag = tag_for_keyword(self.keyword)
        if tag is None:
            raise ValueError(f"{TABLE.name}: {self.keyword} is no keyword of the dictionary")
        name = f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
        if not self.condition and self.type.endswith("C"):
            need = f"{need}, where it applies"
        return f"{name} is {need.replace('present', 'present, be it empty')}"


def requirements() -> list[Requirement]:
    """Return the rows of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = csv.reader(line for line in lines if line and not line.startswith("#"))
    return [Requirement(*row) for row in rows]


def suites() -> dict[str, str]:
    """Return the text of every generated suite by its file's name."""
    table = requirements()
    unknown = {row.suite for row in table} - set(SELECTIONS)
    if unknown:
        raise ValueError(f"{TABLE.name}: no selection for {sorted(unknown)}")
    written = {}
    for short, selection in SELECTIONS.items():
        required = [
            row.expectation()
            for row in table
            if row.suite == short and row.keyword not in COVERED.get(short, ())
        ]
        suite: dict[str, Any] = {
            "name": f"header_{short}",
            "description": selection.description,
            "sop_classes": [str(uid) for uid in selection.sop_classes],
            "modalities": list(selection.modalities),
            "both": selection.both,
            "expectations": [*CHECKS.get(short, ()), *required],
        }
        kept = {key: value for key, value in suite.items() if value}
        written[f"header_{short}.json"] = json.dumps(kept, indent=2) + "\n"
    return written


def main() -> None:
    """Write the suites beside the table."""
    for name, text in suites().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
