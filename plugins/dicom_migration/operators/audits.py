"""The operator of the audit: a sample of each wave, retrieved again and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_migration.operators.verification import WavesOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger


class AuditPixelsOperator(WavesOperator):
    """Compare pixels and headers of a sample of each wave, and publish the report of it.

    :return: counts of instances, for each wave
    """

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """See :func:`dicom_migration.verification.pixel_audit.audit_pixels`."""
        from functools import partial

        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.pixel_audit import audit_pixels

        policy = load_verification_policy()
        counts: dict[str, dict[str, int]] = {}
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as archive,
            open_store(self.target_conn_id) as store,
        ):
            for wave in self.waves:
                keep = partial(_publish, store, ledger, wave)
                summary = audit_pixels(archive, store, ledger, wave, policy, publish=keep)
                counts[wave] = summary.as_dict()
                self.log.info("Audit of wave %s: %s", wave, counts[wave])
        return counts


def _publish(store: CloudStore, ledger: Ledger, wave_id: str, page: str) -> str:
    from dicom_migration.operators.reports import publish_report

    return publish_report(store, ledger, kind="audit", subject=wave_id, body=page, suffix="html")
