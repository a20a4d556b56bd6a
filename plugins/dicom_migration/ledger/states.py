"""The life of a study, and the one place that lets it move from state to state."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, select, update

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.ledger.clock import utc_now
from dicom_migration.ledger.events import EventChain

BATCH = 500


class StudyState(StrEnum):
    """Where a study stands; see ``docs/architecture.md`` for the picture."""

    DISCOVERED = "discovered"
    PLANNED = "planned"
    EXCLUDED = "excluded"
    CLEANSED = "cleansed"
    QUARANTINED = "quarantined"
    TRANSFERRING = "transferring"
    TRANSFERRED = "transferred"
    VERIFIED = "verified"
    MISMATCHED = "mismatched"


_S = StudyState
#: For each state, the states it may be entered from.
ENTERED_FROM: dict[StudyState, frozenset[StudyState]] = {
    _S.DISCOVERED: frozenset({_S.PLANNED, _S.EXCLUDED}),
    _S.PLANNED: frozenset({_S.DISCOVERED, _S.EXCLUDED, _S.QUARANTINED}),
    _S.EXCLUDED: frozenset({_S.DISCOVERED, _S.PLANNED, _S.QUARANTINED}),
    _S.CLEANSED: frozenset({_S.PLANNED, _S.MISMATCHED, _S.QUARANTINED, _S.TRANSFERRING}),
    _S.QUARANTINED: frozenset(
        {_S.DISCOVERED, _S.PLANNED, _S.CLEANSED, _S.TRANSFERRING, _S.TRANSFERRED, _S.MISMATCHED}
    ),
    _S.TRANSFERRING: frozenset({_S.CLEANSED}),
    _S.TRANSFERRED: frozenset({_S.TRANSFERRING}),
    _S.VERIFIED: frozenset({_S.TRANSFERRED}),
    _S.MISMATCHED: frozenset({_S.TRANSFERRED, _S.VERIFIED}),
}
#: States in which nothing more is owed for a study.
FINAL: frozenset[StudyState] = frozenset({_S.EXCLUDED, _S.QUARANTINED, _S.VERIFIED})


def move_studies(
    connection: Connection,
    study_instance_uids: Sequence[str],
    to: StudyState,
    chain: EventChain,
    *,
    payload: dict[str, object] | None = None,
    **columns: object,
) -> int:
    """Move studies to state `to`, setting `columns` with it; one event a study.

    A study already in `to` is left as it is, columns included: doing a step twice changes
    nothing the second time.

    Returns
    -------
    int
        How many studies moved.

    Raises
    ------
    PermanentError
        With reason ``state_forbidden`` when a study may not enter `to` from where it is, or is
        unknown; nothing of this call is then written (the transaction is the caller's).
    """
    moved = 0
    unique = sorted(set(study_instance_uids))
    table = schema.study.c
    for start in range(0, len(unique), BATCH):
        batch = unique[start : start + BATCH]
        rows = connection.execute(
            select(table.study_instance_uid, table.state)
            .where(table.study_instance_uid.in_(batch))
            .with_for_update()
        ).all()
        states = {row.study_instance_uid: StudyState(row.state) for row in rows}
        moving = [uid for uid in batch if _must_move(uid, states.get(uid), to)]
        if not moving:
            continue
        connection.execute(
            update(schema.study)
            .where(table.study_instance_uid.in_(moving))
            .values(state=to.value, updated_at=utc_now(), **columns)
        )
        chain.append(
            connection,
            [
                (f"study.{to.value}", uid, {"from": states[uid].value, **(payload or {})})
                for uid in moving
            ],
        )
        moved += len(moving)
    return moved


def move_where(
    connection: Connection,
    condition: ColumnElement[bool],
    to: StudyState,
    chain: EventChain,
    *,
    payload: dict[str, object],
    **columns: object,
) -> int:
    """Move every study that fulfils `condition` and may enter `to`, in one statement.

    For decisions over the whole archive: one event for all, whose payload must say by what
    (for example the plan's hash) the set can be found again. Returns how many moved.
    """
    sources = [state.value for state in ENTERED_FROM[to]]
    result = connection.execute(
        update(schema.study)
        .where(condition, schema.study.c.state.in_(sources))
        .values(state=to.value, updated_at=utc_now(), **columns)
    )
    if result.rowcount:
        chain.append(
            connection, [(f"studies.{to.value}", "", {"studies": result.rowcount, **payload})]
        )
    return result.rowcount


def _must_move(uid: str, current: StudyState | None, to: StudyState) -> bool:
    if current is to:
        return False
    if current is None or current not in ENTERED_FROM[to]:
        raise PermanentError(
            f"Study {uid} cannot become {to.value}: it is "
            f"{current.value if current else 'unknown'}.",
            reason=ReasonCode.STATE_FORBIDDEN,
            next_step="Look at the study's events in the ledger; run the phase it is waiting for.",
            study_instance_uid=uid,
        )
    return True
