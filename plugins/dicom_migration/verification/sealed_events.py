"""Summaries that verification keeps as events of a wave's chains, found again."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from dicom_migration.ledger import EventChain, schema

AUDIT_EVENT = "verification.pixel_audit"
#: One a study of the audit's sample: what was compared of it, and whether it held.
STUDY_AUDITED_EVENT = "verification.study_audited"
COMPACTED_EVENT = "verification.compacted"


def audit_chain(wave_id: str) -> EventChain:
    """Return the chain that the pixel audit of a wave writes."""
    return EventChain(f"wave:{wave_id}/verify-pixels")


def compaction_chain(wave_id: str) -> EventChain:
    """Return the chain that the compaction of a wave's manifests writes."""
    return EventChain(f"wave:{wave_id}/verify-compaction")


def last_event(connection: Connection, chain: EventChain, kind: str) -> dict[str, Any]:
    """Return the payload of the last event of a kind, empty when there is none."""
    table = schema.event.c
    payload = connection.scalar(
        select(table.payload)
        .where(table.chain == chain.name, table.kind == kind)
        .order_by(table.sequence.desc())
        .limit(1)
    )
    return dict(json.loads(payload)) if payload else {}
