"""First tasks of the DAGs that read both ends: what is wrong with an end is said at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.preflight import for_a_person

if TYPE_CHECKING:
    from airflow.sdk import Context


class _ReadingPreflightOperator(ConnectedOperator):
    """Check policies, suite, ledger, source and target, and fail at once when one will not do.

    Wire it with ``retries=0``: a wrong AE title or key is seen now, not after hours of retries.

    :return: latency in seconds and description of both ends
    """

    @for_a_person()
    def execute(self, context: Context) -> dict[str, Any]:
        """Begin with what needs no network."""
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.quality.suites import load_suite

        load_suite(self.suite_of_policy())
        with open_ledger(self.ledger_conn_id) as ledger:
            ledger.upgrade()
        with open_archive(self.source_conn_id) as archive:
            check = archive.check()
        with open_store(self.target_conn_id) as store:
            facts = store.check()
        self.log.info("Source: %s (%.3f s). Target: %s", check.description, check.latency_s, facts)
        return {"source": check.description, "latency_s": check.latency_s, "target": facts}

    @abstractmethod
    def suite_of_policy(self) -> str:
        """Load the policies of the DAG and return the name of the suite that it judges by."""


class VerificationPreflightOperator(_ReadingPreflightOperator):
    """Check everything that verification needs.

    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: latency in seconds and description of both ends
    """

    def suite_of_policy(self) -> str:
        """Load ``verification.yaml``."""
        from dicom_migration.policies.verification import load_verification_policy

        return load_verification_policy().completeness_suite


class RetrievalPreflightOperator(_ReadingPreflightOperator):
    """Check everything that the retrieval benchmark needs.

    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: latency in seconds and description of both ends
    """

    def suite_of_policy(self) -> str:
        """Load ``slas.yaml``."""
        from dicom_migration.policies.slas import load_sla_policy

        return load_sla_policy().suite
