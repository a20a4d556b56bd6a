"""Publishing a run's Data Docs beside its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger


def publish_data_docs(
    store: CloudStore, ledger: Ledger, wave_id: str, before: Any, after: Any
) -> str:
    """Store the page of the two judgements of a wave and return its object key."""
    from dicom_migration.ledger import utc_now
    from dicom_migration.operators.reports import publish_report
    from dicom_migration.quality.data_docs import render_data_docs

    html = render_data_docs(wave_id, utc_now(), before.judgements, after.judgements)
    uri = publish_report(store, ledger, kind="data_docs", subject=wave_id, body=html, suffix="html")
    return uri[uri.index("reports/data_docs/") :]
