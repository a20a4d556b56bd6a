"""An established association: DIMSE messages in and out, and always an orderly end.

The only place that releases or aborts. Messages are read where they are used, on the caller's
thread: command sets whole, datasets of C-STORE requests fragment by fragment as they arrive.
Sources: DICOM PS3.7 section 6.3 (messages), PS3.8 section 7 (release, abort) and 9.3.5 (PDVs).
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dicom_migration.archive.dimse_command import (
    NO_DATASET,
    Command,
    Field,
    decode_command,
    encode_command,
    number,
)
from dicom_migration.archive.pdu_stream import PduStream, PduType
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError

log = logging.getLogger(__name__)

DATASET_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest identifier that is held in memory; C-STORE datasets are never held."""

_COMMAND, _LAST = 0x01, 0x02
_FRAGMENT_OVERHEAD = 6
_RELEASE_RQ = bytes([PduType.RELEASE_RQ, 0, 0, 0, 0, 4, 0, 0, 0, 0])
_RELEASE_RP = bytes([PduType.RELEASE_RP, 0, 0, 0, 0, 4, 0, 0, 0, 0])
_ABORT = bytes([PduType.ABORT, 0, 0, 0, 0, 4, 0, 0, 0, 0])


class ReleasedByPeerError(TransientError):
    """The peer released the association, and was answered: how a sender to us ends."""


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context that both sides agreed on."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class PeerFacts:
    """What the peer said of itself while negotiating (PS3.7 section D.3.3)."""

    implementation_class_uid: str
    implementation_version_name: str
    max_pdu_bytes: int


