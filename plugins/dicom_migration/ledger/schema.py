"""The ledger's tables (SQLAlchemy Core): what is known of each study and what was done to it.

Keys and indexes serve the queries the DAGs make at 10 million studies; nothing here is written
per instance (instance facts live in the manifest). PHI is allowed in this database and named in
the column comments. ``migrations/`` builds these tables; a test proves that both agree.
"""

from __future__ import annotations

from dicom_migration.ledger.tables.columns import metadata
from dicom_migration.ledger.tables.lists import patient_link, reference_list, ris_order
from dicom_migration.ledger.tables.plans import (
    correction,
    exception,
    plan,
    plan_study,
    study_list,
    wave,
)
from dicom_migration.ledger.tables.studies import (
    header_fact,
    inventory,
    inventory_window,
    series,
    size_sample,
    source_fingerprint,
    study,
)
from dicom_migration.ledger.tables.work import (
    attempt,
    certificate,
    event,
    governor_probe,
    lease,
    network_sample,
    quality_result,
    quality_score,
    report,
    retrieval_restore,
    retrieval_sample,
    verification,
)

__all__ = [
    "attempt",
    "certificate",
    "correction",
    "event",
    "exception",
    "governor_probe",
    "header_fact",
    "inventory",
    "inventory_window",
    "lease",
    "metadata",
    "network_sample",
    "patient_link",
    "plan",
    "plan_study",
    "quality_result",
    "quality_score",
    "reference_list",
    "report",
    "retrieval_restore",
    "retrieval_sample",
    "ris_order",
    "series",
    "size_sample",
    "source_fingerprint",
    "study",
    "study_list",
    "verification",
    "wave",
]
