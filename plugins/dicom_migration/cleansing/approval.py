"""Signing corrections: an approval is for a set of rules, and holds for the plan's later waves."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, schema, utc_now

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger

_WAVE = schema.wave.c


def approval_hash(ruleset_sha256: str, suites_sha256: str) -> str:
    """Return what an approval is bound to: the rules that change and the suites that keep back."""
    return hashlib.sha256(f"{ruleset_sha256}|{suites_sha256}".encode()).hexdigest()


def standing_approval(ledger: Ledger, wave_id: str, ruleset_sha256: str) -> str:
    """Return who approved these rules for a wave of the same plan, "" when nobody did."""
    plan_of = select(_WAVE.plan_id).where(_WAVE.wave_id == wave_id).scalar_subquery()
    with ledger.read() as connection:
        approver = connection.scalar(
            select(_WAVE.approved_by)
            .where(
                _WAVE.plan_id == plan_of,
                _WAVE.ruleset_sha256 == ruleset_sha256,
                _WAVE.approved_by != "",
            )
            .order_by(_WAVE.approved_at)
            .limit(1)
        )
    return approver or ""


def approve_corrections(ledger: Ledger, wave_id: str, ruleset_sha256: str, approver: str) -> None:
    """Record that `approver` approves the wave's corrections; a second time changes nothing.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when nobody is named, or when the wave's proposals come
        from other rules than those that were shown.
    """
    if not approver.strip():
        raise _refused(wave_id, "nobody is named as approver")
    table = schema.correction.c
    with ledger.write() as connection:
        others = connection.scalar(
            select(table.correction_id)
            .where(
                table.wave_id == wave_id,
                table.status == "proposed",
                table.ruleset_sha256 != ruleset_sha256,
            )
            .limit(1)
        )
        if others is not None:
            raise _refused(wave_id, "its corrections were proposed by other rules since")
        changed = connection.execute(
            update(schema.wave)
            .where(
                _WAVE.wave_id == wave_id,
                (_WAVE.ruleset_sha256 != ruleset_sha256) | (_WAVE.approved_by == ""),
            )
            .values(
                ruleset_sha256=ruleset_sha256,
                approved_by=approver,
                approved_at=utc_now(),
                updated_at=utc_now(),
            )
        ).rowcount
        if changed:
            EventChain(f"wave:{wave_id}/cleansing").append(
                connection,
                [("corrections.approved", "", {"by": approver, "ruleset_sha256": ruleset_sha256})],
            )


def reject_corrections(
    ledger: Ledger, wave_id: str, ruleset_sha256: str, person: str, answered_at: str
) -> None:
    """Record that `person` rejected the wave's corrections; one answer is recorded once."""
    chain = EventChain(f"wave:{wave_id}/cleansing")
    sealed: dict[str, object] = {
        "by": person,
        "answered_at": answered_at,
        "ruleset_sha256": ruleset_sha256,
    }
    with ledger.write() as connection:
        if not chain.holds(connection, "corrections.rejected", sealed):
            chain.append(connection, [("corrections.rejected", "", sealed)])


def require_approval(ledger: Ledger, wave_id: str, ruleset_sha256: str) -> None:
    """Make sure that the wave's approval is for exactly these rules.

    Raises
    ------
    PermanentError
        With reason ``approval_missing``.
    """
    with ledger.read() as connection:
        row = connection.execute(
            select(_WAVE.ruleset_sha256, _WAVE.approved_by).where(_WAVE.wave_id == wave_id)
        ).one()
    if not row.approved_by or row.ruleset_sha256 != ruleset_sha256:
        raise _refused(wave_id, "its corrections are not approved, or the rules changed since")


def _refused(wave_id: str, why: str) -> PermanentError:
    return PermanentError(
        f"The corrections of wave {wave_id} are not approved: {why}.",
        reason=ReasonCode.APPROVAL_MISSING,
        next_step="Run the cleansing DAG for the wave again and approve what it shows.",
    )
