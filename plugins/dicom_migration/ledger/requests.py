"""Studies that a person wants to have moved before all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from dicom_migration.ledger import schema
from dicom_migration.ledger.clock import utc_now
from dicom_migration.ledger.database import Ledger
from dicom_migration.ledger.events import EventChain
from dicom_migration.ledger.states import StudyState

REQUESTED = 1
"""The priority of a requested study; all others have 0."""
CHAIN = EventChain("requests")

_S = StudyState
#: What is said of a study, and only those that are still to be moved become urgent.
_WILL_MOVE = {
    _S.DISCOVERED: "has no approved plan yet; goes first once it is planned and cleansed",
    _S.PLANNED: "waits for its wave to be cleansed; goes first then",
    _S.CLEANSED: "goes next",
    _S.TRANSFERRING: "is under way or goes next",
    _S.QUARANTINED: "is in quarantine and waits for a person; goes first once that is settled",
    _S.MISMATCHED: "did not pass verification; goes first when it is sent again",
}
_WILL_NOT = {
    _S.EXCLUDED: "is left out by the policy; nothing was changed",
    _S.TRANSFERRED: "is transferred already; it waits for its verification",
    _S.VERIFIED: "is in the cloud already, verified",
}


@dataclass(frozen=True, slots=True)
class RequestedStudy:
    """What became of the request for one study; `state` is "unknown" for one never seen."""

    study_instance_uid: str
    state: str
    is_urgent: bool
    message: str


def request_studies(
    ledger: Ledger,
    study_instance_uids: Sequence[str],
    *,
    requested_by: str,
    reason: str,
    clock: Callable[[], datetime] = utc_now,
) -> list[RequestedStudy]:
    """Let studies go first; an event for each, and nothing the second time.

    Parameters
    ----------
    reason
        For the event; no patient data.
    """
    uids = list(dict.fromkeys(study_instance_uids))
    table = schema.study.c
    with ledger.write() as connection:
        rows = connection.execute(
            select(table.study_instance_uid, table.state, table.priority)
            .where(table.study_instance_uid.in_(uids))
            .with_for_update()
        ).all()
        states = {row.study_instance_uid: StudyState(row.state) for row in rows}
        urgent = [row.study_instance_uid for row in rows if StudyState(row.state) in _WILL_MOVE]
        new = sorted(
            row.study_instance_uid
            for row in rows
            if row.study_instance_uid in urgent and row.priority < REQUESTED
        )
        if new:
            connection.execute(
                update(schema.study)
                .where(table.study_instance_uid.in_(new))
                .values(priority=REQUESTED, requested_by=requested_by, requested_at=clock())
            )
        payload: dict[str, object] = {"by": requested_by, "reason": reason}
        CHAIN.append(connection, [("study.requested", uid, payload) for uid in new])
    return [_answer(uid, states.get(uid)) for uid in uids]


def _answer(uid: str, state: StudyState | None) -> RequestedStudy:
    if state is None:
        return RequestedStudy(uid, "unknown", False, "is not in the inventory")
    told = _WILL_MOVE.get(state) or _WILL_NOT[state]
    return RequestedStudy(uid, state.value, state in _WILL_MOVE, told)
