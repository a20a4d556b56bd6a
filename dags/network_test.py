"""The network test DAG: wiring only."""

from __future__ import annotations

from airflow.sdk import DAG

from dicom_migration.operators.defaults import DEFAULT_ARGS
from dicom_migration.operators.network import NetworkTestOperator
from dicom_migration.operators.reading_preflight import RetrievalPreflightOperator

DOC = """
### Network test: what the migration costs clinicians

Trigger it at rest, and again while a transfer runs: it is a DAG of its own so that it can. Small
requests to store and source, and a few MiB sent to the bucket, read back and removed
(`network` in `include/policies/slas.yaml`). It notes in the ledger how many transfer workers were at
the source meanwhile; the governor's probes during transfers count as well. The next retrieval report
shows both side by side, and the log of `probe` tells it at once.

| Task | What it does, and what to do when it fails |
|---|---|
| `preflight` | Checks policy, suite, ledger, source and bucket, once. |
| `probe` | Measures and removes its objects (prefix `network-test/`). `target_rejected` on DeleteObject: grant it below that prefix, see docs/connect-s3.md, then delete what is left there. |
"""

with DAG(
    dag_id="network_test",
    dag_display_name="Network test",
    description="Latency and throughput to the target, at rest and during a migration",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution", "monitoring"],
) as dag:
    # In no pool: a transfer may hold every slot for hours, and during it is when this is asked.
    preflight = RetrievalPreflightOperator(task_id="preflight", retries=0)
    probe = NetworkTestOperator(task_id="probe")

    preflight >> probe
