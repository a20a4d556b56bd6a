"""Operators of the exceptions DAG: find, ask a person, resolve, start what follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator

from dicom_migration.operators.approval import NOBODY_ANSWERED, person_of
from dicom_migration.operators.connected import ConnectedOperator
from dicom_migration.operators.defaults import LEDGER_CONN_ID
from dicom_migration.operators.exception_forms import (
    decided_by,
    refuse_everything,
    resolution_of,
    selection_of,
    shown,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from dicom_migration.ledger import Ledger
    from dicom_migration.operations.selecting import Selection

LIST, ASK, ASSIGN = "list", "ask", "assign"
#: What the form offers, and the action each stands for.
ANSWERS = {
    "Apply rule": "apply_rule",
    "Accept as is": "accept",
    "Exclude": "exclude",
    "Send back": "send_back",
    "Leave open": "",
}
ACTIONS = (LIST, ASK, ASSIGN, *(action for action in ANSWERS.values() if action))
MOST, LOGGED = 100_000, 200


class FindExceptionsOperator(ConnectedOperator):
    """Find the exceptions that the Params form means; list them, or say which one to decide.

    :return: action, counts by reason code, the address of the list, and for one exception its
        text and the hash of what it says
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Refuse before anything is changed what cannot be carried out."""
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operations.selecting import count_selected
        from dicom_migration.operators.preflight import for_a_person

        params: Any = context["params"]
        action, selection = str(params["action"]), selection_of(params)
        with for_a_person(), open_ledger(self.ledger_conn_id) as ledger:
            ledger.upgrade()
            found: dict[str, Any] = {
                "action": action,
                "by_reason": count_selected(ledger, selection),
            }
            found["chosen"] = sum(found["by_reason"].values())
            self._log(ledger, selection)
            if action == LIST:
                found["list_uri"] = self._publish(ledger, selection)
            elif action == ASK:
                found |= shown(ledger, selection)
            else:
                refuse_everything(selection)
                decided_by(context)
        self.log.info("%d exceptions: %s", found["chosen"], found["by_reason"])
        return found

    def _log(self, ledger: Ledger, selection: Selection) -> None:
        from dicom_migration.operations.selecting import selected, table_of, workload

        with ledger.read() as connection:
            rows = selected(connection, selection, LOGGED)
        for line in table_of(rows):
            self.log.info("%s", line)
        self.log.info("Open, by whom they are assigned to: %s", workload(ledger))

    def _publish(self, ledger: Ledger, selection: Selection) -> str:
        from pathlib import Path
        from tempfile import TemporaryDirectory

        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.operations.selecting import export_list
        from dicom_migration.operators.reports import publish_file

        with TemporaryDirectory() as folder, open_store(self.target_conn_id) as store:
            path = Path(folder) / "exceptions.csv"
            export_list(ledger, selection, path)
            subject = selection.wave_id or "all"
            return publish_file(store, ledger, kind="exceptions", subject=subject, path=path)


class AskAboutExceptionOperator(HITLOperator):
    """Ask a person to decide about the one exception that was found; else do nothing.

    There is no default answer: when nobody answers in time, the task fails and nothing changes.

    :param found: result of :class:`FindExceptionsOperator` (templated)
    """

    template_fields: Collection[str] = (*HITLOperator.template_fields, "found")

    def __init__(self, *, found: Any, **kwargs: Any) -> None:
        kwargs = {
            "options": list(ANSWERS),
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": False,
            "retry_policy": NOBODY_ANSWERED,
            **kwargs,
        }
        super().__init__(**kwargs)
        self.found = found

    def execute(self, context: Context) -> Any:
        """Wait for the answer, if one is needed."""
        if self.found["action"] != ASK:
            return None
        return super().execute(context)


class ResolveExceptionsOperator(BaseOperator):
    """Assign or resolve the exceptions, in the name of who triggered the run or answered the form.

    :param found: result of :class:`FindExceptionsOperator` (templated)
    :param answer: result of :class:`AskAboutExceptionOperator` (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: counts of what was done, and of what could not be done by why
    """

    template_fields: Sequence[str] = ("found", "answer", "ledger_conn_id")

    def __init__(
        self, *, found: Any, answer: Any, ledger_conn_id: str = LEDGER_CONN_ID, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.found = found
        self.answer = answer
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Do it once, however often the task runs."""
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operations.resolutions import Outcome
        from dicom_migration.operations.resolving import assign, resolve

        params: Any = context["params"]
        action = str(params["action"])
        selection, at_most = selection_of(params), int(params["at_most"])
        run_id = str(getattr(context["dag_run"], "run_id", ""))
        outcome = Outcome()
        with open_ledger(self.ledger_conn_id) as ledger:
            if action == ASSIGN:
                refuse_everything(selection)
                to = str(params["assign_to"] or "").strip()
                outcome = assign(ledger, selection, to, decided_by(context), run_id, at_most)
            elif action == ASK:
                outcome = self._answered(ledger, selection, run_id)
            elif action != LIST:
                refuse_everything(selection)
                decision = {
                    "action": action,
                    "by": decided_by(context),
                    "why": str(params["reason"] or ""),
                    "rule_id": str(params["rule_id"] or ""),
                }
                outcome = resolve(ledger, selection, resolution_of(decision, run_id), at_most)
        self.log.info("%s", outcome.summary())
        return outcome.summary()

    def _answered(self, ledger: Ledger, selection: Selection, run_id: str) -> Any:
        from dicom_migration.errors import PermanentError, ReasonCode
        from dicom_migration.operations.resolutions import Outcome, outcome_of_run
        from dicom_migration.operations.resolving import resolve

        action = ANSWERS[self.answer["chosen_options"][0]]
        with ledger.read() as connection:
            done = outcome_of_run(connection, run_id)
        if done is not None or not action:
            return done or Outcome()
        if shown(ledger, selection)["shown_sha256"] != self.found["shown_sha256"]:
            raise PermanentError(
                "The exception has changed since the person was asked; nothing was changed.",
                reason=ReasonCode.APPROVAL_MISSING,
                next_step="Trigger the DAG again for this exception.",
            )
        typed = self.answer.get("params_input") or {}
        decision = {
            "action": action,
            "by": person_of(self.answer),
            "why": str(typed.get("reason") or ""),
            "rule_id": str(typed.get("rule_id") or ""),
        }
        return resolve(ledger, selection, resolution_of(decision, run_id), at_most=1)


class AnnounceSentBackOperator(BaseOperator):
    """Announce studies that were sent back, so that cleansing starts; skipped when there are none.

    :param outcome: result of :class:`ResolveExceptionsOperator` (templated)
    """

    template_fields: Sequence[str] = ("outcome",)

    def __init__(self, *, outcome: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcome = outcome

    def execute(self, context: Context) -> int:
        """Succeed, which emits the asset."""
        from airflow.sdk.exceptions import AirflowSkipException

        count = int(self.outcome["studies_sent_back"])
        if not count:
            raise AirflowSkipException("No study was sent back.")
        self.log.info("%d studies go through cleansing again", count)
        return count
