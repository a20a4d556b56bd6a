"""How well the headers do: a wave's scores, beside those of the runs before it.

Read from the table quality_score, which holds counts and the names of groups only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

PHASE, BEFORE, AFTER = "cleansing", "before", "after"
#: So many runs are shown, the newest last.
RUNS = 16
#: What headers are grouped by, as the report calls it.
KINDS = {
    "suite": "Suite",
    "modality": "Modality",
    "institution": "Institution",
    "year": "Year of study",
}


@dataclass(slots=True)
class GroupScore:
    """Scores (0 to 1) of one group; `earlier` is its score before correction in the last run."""

    name: str
    headers: int
    before: float = 1.0
    after: float = 1.0
    earlier: float | None = None

    @property
    def change(self) -> float | None:
        """Percentage points that the group is better than in the run before, None when new."""
        return None if self.earlier is None else 100 * (self.before - self.earlier)


@dataclass(frozen=True, slots=True)
class RunScore:
    """One judged wave in one run."""

    wave_id: str
    run: str
    at: datetime
    headers: int
    before: float
    after: float


@dataclass(slots=True)
class Scores:
    """What the report shows: the wave's groups by kind, and the runs up to this one."""

    groups: dict[str, list[GroupScore]] = field(default_factory=dict)
    runs: list[RunScore] = field(default_factory=list)


def wave_scores(connection: Connection, wave_id: str) -> Scores:
    """Return the scores of the wave's last run; empty when it was never judged."""
    runs = _runs(connection)
    mine = [place for place, run in enumerate(runs) if run.wave_id == wave_id]
    if not mine:
        return Scores()
    last = mine[-1]
    now = _groups(connection, runs[last])
    then = _groups(connection, runs[last - 1]) if last else {}
    scores = Scores(runs=runs[: last + 1][-RUNS:])
    for (kind, name), group in now.items():
        if (kind, name) in then:
            group.earlier = then[kind, name].before
        scores.groups.setdefault(kind, []).append(group)
    for kind, groups in scores.groups.items():
        groups.sort(key=_by_name if kind in ("suite", "year") else _by_size)
    return scores


def _by_name(group: GroupScore) -> tuple[int, str]:
    return 0, group.name


def _by_size(group: GroupScore) -> tuple[int, str]:
    return -group.headers, group.name


def score(unexpected: int, evaluated: int) -> float:
    """Return the share of the judged values that are as expected; nothing judged is 1."""
    return 1.0 if not evaluated else 1 - unexpected / evaluated


def _runs(connection: Connection) -> list[RunScore]:
    """Return all runs, in the order in which they were first judged."""
    table = schema.quality_score.c
    rows = connection.execute(
        select(
            table.subject,
            table.run,
            table.moment,
            table.created_at,
            table.rows_judged,
            table.evaluated,
            table.unexpected,
        )
        .where(table.phase == PHASE, table.kind == "all")
        .order_by(table.created_at, table.subject, table.run)
    )
    found: dict[tuple[str, str], dict[str, RunScore]] = {}
    for row in rows:
        one = score(row.unexpected, row.evaluated)
        run = RunScore(row.subject, row.run, row.created_at, row.rows_judged, one, one)
        found.setdefault((row.subject, row.run), {})[row.moment] = run
    return [_together(moments) for moments in found.values()]


def _together(moments: dict[str, RunScore]) -> RunScore:
    first = moments.get(BEFORE) or moments[AFTER]
    last = moments.get(AFTER, first)
    return RunScore(first.wave_id, first.run, first.at, first.headers, first.before, last.after)


def _groups(connection: Connection, run: RunScore) -> dict[tuple[str, str], GroupScore]:
    table = schema.quality_score.c
    rows = connection.execute(
        select(
            table.kind,
            table.name,
            table.moment,
            table.rows_judged,
            table.evaluated,
            table.unexpected,
        ).where(
            table.phase == PHASE,
            table.subject == run.wave_id,
            table.run == run.run,
            table.kind.in_(KINDS),
            table.evaluated > 0,
        )
    )
    groups: dict[tuple[str, str], GroupScore] = {}
    for row in rows:
        group = groups.setdefault((row.kind, row.name), GroupScore(row.name, row.rows_judged))
        setattr(group, row.moment, score(row.unexpected, row.evaluated))
    return groups
