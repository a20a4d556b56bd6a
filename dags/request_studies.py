"""The DAG with which a person lets studies go first: wiring only."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from dicom_migration.operators.defaults import DEFAULT_ARGS
from dicom_migration.operators.requests import MOST_STUDIES, RequestStudiesOperator

DOC = """
### Move these studies next

For a clinic that needs an old study, a legal request, a test. Trigger it with the Study Instance
UIDs and a reason. The running transfer takes these studies before any other, in whatever wave they
are; one that is not cleansed yet goes first as soon as it is. A study is still moved once, checked
like all others, and counted in its own wave.

| Task | When it fails |
|---|---|
| `request` | The message names the entry that is no UID, or the ledger's trouble. Nothing was changed: set it right and trigger again. |

Its log and its XCom say of each study whether it goes next, waits for its wave, is in the cloud
already, is left out by policy, or is unknown. **Without a running transfer nothing moves:** start
*3 · Transfer*, or wait for the window.
"""

with DAG(
    dag_id="request_studies",
    dag_display_name="Move these studies next",
    description="Let requested studies jump the queue of the transfer",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution"],
    params={
        "study_instance_uids": Param(
            [],
            type="array",
            items={"type": "string", "pattern": r"^\s*[0-9.]{1,64}\s*$"},
            maxItems=MOST_STUDIES,
            title="Study Instance UIDs",
            description_md=f"One a line, at most {MOST_STUDIES}.",
        ),
        "reason": Param(
            "",
            type="string",
            maxLength=100,
            title="Reason",
            description_md="A ticket number or a few words. **No patient data:** whoever may see "
            "this run reads it.",
        ),
    },
):
    RequestStudiesOperator(task_id="request", retries=0)