class Association:
    """Messages over an association that has been accepted; released or aborted on exit.

    Parameters
    ----------
    stream
        The connection; closed with the association.
    contexts
        The accepted presentation contexts, by id.
    peer
        What the peer told about itself.
    release_timeout_s
        Seconds to wait for the answer to a release request.
    """

    def __init__(
        self,
        stream: PduStream,
        contexts: Mapping[int, AcceptedContext],
        peer: PeerFacts,
        release_timeout_s: float,
    ) -> None:
        self.contexts = contexts
        self.peer = peer
        self.stream = stream
        self.is_open = True
        self._release_timeout_s = release_timeout_s
        self._pdu = memoryview(b"")
        self._offset = 0
        self._message_id = 0
        self._encoded = b""
        self._command: Command = {}

    def context_for(self, abstract_syntax: str) -> AcceptedContext | None:
        """Return the accepted context of an abstract syntax, if there is one."""
        for context in self.contexts.values():
            if context.abstract_syntax == abstract_syntax:
                return context
        return None

    def next_message_id(self) -> int:
        """Return a Message ID (0000,0110) not used before on this association."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def send(self, context_id: int, command: Mapping[int, int | str], dataset: bytes = b"") -> None:
        """Send a message; `dataset` must be encoded as its context says.

        Raises
        ------
        TransientError
            The connection broke.
        """
        kind = 0x0001 if dataset else NO_DATASET
        encoded = encode_command({**command, Field.DATASET_TYPE: kind})
        pdus = self._pdus(context_id, encoded, _COMMAND)
        if dataset:
            pdus += self._pdus(context_id, dataset, 0)
        self.stream.send(pdus)

    def has_message(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds for a message, or the end of the association."""
        return self._offset < len(self._pdu) or self.stream.wait_readable(timeout_s)

    def receive_command(self, timeout_s: float) -> tuple[int, Command]:
        """Return context id and command set of the next message.

        A dataset that the command announces must be taken before the next call.

        Raises
        ------
        TransientError
            Nothing came for `timeout_s` seconds, or the association ended.
        ReleasedByPeerError
            The peer released the association.
        """
        if not self.has_message(timeout_s):
            raise TransientError(
                f"{self.stream.peer} sent no message for {timeout_s:g} seconds.",
                reason=ReasonCode.SOURCE_UNREACHABLE,
                next_step="Retry when the source is less busy, or raise the DIMSE timeout.",
            )
        encoded = bytearray()
        while True:
            context_id, control, payload = self._next_fragment()
            if not control & _COMMAND:
                raise self._violation("sent a dataset where a command was due")
            encoded += payload
            if len(encoded) > DATASET_LIMIT:
                raise self._violation("sent an endless command set")
            if control & _LAST:
                return context_id, self._decoded(bytes(encoded))

    def _decoded(self, encoded: bytes) -> Command:
        """Decode a command set; a source that finds a million studies repeats one as often."""
        if encoded != self._encoded:
            self._encoded, self._command = encoded, decode_command(encoded)
        return self._command

    def dataset_fragments(self) -> Iterator[memoryview]:
        """Yield the dataset that follows a command, as it arrives; each piece is valid until next.

        Raises
        ------
        TransientError
            The connection broke, the peer was silent, or it aborted.
        """
        while True:
            for control, payload in self._fragments_at_hand():
                if control & _COMMAND:
                    raise self._violation("sent a command where a dataset was due")
                yield payload
                if control & _LAST:
                    return

    def receive_dataset(self, command: Command) -> bytes:
        """Return the whole dataset that `command` announces, b"" when it announces none."""
        if number(command, Field.DATASET_TYPE) == NO_DATASET:
            return b""
        received = bytearray()
        for fragment in self.dataset_fragments():
            received += fragment
            if len(received) > DATASET_LIMIT:
                raise self._violation(f"sent an identifier of more than {DATASET_LIMIT} bytes")
        return bytes(received)

    def release(self) -> None:
        """End the association in agreement with the peer; abort it when the peer does not agree."""
        if not self.is_open:
            return
        try:
            self.stream.send(_RELEASE_RQ)
            while self.stream.wait_readable(self._release_timeout_s):
                kind, _ = self.stream.next_pdu()
                if kind == PduType.RELEASE_RQ:
                    self.stream.send(_RELEASE_RP)
                elif kind in (PduType.RELEASE_RP, PduType.ABORT):
                    break
        except MigrationError as error:
            log.info("Release of the association with %s failed: %s", self.stream.peer, error)
        self._close()

    def abort(self) -> None:
        """End the association at once (A-ABORT, source: service user); safe to call twice.

        Also used instead of C-CANCEL, which sources ignore.
        """
        if not self.is_open:
            return
        # A connection that is gone already is what was wanted.
        with contextlib.suppress(MigrationError):
            self.stream.send(_ABORT)
        self._close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release after success, abort after an error."""
        if exc_type is None:
            self.release()
        else:
            self.abort()

    def _close(self) -> None:
        self.is_open = False
        self.stream.close()

    def _pdus(self, context_id: int, data: bytes, control: int) -> bytes:
        """Cut a command or dataset into P-DATA-TF PDUs of the size that the peer takes."""
        limit = self.peer.max_pdu_bytes or len(data) + _FRAGMENT_OVERHEAD
        size = max(limit - _FRAGMENT_OVERHEAD, 1)
        pdus = bytearray()
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            last = _LAST if start + size >= len(data) else 0
            pdus += struct.pack(">BxI", PduType.DATA, len(piece) + _FRAGMENT_OVERHEAD)
            pdus += struct.pack(">IBB", len(piece) + 2, context_id, control | last)
            pdus += piece
        return bytes(pdus)

    def _fragments_at_hand(self) -> Iterator[tuple[int, memoryview]]:
        """Yield control header and payload of one fragment, and of those that came with it."""
        _, control, payload = self._next_fragment()
        yield control, payload
        if self._offset >= len(self._pdu):
            for context_id, control, payload in self.stream.received_fragments():
                if context_id not in self.contexts:
                    raise self._violation("sent a malformed P-DATA PDU")
                yield control, payload

    def _next_fragment(self) -> tuple[int, int, memoryview]:
        """Return context id, message control header and payload of the next PDV."""
        while self._offset >= len(self._pdu):
            kind, body = self.stream.next_pdu()
            if kind != PduType.DATA:
                raise self._ended(kind, bytes(body))
            self._pdu, self._offset = body, 0
        if len(self._pdu) - self._offset < _FRAGMENT_OVERHEAD:
            raise self._violation("sent a malformed P-DATA PDU")
        length, context_id, control = struct.unpack_from(">IBB", self._pdu, self._offset)
        start = self._offset + _FRAGMENT_OVERHEAD
        self._offset += 4 + length
        if length < 2 or self._offset > len(self._pdu) or context_id not in self.contexts:
            raise self._violation("sent a malformed P-DATA PDU")
        return context_id, control, self._pdu[start : self._offset]

    def _ended(self, kind: int, body: bytes) -> MigrationError:
        if kind == PduType.RELEASE_RQ:
            self.stream.send(_RELEASE_RP)
            self._close()
            return ReleasedByPeerError(
                f"{self.stream.peer} released the association in the middle of an operation.",
                reason=ReasonCode.SOURCE_FAILED,
                next_step="Retry; if it happens again, look at the source's log at this time.",
            )
        if kind == PduType.ABORT:
            self._close()
            return aborted(self.stream.peer, body)
        return self._violation(f"sent an unexpected PDU of type {kind}")

    def _violation(self, what: str) -> PermanentError:
        """Abort, and return the error for a peer that breaks the protocol."""
        self.abort()
        return PermanentError(
            f"{self.stream.peer} {what}; the association was aborted.",
            reason=ReasonCode.SOURCE_ANSWER_INVALID,
            next_step="Report the source's software version to its vendor.",
        )


def aborted(peer: str, body: bytes) -> TransientError:
    """Return the error for an A-ABORT PDU (PS3.8 section 9.3.8)."""
    source, reason = (body[2], body[3]) if len(body) >= 4 else (0, 0)
    who = "service provider" if source == 2 else "service user"
    return TransientError(
        f"{peer} aborted the association ({who}, reason {reason}).",
        reason=ReasonCode.SOURCE_FAILED,
        next_step="Retry; if it happens again, look at the source's log at this time.",
    )
