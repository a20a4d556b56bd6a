"""The certificate of a wave: issued from the ledger, verified by anybody from the file alone.

Checked by :mod:`dicom_migration.certificate`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from dicom_migration.ledger import EventChain, Ledger, schema, utc_now
from dicom_migration.ledger.events import canonical_json
from dicom_migration.verification.certificate_check import body_hash
from dicom_migration.verification.evidence import gather


def issue_certificate(
    ledger: Ledger, wave_id: str, policy_sha256: str, now: datetime | None = None
) -> dict[str, Any]:
    """Return the wave's certificate, written to the ledger; unchanged evidence gives the old one.

    The document is ``{"certificate": body, "sha256": hash of the body's canonical JSON}``.

    Raises
    ------
    PermanentError
        With reason ``ledger_tampered`` when the event chains do not fit.
    """
    with ledger.write() as connection:
        evidence = {**gather(connection, wave_id), "policy_sha256": policy_sha256}
        identity = body_hash(evidence)
        table = schema.certificate.c
        earlier = connection.scalar(select(table.body).where(table.certificate_id == identity))
        if earlier:
            return dict(json.loads(earlier))
        issued_at = now or utc_now()
        body = {**evidence, "issued_at": issued_at.isoformat(timespec="seconds")}
        document = {"certificate": body, "sha256": body_hash(body)}
        connection.execute(
            insert(schema.certificate).values(
                certificate_id=identity,
                wave_id=wave_id,
                created_at=issued_at,
                object_key="",
                body=canonical_json(document),
            )
        )
        EventChain(f"certificates:{wave_id}").append(
            connection,
            [("certificate.issued", "", {"sha256": document["sha256"], "status": body["status"]})],
        )
    return document
