"""Requests an association and says what a refusal means.

pynetdicom's PDU classes encode and decode the negotiation; the connection is ours. Sources:
DICOM PS3.8 section 9.3.2-9.3.4 (A-ASSOCIATE) and PS3.7 section D.3 (user information).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context, build_role

from dicom_migration.archive.dimse_association import (
    AcceptedContext,
    Association,
    PeerFacts,
    aborted,
)
from dicom_migration.archive.dimse_connection import open_stream
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.pdu_stream import PduStream, PduType
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS_UID = "2.25.13350657887936575274632412483191769249"
IMPLEMENTATION_VERSION_NAME = "DICOM_MIGRATION"

ProposedContext = tuple[str, tuple[str, ...]]
"""An abstract syntax and the transfer syntaxes that it may be accepted with."""

_REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given by the service provider",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


def request_association(
    settings: DimseSettings,
    contexts: Sequence[ProposedContext],
    storage_roles: Sequence[str] = (),
) -> Association:
    """Connect to the source and negotiate.

    Parameters
    ----------
    contexts
        At most 128 presentation contexts to propose (PS3.8 section 9.3.2.2).
    storage_roles
        SOP classes for which we take the SCP role, as C-GET needs (PS3.7 section D.3.3.4).

    Raises
    ------
    TransientError
        No connection, no answer, aborted, or rejected for the moment.
    PermanentError
        Rejected for good, or every presentation context was.
    """
    request = _encode_request(settings, contexts, storage_roles)
    stream = open_stream(settings)
    try:
        stream.send(request)
        if not stream.wait_readable(settings.acse_timeout_s):
            raise TransientError(
                f"{settings.peer} did not answer the association request within "
                f"{settings.acse_timeout_s:g} seconds.",
                reason=ReasonCode.SOURCE_UNREACHABLE,
                next_step="Check that the port is that of a DICOM service without TLS.",
            )
        kind, body = stream.next_pdu()
        if kind == PduType.ASSOCIATE_AC:
            return _accepted(settings, stream, bytes(body), contexts)
        raise _refused(settings, kind, bytes(body))
    except BaseException:
        stream.close()
        raise


def _accepted(
    settings: DimseSettings,
    stream: PduStream,
    body: bytes,
    contexts: Sequence[ProposedContext],
) -> Association:
    header = bytes([PduType.ASSOCIATE_AC, 0]) + len(body).to_bytes(4, "big")
    try:
        pdu = A_ASSOCIATE_AC()
        pdu.decode(header + body)
        answer = pdu.to_primitive()
        accepted = _accepted_contexts(answer, contexts)
        facts = peer_facts(answer)
    except Exception as error:  # pynetdicom raises whatever a malformed PDU provokes
        raise PermanentError(
            f"{settings.peer} accepted the association with a malformed answer.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Report the source's software version to its vendor.",
        ) from error
    association = Association(stream, accepted, facts, settings.acse_timeout_s)
    if not accepted:
        association.abort()
        raise PermanentError(
            f"{settings.peer} accepted the association but no presentation context of it.",
            reason=ReasonCode.SOURCE_REFUSED_OPERATION,
            next_step="Enable Study Root query/retrieve and storage for our AE at the source.",
        )
    return association


def _accepted_contexts(
    answer: A_ASSOCIATE, proposed: Sequence[ProposedContext]
) -> dict[int, AcceptedContext]:
    """Return the contexts that were accepted with a transfer syntax that was proposed."""
    accepted = {}
    for context in answer.presentation_context_definition_results_list:
        context_id = context.context_id
        index = ((context_id or 0) - 1) // 2
        if context.result != 0 or context_id is None or not 0 <= index < len(proposed):
            continue
        abstract, syntaxes = proposed[index]
        syntax = str(context.transfer_syntax[0]) if context.transfer_syntax else ""
        if syntax in syntaxes:
            accepted[context_id] = AcceptedContext(context_id, abstract, syntax)
    return accepted


def peer_facts(primitive: A_ASSOCIATE) -> PeerFacts:
    """Read what a peer tells about itself from the user information of a PDU."""
    uid, version, max_pdu = "", "", 0
    for item in primitive.user_information:
        if isinstance(item, ImplementationClassUIDNotification):
            uid = str(item.implementation_class_uid or "")
        elif isinstance(item, ImplementationVersionNameNotification):
            version = str(item.implementation_version_name or "").strip()
        elif isinstance(item, MaximumLengthNotification):
            max_pdu = item.maximum_length_received or 0
    return PeerFacts(uid, version, max_pdu)


def user_information(
    max_pdu_bytes: int,
) -> list[
    MaximumLengthNotification
    | ImplementationClassUIDNotification
    | ImplementationVersionNameNotification
]:
    """Return what we tell a peer about ourselves."""
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu_bytes
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, implementation, version]


def _encode_request(
    settings: DimseSettings, contexts: Sequence[ProposedContext], storage_roles: Sequence[str]
) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = settings.calling_ae_title
    primitive.called_ae_title = settings.called_ae_title
    definitions = []
    for index, (abstract, syntaxes) in enumerate(contexts):
        context = build_context(abstract, list(syntaxes))
        context.context_id = 2 * index + 1
        definitions.append(context)
    primitive.presentation_context_definition_list = definitions
    roles = [build_role(uid, scp_role=True) for uid in storage_roles]
    primitive.user_information = [*user_information(settings.max_pdu_bytes), *roles]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _refused(settings: DimseSettings, kind: int, body: bytes) -> MigrationError:
    """Return the error for anything but an acceptance."""
    if kind == PduType.ABORT:
        return aborted(settings.peer, body)
    if kind != PduType.ASSOCIATE_RJ or len(body) < 4:
        return PermanentError(
            f"{settings.peer} answered the association request with a PDU of type {kind}.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Check that host and port are those of a DICOM service.",
        )
    result, source, diagnostic = body[1], body[2], body[3]
    why = _REJECTIONS.get((source, diagnostic), f"source {source}, reason {diagnostic}")
    message = f"{settings.peer} rejected the association of {settings.calling_ae_title}: {why}."
    if result == 2 or source == 3:
        return TransientError(
            message,
            reason=ReasonCode.SOURCE_BUSY,
            next_step="Retry later, with fewer concurrent associations.",
        )
    return PermanentError(
        message, reason=ReasonCode.SOURCE_REJECTED, next_step=_remedy(source, diagnostic)
    )


def _remedy(source: int, diagnostic: int) -> str:
    if (source, diagnostic) == (1, 3):
        return "Register our calling AE title, with this worker's address, at the source."
    if (source, diagnostic) == (1, 7):
        return "Correct called_ae_title in the Airflow connection."
    return "Ask the source's administrator why it rejects this AE; its log has the reason."
