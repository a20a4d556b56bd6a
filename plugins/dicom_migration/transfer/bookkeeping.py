"""What the ledger learns of one study's transfer: begun, how it ended, and why."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from dicom_migration.ledger import (
    EventChain,
    ExceptionNote,
    Ledger,
    StudyState,
    move_studies,
    resolve_exceptions,
    schema,
    utc_now,
)
from dicom_migration.transfer.study_faults import PHASE, quarantine_study

_attempt = schema.attempt.c


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a study: its row in the ledger, and the chain that its events go to."""

    key: int
    study_instance_uid: str
    chain: EventChain


@dataclass(frozen=True, slots=True)
class Arrived:
    """What an attempt received: instances, and bytes of their datasets."""

    instances: int
    n_bytes: int


class Bookkeeping:
    """Writes to the ledger; safe to share between threads, whose events go to one chain."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._writing = threading.Lock()  # a chain of events has one writer at a time

    def begin(self, uid: str, wave_id: str, chain: EventChain) -> Attempt:
        """Say that a study is on its way; an attempt that still runs was interrupted."""
        with self._writing, self._ledger.write() as connection:
            move_studies(connection, [uid], StudyState.TRANSFERRING, chain)
            connection.execute(
                update(schema.attempt)
                .where(_attempt.study_instance_uid == uid, _attempt.outcome == "running")
                .values(outcome="interrupted", ended_at=utc_now())
            )
            number = connection.scalar(
                select(func.count()).where(
                    _attempt.study_instance_uid == uid, _attempt.phase == PHASE
                )
            )
            result = connection.execute(
                insert(schema.attempt).values(
                    study_instance_uid=uid,
                    phase=PHASE,
                    wave_id=wave_id,
                    number=(number or 0) + 1,
                    started_at=utc_now(),
                    outcome="running",
                )
            )
            key = result.inserted_primary_key
            return Attempt(int(key[0]) if key else 0, uid, chain)

    def end(self, attempt: Attempt, outcome: str, reason: str, arrived: Arrived) -> None:
        """Say that an attempt came to nothing."""
        with self._writing, self._ledger.write() as connection:
            _end(connection, attempt, outcome, reason, arrived)

    def quarantine(self, attempt: Attempt, notes: Sequence[ExceptionNote]) -> None:
        """Set the study aside for a person, with the reasons."""
        with self._writing:
            quarantine_study(self._ledger, attempt.chain, attempt.study_instance_uid, notes)

    def transferred(
        self,
        attempt: Attempt,
        arrived: Arrived,
        payload: dict[str, object],
        columns: Mapping[str, Any],
    ) -> None:
        """Say that the study is in the cloud: `payload` goes to the event, `columns` to its row."""
        with self._writing, self._ledger.write() as connection:
            move_studies(
                connection,
                [attempt.study_instance_uid],
                StudyState.TRANSFERRED,
                attempt.chain,
                payload=payload,
                **columns,
            )
            _end(connection, attempt, "transferred", "", arrived)
            resolve_exceptions(
                connection,
                attempt.chain,
                study_instance_uid=attempt.study_instance_uid,
                phase=PHASE,
                resolved_by="transfer",
                resolution="a later attempt transferred the study",
            )


def _end(
    connection: Connection, attempt: Attempt, outcome: str, reason: str, arrived: Arrived
) -> None:
    connection.execute(
        update(schema.attempt)
        .where(_attempt.attempt_id == attempt.key)
        .values(
            outcome=outcome,
            reason=str(reason),
            ended_at=utc_now(),
            instances=arrived.instances,
            bytes=arrived.n_bytes,
        )
    )
