"""Carrying out what a person decided about exceptions: all of it in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import (
    EXCLUDED_BY_A_PERSON,
    StudyState,
    move_studies,
    schema,
    utc_now,
)
from dicom_migration.ledger.exceptions import ACCEPTED, OPEN, RESOLVED, keeps_back
from dicom_migration.operations.redriving import is_of_an_approved_plan, send_back, why_not_back
from dicom_migration.operations.resolutions import (
    Action,
    Outcome,
    Resolution,
    chain_of_wave,
    outcome_of_run,
    record_run,
    refuse_too_many,
    require_a_name,
)
from dicom_migration.operations.selecting import Selection, selected

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from dicom_migration.ledger import Ledger

_NOTE, _BATCH = schema.exception.c, 500
#: Judgements of cleansing that a person may set aside; all else is about data that is not whole.
_JUDGEMENTS = frozenset(
    {
        ReasonCode.FIELD_INCOMPLETE,
        ReasonCode.FIELD_INVALID,
        ReasonCode.IDENTITY_CONFLICT,
        ReasonCode.ORDER_CONFLICT,
        ReasonCode.INSTANCE_CONFLICT,
        ReasonCode.CORRECTION_FAILED,
    }
)
_LEAVABLE = (StudyState.DISCOVERED, StudyState.PLANNED, StudyState.QUARANTINED)
#: What sending back closes beside what was chosen; what discovery noted ends at the source.
_PHASES = ("cleansing", "transfer", "verification")


def resolve(ledger: Ledger, selection: Selection, resolution: Resolution, at_most: int) -> Outcome:
    """Carry `resolution` out on the exceptions of `selection`; a second time it changes nothing.

    Raises
    ------
    PermanentError
        More than `at_most` are chosen, or a study has moved meanwhile; nothing was changed.
    """
    with ledger.write() as connection:
        done = outcome_of_run(connection, resolution.run_id)
        if done is not None:
            return done
        rows = selected(connection, selection, at_most + 1)
        refuse_too_many(rows, at_most)
        outcome = Outcome(chosen=len(rows))
        by_wave = sorted(rows, key=lambda row: (row.wave_id or "", row.study_instance_uid))
        for wave_id, members in groupby(by_wave, key=lambda row: row.wave_id or ""):
            _InWave(connection, wave_id, resolution, outcome).carry_out(list(members))
        record_run(connection, resolution.run_id, resolution.by, outcome)
    return outcome


def assign(
    ledger: Ledger, selection: Selection, to: str, by: str, run_id: str, at_most: int
) -> Outcome:
    """Give the exceptions of `selection` to a person; "" takes them back from whoever has them.

    Raises
    ------
    PermanentError
        Nobody is named in `by`, or more than `at_most` are chosen.
    """
    require_a_name(by)
    with ledger.write() as connection:
        done = outcome_of_run(connection, run_id)
        if done is not None:
            return done
        rows = selected(connection, selection, at_most + 1)
        refuse_too_many(rows, at_most)
        changing = [row for row in rows if row.assigned_to != to]
        _update(connection, changing, assigned_to=to)
        by_wave = sorted(changing, key=lambda row: (row.wave_id or "", row.exception_id))
        for wave_id, members in groupby(by_wave, key=lambda row: row.wave_id or ""):
            told: dict[str, object] = {"by": by, "to": to, "run": run_id}
            chain_of_wave(wave_id).append(connection, _events("assigned", members, told))
        outcome = Outcome(chosen=len(rows), assigned=len(changing))
        record_run(connection, run_id, by, outcome)
    return outcome


class _InWave:
    """Carries a resolution out on exceptions of one wave's studies, in that wave's chain."""

    def __init__(
        self, connection: Connection, wave_id: str, resolution: Resolution, outcome: Outcome
    ) -> None:
        self._connection = connection
        self._chain = chain_of_wave(wave_id)
        self._in_a_plan = is_of_an_approved_plan(connection, wave_id)
        self._told = resolution.told()
        self._resolution = resolution
        self._outcome = outcome

    def carry_out(self, rows: Sequence[Row[Any]]) -> None:
        """Do it; `rows` are in the order of their studies."""
        if self._resolution.action is Action.ACCEPT:
            self._accept(rows)
            return
        moving: list[str] = []
        closing: list[Row[Any]] = []
        is_out = self._resolution.action is Action.EXCLUDE
        for uid, members in groupby(rows, key=lambda row: row.study_instance_uid):
            mine = list(members)
            why_not = self._why_not(mine[0], is_out)
            if why_not:
                self._outcome.refuse(why_not, len(mine))
                continue
            moving.append(uid)
            closing.extend(mine)
        closing.extend(self._others(moving, closing, is_out))
        if is_out:
            self._exclude(moving)
        else:
            self._outcome.studies_sent_back += len(moving)
            send_back(self._connection, moving, self._chain, self._told)
        self._close(closing, RESOLVED)

    def _why_not(self, row: Row[Any], is_out: bool) -> str:
        if not row.study_instance_uid or row.study_state is None:
            return "concerns_no_study"
        if not is_out:
            return why_not_back(row, self._in_a_plan)
        gone_on = row.study_state not in (*_LEAVABLE, StudyState.EXCLUDED)
        return "study_has_gone_on" if gone_on else ""

    def _exclude(self, uids: Sequence[str]) -> None:
        self._outcome.studies_excluded += move_studies(
            self._connection,
            uids,
            StudyState.EXCLUDED,
            self._chain,
            payload=self._told,
            decision="exclude",
            decision_rule=EXCLUDED_BY_A_PERSON,
        )

    def _accept(self, rows: Sequence[Row[Any]]) -> None:
        accepting: list[Row[Any]] = []
        closing: list[Row[Any]] = []
        for row in rows:
            is_judgement = row.reason == ReasonCode.INSTANCE_DUPLICATED or (
                row.phase == "cleansing" and row.reason in _JUDGEMENTS
            )
            if row.status != OPEN:
                self._outcome.refuse("not_open")
            elif is_judgement and row.study_instance_uid:
                accepting.append(row)
            elif row.study_state == StudyState.QUARANTINED and keeps_back(
                row.reason, row.phase, row.subject
            ):
                self._outcome.refuse("data_not_whole")
            else:
                closing.append(row)
        self._close(accepting, ACCEPTED)
        self._close(closing, RESOLVED)
        held = {
            row.study_instance_uid
            for row in accepting
            if row.study_state == StudyState.QUARANTINED and self._in_a_plan
        }
        free = sorted(held - self._still_held(sorted(held)))
        self._outcome.studies_sent_back += len(free)
        send_back(self._connection, free, self._chain, self._told)

    def _still_held(self, uids: Sequence[str]) -> set[str]:
        """Return those of the studies that something else keeps back."""
        return {
            row.study_instance_uid
            for row in self._open(uids)
            if keeps_back(row.reason, row.phase, row.subject)
        }

    def _others(
        self, uids: Sequence[str], chosen: Iterable[Row[Any]], is_out: bool
    ) -> list[Row[Any]]:
        """Return what else is open about these studies and ends with the decision."""
        known = {row.exception_id for row in chosen}
        return [
            row
            for row in self._open(uids)
            if row.exception_id not in known and (is_out or row.phase in _PHASES)
        ]

    def _open(self, uids: Sequence[str]) -> Iterator[Row[Any]]:
        columns = ("exception_id", "reason", "phase", "subject", "study_instance_uid")
        for start in range(0, len(uids), _BATCH):
            yield from self._connection.execute(
                select(*(_NOTE[name] for name in columns)).where(
                    _NOTE.study_instance_uid.in_(uids[start : start + _BATCH]),
                    _NOTE.status == OPEN,
                )
            ).all()

    def _close(self, rows: Sequence[Row[Any]], status: str) -> None:
        if not rows:
            return
        how = self._resolution.action.value
        _update(
            self._connection,
            rows,
            status=status,
            resolved_by=self._resolution.by,
            resolved_at=utc_now(),
            resolution=f"{how}: {self._resolution.why or self._resolution.rule_id}".rstrip(": "),
        )
        self._chain.append(self._connection, _events(status, rows, self._told))
        if status == ACCEPTED:
            self._outcome.accepted += len(rows)
        else:
            self._outcome.resolved += len(rows)


def _update(connection: Connection, rows: Sequence[Row[Any]], **values: object) -> None:
    ids = [row.exception_id for row in rows]
    for start in range(0, len(ids), _BATCH):
        connection.execute(
            update(schema.exception)
            .where(_NOTE.exception_id.in_(ids[start : start + _BATCH]))
            .values(**values)
        )


def _events(
    what: str, rows: Iterable[Row[Any]], told: dict[str, object]
) -> list[tuple[str, str, dict[str, object]]]:
    return [
        (
            f"exception.{what}",
            row.study_instance_uid,
            {"exception": row.exception_id, "reason": row.reason, "phase": row.phase, **told},
        )
        for row in rows
    ]
