"""A wave's manifests compacted into a few large Parquet files, sealed by one Merkle root."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dicom_migration.cloud import CloudStore
from dicom_migration.header_facts import INTEGER_COLUMNS, TEXT_COLUMNS
from dicom_migration.ledger import Ledger
from dicom_migration.manifest import compact
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import StudyClaim, studies_hash, verified_claims
from dicom_migration.verification.manifests import manifest_table
from dicom_migration.verification.merkle import (
    LEAF_COLUMNS,
    leaf_data,
    leaf_hash,
    merkle_root,
    sort_key,
)
from dicom_migration.verification.sealed_events import (
    COMPACTED_EVENT,
    compaction_chain,
    last_event,
)

_IDENTIFIERS = (
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "sop_class_uid",
    "transfer_syntax_uid",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One compacted file."""

    key: str
    sha256: str
    rows: int


@dataclass(slots=True)
class Compaction:
    """What a wave's manifests came to.

    `studies_sha256` seals which studies and manifests went in; `object_bytes` is in bytes.
    """

    wave_id: str
    studies_sha256: str
    merkle_root: str = ""
    instances: int = 0
    object_bytes: int = 0
    parts: list[Part] = field(default_factory=list)

    def as_payload(self) -> dict[str, Any]:
        """Return the compaction as its event keeps it."""
        return {
            "studies_sha256": self.studies_sha256,
            "merkle_root": self.merkle_root,
            "instances": self.instances,
            "object_bytes": self.object_bytes,
            "parts": [[part.key, part.sha256, part.rows] for part in self.parts],
        }


def compact_wave(
    store: CloudStore, ledger: Ledger, wave_id: str, policy: VerificationPolicy
) -> Compaction:
    """Write the manifests of a wave's verified studies as ``manifests/<wave>/part-<hash>.parquet``.

    Same studies, same files: doing it again writes nothing.

    Raises
    ------
    PermanentError
        With reason ``manifest_corrupt`` when a manifest changed since the study was verified.
    """
    with ledger.read() as connection:
        claims = verified_claims(connection, wave_id)
    result = Compaction(wave_id, studies_hash(claims))
    leaves: list[bytes] = []
    for table in _batches(store, claims, policy.rows_per_part):
        for record in sorted(table.select(list(LEAF_COLUMNS)).to_pylist(), key=sort_key):
            leaves.append(leaf_hash(leaf_data(record)))
            result.object_bytes += record["object_bytes"]
        result.parts.append(_write_part(store, wave_id, table))
    result.instances = len(leaves)
    result.merkle_root = merkle_root(leaves)
    chain, payload = compaction_chain(wave_id), result.as_payload()
    with ledger.write() as connection:
        if last_event(connection, chain, COMPACTED_EVENT) != payload:
            chain.append(connection, [(COMPACTED_EVENT, "", payload)])
    return result


def read_part(store: CloudStore, key: str) -> pa.Table:
    """Return one compacted file as an Arrow table."""
    return pq.read_table(io.BytesIO(store.read(key)))


def fact_rows(
    store: CloudStore, compaction: Compaction, most: int
) -> Iterator[list[dict[str, Any]]]:
    """Yield identifiers and header facts of a wave's instances as stored, at most `most` a list."""
    columns = [*_IDENTIFIERS, *TEXT_COLUMNS, *INTEGER_COLUMNS]
    for part in compaction.parts:
        table = read_part(store, part.key).select(columns)
        for start in range(0, table.num_rows, most):
            yield table.slice(start, most).to_pylist()


def _batches(store: CloudStore, claims: list[StudyClaim], rows: int) -> Iterator[pa.Table]:
    """Yield tables of whole studies, in order, each of about `rows` rows."""
    held: list[pa.Table] = []
    held_rows = 0
    for claim in claims:
        held.append(manifest_table(store, claim))
        held_rows += held[-1].num_rows
        if held_rows >= rows:
            yield compact(held)
            held, held_rows = [], 0
    if held:
        yield compact(held)


def _write_part(store: CloudStore, wave_id: str, table: pa.Table) -> Part:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    key = f"manifests/{wave_id}/part-{digest[:12]}.parquet"
    store.put(
        key,
        data,
        size=len(data),
        sha256=digest,
        content_type="application/vnd.apache.parquet",
    )
    return Part(key, digest, table.num_rows)
