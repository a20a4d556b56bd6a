"""The retrieval benchmark DAG: wiring only."""

from __future__ import annotations

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

DOC = """
### Retrieval benchmark: how long a clinician waits, cloud and source side by side

Runs by itself when a wave has been verified; may be triggered by hand for one wave or for all.
Reads a small, stratified sample of verified studies from both sides; changes nothing. What it
will read is the first line of the log of `measure`.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks policy, suite, ledger, source and bucket, once. The message names the end that will not do: set it right, clear the task. |
| `measure` | Times the first image and the whole study, first and repeated, then the busy hour (cloud only). A retrieval that fails is a sample, not a failure; an end that refuses or does not answer at all is one. *Skipped*: no verified study can be read without a restore. |
| `judge` | Compares percentiles with `include/policies/slas.yaml`, publishes the report. A broken promise is the exception `sla_breach` and a warning here; the task fails only with `on_breach: fail`. |

**Load:** the source serves one retrieval at a time, in the pool `pacs_associations`. To measure
less, lower `sample` and `busy_hour` in the policy, or the number of studies in the form.
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
    },
) as dag:
    preflight = RetrievalPreflightOperator(task_id="preflight", pool=PACS_POOL, retries=0)
    measure = MeasureRetrievalOperator(
        task_id="measure", studies="{{ params.studies }}", pool=PACS_POOL
    )
    judge = JudgeRetrievalOperator(
        task_id="judge", measured=measure.output, pool=CLOUD_POOL, outlets=[BENCHMARK]
    )

    preflight >> measure >> judge
