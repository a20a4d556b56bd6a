"""The completeness of the cloud copy: a wave's compacted manifests judged as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.verification import VerificationPolicy
    from dicom_migration.quality import QualityResult
    from dicom_migration.verification.compaction import Compaction


def judge_manifests(
    store: CloudStore, ledger: Ledger, compaction: Compaction, policy: VerificationPolicy
) -> QualityResult:
    """Judge a wave's manifests as they lie in the cloud; keep the result and its exceptions.

    A failed critical expectation becomes one exception for each study concerned; the others are
    counted in the result, in the certificate and in the log.
    """
    from dicom_migration.errors import ReasonCode
    from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions
    from dicom_migration.manifest import compact
    from dicom_migration.quality import judge_frame, store_results
    from dicom_migration.verification.compaction import read_part
    from dicom_migration.verification.findings import PHASE

    table = compact([read_part(store, part.key) for part in compaction.parts])
    frame = table.drop_columns(["corrections"]).to_pandas()
    result = judge_frame(frame, policy.completeness_suite, keys=["study_instance_uid"])
    store_results(ledger, PHASE, compaction.wave_id, [result])
    notes = [
        ExceptionNote(
            reason=ReasonCode(finding.reason_code),
            phase=PHASE,
            study_instance_uid=uid,
            detail=f"{finding.title} ({finding.columns}): not met in the cloud copy.",
            suggested_fix=finding.suggested_fix,
            subject=finding.title[:128],
        )
        for finding in result.findings
        if finding.severity == "critical" and not finding.success
        for uid in sorted({key[0] for key in finding.keys})
    ]
    with ledger.write() as connection:
        chain = EventChain(f"wave:{compaction.wave_id}/verify-completeness")
        note_exceptions(connection, notes, chain)
    return result
