"""Operators of the discovery DAG's first half: check the source, take its inventory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.planning import load_plan_policies
from dicom_migration.operators.preflight import for_a_person

if TYPE_CHECKING:
    from airflow.sdk import Context


class DiscoveryPreflightOperator(ConnectedOperator):
    """Check policies, suites, ledger, source and target before anything is asked of them.

    Creates or migrates the ledger's tables.

    :return: description of both ends, and whether the source's configuration changed
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Fail at once when one of them will not do."""
        from dicom_migration.discovery.profile import SUITE
        from dicom_migration.discovery.source import check_source
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.discovery import load_discovery_policy
        from dicom_migration.quality.suites import load_suite

        load_discovery_policy()
        load_plan_policies()
        load_suite(SUITE)
        with (
            for_a_person(),
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            ledger.upgrade()
            check = check_source(ledger, source)
        with for_a_person(), open_store(self.target_conn_id) as store:
            target = store.check()
        if check.changed:
            self.log.warning("The source's configuration is not what it was at the last check.")
        self.log.info("Source: %s (%.3f s). Target: %s", check.description, check.latency_s, target)
        return {
            "source": check.description,
            "fingerprint": check.fingerprint,
            "source_changed": check.changed,
            "target": target,
        }


class OpenInventoryOperator(ConnectedOperator):
    """Cut the archive's history into date windows and deal them out to tasks.

    :param inventory_id: continue this inventory; empty: one of this run (templated)
    :return: window ids, one list a task
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "inventory_id")

    def __init__(self, *, inventory_id: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inventory_id = inventory_id

    def execute(self, context: Context) -> list[list[str]]:
        """Return the same windows whenever the task of this run is tried again."""
        from dicom_migration.discovery.windows import inventory_id_of, open_inventory
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import utc_now
        from dicom_migration.policies.discovery import load_discovery_policy

        inventory_id = self.inventory_id or inventory_id_of(str(context["run_id"]))
        today = utc_now().date()
        with open_ledger(self.ledger_conn_id) as ledger:
            tasks = open_inventory(ledger, inventory_id, load_discovery_policy(), today)
        self.log.info(
            "Inventory %s: %d windows in %d tasks", inventory_id, sum(map(len, tasks)), len(tasks)
        )
        return tasks


class TakeInventoryOperator(ConnectedOperator):
    """Ask the source for the studies of some windows, and record them.

    :param window_ids: windows of :class:`OpenInventoryOperator` (templated)
    :return: counts of windows, queries, studies found, new, changed, empty, invalid
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "window_ids")

    def __init__(self, *, window_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window_ids = window_ids

    def execute(self, context: Context) -> dict[str, int]:
        """Pass over windows that are done."""
        from dicom_migration.discovery.inventory import take_inventory
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.discovery import load_discovery_policy

        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            counts = take_inventory(ledger, source, self.window_ids, load_discovery_policy())
        self.log.info("%s", counts)
        return counts.summary()
