"""Operators that judge data with Great Expectations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ProfileInventoryOperator(ConnectedOperator):
    """Judge what the source's database says of its studies, inside the ledger's database.

    It reports and keeps nothing back: findings stand in the plan report.

    :return: counts of rows and of failed expectations
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge the study table and keep the counts."""
        from dicom_migration.discovery.profile import PROFILE_QUERY, SUBJECT, SUITE
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.quality import judge_query, store_results

        with open_ledger(self.ledger_conn_id) as ledger:
            result = judge_query(ledger, PROFILE_QUERY, SUITE)
            store_results(ledger, "discovery", SUBJECT, [result])
        self.log.info("%s", result.table())
        return result.summary()
