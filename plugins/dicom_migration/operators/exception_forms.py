"""What a person typed into the forms of the exceptions DAG, and what the forms show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.ledger import Ledger
    from dicom_migration.operations.selecting import Selection


def selection_of(params: Any) -> Selection:
    """Return the filters of the Params form."""
    from dicom_migration.operations.selecting import Selection

    return Selection(
        exception_ids=tuple(int(number) for number in params["exception_ids"] or ()),
        reasons=tuple(params["reasons"] or ()),
        phases=tuple(params["phases"] or ()),
        wave_id=str(params["wave_id"] or "").strip(),
        study_instance_uids=tuple(uid.strip() for uid in params["study_instance_uids"] or ()),
        assigned_to=str(params["assigned_to"] or "").strip(),
        status="" if params["status"] == "all" else str(params["status"]),
    )


def resolution_of(decision: dict[str, str], run_id: str) -> Any:
    """Return the decision as it is carried out; a rule must exist."""
    from dicom_migration.errors import PermanentError, ReasonCode
    from dicom_migration.operations.resolutions import Action, Resolution
    from dicom_migration.policies.corrections import load_ruleset
    from dicom_migration.policies.identity import ORDERS_RULE, PATIENTS_RULE

    resolution = Resolution(
        Action(decision["action"]),
        by=decision["by"],
        run_id=run_id,
        why=decision["why"],
        rule_id=decision["rule_id"],
    )
    known = {rule.id for rule in load_ruleset().rules} | {PATIENTS_RULE, ORDERS_RULE}
    if resolution.action is Action.APPLY_RULE and resolution.rule_id not in known:
        raise PermanentError(
            "There is no rule of that id; nothing was changed.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Take the id from include/cleansing/rules.yaml; write the rule first.",
        )
    return resolution


def shown(ledger: Ledger, selection: Selection) -> dict[str, str]:
    """Return what a person is shown of the one exception chosen, and its hash; no patient data."""
    from hashlib import sha256

    from dicom_migration.errors import PermanentError, ReasonCode
    from dicom_migration.operations.selecting import selected

    with ledger.read() as connection:
        rows = selected(connection, selection, 2)
    if len(rows) != 1:
        raise PermanentError(
            f"A person can be asked about one exception, and {'more' if rows else 'none'} fit.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="List the exceptions, then trigger the DAG with the id of one.",
        )
    (row,) = rows
    text = "\n".join(
        (
            f"**Exception {row.exception_id}: `{row.reason}`** ({row.phase}, {row.status})",
            "",
            f"- Study `{row.study_instance_uid or 'none'}`: {row.study_state or 'unknown'}",
            f"- Series `{row.series_instance_uid or 'all'}`, instance "
            f"`{row.sop_instance_uid or 'all'}`",
            f"- {row.detail or 'No detail.'}",
            f"- Suggested: {row.suggested_fix or 'nothing.'}",
            f"- Assigned to {row.assigned_to or 'nobody'}",
        )
    )
    return {"text": text, "shown_sha256": sha256(text.encode()).hexdigest()}


def decided_by(context: Context) -> str:
    """Return who triggered the run.

    Raises
    ------
    PermanentError
        ``approval_missing``: Airflow does not tell.
    """
    from dicom_migration.operations.resolutions import require_a_name

    name = str(getattr(context["dag_run"], "triggering_user_name", None) or "")
    require_a_name(name)
    return name


def refuse_everything(selection: Selection) -> None:
    """Refuse to change something when no filter is set.

    Raises
    ------
    PermanentError
        ``configuration_invalid``.
    """
    from dicom_migration.errors import PermanentError, ReasonCode

    if selection.is_everything:
        raise PermanentError(
            "No filter is set: this would be for every exception; nothing was changed.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Choose by id, reason code, phase, wave, study or assignee.",
        )
