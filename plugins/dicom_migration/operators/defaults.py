"""What all DAGs share: retries by kind of error, alerts, pools, assets, connection ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule

from dicom_migration.notifications.alert import MigrationAlert

SOURCE_CONN_ID = "pacs_source"
TARGET_CONN_ID = "cloud_target"
LEDGER_CONN_ID = "migration_ledger"

#: Bounds what the source archive has to bear, across all DAGs and workers.
PACS_POOL = "pacs_associations"
#: Bounds concurrent readers and writers of the cloud copy.
CLOUD_POOL = "cloud_transfers"

# x-…: a scheme of our own, for which Airflow need not import every provider to ask for a handler.
INVENTORY = Asset("x-migration://inventory")
APPROVED_PLAN = Asset("x-migration://approved-plan")
SENT_BACK = Asset("x-migration://studies-sent-back")
CLEANSED_WAVE = Asset("x-migration://cleansed-wave")
TRANSFERRED_WAVE = Asset("x-migration://transferred-wave")
VERIFIED_WAVE = Asset("x-migration://verified-wave")
BENCHMARK = Asset("x-migration://retrieval-benchmark")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="dicom_migration.errors.PermanentError",
            action=RetryAction.FAIL,
            reason="Trying again cannot help; see the message for the next step.",
        ),
        RetryRule(exception="dicom_migration.errors.TransientError", action=RetryAction.DEFAULT),
    ]
)

#: ``default_args`` of every DAG.
DEFAULT_ARGS: dict[str, Any] = {
    "owner": "image-migration",
    "retries": 6,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=15),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": [MigrationAlert()],
    "execution_timeout": timedelta(hours=12),
}
