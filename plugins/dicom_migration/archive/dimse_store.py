"""Takes one C-STORE request off an association and answers it: the hot path of DIMSE.

The dataset goes to the sink fragment by fragment, never decoded, never held; the identity is that
of the command set and of the accepted presentation context. Success is said only after the sink
committed. Source: DICOM PS3.7 section 9.1.1 and PS3.4 section B.2.3 (statuses).
"""

from __future__ import annotations

from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import (
    NO_DATASET,
    Command,
    CommandField,
    Field,
    number,
    text,
)
from dicom_migration.archive.instance_receiver import Delivery, InstanceReceiver
from dicom_migration.archive.protocol import InstanceIdentity

STATUS = {
    Delivery.COMMITTED: 0x0000,
    Delivery.UNEXPECTED: 0x0124,  # refused: not authorised
    Delivery.REFUSED: 0xC000,  # cannot understand
    Delivery.STOPPED: 0xA700,  # out of resources
}


class SinkStoppedError(Exception):
    """The sink cannot take anything any more; the receiver holds the error."""


def receive_instance(
    association: Association, context_id: int, command: Command, receiver: InstanceReceiver
) -> Delivery:
    """Deliver the instance of a C-STORE request and send the response.

    Raises
    ------
    SinkStoppedError
        After the response, when no further instance can be delivered.
    TransientError
        The connection broke; the instance was aborted.
    """
    identity = InstanceIdentity(
        sop_class_uid=text(command, Field.AFFECTED_SOP_CLASS_UID),
        sop_instance_uid=text(command, Field.AFFECTED_SOP_INSTANCE_UID),
        transfer_syntax_uid=association.contexts[context_id].transfer_syntax,
    )
    if number(command, Field.DATASET_TYPE) == NO_DATASET:
        delivery = receiver.receive(identity, ())
    else:
        delivery = receiver.receive(identity, association.dataset_fragments())
    association.send(context_id, _response(command, STATUS[delivery]))
    if delivery is Delivery.STOPPED:
        raise SinkStoppedError
    return delivery


def _response(command: Command, status: int) -> dict[int, int | str]:
    response: dict[int, int | str] = {
        Field.COMMAND_FIELD: CommandField.C_STORE_RSP,
        Field.MESSAGE_ID_RESPONDED_TO: number(command, Field.MESSAGE_ID) or 0,
        Field.STATUS: status,
    }
    for field in (Field.AFFECTED_SOP_CLASS_UID, Field.AFFECTED_SOP_INSTANCE_UID):
        value = text(command, field)
        if value.isascii():
            response[field] = value
    return response
