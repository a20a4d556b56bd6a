"""Asks a source whether it is there and what it can do: C-ECHO and the negotiation.

Source: DICOM PS3.4 Annex A (verification), PS3.7 section 9.1.5 (C-ECHO).
"""

from __future__ import annotations

import time

from dicom_migration.archive.association_request import ProposedContext, request_association
from dicom_migration.archive.dimse_association import AcceptedContext, Association
from dicom_migration.archive.dimse_command import CommandField, Field, number
from dicom_migration.archive.dimse_query import STUDY_ROOT_FIND
from dicom_migration.archive.dimse_retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.presentation_contexts import QUERY_SYNTAXES
from dicom_migration.archive.protocol import ArchiveCheck
from dicom_migration.errors import PermanentError, ReasonCode

VERIFICATION = "1.2.840.10008.1.1"
_SERVICES = {
    "verification": VERIFICATION,
    "study_root_find": STUDY_ROOT_FIND,
    "study_root_get": STUDY_ROOT_GET,
    "study_root_move": STUDY_ROOT_MOVE,
}


def check_source(settings: DimseSettings) -> ArchiveCheck:
    """Echo the source; latency is the round trip of the C-ECHO, in seconds.

    A source that does not accept Verification is timed by the negotiation instead.

    Raises
    ------
    TransientError
        It did not answer.
    PermanentError
        It rejects us, or accepts neither queries nor the configured retrieval method.
    """
    contexts: list[ProposedContext] = [(uid, QUERY_SYNTAXES) for uid in _SERVICES.values()]
    began = time.perf_counter()
    with request_association(settings, contexts) as association:
        latency = time.perf_counter() - began
        accepted = {name: association.context_for(uid) for name, uid in _SERVICES.items()}
        _require(settings, accepted)
        context = accepted["verification"]
        if context is not None:
            latency = _echo(association, context, settings)
        facts = _facts(settings, association, accepted)
    return ArchiveCheck(f"DICOM source {settings.peer}", latency, facts)


def _echo(association: Association, context: AcceptedContext, settings: DimseSettings) -> float:
    began = time.perf_counter()
    association.send(
        context.context_id,
        {
            Field.AFFECTED_SOP_CLASS_UID: VERIFICATION,
            Field.COMMAND_FIELD: CommandField.C_ECHO_RQ,
            Field.MESSAGE_ID: association.next_message_id(),
        },
    )
    _, response = association.receive_command(settings.acse_timeout_s)
    status = number(response, Field.STATUS)
    if number(response, Field.COMMAND_FIELD) != CommandField.C_ECHO_RSP or status != 0:
        raise PermanentError(
            f"{settings.peer} answered a C-ECHO with status {status}.",
            reason=ReasonCode.SOURCE_REFUSED_OPERATION,
            next_step="Allow verification for our AE title at the source.",
        )
    return time.perf_counter() - began


def _require(settings: DimseSettings, accepted: dict[str, AcceptedContext | None]) -> None:
    retrieval = "study_root_get" if settings.retrieve_method == "C-GET" else "study_root_move"
    for name in ("study_root_find", retrieval):
        if accepted[name] is None:
            raise PermanentError(
                f"{settings.peer} does not accept {name} from {settings.calling_ae_title}.",
                reason=ReasonCode.SOURCE_REFUSED_OPERATION,
                next_step="Enable it at the source for our AE title, or choose the other "
                "retrieve_method.",
            )


def _facts(
    settings: DimseSettings,
    association: Association,
    accepted: dict[str, AcceptedContext | None],
) -> dict[str, str]:
    facts = {
        "kind": "dimse",
        "address": f"{settings.host}:{settings.port}",
        "called_ae_title": settings.called_ae_title,
        "calling_ae_title": settings.calling_ae_title,
        "retrieve_method": settings.retrieve_method,
        "tls": "yes" if settings.tls else "no",
        "implementation_class_uid": association.peer.implementation_class_uid,
        "implementation_version_name": association.peer.implementation_version_name,
        "max_pdu_bytes": str(association.peer.max_pdu_bytes),
    }
    for name, context in accepted.items():
        facts[name] = context.transfer_syntax if context else "not accepted"
    if settings.result_cap is not None:
        facts["result_cap"] = str(settings.result_cap)
    return facts
