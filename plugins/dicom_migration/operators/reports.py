"""Publishing a report: into the target beside the data, and into the ledger's list."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger


_TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


def publish_report(
    store: CloudStore, ledger: Ledger, *, kind: str, subject: str, body: bytes | str, suffix: str
) -> str:
    """Store a report under a name made of its content and return its full address.

    Parameters
    ----------
    kind, subject
        For example ``"plan"`` and the plan's id; both become part of the key.
    suffix
        File ending without the dot, for example ``html``.
    """
    data = body.encode() if isinstance(body, str) else body
    digest = hashlib.sha256(data).hexdigest()
    return _publish(store, ledger, (kind, subject, suffix), data, len(data), digest)


def publish_file(store: CloudStore, ledger: Ledger, *, kind: str, subject: str, path: Path) -> str:
    """Store a file that may be large like a report, without reading it into memory."""
    with path.open("rb") as body:
        digest = hashlib.file_digest(body, "sha256").hexdigest()
        body.seek(0)
        named = (kind, subject, path.suffix.removeprefix("."))
        return _publish(store, ledger, named, body, path.stat().st_size, digest)


def _publish(
    store: CloudStore,
    ledger: Ledger,
    named: tuple[str, str, str],
    body: bytes | BinaryIO,
    size: int,
    digest: str,
) -> str:
    from sqlalchemy import delete, insert

    from dicom_migration.ledger import schema, utc_now

    kind, subject, suffix = named
    key = f"reports/{kind}/{subject}/{kind}-{digest[:12]}.{suffix}"
    content_type = _TYPES.get(suffix, "application/octet-stream")
    store.put(key, body, size=size, sha256=digest, content_type=content_type)
    with ledger.write() as connection:
        connection.execute(delete(schema.report).where(schema.report.c.object_key == key))
        connection.execute(
            insert(schema.report).values(
                object_key=key, kind=kind, subject=subject, sha256=digest, created_at=utc_now()
            )
        )
    return store.uri(key)
