"""Publishing a report: into the target beside the data, and into the ledger's list."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger


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
    from sqlalchemy import delete, insert

    from dicom_migration.ledger import schema, utc_now

    data = body.encode() if isinstance(body, str) else body
    digest = hashlib.sha256(data).hexdigest()
    key = f"reports/{kind}/{subject}/{kind}-{digest[:12]}.{suffix}"
    types = {"html": "text/html; charset=utf-8", "json": "application/json", "csv": "text/csv"}
    store.put(
        key,
        data,
        size=len(data),
        sha256=digest,
        content_type=types.get(suffix, "application/octet-stream"),
    )
    with ledger.write() as connection:
        connection.execute(delete(schema.report).where(schema.report.c.object_key == key))
        connection.execute(
            insert(schema.report).values(
                object_key=key, kind=kind, subject=subject, sha256=digest, created_at=utc_now()
            )
        )
    return store.uri(key)
