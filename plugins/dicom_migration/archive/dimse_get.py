"""C-GET: the source sends the instances back over the association that asked for them.

Source: DICOM PS3.4 section C.4.3, PS3.7 section 9.1.3.
"""

from __future__ import annotations

from dicom_migration.archive import dimse_status
from dicom_migration.archive.association_request import request_association
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import Command, CommandField, Field, number
from dicom_migration.archive.dimse_retrieve import (
    STUDY_ROOT_GET,
    RetrieveTarget,
    send_request,
    take_response,
)
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.dimse_store import SinkStoppedError, receive_instance
from dicom_migration.archive.get_plan import GetAssociation, plan
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.presentation_contexts import QUERY_SYNTAXES
from dicom_migration.archive.protocol import InstanceRecord
from dicom_migration.archive.sub_operations import SubOperations, settle


def retrieve_by_get(
    settings: DimseSettings,
    target: RetrieveTarget,
    receiver: InstanceReceiver,
    expected: tuple[InstanceRecord, ...],
    sop_classes: tuple[str, ...],
) -> None:
    """Retrieve over as many associations as the SOP classes of the study need.

    `sop_classes` are those of the study, or a guess in order of likelihood.

    Raises
    ------
    TransientError, PermanentError
        The source failed before sending anything, or the connection broke. Whatever the sink
        raised is raised after the association is closed.
    """
    target.keys()  # a malformed UID is refused before anything is sent
    planned = plan(target, expected, sop_classes)
    operations: list[SubOperations] = []
    offered: set[str] = set()
    for wanted in planned.associations:
        _one_association(settings, wanted, receiver, operations, offered)
        receiver.raise_sink_error()
        last = operations[-1]
        if not planned.disjoint and (last.succeeded or not last.worth_another_association):
            break
    if not any(operation.accounted for operation in operations):
        status = operations[-1].status
        raise dimse_status.failure(status, "C-GET", settings.peer, target.study_instance_uid)
    settle(receiver.outcome, operations, expected, frozenset(offered), disjoint=planned.disjoint)


def _one_association(
    settings: DimseSettings,
    wanted: GetAssociation,
    receiver: InstanceReceiver,
    operations: list[SubOperations],
    offered: set[str],
) -> None:
    contexts = [(STUDY_ROOT_GET, QUERY_SYNTAXES), *wanted.storage]
    roles = list(dict.fromkeys(uid for uid, _ in wanted.storage))
    with request_association(settings, contexts, roles) as association:
        offered.update(context.abstract_syntax for context in association.contexts.values())
        try:
            for target in wanted.targets:
                operation = _get(association, target.keys(), receiver, settings.dimse_timeout_s)
                operations.append(operation)
        except SinkStoppedError:
            association.abort()


def _get(
    association: Association, keys: dict[int, str], receiver: InstanceReceiver, timeout_s: float
) -> SubOperations:
    request: Command = {Field.COMMAND_FIELD: CommandField.C_GET_RQ}
    context = send_request(association, STUDY_ROOT_GET, keys, request)
    account = SubOperations()
    while not account.is_final:
        context_id, command = association.receive_command(timeout_s)
        if number(command, Field.COMMAND_FIELD) == CommandField.C_STORE_RQ:
            receive_instance(association, context_id, command, receiver)
        else:
            take_response(association, context, command, CommandField.C_GET_RSP, account)
    return account
