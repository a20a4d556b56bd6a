"""The transfer DAG: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, TriggerRule

from dicom_migration.operators.defaults import (
    CLEANSED_WAVE,
    DEFAULT_ARGS,
    PACS_POOL,
    TRANSFERRED_WAVE,
)
from dicom_migration.operators.transfer import (
    CloseTransferOperator,
    CutShardsOperator,
    TransferPreflightOperator,
    TransferShardOperator,
    WaitForWindowOperator,
)

DOC = """
### Transfer: moves cleansed waves to the cloud

Runs by itself when a wave has been cleansed; may be triggered by hand for one wave (`wave_id`)
or for everything that is left (`wave_id` empty). Nothing at the source is changed.

**Safe at any time:** pause the DAG, clear a task, mark it failed, kill the worker. What is stored
stays, the next run goes on with the rest, nothing is counted twice.

| Task | When it fails |
|---|---|
| `preflight` | The message names the end that does not answer (source, bucket, ledger, policy file). Set it right and clear the task. |
| `wait_for_window` | Waits for `include/policies/windows.yaml` without holding a slot. |
| `cut_shards` | The ledger: see its message. |
| `transfer_shard` | Tries again by itself, with growing pauses. A study that cannot be moved becomes an exception with a reason code (`docs/reason-codes.md`); the others go on. |
| `close` | Waits for all shards; does not run while one has failed. Clear the failed shard. |

**Load on the PACS** is bounded by the pool `pacs_associations` (Admin → Pools): lower it and the
shards that run next obey. `include/policies/throttle.yaml` bounds bytes a second, and when source or
target struggle the governor halves the workers (`docs/guide.md`). Somebody needs a study now: the DAG
*Move these studies next*.
"""

with DAG(
    dag_id="transfer",
    dag_display_name="3 · Transfer",
    description="Retrieve, correct in flight, hash, store, record: wave by wave",
    doc_md=DOC,
    schedule=[CLEANSED_WAVE],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution"],
    params={
        "wave_id": Param(
            None,
            type=["null", "string"],
            title="Wave",
            description="One wave, for example P1a2b3c4d5-W0001. Empty: the wave that was just "
            "cleansed, or everything that is left when triggered by hand.",
        ),
    },
):
    preflight = TransferPreflightOperator(task_id="preflight", pool=PACS_POOL, retries=0)
    wait_for_window = WaitForWindowOperator(
        task_id="wait_for_window", execution_timeout=timedelta(days=8)
    )
    cut_shards = CutShardsOperator(task_id="cut_shards")
    transfer_shard = TransferShardOperator.partial(
        task_id="transfer_shard",
        pool=PACS_POOL,
        map_index_template="{{ wave_shard }}",
    ).expand(shard=cut_shards.output)
    close = CloseTransferOperator(
        task_id="close",
        cut_task_id="cut_shards",
        outlets=[TRANSFERRED_WAVE],
        trigger_rule=TriggerRule.NONE_FAILED,  # no shard left to move is no failure
    )

    preflight >> wait_for_window >> cut_shards
    transfer_shard >> close
