"""The cleansing DAG: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from dicom_migration.operators.cleansing import (
    ApproveCorrectionsOperator,
    CleansingPreflightOperator,
    CollectHeadersOperator,
    CutChunksOperator,
    ProposeCorrectionsOperator,
    RecordCorrectionsApprovalOperator,
    SettleWaveOperator,
)
from dicom_migration.operators.defaults import (
    APPROVED_PLAN,
    CLEANSED_WAVE,
    CLOUD_POOL,
    DEFAULT_ARGS,
    PACS_POOL,
    SENT_BACK,
    VERIFIED_WAVE,
)
from dicom_migration.operators.dry_run import TryCorrectionsOperator

DOC = """
### Cleansing: what the headers say, what is corrected, what a person must decide

Runs by itself for the first wave when a plan is approved, for the next wave when one has been
verified, and when a person sent studies back; may be triggered by hand for one wave (`wave_id`). Reads headers at the source, changes
nothing there and moves no image: corrections are applied by the transfer, on the way.

**Needs** an approved plan, `include/cleansing/rules.yaml`, `include/expectations/header_*.json`,
`include/policies/cleansing.yaml`. **Safe at any time:** pause, clear or kill.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks rules (each with its examples), suites and both ends; chooses the wave. Does not try again by itself: set it right and clear it. `approval_missing`: approve a plan first. *Skipped*: no wave is left. |
| `cut_chunks` | Deals the studies out to tasks. Fails only when the ledger does not answer. |
| `collect_headers` | Reads one header a series. A study that cannot be read is quarantined with a reason code; the others go on. One that the source fails in passing is tried again later; the last try quarantines it. Fails, and blames no study, when the source is down or refuses us: set that right and clear it; what is read is not read again. |
| `propose` | Applies the rules, judges before and after, publishes the report. Fails when a suite names a column that does not exist. |
| `dry_run` | Tries the rules on a few instances each, as the transfer would, and stores nothing. `correction_failed`: a rule changes more than it names; do not approve. |
| `approve_corrections` | **Waits for a person** (Required Actions), unless the same rules and suites were approved for an earlier wave of the plan. Nobody answers in time: it fails, nothing is approved; clear it to ask again. *Reject* goes on record with your name; change the rules, run again. |
| `record_approval` | Writes name and hash into the ledger. Refuses when the rules changed since: clear from `propose`. |
| `settle` | Studies become `cleansed`, or `quarantined` with their reasons; the transfer starts. `approval_missing`: rules or suites changed after the approval: clear from `propose`. |

**A quarantined study** stands in the exceptions with a suggested fix (`docs/reason-codes.md`); work
them with the DAG *Work the exceptions* (`docs/exceptions.md`).
"""

_PROPOSAL = "ti.xcom_pull(task_ids='propose')"
_DRY_RUN = "ti.xcom_pull(task_ids='dry_run')"

with DAG(
    dag_id="cleansing",
    dag_display_name="2 · Cleansing",
    description="Judge a wave's headers, propose corrections, have them approved, settle",
    doc_md=DOC,
    schedule=(APPROVED_PLAN | VERIFIED_WAVE | SENT_BACK),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution"],
    params={
        "wave_id": Param(
            None,
            type=["null", "string"],
            title="Wave",
            description="One wave, for example P1a2b3c4d5-W0001. Empty: the next planned wave of "
            "an approved plan.",
        ),
    },
):
    preflight = CleansingPreflightOperator(
        task_id="preflight", wave_id="{{ params.wave_id or '' }}", pool=PACS_POOL, retries=0
    )
    cut_chunks = CutChunksOperator(task_id="cut_chunks", wave=preflight.output)
    collect_headers = CollectHeadersOperator.partial(
        task_id="collect_headers", pool=PACS_POOL
    ).expand(chunk=cut_chunks.output)
    propose = ProposeCorrectionsOperator(task_id="propose", wave=preflight.output, pool=CLOUD_POOL)
    dry_run = TryCorrectionsOperator(task_id="dry_run", proposal=propose.output, pool=PACS_POOL)
    approve_corrections = ApproveCorrectionsOperator(
        task_id="approve_corrections",
        proposal=propose.output,
        subject="Corrections of wave {{ " + _PROPOSAL + "['wave_id'] }}",
        body="{{ " + _PROPOSAL + "['approval_text'] }}\n\n{{ " + _DRY_RUN + "['text'] }}",
        standing_approver="{{ " + _PROPOSAL + "['approved_by'] }}",
        response_timeout=timedelta(days=14),
    )
    record_approval = RecordCorrectionsApprovalOperator(
        task_id="record_approval", proposal=propose.output, response=approve_corrections.output
    )
    settle = SettleWaveOperator(task_id="settle", proposal=propose.output, outlets=[CLEANSED_WAVE])

    collect_headers >> propose >> dry_run >> approve_corrections >> record_approval >> settle
