"""The last word of verification on each study, among all that the ledger keeps."""

from __future__ import annotations

from sqlalchemy import Subquery, and_, func, not_, select

from dicom_migration.ledger import schema
from dicom_migration.verification.findings import Outcome

AUDIT_METHOD = "pixel-audit"


def last_verdicts(wave_id: str = "") -> Subquery:
    """Return ``study_instance_uid`` and ``verification_id`` of the last word on each study.

    An audit that found nothing adds to the verdict of the read-back, it does not take its place:
    it read a sample. One that found a difference has the last word.

    Parameters
    ----------
    wave_id
        Only verdicts that were given in this wave; "" for all.
    """
    verdict = schema.verification.c
    clean_audit = and_(verdict.method == AUDIT_METHOD, verdict.outcome == Outcome.VERIFIED.value)
    chosen = select(
        verdict.study_instance_uid, func.max(verdict.verification_id).label("verification_id")
    ).where(not_(clean_audit))
    if wave_id:
        chosen = chosen.where(verdict.wave_id == wave_id)
    return chosen.group_by(verdict.study_instance_uid).subquery()
