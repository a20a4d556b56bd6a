"""Sends a C-GET or C-MOVE request and reads its responses.

What the two operations share: the identifier, the request and the account in the responses.
Source: DICOM PS3.4 sections C.4.2 and C.4.3, PS3.7 sections 9.1.3 and 9.1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_migration.archive import records
from dicom_migration.archive.dimse_association import AcceptedContext, Association
from dicom_migration.archive.dimse_command import (
    PRIORITY_MEDIUM,
    Command,
    CommandField,
    Field,
    number,
)
from dicom_migration.archive.dimse_identifier import encode_identifier
from dicom_migration.archive.sub_operations import SubOperations
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import checked_uid

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

INSTANCES_A_REQUEST = 100
"""Keeps a list of UIDs far below the 64 KB that an explicit VR UI can hold."""


@dataclass(frozen=True, slots=True)
class RetrieveTarget:
    """A study, or some instances of one of its series."""

    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()

    def keys(self) -> dict[int, str]:
        """Return the unique keys of the identifier (PS3.4 section C.4.2.2.1: a list may be asked).

        Raises
        ------
        PermanentError
            A UID is malformed.
        """
        keys = {
            records.QUERY_RETRIEVE_LEVEL: "IMAGE" if self.sop_instance_uids else "STUDY",
            records.STUDY_INSTANCE_UID: checked_uid(self.study_instance_uid, "Study Instance UID"),
        }
        if self.sop_instance_uids:
            series = checked_uid(self.series_instance_uid, "Series Instance UID")
            keys[records.SERIES_INSTANCE_UID] = series
            instances = [checked_uid(uid, "SOP Instance UID") for uid in self.sop_instance_uids]
            keys[records.SOP_INSTANCE_UID] = "\\".join(instances)
        return keys


def send_request(
    association: Association,
    sop_class_uid: str,
    keys: Mapping[int, str],
    extra: Mapping[int, int | str],
) -> AcceptedContext:
    """Send the request; return the context that the responses will come under.

    Raises
    ------
    PermanentError
        The source did not accept the operation.
    """
    context = association.context_for(sop_class_uid)
    if context is None:
        raise PermanentError(
            f"{association.stream.peer} does not accept this retrieval method.",
            reason=ReasonCode.SOURCE_REFUSED_OPERATION,
            next_step="Choose the other retrieve_method, or enable this one at the source.",
        )
    command = {
        Field.AFFECTED_SOP_CLASS_UID: sop_class_uid,
        Field.MESSAGE_ID: association.next_message_id(),
        Field.PRIORITY: PRIORITY_MEDIUM,
        **extra,
    }
    identifier = encode_identifier(keys, context.transfer_syntax)
    association.send(context.context_id, command, identifier)
    return context


def take_response(
    association: Association,
    context: AcceptedContext,
    command: Command,
    expected: CommandField,
    account: SubOperations,
) -> None:
    """Enter one response into the account of sub-operations.

    Raises
    ------
    PermanentError
        The message is not a response to the request.
    """
    if number(command, Field.COMMAND_FIELD) != expected:
        association.abort()
        raise PermanentError(
            f"{association.stream.peer} answered a retrieval with another message.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Report the source's software version to its vendor.",
        )
    identifier = association.receive_dataset(command)
    account.update(command)
    if account.is_final:
        account.read_failed(identifier, context.transfer_syntax)
