"""What a person can decide about exceptions, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import EventChain, schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

DONE = "exceptions.worked"


class Action(StrEnum):
    """How exceptions are resolved; ``docs/exceptions.md`` says what each does."""

    APPLY_RULE = "apply_rule"
    ACCEPT = "accept"
    EXCLUDE = "exclude"
    SEND_BACK = "send_back"


@dataclass(frozen=True, slots=True)
class Resolution:
    """One decision of one person, for all exceptions that a run chose.

    Attributes
    ----------
    by
        Who decided; a decision of nobody is refused.
    why
        In a few words, without patient data; needed to exclude.
    rule_id
        The rule that is to set it right; needed to apply one.
    run_id
        The run that carries it out: done once, it changes nothing the second time.

    Raises
    ------
    PermanentError
        ``approval_missing``: nobody is named; ``configuration_invalid``: something is missing.
    """

    action: Action
    by: str
    run_id: str
    why: str = ""
    rule_id: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be answered for later."""
        require_a_name(self.by)
        if self.action is Action.EXCLUDE and len(self.why.strip()) < 3:
            raise _incomplete("To exclude a study takes a reason")
        if self.action is Action.APPLY_RULE and not self.rule_id.strip():
            raise _incomplete("To apply a rule takes its id")

    def told(self) -> dict[str, object]:
        """Return what every event of it says."""
        told: dict[str, object] = {"by": self.by, "how": self.action.value, "run": self.run_id}
        return told | ({"why": self.why} if self.why else {}) | self._rule()

    def _rule(self) -> dict[str, object]:
        return {"rule": self.rule_id} if self.action is Action.APPLY_RULE else {}


@dataclass(slots=True)
class Outcome:
    """Counts of a run: exceptions chosen, accepted, resolved and assigned; studies moved.

    `not_possible` counts exceptions by why nothing was done about them.
    """

    chosen: int = 0
    accepted: int = 0
    resolved: int = 0
    assigned: int = 0
    studies_sent_back: int = 0
    studies_excluded: int = 0
    not_possible: dict[str, int] = field(default_factory=dict)

    def refuse(self, why: str, exceptions: int = 1) -> None:
        """Count exceptions that stay as they are."""
        self.not_possible[why] = self.not_possible.get(why, 0) + exceptions

    def summary(self) -> dict[str, object]:
        """Return it for XCom."""
        return asdict(self)


def chain_of_wave(wave_id: str | None) -> EventChain:
    """Return the chain that decisions about a wave's studies stand in; its certificate seals it."""
    return EventChain(f"wave:{wave_id}/exceptions" if wave_id else "exceptions")


def outcome_of_run(connection: Connection, run_id: str) -> Outcome | None:
    """Return what a run has done already, None when it has not finished."""
    table = schema.event.c
    payload = connection.scalar(
        select(table.payload).where(table.chain == _run_chain(run_id).name, table.kind == DONE)
    )
    return None if payload is None else Outcome(**json.loads(payload)["outcome"])


def record_run(connection: Connection, run_id: str, by: str, outcome: Outcome) -> None:
    """Write down that a run is done, with what it did."""
    told: dict[str, object] = {"run": run_id, "by": by, "outcome": outcome.summary()}
    _run_chain(run_id).append(connection, [(DONE, "", told)])


def refuse_too_many(rows: Sequence[object], at_most: int) -> None:
    """Refuse a selection that is larger than the operator expects.

    Raises
    ------
    PermanentError
        ``configuration_invalid``.
    """
    if len(rows) > at_most:
        raise PermanentError(
            f"More than {at_most:,} exceptions are chosen; nothing was changed.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="List them first; then narrow the filters, or raise 'At most'.",
        )


def require_a_name(by: str) -> None:
    """Refuse a decision of nobody.

    Raises
    ------
    PermanentError
        ``approval_missing``.
    """
    if not by.strip():
        raise PermanentError(
            "Airflow does not tell who decides this; nothing was changed.",
            reason=ReasonCode.APPROVAL_MISSING,
            next_step="Trigger the DAG in the UI or through the API as a signed-in user.",
        )


def _run_chain(run_id: str) -> EventChain:
    return EventChain(f"exceptions/{sha256(run_id.encode()).hexdigest()[:16]}")


def _incomplete(what: str) -> PermanentError:
    return PermanentError(
        f"{what}; nothing was changed.",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step="Trigger the DAG again with the field filled in.",
    )
