"""The approved corrections of a wave, as the ledger keeps them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from dicom_migration.ledger import schema
from dicom_migration.transfer.correcting import Correction


def approved_corrections(connection: Connection, wave_id: str) -> dict[str, tuple[Correction, ...]]:
    """Return the corrections of each study of the wave, by Study Instance UID, in fixed order."""
    table = schema.correction.c
    approved_at = connection.scalar(
        select(schema.wave.c.approved_at).where(schema.wave.c.wave_id == wave_id)
    )
    rows = connection.execute(
        select(schema.correction)
        .where(table.wave_id == wave_id, table.status == "approved")
        .order_by(table.correction_id)
    )
    found: dict[str, tuple[Correction, ...]] = {}
    for row in rows:
        correction = Correction(
            correction_id=row.correction_id,
            keyword=row.keyword,
            value=row.new_value or "",
            old_value=row.old_value or "",
            rule_id=row.rule_id,
            approved_at=approved_at or row.updated_at,
            series_instance_uid=row.series_instance_uid,
            sop_instance_uid=row.sop_instance_uid,
            expected_text_encoding=row.expected_text_encoding or "",
            text_charset=row.text_charset or "",
        )
        found[row.study_instance_uid] = (*found.get(row.study_instance_uid, ()), correction)
    return found
