"""The verification DAG: wiring only."""

from __future__ import annotations

from airflow.sdk import DAG, Param, XComArg

from dicom_migration.operators.audits import AuditPixelsOperator
from dicom_migration.operators.defaults import (
    CLEANSED_WAVE,
    CLOUD_POOL,
    DEFAULT_ARGS,
    PACS_POOL,
    TRANSFERRED_WAVE,
    VERIFIED_WAVE,
)
from dicom_migration.operators.reading_preflight import VerificationPreflightOperator
from dicom_migration.operators.verification import (
    AnnounceVerifiedOperator,
    IssueCertificatesOperator,
    PlanVerificationOperator,
    RefuseUnansweredOperator,
    RequestTransferOperator,
    SealManifestsOperator,
    SettleMismatchesOperator,
    VerifyShardOperator,
)

DOC = """
### Verification: proves that the cloud holds what the source holds

Runs by itself when a wave has been transferred; may be triggered by hand for one wave (`wave_id`)
or for every wave with transferred or mismatched studies (`wave_id` empty). Nothing is changed at the
source, and no object in the cloud. **Safe at any time:** pause, clear or kill; verified studies are
not read again.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks policy, suite, ledger, source and bucket, once. The message names the end that will not do: set it right, clear the task. |
| `plan` | Chooses the waves. *Skipped*: nothing awaits verification. |
| `verify_shard` | Asks the source again, compares receipt, manifest and cloud, reads every object back. Fails only when source or cloud do not answer: see the message, then clear the task. |
| `audit_pixels` | Compares pixels and headers of a sample on both sides and publishes the report `audit` (`docs/audits.md`). A difference makes the study `mismatched`. |
| `settle` | Sends mismatched studies back to transfer (`max_redrives` times), then to a person. |
| `seal_manifests` | Compacts the manifests and judges completeness (suite `manifest`). `manifest_corrupt` here: somebody changed the bucket after verification. |
| `certify` | Issues the certificates. `ledger_tampered`: **stop, keep the ledger as it is**, compare it with a backup and with earlier certificates. |
| `request_transfer` | Starts the transfer again. *Skipped*: no study has to be sent again. |
| `announce` | Starts the retrieval benchmark. *Skipped*: no wave is complete yet. |
| `unanswered` | Fails when studies got no answer on the last try: clear `verify_shard`, or trigger this DAG for the wave. |

**Policy:** `include/policies/verification.yaml`. **A study that a person must decide** stands in
the exceptions with its reason code (`docs/reason-codes.md`).
"""

with DAG(
    dag_id="verification",
    dag_display_name="4 · Verification",
    render_template_as_native_obj=True,
    description="Source, receipt, manifest and cloud compared; every object read back; sealed",
    doc_md=DOC,
    schedule=[TRANSFERRED_WAVE],
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
            "transferred, or every wave with studies to verify when triggered by hand.",
        ),
    },
) as dag:
    preflight = VerificationPreflightOperator(task_id="preflight", pool=PACS_POOL, retries=0)
    plan = PlanVerificationOperator(task_id="plan")
    waves = XComArg(plan, key="waves")
    verify_shard = VerifyShardOperator.partial(
        task_id="verify_shard",
        pool=PACS_POOL,
        map_index_template="{{ wave_shard }}",
    ).expand(shard=plan.output)
    audit_pixels = AuditPixelsOperator(task_id="audit_pixels", waves=waves, pool=PACS_POOL)
    settle = SettleMismatchesOperator(task_id="settle", waves=waves)
    seal_manifests = SealManifestsOperator(task_id="seal_manifests", waves=waves, pool=CLOUD_POOL)
    certify = IssueCertificatesOperator(task_id="certify", waves=waves, pool=CLOUD_POOL)
    request_transfer = RequestTransferOperator(
        task_id="request_transfer",
        waves="{{ ti.xcom_pull(task_ids='settle')['waves'] }}",
        outlets=[CLEANSED_WAVE],
    )
    announce = AnnounceVerifiedOperator(
        task_id="announce",
        waves="{{ ti.xcom_pull(task_ids='certify')['complete'] }}",
        outlets=[VERIFIED_WAVE],
    )
    unanswered = RefuseUnansweredOperator(
        task_id="unanswered",
        unanswered="{{ ti.xcom_pull(task_ids='certify')['unanswered'] }}",
        retries=0,  # it reads no study: clear verify_shard instead
    )

    preflight >> plan
    verify_shard >> audit_pixels >> settle >> seal_manifests >> certify
    certify >> [request_transfer, announce, unanswered]
