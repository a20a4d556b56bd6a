"""Operators of the retrieval benchmark before it measures: what it will ask, and restores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.waves import waves_asked_for

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Context

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.slas import SlaPolicy
    from dicom_migration.retrieval.run_plan import RunPlan


def benchmark_id_of(run_id: str) -> str:
    """Return the benchmark's id: short, and the same for every try of a run."""
    import hashlib

    return f"B{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


def sized(policy: SlaPolicy, studies: int | str, archived_studies: int | str) -> SlaPolicy:
    """Return the policy with the numbers of the run's form in place; 0 keeps the policy's own."""
    update: dict[str, Any] = {}
    if int(studies or 0):
        update["sample"] = policy.sample.model_copy(update={"studies": int(studies)})
    if int(archived_studies or 0):
        asked = {"studies": int(archived_studies)}
        update["archived"] = policy.archived.model_copy(update=asked)
    return policy.model_copy(update=update)


class SizedOperator(ConnectedOperator):
    """Works on the sample that policy and form describe.

    :param studies: how many studies at most, 0 for the policy's number (templated)
    :param archived_studies: how many in archive tiers, 0 for the policy's number (templated)
    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    """

    template_fields: Sequence[str] = (
        "studies",
        "archived_studies",
        *ConnectedOperator.template_fields,
    )

    def __init__(
        self, *, studies: int | str = 0, archived_studies: int | str = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.studies = studies
        self.archived_studies = archived_studies

    def policy(self) -> SlaPolicy:
        """Read ``slas.yaml``, sized as the form says."""
        from dicom_migration.policies.slas import load_sla_policy

        return sized(load_sla_policy(), self.studies, self.archived_studies)

    def plan(self, ledger: Ledger, context: Context) -> RunPlan:
        """Choose the studies; raises when they exceed the budget."""
        from dicom_migration.ledger import utc_now
        from dicom_migration.policies.tiers import load_tiers_policy
        from dicom_migration.retrieval.run_plan import plan_run

        with ledger.read() as connection:
            return plan_run(
                connection,
                self.policy(),
                load_tiers_policy(),
                utc_now().date(),
                waves_asked_for(context),
                benchmark_id_of(str(context["run_id"])),
            )


class PlanRetrievalOperator(SizedOperator):
    """Tell what the benchmark will ask of both ends and what that costs; refuse beyond the budget.

    :return: counts of studies, requests and bytes; cost at list prices
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Nothing is read but the ledger."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.hooks.ledger import open_ledger

        with open_ledger(self.ledger_conn_id) as ledger:
            plan = self.plan(ledger, context)
        if not plan.sample.studies and not plan.archived:
            raise AirflowSkipException("No verified study can be retrieved without a restore.")
        self.log.info("This run will read %s", plan.told())
        return {
            "studies": len(plan.sample.studies),
            "priors": len(plan.sample.priors),
            "restores": plan.restores.requests,
            "requests": plan.cloud.requests,
            "bytes": plan.cloud.bytes,
            "source_retrievals": plan.source.requests,
            "source_bytes": plan.source.bytes,
            "cost": float(plan.cost),
            "currency": plan.currency,
        }


class RestoreArchivedOperator(SizedOperator):
    """Ask for the restore of the archived studies of the sample and wait for it, off the workers.

    Objects that are not there in time are an exception of their study; the benchmark goes on.

    :return: ``{"asked", "late"}``, in objects; nothing is asked without archived studies
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Ask; what was asked for in an earlier try is only waited for."""
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import utc_now
        from dicom_migration.retrieval.restoring import request_restores

        policy = self.policy()
        if not policy.archived.studies:
            return {"asked": 0, "late": 0}
        with open_ledger(self.ledger_conn_id) as ledger, open_store(self.target_conn_id) as store:
            plan = self.plan(ledger, context)
            awaited = request_restores(
                ledger,
                store,
                store.access,
                benchmark_id_of(str(context["run_id"])),
                plan.archived,
                policy.archived,
                utc_now(),
            )
        return self._go_on(context, awaited)

    def restored(self, context: Context, event: dict[str, Any]) -> dict[str, int]:
        """Keep what the trigger saw; wait for the rest, unless time is up."""
        from datetime import datetime

        from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError, ReasonCode
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.retrieval.restoring import forget, record_ready, restores_of

        benchmark_id = benchmark_id_of(str(context["run_id"]))
        ready = {
            key: datetime.fromisoformat(expires) if expires else None
            for key, expires in event["ready"].items()
        }
        lost = {
            key: PermanentError(
                message, reason=ReasonCode(reason), next_step="Verify the study's wave again."
            )
            for key, (reason, message) in event["lost"].items()
        }
        for error in lost.values():
            if error.reason in CONCERNS_EVERYBODY:
                raise error
        with open_ledger(self.ledger_conn_id) as ledger:
            record_ready(ledger, benchmark_id, ready, datetime.fromisoformat(event["seen_at"]))
            forget(ledger, benchmark_id, lost)
            with ledger.read() as connection:
                restores = restores_of(connection, benchmark_id)
        awaited = [restore.object_key for restore in restores if restore.ready_at is None]
        if event["late"] and awaited:
            self.log.warning("%d objects were not restored in time.", len(awaited))
            return {"asked": len(restores), "late": len(awaited)}
        return self._go_on(context, awaited)

    def _go_on(self, context: Context, awaited: Sequence[str]) -> dict[str, int]:
        """Defer while something is awaited; end otherwise."""
        from datetime import timedelta

        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.retrieval.restoring import restores_of
        from dicom_migration.triggers.restores import RestoresTrigger

        with open_ledger(self.ledger_conn_id) as ledger, ledger.read() as connection:
            restores = restores_of(connection, benchmark_id_of(str(context["run_id"])))
        if not awaited:
            return {"asked": len(restores), "late": 0}
        policy = self.policy().archived
        began: datetime = min(restore.requested_at for restore in restores)
        self.log.info("Waiting for %d objects to be restored.", len(awaited))
        self.defer(
            trigger=RestoresTrigger(
                target_conn_id=self.target_conn_id,
                keys=list(awaited),
                until=(began + timedelta(hours=policy.wait_hours)).isoformat(),
                poll_seconds=policy.poll_seconds,
            ),
            method_name="restored",
        )
        raise AssertionError("defer() does not return")
