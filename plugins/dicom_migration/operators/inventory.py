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

        policy = load_discovery_policy()
        load_plan_policies()
        load_suite(SUITE)
        with (
            for_a_person(),
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            ledger.upgrade()
            check = check_source(ledger, source, policy.association_probe)
        with for_a_person(), open_store(self.target_conn_id) as store:
            target = store.check()
        if check.changed:
            self.log.warning("The source is not configured as it was: %s", "; ".join(check.changes))
        if check.observed_changes:
            self.log.info("The source shows otherwise: %s", "; ".join(check.observed_changes))
        self.log.info("Source: %s (%.3f s). Target: %s", check.description, check.latency_s, target)
        return {
            "source": check.description,
            "fingerprint": check.fingerprint,
            "latency_s": check.latency_s,
            "source_changed": check.changed,
            "changes": list(check.changes),
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
        """Pass over windows that are done; wait, without a slot, for the policy's hours."""
        from datetime import UTC, datetime

        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        from dicom_migration.discovery.inventory import take_inventory
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.discovery import load_discovery_policy

        policy = load_discovery_policy()
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            counts = take_inventory(
                ledger,
                source,
                self.window_ids,
                policy,
                may_go_on=lambda: policy.hours.is_open(datetime.now(UTC)),
            )
        self.log.info("%s", counts)
        if counts.windows_left:
            opening = policy.hours.next_opening(datetime.now(UTC))
            self.log.info("%d windows wait for the hours at %s", counts.windows_left, opening)
            self.defer(trigger=DateTimeTrigger(moment=opening), method_name="resume")
        return counts.summary()

    def resume(self, context: Context, event: Any = None) -> dict[str, int]:
        """Go on with the windows that are left."""
        return self.execute(context)


class CloseInventoryOperator(ConnectedOperator):
    """Weigh a few instances, look for studies that vanished, and sum the inventory up.

    :param window_ids: result of :class:`OpenInventoryOperator`, which names the inventory
        (templated)
    :return: counts of the whole inventory, of vanished studies and of the sample
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "window_ids")

    def __init__(self, *, window_ids: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window_ids = window_ids

    def execute(self, context: Context) -> dict[str, Any]:
        """Do it once: a second try returns the same counts."""
        from dicom_migration.discovery.closing import close_inventory
        from dicom_migration.discovery.sampling import sample_sizes
        from dicom_migration.discovery.sizes import read_sizes
        from dicom_migration.discovery.sizing import apply_sizes
        from dicom_migration.discovery.windows import read_window
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.discovery import load_discovery_policy

        policy = load_discovery_policy()
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as source,
        ):
            _, inventory_id, _ = read_window(ledger, self.window_ids[0][0])
            counts = close_inventory(ledger, source, inventory_id, policy)
            sample = sample_sizes(ledger, source, policy.size_sample).summary()
            model = read_sizes(ledger, source.name, policy.bytes_per_instance)
            sample["studies_estimated"] = apply_sizes(ledger, source.name, model)
        self.log.info("Inventory %s: %s; sample of sizes: %s", inventory_id, counts, sample)
        return {"inventory_id": inventory_id, **counts, "size_sample": sample}
