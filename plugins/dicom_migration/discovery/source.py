"""Asking the source whether it is there, and whether it is still the archive we know."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from dicom_migration.ledger import schema, utc_now
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from dicom_migration.archive import ImageArchive
    from dicom_migration.ledger import Ledger


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """What the check found.

    Attributes
    ----------
    fingerprint
        SHA-256 (hexadecimal) of the facts the source tells of its configuration.
    changed
        It differs from the last check's.
    latency_s
        Round trip in seconds.
    """

    description: str
    fingerprint: str
    changed: bool
    latency_s: float


def check_source(ledger: Ledger, archive: ImageArchive) -> SourceCheck:
    """Check the source, and record what it says of its configuration.

    A change of configuration is reported, not refused: a person decides what it means.

    Raises
    ------
    TransientError, PermanentError
        As :meth:`ImageArchive.check` does.
    """
    check = archive.check()
    facts = canonical_json(check.facts)
    fingerprint = hashlib.sha256(facts.encode()).hexdigest()
    table = schema.source_fingerprint.c
    with ledger.write() as connection:
        last = connection.scalar(
            select(table.fingerprint)
            .where(table.source == archive.name)
            .order_by(table.fingerprint_id.desc())
            .limit(1)
        )
        connection.execute(
            insert(schema.source_fingerprint).values(
                source=archive.name,
                fingerprint=fingerprint,
                latency_s=check.latency_s,
                facts=facts,
                seen_at=utc_now(),
            )
        )
    changed = last is not None and last != fingerprint
    return SourceCheck(check.description, fingerprint, changed, check.latency_s)
