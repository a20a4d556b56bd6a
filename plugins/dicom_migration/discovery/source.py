"""Asking the source whether it is there, and whether it is still the archive we know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from dicom_migration.archive import ProbedArchive
from dicom_migration.discovery.exception_notes import reconfigured
from dicom_migration.ledger import EventChain, note_exceptions, schema, utc_now
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.archive import ImageArchive
    from dicom_migration.ledger import Ledger


@dataclass(frozen=True, slots=True)
class SourceCheck:
    """What the check found.

    Attributes
    ----------
    fingerprint
        SHA-256 (hexadecimal) of the facts the source tells of its configuration.
    changes
        What the configuration was at the last check and is not now, as ``name: was -> is``.
    observed_changes
        The same of what the archive shows of its contents: character sets, counts of files.
    latency_s
        Round trip in seconds.
    """

    description: str
    fingerprint: str
    changes: tuple[str, ...]
    observed_changes: tuple[str, ...]
    latency_s: float

    @property
    def changed(self) -> bool:
        """Tell whether the configuration is not that of the last check."""
        return bool(self.changes)


def check_source(ledger: Ledger, archive: ImageArchive, associations: int = 0) -> SourceCheck:
    """Check the source, and record what it says of its configuration.

    A change of configuration is an exception and not refused: a person decides what it means.

    Parameters
    ----------
    associations
        How many associations may be tried at the same time.

    Raises
    ------
    TransientError, PermanentError
        As :meth:`ImageArchive.check` does.
    """
    if isinstance(archive, ProbedArchive):
        check = archive.probe(associations, utc_now().date())
    else:
        check = archive.check()
    facts = canonical_json(check.facts)
    fingerprint = hashlib.sha256(facts.encode()).hexdigest()
    with ledger.write() as connection:
        before, observed = _last(connection, archive.name)
        changes = _changes(before, check.facts)
        connection.execute(
            insert(schema.source_fingerprint).values(
                source=archive.name,
                fingerprint=fingerprint,
                latency_s=check.latency_s,
                facts=facts,
                observed=canonical_json(check.observed),
                seen_at=utc_now(),
            )
        )
        if changes:
            name = hashlib.sha256(archive.name.encode()).hexdigest()[:16]
            chain = EventChain(f"source/{name}")
            chain.append(connection, [("source.reconfigured", "", {"changes": list(changes)})])
            note_exceptions(connection, [reconfigured(archive.name, "; ".join(changes))], chain)
    seen = _changes(observed, check.observed)
    return SourceCheck(check.description, fingerprint, changes, seen, check.latency_s)


def _last(connection: Connection, source: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return facts and observations of the last check, {} when there was none."""
    table = schema.source_fingerprint.c
    row = connection.execute(
        select(table.facts, table.observed)
        .where(table.source == source)
        .order_by(table.fingerprint_id.desc())
        .limit(1)
    ).first()
    return (json.loads(row.facts), json.loads(row.observed or "{}")) if row else ({}, {})


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs; what only one of the checks asked for is no change."""
    return tuple(
        f"{name}: {before[name]} -> {now[name]}"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name]
    )
