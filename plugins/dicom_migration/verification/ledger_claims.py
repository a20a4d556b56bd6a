"""What the ledger's rows claim, held against its hash-chained events.

A row can be edited without a trace; an event cannot. The event of a transfer carries the hash of
the manifest and the number of instances, so that a row that was edited to fit another manifest
does not fit its event any more; and the hash of the set of UIDs received, which no row keeps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import StudyState, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.verification.claims import StudyClaim

_BATCH = 500


def checked_claims(connection: Connection, claims: Sequence[StudyClaim]) -> list[StudyClaim]:
    """Return the claims, each compared with the event of its transfer, whose chain must fit.

    To each is added what only the event tells: which SOP Instance UIDs were received. A study
    without such an event is not accused here: an event that was taken out breaks its chain, which
    the certificate finds.

    Raises
    ------
    PermanentError
        ``ledger_tampered``, naming the study and the field, or the chain and the event.
    """
    checked: set[str] = set()
    completed = []
    for start in range(0, len(claims), _BATCH):
        batch = claims[start : start + _BATCH]
        events = _transfers_of(connection, [claim.study_instance_uid for claim in batch])
        for claim in batch:
            if claim.study_instance_uid not in events:
                completed.append(claim)
                continue
            chain, text = events[claim.study_instance_uid]
            if chain not in checked:
                verify_chain(connection, chain)
                checked.add(chain)
            payload = json.loads(text)
            _compare(claim, chain, payload)
            received = str(payload.get("received_uids_sha256", ""))
            completed.append(replace(claim, received_uids_sha256=received))
    return completed


def _transfers_of(connection: Connection, uids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return chain and payload of the last transfer of each study."""
    event = schema.event.c
    rows = connection.execute(
        select(event.study_instance_uid, event.chain, event.payload)
        .where(
            event.study_instance_uid.in_(uids),
            event.kind == f"study.{StudyState.TRANSFERRED.value}",
        )
        .order_by(event.at, event.sequence)
    )
    return {row.study_instance_uid: (row.chain, row.payload) for row in rows}


def _compare(claim: StudyClaim, chain: str, payload: dict[str, object]) -> None:
    claimed = {"manifest_sha256": claim.manifest_sha256, "instances": claim.stored_instances}
    for name, value in claimed.items():
        if name in payload and payload[name] != value:
            raise PermanentError(
                f"Study {claim.study_instance_uid}: the ledger's row says {name} {value}, the "
                f"event of its transfer in chain {chain} says {payload[name]}.",
                reason=ReasonCode.LEDGER_TAMPERED,
                next_step="Stop, keep the ledger as it is, and compare it with a backup.",
                study_instance_uid=claim.study_instance_uid,
            )
