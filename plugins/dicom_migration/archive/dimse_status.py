"""What the status of a C-FIND, C-GET or C-MOVE response means for us.

Source: DICOM PS3.4 sections C.4.1.1.4, C.4.2.1.5, C.4.3.1.4 and PS3.7 Annex C.
"""

from __future__ import annotations

from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

SUCCESS = 0x0000
PENDING_STATUS = 0xFF00
PENDING = frozenset({PENDING_STATUS, 0xFF01})
CANCELLED = 0xFE00
SUB_OPERATIONS_INCOMPLETE = 0xB000
SUB_OPERATIONS_FAILED = 0xA702


class UnableToProcessError(TransientError):
    """The source gave up and did not say why; a study that it does not have is one cause."""


_REFUSED = {
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0211: "operation not recognised",
    0x0212: "mistyped argument",
}


def failure(status: int, operation: str, peer: str, study_instance_uid: str = "") -> MigrationError:
    """Return the error for a final status that is not a success.

    Parameters
    ----------
    operation
        ``C-FIND``, ``C-GET`` or ``C-MOVE``.
    """
    cls, reason, what, next_step = _meaning(status)
    return cls(
        f"{peer} ended a {operation} with status 0x{status:04X}: {what}.",
        reason=reason,
        next_step=next_step,
        study_instance_uid=study_instance_uid or None,
    )


def _meaning(status: int) -> tuple[type[MigrationError], ReasonCode, str, str]:
    if status == 0xA801:
        return (
            PermanentError,
            ReasonCode.SOURCE_REFUSED_OPERATION,
            "move destination unknown",
            "Register the move destination AE title, its host and port at the source.",
        )
    if status in _REFUSED:
        return (
            PermanentError,
            ReasonCode.SOURCE_REFUSED_OPERATION,
            _REFUSED[status],
            "Allow query/retrieve for our AE title at the source.",
        )
    if status & 0xFF00 == 0xA900:
        return (
            PermanentError,
            ReasonCode.SOURCE_REFUSED_OPERATION,
            "the identifier does not match the SOP class",
            "Check in its conformance statement that the source supports the Study Root model.",
        )
    if status & 0xFF00 == 0xA700:
        return (
            TransientError,
            ReasonCode.SOURCE_BUSY,
            "out of resources",
            "Retry later with less load; ask for fewer studies at once if it happens again.",
        )
    if status == CANCELLED:
        return (
            TransientError,
            ReasonCode.SOURCE_FAILED,
            "cancelled by the source",
            "Retry; somebody or something at the source ended the operation.",
        )
    return (
        UnableToProcessError,
        ReasonCode.SOURCE_FAILED,
        "unable to process",
        "Retry; if it happens again, look at the source's log at this time.",
    )
