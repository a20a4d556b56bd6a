"""Append-only events, hash-chained per chain, so that tampering shows.

Each row carries the SHA-256 of its own canonical form, which includes the hash of the row
before it. A chain has one writer at a time (a shard, a plan); two writers collide on the
primary key, and the loser tries again. Chain heads are sealed into a wave's certificate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema
from dicom_migration.ledger.clock import utc_now

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last event of a chain: `sequence` counts from 1, 0 when the chain is empty."""

    chain: str
    sequence: int
    hash: str


def canonical_json(value: object) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)


def event_hash(
    chain: str, sequence: int, at: str, kind: str, uid: str, payload: str, previous: str
) -> str:
    """Return the SHA-256 (hexadecimal) that seals one event."""
    sealed = canonical_json([chain, sequence, at, kind, uid, payload, previous])
    return hashlib.sha256(sealed.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class EventChain:
    """A named chain that events are appended to, inside the caller's transaction."""

    name: str

    def head(self, connection: Connection) -> ChainHead:
        """Return the last event's position and hash."""
        table = schema.event.c
        row = connection.execute(
            select(table.sequence, table.hash)
            .where(table.chain == self.name)
            .order_by(table.sequence.desc())
            .limit(1)
        ).first()
        return (
            ChainHead(self.name, row.sequence, row.hash)
            if row
            else ChainHead(self.name, 0, GENESIS)
        )

    def holds(self, connection: Connection, kind: str, payload: dict[str, object]) -> bool:
        """Tell whether the chain has an event of this kind with exactly this payload."""
        table = schema.event.c
        found = select(table.sequence).where(
            table.chain == self.name,
            table.kind == kind,
            table.payload == canonical_json(payload),
        )
        return connection.scalar(found.limit(1)) is not None

    def append(
        self, connection: Connection, events: Iterable[tuple[str, str, dict[str, object]]]
    ) -> ChainHead:
        """Append ``(kind, study_instance_uid or "", payload)`` events; payloads hold no PHI."""
        head = self.head(connection)
        sequence, previous = head.sequence, head.hash
        at = utc_now().isoformat(timespec="microseconds")
        rows = []
        for kind, uid, body in events:
            sequence += 1
            payload = canonical_json(body)
            digest = event_hash(self.name, sequence, at, kind, uid, payload, previous)
            rows.append(
                {
                    "chain": self.name,
                    "sequence": sequence,
                    "at": at,
                    "kind": kind,
                    "study_instance_uid": uid,
                    "payload": payload,
                    "previous_hash": previous,
                    "hash": digest,
                }
            )
            previous = digest
        if rows:
            connection.execute(insert(schema.event), rows)
        return ChainHead(self.name, sequence, previous)


def verify_chain(connection: Connection, name: str) -> ChainHead:
    """Recompute every hash of a chain and return its head.

    Raises
    ------
    PermanentError
        With reason ``ledger_tampered``, naming the first event that does not fit.
    """
    table = schema.event.c
    rows = connection.execute(
        select(schema.event).where(table.chain == name).order_by(table.sequence)
    )
    sequence, previous = 0, GENESIS
    for row in rows:
        sequence += 1
        expected = event_hash(
            name, sequence, row.at, row.kind, row.study_instance_uid, row.payload, previous
        )
        if (row.sequence, row.previous_hash, row.hash) != (sequence, previous, expected):
            raise PermanentError(
                f"Event {sequence} of chain {name} does not fit the chain: the ledger was changed.",
                reason=ReasonCode.LEDGER_TAMPERED,
                next_step="Compare with the sealed heads in the wave certificates and a backup.",
            )
        previous = row.hash
    return ChainHead(name, sequence, previous)


def chain_names(connection: Connection, prefix: str = "") -> Sequence[str]:
    """Return the names of all chains that start with `prefix`, sorted."""
    column = schema.event.c.chain
    return connection.scalars(
        select(column).where(column.startswith(prefix, autoescape=True)).distinct().order_by(column)
    ).all()
