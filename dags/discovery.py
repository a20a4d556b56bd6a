"""The discovery DAG: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from dicom_migration.operators.defaults import (
    APPROVED_PLAN,
    CLOUD_POOL,
    DEFAULT_ARGS,
    INVENTORY,
    PACS_POOL,
)
from dicom_migration.operators.inventory import (
    CloseInventoryOperator,
    DiscoveryPreflightOperator,
    OpenInventoryOperator,
    TakeInventoryOperator,
)
from dicom_migration.operators.planning import (
    ApprovePlanOperator,
    MakePlanOperator,
    RecordPlanApprovalOperator,
)
from dicom_migration.operators.quality import ProfileInventoryOperator

DOC = """
### Discovery: what is in the archive, what is to be migrated, and who says so

Started by hand: first of all, and whenever new studies or changed policies are to be planned. Reads the source's database, and a few images to weigh them; changes nothing there. Ends with a plan that a named person approves, which starts the cleansing of its first wave. Until then no study is touched, and what was approved before goes on. A plan nobody approved is superseded by the next.

**Needs** the connections `pacs_source`, `cloud_target`, `migration_ledger`, and in `include/policies/` `discovery.yaml`, `strategy.yaml`, `tiers.yaml`, `retention.yaml`, `windows.yaml`.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks policies, ledger, source, target; creates the ledger's tables. A source configured otherwise than last time is the exception `source_reconfigured`. The message names file and field, or the end that does not answer. It does not try again by itself: set it right and clear the task. |
| `open_inventory` | Cuts history into date windows. Fails only when the ledger does not answer. |
| `take_inventory` | Asks the source window by window; bisects cut-off answers. Tries again by itself and passes over windows that are done. Outside the hours of `discovery.yaml` it waits. `window_capped` among the exceptions: raise the source's result limit, then run discovery again. |
| `close_inventory` | Asks by UID for studies that were missed (`study_vanished`), retrieves a few instances of each modality to estimate sizes. A source that delivers none leaves sizes assumed. |
| `profile` | Judges the database's fields (suite `inventory`). Reports only; fails when the suite is malformed. |
| `make_plan` | Decides, cuts waves, publishes the report and the plan as CSV and Parquet. *Skipped*: nothing is left to plan. |
| `approve_plan` | **Waits for a person** (Required Actions). Read the report first. Nobody answers in time: it fails and nothing is approved; clear it to ask again. *Reject* goes on record with your name; change policies, run again. |
| `record_approval` | Writes name and content hash into the ledger. Moves the studies into their waves. Refuses when a newer plan replaced this one: approve that one. |

**A quarantined study** is sent back so: set right at the source (or in the rules) what its exceptions say, then trigger this DAG with *Plan quarantined studies again*. To leave it out instead, name it in `strategy.yaml` (`action: exclude`, `study_instance_uids`) and run this DAG.

**Load on the PACS** is bounded by the pool `pacs_associations`. Clearing tasks of a run goes on with its inventory; a new run takes a new one.
"""

with DAG(
    dag_id="discovery",
    dag_display_name="1 · Discovery and plan",
    description="Inventory the source, decide, plan waves, cost and time, have it approved",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "planning"],
    params={
        "inventory_id": Param(
            None,
            type=["null", "string"],
            pattern="^I[0-9a-f]{10}$",
            title="Continue an inventory",
            description="Id of an inventory that was not finished, from the log of `open_inventory`. Empty: take a new one.",
            section="Inventory",
        ),
        "plan_quarantined": Param(
            False,
            type="boolean",
            title="Plan quarantined studies again",
            description="After what kept them back was set right at the source, or in the rules. Those that the source still reports empty or without a UID stay.",
            section="Plan",
        ),
        "replan": Param(
            False,
            type="boolean",
            title="Plan anew what has not begun",
            description="Also what approved plans left out, or hold in waves that wait. Until the new plan is approved they go on as they are; what has begun is not touched.",
            section="Plan",
        ),
    },
):
    preflight = DiscoveryPreflightOperator(task_id="preflight", pool=PACS_POOL, retries=0)
    open_inventory = OpenInventoryOperator(
        task_id="open_inventory", inventory_id="{{ params.inventory_id or '' }}"
    )
    take_inventory = TakeInventoryOperator.partial(task_id="take_inventory", pool=PACS_POOL).expand(
        window_ids=open_inventory.output
    )
    close_inventory = CloseInventoryOperator(
        task_id="close_inventory", window_ids=open_inventory.output, pool=PACS_POOL
    )
    profile = ProfileInventoryOperator(task_id="profile", outlets=[INVENTORY])
    make_plan = MakePlanOperator(
        task_id="make_plan",
        plan_quarantined="{{ params.plan_quarantined }}",
        replan="{{ params.replan }}",
        pool=CLOUD_POOL,
    )
    approve_plan = ApprovePlanOperator(
        task_id="approve_plan",
        plan=make_plan.output,
        subject="Migration plan {{ ti.xcom_pull(task_ids='make_plan')['plan_id'] }}",
        body="{{ ti.xcom_pull(task_ids='make_plan')['approval_text'] }}",
        response_timeout=timedelta(days=14),
    )
    record_approval = RecordPlanApprovalOperator(
        task_id="record_approval",
        plan=make_plan.output,
        response=approve_plan.output,
        outlets=[APPROVED_PLAN],
    )

    preflight >> open_inventory
    take_inventory >> close_inventory >> profile >> make_plan >> approve_plan >> record_approval
