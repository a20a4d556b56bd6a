"""What an earlier transfer stored of a study: not sent twice, and what changed can be told."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from dicom_migration.cloud import CloudStore
from dicom_migration.errors import MigrationError
from dicom_migration.ledger import Ledger, schema
from dicom_migration.manifest import ManifestRow, decode_manifest, delta_of_rows


@dataclass(frozen=True, slots=True)
class EarlierCopy:
    """The manifest of an earlier transfer; `rows` is None when it cannot be read any more."""

    rows: tuple[ManifestRow, ...] | None
    keys: frozenset[str]

    def delta(self, rows: Sequence[ManifestRow]) -> object:
        """Return what became of the study since, for the event of its transfer; UIDs, no PHI."""
        if self.rows is None:
            return "the earlier manifest could not be read"
        return delta_of_rows(self.rows, rows).as_payload()


def earlier_copy(ledger: Ledger, store: CloudStore, uid: str) -> EarlierCopy | None:
    """Return what was stored of a study, None when no transfer of it was complete so far.

    Raises
    ------
    TransientError
        The ledger does not answer.
    """
    table = schema.study.c
    with ledger.read() as connection:
        row = connection.execute(
            select(table.manifest_key, table.manifest_sha256).where(
                table.study_instance_uid == uid, table.manifest_key != ""
            )
        ).first()
    if row is None:
        return None
    rows = _rows(store, row.manifest_key, row.manifest_sha256)
    return EarlierCopy(rows, frozenset(row.object_key for row in rows or ()))


def _rows(store: CloudStore, key: str, sha256: str) -> tuple[ManifestRow, ...] | None:
    # A damaged manifest is a reason to send a study again: its transfer must not fail by it.
    try:
        data = store.read(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            return None
        return tuple(decode_manifest(data))
    except MigrationError:
        return None
