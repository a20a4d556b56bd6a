"""Audits of whole studies, as the audit of a wave recorded them in its chain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import Connection, select

from dicom_migration.ledger import schema
from dicom_migration.verification.findings import Outcome
from dicom_migration.verification.sealed_events import STUDY_AUDITED_EVENT, audit_chain


@dataclass(frozen=True, slots=True)
class AuditProof:
    """What an audit compared of a study with the source; counts are of SOP Instances."""

    at: datetime
    outcome: str
    instances: int
    audited: int
    pixels_proved: int
    headers_proved: int

    @classmethod
    def read(cls, at: str, payload: str) -> Self:
        """Return the proof in an event."""
        told = json.loads(payload)
        counts = ("instances", "audited", "pixels_proved", "headers_proved")
        return cls(
            datetime.fromisoformat(at),
            str(told["outcome"]),
            *(int(told[name]) for name in counts),
        )

    def covers(self, instances: int, with_pixels: int, read_back_at: datetime) -> bool:
        """Tell whether it proves a whole study as it was read back last.

        A sample proves nothing of the instances that were not drawn, and an audit from before the
        last transfer nothing of what that one stored.
        """
        return (
            self.outcome == Outcome.VERIFIED.value
            and self.at >= read_back_at
            and self.instances == self.audited == self.headers_proved == instances
            and self.pixels_proved == with_pixels
        )


def audit_proofs(
    connection: Connection, waves: Sequence[str], uids: Sequence[str]
) -> dict[str, AuditProof]:
    """Return the last audit of each of the studies that was audited in one of the waves."""
    event = schema.event.c
    rows = connection.execute(
        select(event.study_instance_uid, event.at, event.payload)
        .where(
            event.study_instance_uid.in_(uids),
            event.kind == STUDY_AUDITED_EVENT,
            event.chain.in_([audit_chain(wave).name for wave in waves]),
        )
        .order_by(event.at)
    )
    return {row.study_instance_uid: AuditProof.read(row.at, row.payload) for row in rows}
