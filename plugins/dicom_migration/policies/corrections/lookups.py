"""Lookup tables: what a value stands for, in the rule itself or in a CSV file beside the rules.

The table's content becomes part of the rule, so that a changed table is a changed rule: its hash
is another one, and needs another approval.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from dicom_migration.policies.corrections.attributes import Keyword
from dicom_migration.policies.loading import Policy, include_dir

MAX_ENTRIES = 1_000_000
_COLUMNS = ["from", "to"]


class Lookup(Policy):
    """A table, and the attribute whose value is looked up in it.

    Attributes
    ----------
    file
        CSV file (UTF-8) in ``include/cleansing`` with the columns ``from`` and ``to``.
    to
        The table, when it is not in a file.
    by
        Attribute that is looked up; the rule's own when not given.
    """

    file: str = ""
    to: dict[str, str] = Field(default_factory=dict)
    by: Keyword | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not given.get("file"):
            return given
        if given.get("to"):
            raise ValueError("give a file or a table, not both")
        return {**given, "to": read_table(str(given["file"]))}

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not self.to:
            raise ValueError("the lookup table is empty")
        return self

    def found(self, own: str, others: Mapping[str, str]) -> str | None:
        """Return what the value stands for, None when the table does not have it."""
        return self.to.get(own if self.by is None else others.get(self.by, ""))


def read_table(name: str) -> dict[str, str]:
    """Read a CSV table of ``include/cleansing``.

    Raises
    ------
    ValueError
        It is not there, malformed, too large, or has a key twice; the line is named, no value.
    """
    if Path(name).name != name:
        raise ValueError("a lookup file is named without a folder; it lies in include/cleansing")
    table: dict[str, str] = {}
    try:
        with (include_dir() / "cleansing" / name).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != _COLUMNS:
                raise ValueError(f"{name}, line 1: the columns must be from,to")
            for row in rows:
                _add(table, row, f"{name}, line {rows.line_num}")
    except FileNotFoundError:
        raise ValueError(f"there is no include/cleansing/{name}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text") from None
    except csv.Error as error:
        raise ValueError(f"{name} is not CSV: {error}") from None
    return table


def _add(table: dict[str, str], row: list[str], place: str) -> None:
    if not row:
        return
    if len(row) != len(_COLUMNS):
        raise ValueError(f"{place}: {len(row)} columns instead of 2")
    if row[0] in table:
        raise ValueError(f"{place}: this key stands in an earlier line too; which one is meant?")
    if len(table) == MAX_ENTRIES:
        raise ValueError(f"{place}: more than {MAX_ENTRIES} lines")
    table[row[0]] = row[1]
