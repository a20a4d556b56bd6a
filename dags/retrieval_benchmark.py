"""The retrieval benchmark DAG: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from dicom_migration.operators.defaults import (
    BENCHMARK,
    CLOUD_POOL,
    DEFAULT_ARGS,
    PACS_POOL,
    VERIFIED_WAVE,
)
from dicom_migration.operators.reading_preflight import RetrievalPreflightOperator
from dicom_migration.operators.retrieval import JudgeRetrievalOperator, MeasureRetrievalOperator
from dicom_migration.operators.retrieval_plan import PlanRetrievalOperator, RestoreArchivedOperator

DOC = """
### Retrieval benchmark: how long a clinician waits, cloud and source side by side

Runs by itself when a wave has been verified; may be triggered by hand for one wave or for all.
Reads a small, stratified sample of verified studies from both sides; changes nothing.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks policy, suite, ledger, source and bucket, once. The message names the end that will not do: set it right, clear the task. |
| `plan` | Logs what will be read and what that costs. `budget_exceeded`: lower the sample or raise `budget` in the policy. *Skipped*: no verified study can be read without a restore. |
| `restore` | Has archived studies restored (only when asked for) and waits for hours, *deferred*: no worker and no pool slot is held. |
| `measure` | Times first image, whole study and relevant prior, first and repeated, then the busy hour. A retrieval that fails is a sample, not a failure; an end that refuses or does not answer at all is one. |
| `judge` | Compares percentiles with `include/policies/slas.yaml` and this run with earlier ones, publishes the report. A broken promise is the exception `sla_breach` and an alert with the likely cause; the task fails only with `on_breach: fail`. |

**Load:** the source serves one retrieval at a time, in the pool `pacs_associations`, unless
`busy_hour.source` says more. To measure less, lower `sample` and `busy_hour` in the policy, or the
number of studies in the form. docs/retrieval.md explains every figure of the report.
"""

with DAG(
    dag_id="retrieval_benchmark",
    dag_display_name="5 · Retrieval benchmark",
    description="Time to first image and whole study, cloud and source, against the SLA policy",
    doc_md=DOC,
    schedule=[VERIFIED_WAVE],
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution", "monitoring"],
    params={
        "wave_id": Param(
            None,
            type=["null", "string"],
            title="Wave",
            description="Sample from one wave. Empty: the wave that was just verified, or all "
            "verified studies when triggered by hand.",
        ),
        "studies": Param(
            0,
            type="integer",
            minimum=0,
            maximum=5000,
            title="Studies",
            description="How many studies to sample at most. 0: as slas.yaml says.",
        ),
        "archived_studies": Param(
            0,
            type="integer",
            minimum=0,
            maximum=1000,
            title="Archived studies",
            description="How many studies in archive tiers to restore, which is charged for and "
            "takes hours. 0: as slas.yaml says.",
        ),
    },
) as dag:
    preflight = RetrievalPreflightOperator(task_id="preflight", pool=PACS_POOL, retries=0)
    size = {
        "studies": "{{ params.studies }}",
        "archived_studies": "{{ params.archived_studies }}",
    }
    plan = PlanRetrievalOperator(task_id="plan", **size)
    restore = RestoreArchivedOperator(
        task_id="restore", pool=CLOUD_POOL, execution_timeout=timedelta(days=9), **size
    )
    measure = MeasureRetrievalOperator(task_id="measure", pool=PACS_POOL, **size)
    judge = JudgeRetrievalOperator(
        task_id="judge", measured=measure.output, pool=CLOUD_POOL, outlets=[BENCHMARK]
    )

    preflight >> plan >> restore >> measure >> judge
