"""The DAG of the purge gate: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from dicom_migration.operators.defaults import DEFAULT_ARGS, PACS_POOL
from dicom_migration.operators.purge import (
    ApprovePurgeOperator,
    ProposePurgeOperator,
    SignPurgeListOperator,
)

DOC = """
### Purge candidates: a signed list for the administrator of the source

Triggered by hand. **Nothing is deleted**, neither at the source nor in the cloud. **Safe at any
time:** pause, clear or kill.

| Task | What it does, and what to do when it fails |
|---|---|
| `propose` | Judges each study that the retention policy lets go: verified and read back in full; every instance audited, or the same bytes in the second copy (connection `cloud_second_copy`); no open exception, no legal hold; the source unchanged now. *Skipped*: none passes; the message counts why. |
| `approve_list` | A person approves exactly the list shown. Nobody answers: the task fails, nothing is approved. |
| `sign_list` | Judges what was approved once more, leaves out what fails now, and signs the rest as JSON, CSV and a page. `approval_missing`: nothing is left of it, or the list that was shown is gone or changed; trigger the DAG again. `configuration_invalid`: no signing key, see `docs/certificate.md`. |

**Policy:** `include/policies/retention.yaml`. See `docs/purge.md`.
"""

with DAG(
    dag_id="purge_candidates",
    dag_display_name="Purge candidates",
    render_template_as_native_obj=True,
    description="Two proofs, retention, no drift, an approval: a signed list; never deletes",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "monitoring"],
    params={
        "limit": Param(
            1000,
            type="integer",
            minimum=1,
            maximum=100_000,
            title="Studies",
            description="At most so many studies on one list.",
        ),
    },
) as dag:
    propose = ProposePurgeOperator(
        task_id="propose", limit="{{ params.limit }}", pool=PACS_POOL, retries=0
    )
    approve_list = ApprovePurgeOperator(
        task_id="approve_list",
        proposal=propose.output,
        subject="Purge list of {{ ti.xcom_pull(task_ids='propose')['studies'] }} studies",
        body="{{ ti.xcom_pull(task_ids='propose')['approval_text'] }}",
        response_timeout=timedelta(days=14),
    )
    sign_list = SignPurgeListOperator(
        task_id="sign_list",
        proposal=propose.output,
        response=approve_list.output,
        pool=PACS_POOL,
    )
