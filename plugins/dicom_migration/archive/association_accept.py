"""Answers an association request of a source that wants to send us instances.

Every storage context is accepted with the transfer syntax that the source names first, its own
preference; the AE titles decide who may send. Source: DICOM PS3.8 section 9.3.3-9.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from dicom_migration.archive.association_request import (
    APPLICATION_CONTEXT,
    peer_facts,
    user_information,
)
from dicom_migration.archive.dimse_association import AcceptedContext, Association, aborted
from dicom_migration.archive.pdu_stream import PduStream, PduType
from dicom_migration.errors import PermanentError, ReasonCode, TransientError

VERIFICATION = "1.2.840.10008.1.1"
_STORAGE = ("1.2.840.10008.5.1.4.1.1.", "1.2.840.10008.5.1.4.34.", "1.2.840.10008.5.1.1.27")
_CALLED_UNKNOWN, _CALLING_UNKNOWN = 7, 3


@dataclass(frozen=True, slots=True)
class LandingRules:
    """Who may send to us.

    Attributes
    ----------
    ae_title
        Our AE title, which the sender must call.
    sender
        The AE title that the sender must have; "" lets any.
    max_pdu_bytes
        Largest PDU that we ask for.
    acse_timeout_s
        Seconds to wait for the association request.
    """

    ae_title: str
    sender: str
    max_pdu_bytes: int
    acse_timeout_s: float


def accept_association(stream: PduStream, rules: LandingRules) -> Association:
    """Read an association request and accept it, or reject it and raise.

    Raises
    ------
    PermanentError
        The request was rejected, or is not one.
    TransientError
        None came, the sender aborted, or the connection broke.
    """
    if not stream.wait_readable(rules.acse_timeout_s):
        raise TransientError(
            f"{stream.peer} connected to the landing and sent nothing.",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Check what connects to the landing port.",
        )
    kind, body = stream.next_pdu()
    if kind == PduType.ABORT:
        raise aborted(stream.peer, bytes(body))
    request = _decode(stream, kind, bytes(body))
    _check_titles(stream, request, rules)
    contexts = {
        context.context_id: _judged(context)
        for context in request.presentation_context_definition_list
        if context.context_id is not None
    }
    stream.send(_encode_acceptance(request, list(contexts.values()), rules))
    accepted = {
        context_id: AcceptedContext(
            context_id, str(context.abstract_syntax), str(context.transfer_syntax[0])
        )
        for context_id, context in contexts.items()
        if context.result == 0
    }
    return Association(stream, accepted, peer_facts(request), rules.acse_timeout_s)


def is_storage(abstract_syntax: str) -> bool:
    """Tell whether an abstract syntax is one that instances are sent under.

    Private SOP classes and those newer than this code count: an archive holds both.
    """
    public = abstract_syntax.startswith("1.2.840.10008.")
    return abstract_syntax.startswith(_STORAGE) or not public


def _decode(stream: PduStream, kind: int, body: bytes) -> A_ASSOCIATE:
    if kind == PduType.ASSOCIATE_RQ:
        try:
            pdu = A_ASSOCIATE_RQ()
            pdu.decode(bytes([kind, 0]) + len(body).to_bytes(4, "big") + body)
            return pdu.to_primitive()
        except Exception as error:  # pynetdicom raises whatever a malformed PDU provokes
            raise _malformed(stream) from error
    raise _malformed(stream)


def _malformed(stream: PduStream) -> PermanentError:
    return PermanentError(
        f"{stream.peer} sent a malformed association request to the landing.",
        reason=ReasonCode.SOURCE_ANSWER_INVALID,
        next_step="Check what connects to the landing port.",
    )


def _check_titles(stream: PduStream, request: A_ASSOCIATE, rules: LandingRules) -> None:
    """Reject, permanently, a sender that calls somebody else or is somebody else."""
    called = str(request.called_ae_title or "").strip()
    calling = str(request.calling_ae_title or "").strip()
    if called != rules.ae_title:
        diagnostic, what = _CALLED_UNKNOWN, "called another AE title"
    elif rules.sender and calling != rules.sender:
        diagnostic, what = _CALLING_UNKNOWN, "called under another AE title than the source's"
    else:
        return
    stream.send(bytes([PduType.ASSOCIATE_RJ, 0, 0, 0, 0, 4, 0, 1, 1, diagnostic]))
    raise PermanentError(
        f"{stream.peer} {what} at the landing.",
        reason=ReasonCode.SOURCE_REJECTED,
        next_step="Correct the destination at the source, or turn landing_check_calling_ae off.",
    )


def _judged(proposed: PresentationContext) -> PresentationContext:
    """Accept storage and verification with the syntax proposed first (PS3.8 section 9.3.3.2)."""
    context = PresentationContext()
    context.context_id = proposed.context_id
    context.abstract_syntax = proposed.abstract_syntax
    context.transfer_syntax = list(proposed.transfer_syntax[:1])
    abstract = str(proposed.abstract_syntax)
    wanted = abstract == VERIFICATION or is_storage(abstract)
    context.result = 0 if wanted and proposed.transfer_syntax else 3
    return context


def _encode_acceptance(
    request: A_ASSOCIATE, contexts: list[PresentationContext], rules: LandingRules
) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title = request.calling_ae_title
    primitive.called_ae_title = request.called_ae_title
    primitive.result = 0
    primitive.result_source = 1
    primitive.presentation_context_definition_results_list = contexts
    primitive.user_information = [*user_information(rules.max_pdu_bytes)]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())
