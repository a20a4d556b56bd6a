"""Which exceptions an operator means: filters over the ledger, and lists of what they find."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.ledger.exceptions import OPEN
from dicom_migration.uids import is_valid_uid

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from dicom_migration.ledger import Ledger

NOBODY = "nobody"
"""Instead of an assignee: exceptions that are assigned to no one."""
COLUMNS = (
    "exception_id",
    "reason",
    "phase",
    "status",
    "assigned_to",
    "study_instance_uid",
    "study_state",
    "wave_id",
    "series_instance_uid",
    "sop_instance_uid",
    "created_at",
    "seen_at",
    "detail",
    "suggested_fix",
    "resolved_by",
)
"""Columns of a list: identifiers, codes and text that holds no PHI."""
_NOTE, _STUDY = schema.exception.c, schema.study.c
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters that must all hold; an empty one lets everything through.

    Attributes
    ----------
    status
        ``open``, ``accepted``, ``resolved``; "" for all.
    assigned_to
        A name, or :data:`NOBODY`.
    """

    exception_ids: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    wave_id: str = ""
    study_instance_uids: tuple[str, ...] = ()
    assigned_to: str = ""
    status: str = OPEN

    def __post_init__(self) -> None:
        """Refuse what no exception can have, without repeating it: it may be a patient's name."""
        known = {code.value for code in ReasonCode}
        wrong = (
            ("an unknown reason code", [r for r in self.reasons if r not in known]),
            ("no UID", [u for u in self.study_instance_uids if not is_valid_uid(u)]),
        )
        for what, found in wrong:
            if found:
                raise PermanentError(
                    f"The filter cannot be used: an entry is {what}.",
                    reason=ReasonCode.CONFIGURATION_INVALID,
                    next_step="Trigger the DAG again; docs/reason-codes.md lists the codes.",
                )

    @property
    def is_everything(self) -> bool:
        """Tell whether no filter but the status is given."""
        return not (
            self.exception_ids
            or self.reasons
            or self.phases
            or self.wave_id
            or self.study_instance_uids
            or self.assigned_to
        )

    def condition(self) -> ColumnElement[bool]:
        """Return the filters as SQL over exceptions that are outer-joined to their studies."""
        listed = (
            (_NOTE.exception_id, self.exception_ids),
            (_NOTE.reason, self.reasons),
            (_NOTE.phase, self.phases),
            (_NOTE.study_instance_uid, self.study_instance_uids),
            (_NOTE.status, (self.status,) if self.status else ()),
            (_STUDY.wave_id, (self.wave_id,) if self.wave_id else ()),
        )
        conditions: list[ColumnElement[bool]] = [
            column.in_(values) for column, values in listed if values
        ]
        if self.assigned_to:
            wanted = "" if self.assigned_to == NOBODY else self.assigned_to
            conditions.append(_NOTE.assigned_to == wanted)
        return and_(True, *conditions)


def count_selected(ledger: Ledger, selection: Selection) -> dict[str, int]:
    """Return how many exceptions are meant, by reason code."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(_NOTE.reason, func.count())
            .select_from(_noted_studies())
            .where(selection.condition())
            .group_by(_NOTE.reason)
            .order_by(_NOTE.reason)
        )
        return {str(reason): int(count) for reason, count in rows}


def selected(connection: Connection, selection: Selection, most: int) -> Sequence[Row[Any]]:
    """Return at most `most` exceptions in the order in which they were noted, and their studies."""
    return connection.execute(_listing(selection).limit(most)).all()


def export_list(ledger: Ledger, selection: Selection, path: Path) -> int:
    """Write the list as CSV (UTF-8) while it is read; returns how many exceptions it holds."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as text, ledger.read() as connection:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        rows = connection.execution_options(yield_per=_BATCH).execute(_listing(selection))
        for row in rows:
            lines.writerow(_cells(row))
            count += 1
    return count


def table_of(rows: Sequence[Row[Any]]) -> Iterator[str]:
    """Yield the lines of a list for a log."""
    for row in rows:
        yield (
            f"#{row.exception_id}  {row.status}  {row.reason}  {row.phase}  "
            f"{row.assigned_to or '(nobody)'}  {row.study_instance_uid or '(no study)'}  "
            f"{row.study_state or ''}".rstrip()
        )


def workload(ledger: Ledger) -> dict[str, int]:
    """Return how many open exceptions each person has; "" stands for nobody."""
    with ledger.read() as connection:
        rows = connection.execute(
            select(_NOTE.assigned_to, func.count())
            .where(_NOTE.status == OPEN)
            .group_by(_NOTE.assigned_to)
        )
        return dict(Counter({str(name): int(count) for name, count in rows}))


def _noted_studies() -> Any:
    return schema.exception.outerjoin(
        schema.study, _STUDY.study_instance_uid == _NOTE.study_instance_uid
    )


def _listing(selection: Selection) -> Any:
    of_study = {"study_state": _STUDY.state, "wave_id": _STUDY.wave_id}
    columns = [of_study[name].label(name) if name in of_study else _NOTE[name] for name in COLUMNS]
    return (
        select(*columns, _NOTE.subject, _STUDY.decision_rule.label("decision_rule"))
        .select_from(_noted_studies())
        .where(selection.condition())
        .order_by(_NOTE.exception_id)
    )


def _cells(row: Row[Any]) -> list[str]:
    """Return a row's cells; one that a spreadsheet would take for a formula is quoted."""
    cells = ["" if (value := getattr(row, name)) is None else str(value) for name in COLUMNS]
    return [f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells]
