"""The account that a source gives of a C-GET or C-MOVE, and how it meets our own.

Counters are optional or wrong at many sources, and the list of failed instances often missing:
what the source says is added to what arrived, never put in its place. Source: DICOM PS3.7
section 9.1.3-9.1.4 (counters), PS3.4 section C.4.2.1.4 (Failed SOP Instance UID List).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_migration.archive import dimse_status, records
from dicom_migration.archive.dimse_command import Command, Field, number
from dicom_migration.archive.dimse_identifier import decode_identifier
from dicom_migration.archive.protocol import InstanceFailure, InstanceRecord, RetrieveOutcome
from dicom_migration.errors import ReasonCode
from dicom_migration.uids import is_valid_uid


@dataclass(slots=True)
class SubOperations:
    """Counters and failures of one operation, None where the source never told."""

    status: int = dimse_status.PENDING_STATUS
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None
    failed_uids: list[str] = field(default_factory=list)

    def update(self, response: Command) -> None:
        """Take the status and the counters of a response; an absent counter changes nothing."""
        status = number(response, Field.STATUS)
        self.status = 0xC000 if status is None else status
        self.completed = _newer(response, Field.COMPLETED, self.completed)
        self.failed = _newer(response, Field.FAILED, self.failed)
        self.warning = _newer(response, Field.WARNING, self.warning)
        self.remaining = _newer(response, Field.REMAINING, self.remaining)

    def read_failed(self, identifier: bytes, transfer_syntax_uid: str) -> None:
        """Take the Failed SOP Instance UID List of a final response."""
        tag = records.FAILED_SOP_INSTANCE_UID_LIST
        listed = decode_identifier(identifier, transfer_syntax_uid, (tag,)).get(tag, ())
        self.failed_uids.extend(uid for uid in listed if is_valid_uid(uid))

    @property
    def is_final(self) -> bool:
        """Tell whether the operation is over."""
        return self.status not in dimse_status.PENDING

    @property
    def succeeded(self) -> bool:
        """Tell whether the source says that everything was sent."""
        return self.status == dimse_status.SUCCESS and not self.failed

    @property
    def accounted(self) -> bool:
        """Tell whether the source got as far as trying to send instances."""
        partial = self.status == dimse_status.SUB_OPERATIONS_INCOMPLETE
        return self.succeeded or partial or bool(self.failed or self.sent or self.failed_uids)

    @property
    def worth_another_association(self) -> bool:
        """Tell whether what failed may be sent when other SOP classes are offered."""
        return self.accounted or self.status == dimse_status.SUB_OPERATIONS_FAILED

    @property
    def sent(self) -> int | None:
        """Return how many instances the source counts as sent, warnings included."""
        if self.completed is None and self.warning is None:
            return None
        return (self.completed or 0) + (self.warning or 0)


def settle(
    outcome: RetrieveOutcome,
    operations: list[SubOperations],
    expected: tuple[InstanceRecord, ...],
    offered: frozenset[str],
    *,
    disjoint: bool = True,
) -> None:
    """Enter what the source said in one or several operations into the outcome.

    Parameters
    ----------
    offered
        SOP classes for which presentation contexts were accepted.
    disjoint
        Whether each operation asked for other instances; else each asked for the same, and what
        one could not send another may have sent.
    """
    arrived = set(outcome.delivered)
    known = arrived | {failure.sop_instance_uid for failure in outcome.failures}
    classes = {record.sop_instance_uid: record.sop_class_uid for record in expected}
    missing = [uid for op in operations for uid in op.failed_uids]
    for uid in dict.fromkeys(missing):
        if uid not in known:
            outcome.failures.append(_failure(uid, classes.get(uid, ""), offered))
    counted = [op.sent for op in operations]
    outcome.reported_completed = None if None in counted else sum(n or 0 for n in counted)
    failed = [op.failed for op in operations]
    if None not in failed and failed:
        asked = [(op.sent or 0) + (op.failed or 0) for op in operations]
        total = sum(asked) if disjoint else max(asked)
        outcome.reported_failed = max(total - (outcome.reported_completed or 0), 0)
    unnamed = (outcome.reported_failed or 0) - len(outcome.failures)
    outcome.failures.extend(
        InstanceFailure("", ReasonCode.SOURCE_FAILED.value, "counted by the source, not named")
        for _ in range(unnamed)
    )


def _failure(uid: str, sop_class_uid: str, offered: frozenset[str]) -> InstanceFailure:
    if sop_class_uid and sop_class_uid not in offered:
        detail = f"SOP class {sop_class_uid} was not accepted by the source"
        return InstanceFailure(uid, ReasonCode.SOP_CLASS_REFUSED.value, detail)
    return InstanceFailure(uid, ReasonCode.SOURCE_FAILED.value, "named as failed by the source")


def _newer(response: Command, name: Field, before: int | None) -> int | None:
    value = number(response, name)
    return before if value is None else value
