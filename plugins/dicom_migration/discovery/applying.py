"""Making an approved plan true of the studies it decided on; of those that moved since, not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from dicom_migration.discovery.decisions import EXCLUDE, INCLUDE
from dicom_migration.discovery.planning import APPROVED, SUPERSEDED, not_begun, wave_id
from dicom_migration.discovery.returning import take_back
from dicom_migration.ledger import EventChain, StudyState, move_where, schema, utc_now

if TYPE_CHECKING:
    from sqlalchemy import Connection

_STUDY, _ROW, _PLAN, _WAVE = (
    schema.study.c,
    schema.plan_study.c,
    schema.plan.c,
    schema.wave.c,
)
_S = StudyState
_COUNTS = ("studies", "instances", "bytes_estimated")
#: What a study takes over from the plan.
_DECIDED: dict[str, object] = {
    "decision": _ROW.decision,
    "decision_rule": _ROW.decision_rule,
    "storage_class": _ROW.storage_class,
    "layout": _ROW.layout,
    "purge_rule": _ROW.purge_rule,
    "purge_candidate": _ROW.purge_rule != "",
}


@dataclass(frozen=True, slots=True)
class ApprovedDraft:
    """A draft that is approved in this transaction; `sealed` goes into every event."""

    connection: Connection
    plan_id: str
    number: int
    sealed: dict[str, object]

    def apply(self) -> int:
        """Move its studies to ``planned`` or ``excluded``, with what was decided on them.

        A study whose state is not what it was when the plan was made is left as it is: it was
        found empty, say, or its wave has begun. Returns how many are now planned.
        """
        chain = EventChain(f"plan/{self.plan_id}")
        self._take_back(chain)
        taken = move_where(
            self.connection,
            and_(self._any(self._as_before()), _waiting_under_a_plan()),
            _S.DISCOVERED,
            chain,
            payload=self.sealed,
            wave_id="",
        )
        move_where(
            self.connection,
            and_(self._ready(), _ROW.decision == EXCLUDE),
            _S.EXCLUDED,
            chain,
            payload=self.sealed,
            plan_id=self.plan_id,
            wave_id="",
            **_DECIDED,
        )
        waves = self._waves()
        planned = sum(self._fill(wave, chain) for wave in waves)
        if taken or planned != sum(wave.studies for wave in waves):
            self._recount(others=bool(taken))
        return planned

    def _mine(self) -> ColumnElement[bool]:
        return and_(_ROW.draft == self.number, _ROW.study_instance_uid == _STUDY.study_instance_uid)

    def _as_before(self) -> ColumnElement[bool]:
        return and_(self._mine(), _STUDY.state == _ROW.state_before)

    def _ready(self) -> ColumnElement[bool]:
        """What is quarantined is ready only if it was when it was decided on."""
        taken_back = and_(
            _STUDY.state == _S.QUARANTINED.value, _ROW.state_before == _S.QUARANTINED.value
        )
        return and_(self._mine(), or_(_STUDY.state == _S.DISCOVERED.value, taken_back))

    def _any(self, condition: ColumnElement[bool]) -> ColumnElement[bool]:
        row = select(_ROW.study_instance_uid).where(condition)
        return row.correlate(schema.study).exists()

    def _take_back(self, chain: EventChain) -> None:
        quarantined = and_(self._as_before(), _ROW.state_before == _S.QUARANTINED.value)
        self.connection.execute(update(schema.study).where(quarantined).values(_DECIDED))
        take_back(self.connection, self._any(quarantined), self.plan_id, chain)

    def _waves(self) -> Sequence[Any]:
        return self.connection.execute(
            select(
                _ROW.wave,
                func.count().label("studies"),
                func.min(_ROW.position).label("first"),
                func.max(_ROW.position).label("last"),
            )
            .where(_ROW.draft == self.number, _ROW.decision == INCLUDE)
            .group_by(_ROW.wave)
            .order_by(_ROW.wave)
        ).all()

    def _fill(self, wave: Any, chain: EventChain) -> int:
        identifier = wave_id(self.plan_id, wave.wave)
        within = and_(_ROW.decision == INCLUDE, _ROW.position.between(wave.first, wave.last))
        return move_where(
            self.connection,
            and_(self._ready(), within),
            _S.PLANNED,
            chain,
            payload={**self.sealed, "wave": identifier},
            plan_id=self.plan_id,
            wave_id=identifier,
            **_DECIDED,
        )

    def _recount(self, *, others: bool) -> None:
        """Count the waves that wait: of this plan, and of `others` if studies were taken."""
        plans = [_WAVE.plan_id == self.plan_id]
        if others:
            approved = select(_PLAN.plan_id).where(_PLAN.state == APPROVED)
            plans.append(_WAVE.plan_id.in_(approved))
        waiting = select(_WAVE.wave_id).where(_WAVE.state == "planned", or_(*plans))
        # One pass over the studies: counted wave by wave, the database would take what it knew
        # of wave_id before this transaction and read them all for each.
        rows = self.connection.execute(
            select(
                _STUDY.wave_id,
                func.count().label("studies"),
                func.coalesce(func.sum(_STUDY.number_of_instances), 0).label("instances"),
                func.coalesce(func.sum(_STUDY.bytes_estimated), 0).label("bytes_estimated"),
            )
            .where(_STUDY.wave_id.in_(waiting))
            .group_by(_STUDY.wave_id)
        ).mappings()
        found = {row["wave_id"]: row for row in rows}
        for identifier in self.connection.scalars(waiting).all():
            row = found.get(identifier)
            counts = (
                {name: int(row[name]) for name in _COUNTS} if row else dict.fromkeys(_COUNTS, 0)
            )
            state = "planned" if row else SUPERSEDED
            self.connection.execute(
                update(schema.wave)
                .where(_WAVE.wave_id == identifier)
                .values(updated_at=utc_now(), state=state, **counts)
            )


def _waiting_under_a_plan() -> ColumnElement[bool]:
    """Tell whether a plan has decided on the study before, and nothing was done about it yet."""
    approved = select(_PLAN.plan_id).where(_PLAN.state == APPROVED)
    decided = _STUDY.state.in_([_S.PLANNED.value, _S.EXCLUDED.value])
    return and_(decided, or_(not_begun(), _STUDY.plan_id.not_in(approved)))
