"""The DAG with which a person works the exceptions: wiring only."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from dicom_migration.operators.defaults import CLOUD_POOL, DEFAULT_ARGS, SENT_BACK
from dicom_migration.operators.exceptions import (
    ACTIONS,
    MOST,
    AnnounceSentBackOperator,
    AskAboutExceptionOperator,
    FindExceptionsOperator,
    ResolveExceptionsOperator,
)

DOC = """
### Work the exceptions: list, assign, resolve

Triggered by hand. Choose an action and filters; nothing is changed by `list`. Each decision is an
event with your name in the ledger. `docs/exceptions.md` says what each resolution does.

| Task | What it does, and what to do when it fails |
|---|---|
| `find` | Finds what the filters mean, logs the first 200; for `list` stores all as CSV beside the reports. Refuses a filter that cannot be, and a change without any filter or name: trigger again. |
| `ask` | Only for `ask`: **waits for a person** (Required Actions) to decide about one exception. Nobody answers in time: it fails, nothing is changed; clear it. |
| `resolve` | Carries the decision out, all of it or nothing, and only once. Refuses more than *At most*, and an exception that changed since it was shown: trigger again. What could not be done is counted by why in its result. |
| `announce` | Starts *2 · Cleansing* for studies that go back. *Skipped*: there are none. |
"""

_FOUND = "ti.xcom_pull(task_ids='find')"
_NO_PHI = "**No patient data:** whoever may see this run reads it."


def _texts(title: str, description: str, **items: object) -> Param:
    entries = {"type": "string", "maxLength": 64, **items}
    return Param([], type="array", items=entries, maxItems=1000, title=title,
                 description_md=description, section="Which")  # fmt: skip


def _text(title: str, description: str, section: str, most: int = 64) -> Param:
    return Param("", type=["null", "string"], maxLength=most, title=title,
                 description_md=description, section=section)  # fmt: skip


_REASON = _text(
    "Reason", f"Needed to exclude. A ticket number or a few words. {_NO_PHI}", "What", 200
)
_RULE = _text("Rule", "For `apply_rule`: its id in `include/cleansing/rules.yaml`.", "What")

with DAG(
    dag_id="exceptions",
    dag_display_name="Work the exceptions",
    description="List, assign and resolve what a person must decide",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    tags=["image-migration", "execution"],
    params={
        "action": Param("list", enum=list(ACTIONS), title="Action", section="What",
            description_md="`ask` shows one exception and waits for an answer; the others decide "
            "for all that the filters choose."),
        "assign_to": _text("Assign to", "For `assign`: a user's name; empty: nobody.", "What"),
        "rule_id": _RULE,
        "reason": _REASON,
        "at_most": Param(100, type="integer", minimum=1, maximum=MOST, title="At most",
            description_md="Refuse when more are chosen.", section="What"),
        "exception_ids": Param([], type="array", items={"type": "integer"}, maxItems=1000,
            title="Ids", description_md="The numbers of a list.", section="Which"),
        "reasons": _texts("Reason codes", "See `docs/reason-codes.md`."),
        "phases": _texts("Phases", "`discovery`, `cleansing`, `transfer`, `verification`."),
        "wave_id": _text("Wave", "Exceptions of its studies.", "Which"),
        "study_instance_uids": _texts("Study Instance UIDs", "One a line."),
        "assigned_to": _text("Assigned to", "A user's name, or `nobody`.", "Which"),
        "status": Param("open", enum=["open", "accepted", "resolved", "all"], title="Status",
            section="Which"),
    },
):  # fmt: skip
    find = FindExceptionsOperator(task_id="find", pool=CLOUD_POOL, retries=0)
    ask = AskAboutExceptionOperator(
        task_id="ask",
        found=find.output,
        subject="Decide about an exception",
        body="{{ " + _FOUND + ".get('text', '') }}",
        params={"reason": _REASON, "rule_id": _RULE},
        response_timeout=timedelta(days=14),
    )
    resolve = ResolveExceptionsOperator(task_id="resolve", found=find.output, answer=ask.output)
    AnnounceSentBackOperator(task_id="announce", outcome=resolve.output, outlets=[SENT_BACK])
