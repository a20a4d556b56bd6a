"""Which wave is cleansed next, and how its studies are dealt out to tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, func, or_, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.cleansing import CleansingPolicy

PLANNED, CLEANSED = "planned", "cleansed"
_WAVE, _PLAN, _STUDY = schema.wave.c, schema.plan.c, schema.study.c


@dataclass(frozen=True, slots=True)
class WaveChoice:
    """The wave to cleanse."""

    wave_id: str
    plan_id: str
    studies: int

    def summary(self) -> dict[str, str | int]:
        """Return it for XCom."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Studies `number * size` to `(number + 1) * size` of a wave, in order of their UIDs."""

    wave_id: str
    number: int
    size: int


def choose_wave(ledger: Ledger, wave_id: str | None) -> WaveChoice | None:
    """Return the wave asked for, or the next one with work; None when none is left.

    Work has a wave that waits, and one of whose studies a person sent some back.

    Raises
    ------
    PermanentError
        With reason ``approval_missing`` when the wave's plan, or any plan, is not approved.
    """
    query = (
        select(_WAVE.wave_id, _WAVE.plan_id, _WAVE.studies, _PLAN.state.label("plan_state"))
        .join(schema.plan, _PLAN.plan_id == _WAVE.plan_id)
        .order_by(_PLAN.approved_at, _PLAN.plan_id, _WAVE.ordinal)
    )
    with ledger.read() as connection:
        if wave_id:
            row = connection.execute(query.where(_WAVE.wave_id == wave_id)).first()
            if row is None:
                raise _unknown(wave_id)
            if row.plan_state != "approved":
                raise _unapproved(f"Plan {row.plan_id} of wave {wave_id} is {row.plan_state}")
        else:
            row = connection.execute(
                query.where(
                    _PLAN.state == "approved", or_(_WAVE.state == PLANNED, _has_sent_back())
                ).limit(1)
            ).first()
            if row is None and not _any_approved_plan(ledger):
                raise _unapproved("No plan is approved yet")
    return None if row is None else WaveChoice(row.wave_id, row.plan_id, row.studies)


def cut_chunks(ledger: Ledger, wave_id: str, policy: CleansingPolicy) -> list[Chunk]:
    """Deal the studies of a wave out to tasks; at least one chunk, empty or not."""
    with ledger.read() as connection:
        studies = connection.scalar(
            select(func.count()).select_from(schema.study).where(_STUDY.wave_id == wave_id)
        )
    count = int(studies or 0)
    most = max(policy.studies_per_task, -(-count // policy.max_tasks))
    tasks = max(1, -(-count // most))
    size = max(1, -(-count // tasks))  # equal tasks: none is left with the rest
    return [Chunk(wave_id, number, size) for number in range(max(1, -(-count // size)))]


def studies_of_chunk(ledger: Ledger, chunk: Chunk) -> list[str]:
    """Return the UIDs of a chunk's studies that are still to be cleansed.

    The cut is made over all studies of the wave, so that it does not shift when some of them
    are quarantined meanwhile.
    """
    with ledger.read() as connection:
        rows = connection.execute(
            select(_STUDY.study_instance_uid, _STUDY.state)
            .where(_STUDY.wave_id == chunk.wave_id)
            .order_by(_STUDY.study_instance_uid)
            .offset(chunk.number * chunk.size)
            .limit(chunk.size)
        )
        return [row.study_instance_uid for row in rows if row.state == PLANNED]


def _has_sent_back() -> ColumnElement[bool]:
    """Tell whether some of a wave's studies are planned again, though it has gone on."""
    again = select(_STUDY.study_instance_uid).where(
        _STUDY.wave_id == _WAVE.wave_id, _STUDY.state == PLANNED
    )
    return and_(_WAVE.state != "superseded", again.correlate(schema.wave).exists())


def _any_approved_plan(ledger: Ledger) -> bool:
    with ledger.read() as connection:
        return (
            connection.scalar(select(_PLAN.plan_id).where(_PLAN.state == "approved").limit(1))
            is not None
        )


def _unknown(wave_id: str) -> PermanentError:
    return PermanentError(
        f"The ledger knows no wave {wave_id[:64]!r}.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Take the wave's id from the plan report.",
    )


def _unapproved(problem: str) -> PermanentError:
    return PermanentError(
        f"{problem}: nothing may be cleansed.",
        reason=ReasonCode.APPROVAL_MISSING,
        next_step="Approve a plan in the discovery DAG first.",
    )
