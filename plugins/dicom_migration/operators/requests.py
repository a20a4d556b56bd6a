"""The operator of the DAG with which a person lets studies go first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from dicom_migration.operators.defaults import LEDGER_CONN_ID

if TYPE_CHECKING:
    from airflow.sdk import Context

MOST_STUDIES = 100


class RequestStudiesOperator(BaseOperator):
    """Let the studies of the Params form (``study_instance_uids``) be moved before all others.

    :param ledger_conn_id: connection of the ledger (templated)
    :return: for each study its state and what will become of it
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)

    def __init__(self, *, ledger_conn_id: str = LEDGER_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the UIDs, enter the request, say of each study what comes next."""
        from dataclasses import asdict

        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.ledger import request_studies
        from dicom_migration.operators.preflight import for_a_person

        params: Any = context["params"]
        uids = _checked(list(params["study_instance_uids"] or []))
        run: Any = context["dag_run"]
        with for_a_person(), open_ledger(self.ledger_conn_id) as ledger:
            ledger.upgrade()
            answers = request_studies(
                ledger,
                uids,
                requested_by=getattr(run, "triggering_user_name", None) or "unknown",
                reason=str(params["reason"]),
            )
            workers = _workers(ledger)
        for answer in answers:
            self.log.info("Study %s %s", answer.study_instance_uid, answer.message)
        if workers == 0 and any(answer.is_urgent for answer in answers):
            self.log.info("No transfer is running: start the DAG 3 · Transfer, or await its window")
        return {"studies": [asdict(answer) for answer in answers], "workers": workers}


def _workers(ledger: Any) -> int:
    from dicom_migration.pacing.associations import KIND
    from dicom_migration.pacing.leases import Leases, new_holder

    return Leases(ledger, new_holder()).active(KIND)


def _checked(uids: list[Any]) -> list[str]:
    """Return the UIDs; what is none is not repeated in the message, it may be a patient's name."""
    from dicom_migration.errors import PermanentError, ReasonCode
    from dicom_migration.uids import is_valid_uid

    stripped = [str(uid).strip() for uid in uids]
    wrong = [place for place, uid in enumerate(stripped, start=1) if not is_valid_uid(uid)]
    if wrong or not 1 <= len(stripped) <= MOST_STUDIES:
        told = f"entry {wrong[0]} is no UID" if wrong else f"there are {len(stripped)} of them"
        raise PermanentError(
            f"The list of Study Instance UIDs cannot be used: {told}.",
            reason=ReasonCode.UID_INVALID,
            next_step=f"Trigger the DAG again with 1 to {MOST_STUDIES} Study Instance UIDs "
            "(digits and dots), one a line.",
        )
    return stripped
