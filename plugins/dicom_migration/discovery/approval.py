"""Signing a plan: by a named person, and for exactly the content that was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from dicom_migration.discovery.applying import ApprovedDraft
from dicom_migration.discovery.plan_draft import seal_draft
from dicom_migration.discovery.planning import APPROVED, PROPOSED, Plan, heading_of, read_plan
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, schema, utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger


def approve_plan(ledger: Ledger, plan_id: str, content_sha256: str, approver: str) -> Plan:
    """Record that `approver` approves the plan, and make it true of its studies.

    A second time changes nothing.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when nobody is named, when the plan was superseded or is
        unknown, or when its content is not what was approved: neither the hash it was shown
        under, nor what the ledger holds of it now.
    """
    if not approver.strip():
        raise _refused(plan_id, "nobody is named as its approver")
    with ledger.write() as connection:
        plan = read_plan(connection, plan_id)
        if plan is None:
            raise _refused(plan_id, "there is no such plan")
        if plan.content_sha256 != content_sha256:
            raise _refused(plan_id, "its content is not what was shown for approval")
        if plan.state == APPROVED:
            return plan
        if plan.state != PROPOSED:
            raise _refused(plan_id, f"it is {plan.state}")
        draft = _unchanged_draft(connection, plan)
        sealed: dict[str, object] = {"plan": plan_id, "content_sha256": content_sha256}
        ApprovedDraft(connection, plan_id, draft, sealed).apply()
        connection.execute(
            update(schema.plan)
            .where(schema.plan.c.plan_id == plan_id)
            .values(state=APPROVED, approved_by=approver, approved_at=utc_now())
        )
        EventChain(f"plan/{plan_id}").append(
            connection,
            [("plan.approved", "", {"by": approver, "content_sha256": content_sha256})],
        )
        approved = read_plan(connection, plan_id)
    assert approved is not None  # noqa: S101  # it was updated in this transaction
    return approved


def reject_plan(
    ledger: Ledger, plan_id: str, content_sha256: str, person: str, answered_at: str
) -> None:
    """Record that `person` rejected the plan; one answer is recorded once."""
    chain = EventChain(f"plan/{plan_id}")
    sealed: dict[str, object] = {
        "by": person,
        "answered_at": answered_at,
        "content_sha256": content_sha256,
    }
    with ledger.write() as connection:
        if not chain.holds(connection, "plan.rejected", sealed):
            chain.append(connection, [("plan.rejected", "", sealed)])


def _unchanged_draft(connection: Connection, plan: Plan) -> int:
    """Return the number of the plan's draft, after hashing it anew."""
    row = connection.execute(
        select(schema.plan.c.draft, schema.plan.c.strategy).where(
            schema.plan.c.plan_id == plan.plan_id
        )
    ).one()
    if not row.draft:
        raise _refused(plan.plan_id, "it was made by an earlier version of this software")
    heading = heading_of(connection, row.strategy)
    if seal_draft(connection, row.draft, heading) != plan.content_sha256:
        raise _refused(plan.plan_id, "what the ledger holds of it is not what was shown")
    return int(row.draft)


def _refused(plan_id: str, why: str) -> PermanentError:
    return PermanentError(
        f"Plan {plan_id} cannot be approved: {why}.",
        reason=ReasonCode.APPROVAL_MISSING,
        next_step="Run the discovery DAG again and approve the plan it shows.",
    )
