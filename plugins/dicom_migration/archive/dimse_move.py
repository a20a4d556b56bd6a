"""C-MOVE: the source connects to our landing and sends the instances there.

The final response is no proof that all sub-operations ended: sources send it while the last
instances are under way. So the landing stays open until the account is settled or all has been
quiet for a while. Source: DICOM PS3.4 section C.4.2, PS3.7 section 9.1.4.
"""

from __future__ import annotations

import time

from dicom_migration.archive import dimse_status
from dicom_migration.archive.association_request import request_association
from dicom_migration.archive.dimse_association import AcceptedContext, Association
from dicom_migration.archive.dimse_command import Command, CommandField, Field
from dicom_migration.archive.dimse_landing import Landing
from dicom_migration.archive.dimse_retrieve import (
    STUDY_ROOT_MOVE,
    RetrieveTarget,
    send_request,
    take_response,
)
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.presentation_contexts import QUERY_SYNTAXES
from dicom_migration.archive.protocol import InstanceRecord
from dicom_migration.archive.sub_operations import SubOperations, settle
from dicom_migration.errors import ReasonCode, TransientError

_POLL_S = 0.05
#: The last instance is mostly there within milliseconds: a small study must not wait long for it.
_STRAGGLER_POLL_S = 0.005


def retrieve_by_move(
    settings: DimseSettings,
    target: RetrieveTarget,
    receiver: InstanceReceiver,
    expected: tuple[InstanceRecord, ...],
) -> None:
    """Retrieve through the landing.

    What two retrievals ask of one AE title cannot be told apart: those that share a landing port
    queue up for it, and those that shall run at once need an AE title and a port each.

    Raises
    ------
    TransientError, PermanentError
        The landing port stays taken, the source failed before sending anything, or the connection
        broke. Whatever the sink raised is raised after everything is closed.
    """
    keys = target.keys()
    account = SubOperations()
    with Landing(settings, receiver) as landing:
        with request_association(settings, [(STUDY_ROOT_MOVE, QUERY_SYNTAXES)]) as association:
            request: Command = {
                Field.COMMAND_FIELD: CommandField.C_MOVE_RQ,
                Field.MOVE_DESTINATION: settings.destination,
            }
            context = send_request(association, STUDY_ROOT_MOVE, keys, request)
            _follow(association, context, landing, receiver, account, settings)
            if receiver.sink_error is not None:
                association.abort()
        if receiver.sink_error is None:
            _await_stragglers(landing, receiver, account, expected, settings.move_quiet_s)
    receiver.raise_sink_error()
    if landing.errors and not account.succeeded and not receiver.outcome.delivered:
        raise landing.errors[0]  # what the source calls a failure was our refusal
    if not account.accounted:
        raise dimse_status.failure(
            account.status, "C-MOVE", settings.peer, target.study_instance_uid
        )
    everything = frozenset(record.sop_class_uid for record in expected)
    settle(receiver.outcome, [account], expected, everything)


def _follow(
    association: Association,
    context: AcceptedContext,
    landing: Landing,
    receiver: InstanceReceiver,
    account: SubOperations,
    settings: DimseSettings,
) -> None:
    """Read the responses; bytes at the landing count as life of the operation, too."""
    heard = time.monotonic()
    while not account.is_final and receiver.sink_error is None:
        if association.has_message(_POLL_S):
            _, command = association.receive_command(settings.dimse_timeout_s)
            take_response(association, context, command, CommandField.C_MOVE_RSP, account)
            heard = time.monotonic()
        elif min(time.monotonic() - heard, landing.quiet_s) > settings.dimse_timeout_s:
            raise TransientError(
                f"{settings.peer} neither answered a C-MOVE nor sent an instance for "
                f"{settings.dimse_timeout_s:g} seconds.",
                reason=ReasonCode.SOURCE_UNREACHABLE,
                next_step="Check at the source the address of the move destination "
                f"{settings.destination}, and that it can connect to it.",
            )


def _await_stragglers(
    landing: Landing,
    receiver: InstanceReceiver,
    account: SubOperations,
    expected: tuple[InstanceRecord, ...],
    quiet_s: float,
) -> None:
    """Wait until as many instances came as were announced, or nothing has come for a while."""
    began = time.monotonic()
    announced = max(account.sent or 0, len(expected) - (account.failed or 0))
    known = account.sent is not None or bool(expected)
    while receiver.sink_error is None:
        settled = len(receiver.outcome.delivered) + len(receiver.outcome.failures)
        if known and settled >= announced:
            return
        quiet = min(time.monotonic() - began, landing.quiet_s)
        if not account.accounted or quiet > quiet_s:
            return
        time.sleep(_STRAGGLER_POLL_S)
