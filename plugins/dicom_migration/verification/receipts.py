"""How what was received of a study was compared with its manifest: as a set, or by counts alone."""

from __future__ import annotations

import json

from sqlalchemy import Connection, select

from dicom_migration.ledger import StudyState, schema
from dicom_migration.verification.claims import StudyClaim

#: Name of the fact in the event of a verdict.
RECEIPT = "receipt"
#: The SOP Instance UIDs received are those of the manifest.
AS_SET = "set"
#: The transfer kept no hash of the UIDs it received: the numbers are equal, no more is known.
AS_COUNTS = "counts"


def how_compared(claim: StudyClaim) -> str:
    """Return how a study's receipt can be compared with its manifest."""
    return AS_SET if claim.received_uids_sha256 else AS_COUNTS


def receipts_of(connection: Connection, wave_id: str) -> dict[str, str]:
    """Return how the last verdict of each study of a wave compared its receipt.

    Verdicts that were given before they told so are left out.
    """
    event, study = schema.event.c, schema.study.c
    rows = connection.execute(
        select(event.study_instance_uid, event.payload)
        .join(schema.study, study.study_instance_uid == event.study_instance_uid)
        .where(
            study.wave_id == wave_id,
            event.chain.startswith(f"wave:{wave_id}/verify-", autoescape=True),
            event.kind.in_([f"study.{s}" for s in (StudyState.VERIFIED, StudyState.MISMATCHED)]),
        )
        .order_by(event.at, event.sequence)
    )
    told = ((uid, json.loads(payload)) for uid, payload in rows)
    return {uid: str(payload[RECEIPT]) for uid, payload in told if RECEIPT in payload}
