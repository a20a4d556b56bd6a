"""The errors of the project: two roots, so that a retry policy needs to know only two classes.

:class:`TransientError` is worth trying again, :class:`PermanentError` never is. Every error
carries a :class:`ReasonCode` (documented in ``docs/reason-codes.md``), a message without PHI
that names the study by UID only, and the next step for a person.
"""

from __future__ import annotations

from enum import StrEnum


class ReasonCode(StrEnum):
    """Why something failed, or why a study needs a person; the key of every exception row."""

    # configuration and peers
    POLICY_INVALID = "policy_invalid"
    CONFIGURATION_INVALID = "configuration_invalid"
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_REJECTED = "source_rejected"
    SOURCE_BUSY = "source_busy"
    SOURCE_FAILED = "source_failed"
    SOURCE_REFUSED_OPERATION = "source_refused_operation"
    SOURCE_ANSWER_INVALID = "source_answer_invalid"
    TARGET_UNREACHABLE = "target_unreachable"
    TARGET_REJECTED = "target_rejected"
    TARGET_MISSING = "target_missing"
    TARGET_BUSY = "target_busy"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    LEDGER_CONFLICT = "ledger_conflict"
    LEDGER_TAMPERED = "ledger_tampered"
    STATE_FORBIDDEN = "state_forbidden"
    DISK_FULL = "disk_full"
    WORKER_FAILED = "worker_failed"
    TASK_STOPPED = "task_stopped"
    APPROVAL_MISSING = "approval_missing"
    # discovery
    SOURCE_RECONFIGURED = "source_reconfigured"
    WINDOW_CAPPED = "window_capped"
    LISTING_INCOMPLETE = "listing_incomplete"
    STUDY_VANISHED = "study_vanished"
    STUDY_UNDATED = "study_undated"
    STUDY_EMPTY = "study_empty"
    UID_INVALID = "uid_invalid"
    # cleansing
    FIELD_INCOMPLETE = "field_incomplete"
    FIELD_INVALID = "field_invalid"
    IDENTITY_CONFLICT = "identity_conflict"
    ORDER_CONFLICT = "order_conflict"
    INSTANCE_DUPLICATED = "instance_duplicated"
    HEADER_UNREADABLE = "header_unreadable"
    CORRECTION_FAILED = "correction_failed"
    # transfer
    SOP_CLASS_REFUSED = "sop_class_refused"
    INSTANCE_MISSING = "instance_missing"
    INSTANCE_UNEXPECTED = "instance_unexpected"
    INSTANCE_TRUNCATED = "instance_truncated"
    INSTANCE_CONFLICT = "instance_conflict"
    PIXEL_DATA_INVALID = "pixel_data_invalid"
    # verification
    OBJECT_MISSING = "object_missing"
    OBJECT_CORRUPT = "object_corrupt"
    OBJECT_UNEXPECTED = "object_unexpected"
    STORAGE_CLASS_WRONG = "storage_class_wrong"
    OBJECT_ARCHIVED = "object_archived"
    MANIFEST_CORRUPT = "manifest_corrupt"
    COUNT_MISMATCH = "count_mismatch"
    RECEIPT_MISMATCH = "receipt_mismatch"
    SOURCE_CHANGED = "source_changed"
    PIXEL_MISMATCH = "pixel_mismatch"
    HEADER_MISMATCH = "header_mismatch"
    # retrieval
    SLA_BREACH = "sla_breach"
    RETRIEVAL_SLOWER = "retrieval_slower"
    RESTORE_EXPIRED = "restore_expired"
    BUDGET_EXCEEDED = "budget_exceeded"


#: Reasons that are nobody's study in particular: every study would fare the same, so the task stops
#: instead of blaming them one after the other.
CONCERNS_EVERYBODY = frozenset(
    {
        ReasonCode.POLICY_INVALID,
        ReasonCode.CONFIGURATION_INVALID,
        ReasonCode.SOURCE_UNREACHABLE,
        ReasonCode.SOURCE_REJECTED,
        ReasonCode.TARGET_UNREACHABLE,
        ReasonCode.TARGET_REJECTED,
        ReasonCode.TARGET_MISSING,
        ReasonCode.LEDGER_UNAVAILABLE,
        ReasonCode.LEDGER_TAMPERED,
        ReasonCode.STATE_FORBIDDEN,
        ReasonCode.APPROVAL_MISSING,
        ReasonCode.DISK_FULL,
    }
)
#: Reasons that may be one study's or everybody's; the same several times in a row is everybody's.
MAY_CONCERN_EVERYBODY = frozenset(
    {ReasonCode.SOURCE_REFUSED_OPERATION, ReasonCode.SOURCE_ANSWER_INVALID}
)


class MigrationError(Exception):
    """Root of every error of the project.

    Parameters
    ----------
    message
        What failed and on what; no PHI, studies by UID only.
    reason
        The machine-readable cause.
    next_step
        What a person can do about it, as an imperative sentence.
    study_instance_uid
        The study concerned, if one is.
    """

    default_reason: ReasonCode = ReasonCode.SOURCE_FAILED

    def __init__(
        self,
        message: str,
        *,
        reason: ReasonCode | None = None,
        next_step: str = "",
        study_instance_uid: str | None = None,
    ) -> None:
        self.reason = reason or self.default_reason
        self.next_step = next_step
        self.study_instance_uid = study_instance_uid
        self.message = message
        text = f"[{self.reason}] {message}"
        if study_instance_uid and study_instance_uid not in message:
            text += f" (study {study_instance_uid})"
        if next_step:
            text += f" Next step: {next_step}"
        super().__init__(text)


class TransientError(MigrationError):
    """Worth trying again: the same call may succeed later without anybody changing anything."""

    default_reason = ReasonCode.SOURCE_BUSY


class PermanentError(MigrationError):
    """Trying again cannot help: a person must change something first."""

    default_reason = ReasonCode.CONFIGURATION_INVALID
