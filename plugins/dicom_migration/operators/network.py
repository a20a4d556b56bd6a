"""The operator of the network test DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class NetworkTestOperator(ConnectedOperator):
    """Measure the way to the store and the source's answer, at rest or during a transfer.

    Writes, reads and removes a few objects below ``network-test/`` in the target.

    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``{"test_id", "samples", "failed", "workers", "bytes", "costs"}``: ``costs`` has the
        change of each median during migrations, so far as both are known
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """See :func:`dicom_migration.retrieval.network.run_network_test`."""
        import secrets

        from dicom_migration.cloud.s3_probe import S3Probe
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import utc_now
        from dicom_migration.operators.retrieval_plan import benchmark_id_of
        from dicom_migration.policies.slas import load_sla_policy
        from dicom_migration.retrieval.network import (
            SourceQuestions,
            any_study,
            run_network_test,
        )
        from dicom_migration.retrieval.network_cost import recent_costs

        policy = load_sla_policy()
        test_id = benchmark_id_of(str(context["run_id"])).replace("B", "N", 1)
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as archive,
            open_store(self.target_conn_id) as store,
        ):
            ledger.upgrade()
            study = any_study(ledger)
            asked = study and not archive.name.startswith("folder:")
            told = run_network_test(
                S3Probe(store.access, f"{test_id}-{secrets.token_hex(4)}"),
                SourceQuestions(archive, study) if asked else None,
                ledger,
                policy.network,
                test_id,
                archive.name,
                utc_now,
            )
            costs = recent_costs(ledger, policy, utc_now())
        for cost in costs:
            self.log.info("%s", cost.told())
        changes = {cost.kind: cost.change for cost in costs if cost.change is not None}
        return {"test_id": test_id, **told, "costs": changes}
