"""Approvals by a named person, and by one who gave the same approval before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import TaskAwaitingInput

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.operators.defaults import LEDGER_CONN_ID

if TYPE_CHECKING:
    from airflow.sdk import Context

_ASKED_ABOUT = "asked_about"
NOBODY_ANSWERED = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="airflow.providers.standard.exceptions.HITLTimeoutError",
            action=RetryAction.FAIL,
            reason="Nobody answered in time: nothing is approved.",
        )
    ]
)


class StandingApprovalOperator(ApprovalOperator):
    """Ask for an approval, unless it was given for exactly the same content before.

    There is no default answer: when nobody answers within ``response_timeout`` the task fails,
    and nothing is approved.

    A rejection skips what follows, so this task itself has to put it on record, by
    :meth:`record_rejection` of a subclass. An answer is for what was shown: when that has changed
    while the task waited, it counts for nothing and the person is asked again.

    :param standing_approver: who approved before, "" when nobody did (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    """

    template_fields: Collection[str] = (
        *ApprovalOperator.template_fields,
        "standing_approver",
        "ledger_conn_id",
    )

    def __init__(
        self,
        *,
        standing_approver: str = "",
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        # Airflow 3.3 fails a task that is answered within some seconds of asking, before its
        # scheduler has noted the pause: it is then asked again, which approves nothing.
        kwargs = {
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": False,
            "retry_policy": NOBODY_ANSWERED,
            **kwargs,
        }
        super().__init__(**kwargs)
        self.standing_approver = standing_approver
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> Any:
        """Return at once what a standing approval says, else wait for a person."""
        if not self.standing_approver:
            try:
                return super().execute(context)
            except TaskAwaitingInput as waiting:
                waiting.kwargs = {**(waiting.kwargs or {}), _ASKED_ABOUT: self.asked_about()}
                raise
        self.log.info("Approved before, for the same content, by %s", self.standing_approver)
        return {
            _ASKED_ABOUT: self.asked_about(),
            "chosen_options": [self.APPROVE],
            "params_input": {},
            "responded_by_user": {"id": "", "name": self.standing_approver},
        }

    def execute_complete(
        self, context: Context, event: dict[str, Any], asked_about: str = ""
    ) -> Any:
        """Put a rejection on record, then skip what follows; else go on.

        Raises
        ------
        TransientError
            What was shown is not what is to be approved by now: the next try asks again.
        """
        if "error" not in event and asked_about != self.asked_about():
            raise TransientError(
                "What this approval was asked about has changed while it waited; the answer "
                "counts for nothing.",
                reason=ReasonCode.APPROVAL_MISSING,
                next_step="Nothing: the task asks again, with the new text.",
            )
        if event.get("chosen_options") == [self.REJECT]:
            self.record_rejection(person_of(event), str(event.get("responded_at") or ""))
        return {**super().execute_complete(context, event), _ASKED_ABOUT: asked_about}

    @abstractmethod
    def asked_about(self) -> str:
        """Return the hash of what the person is shown."""

    @abstractmethod
    def record_rejection(self, person: str, answered_at: str) -> None:
        """Write into the ledger who rejected what, and when (ISO 8601)."""


def approver_of(response: Any, asked_about: str) -> str:
    """Return who approved just that, from the XCom of an approval task; "" when nobody did."""
    if not isinstance(response, dict) or response.get("chosen_options") != ["Approve"]:
        return ""
    return person_of(response) if response.get(_ASKED_ABOUT) == asked_about else ""


def person_of(response: dict[str, Any]) -> str:
    """Return who answered, "" when Airflow does not tell."""
    user = response.get("responded_by_user") or {}
    return str(user.get("name") or user.get("id") or "")
