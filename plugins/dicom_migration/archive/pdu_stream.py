"""Reads and writes whole PDUs on a connected socket, in one tight loop and one reused buffer.

pynetdicom spends its time per PDU: two threads, an event round trip and a 4 KB ``recv`` each.
Sources send PDUs of 16 KB, so a gigabyte is 65,000 of them. Here a PDU costs two struct reads.
Source: DICOM PS3.8 section 9.3 (PDU structure).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from enum import IntEnum

from dicom_migration.errors import PermanentError, ReasonCode, TransientError

BUFFER_BYTES = 256 * 1024
PDU_LIMIT = 16 * 1024 * 1024
"""Bytes of the longest PDU that is believed; a longer one is a defect or an attack."""


# PDU type and length, then length, context id and control header of its first fragment.
_FRAGMENT_HEADER = struct.Struct(">BxIIBB")
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class PduType(IntEnum):
    """First byte of a PDU (PS3.8 section 9.3.1)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class PduStream:
    """PDUs over one connection; not for use from several threads.

    Parameters
    ----------
    connection
        A connected socket, plain or TLS; owned and closed by the stream.
    peer
        How messages name the other side; no PHI.
    silence_s
        Seconds without a byte, while one is due, after which the peer counts as gone.
    """

    def __init__(self, connection: socket.socket, peer: str, silence_s: float) -> None:
        self.peer = peer
        self.silence_s = silence_s
        self.last_activity = time.monotonic()
        self._connection = connection
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        connection.settimeout(silence_s)

    def next_pdu(self) -> tuple[int, memoryview]:
        """Return type and body of the next PDU; the body is valid until the next call.

        Raises
        ------
        TransientError
            The connection broke or the peer was silent.
        PermanentError
            The peer does not speak the DICOM upper layer protocol.
        """
        self._fill(6)
        kind, length = struct.unpack_from(">BxI", self._buffer, self._start)
        if not 1 <= kind <= 7 or length > PDU_LIMIT:
            raise PermanentError(
                f"{self.peer} does not answer with DICOM PDUs.",
                reason=ReasonCode.SOURCE_ANSWER_INVALID,
                next_step="Check that host and port are those of a DICOM service without TLS.",
            )
        self._fill(6 + length)
        body = self._view[self._start + 6 : self._start + 6 + length]
        self._start += 6 + length
        return kind, body

    def received_fragments(self) -> Iterator[tuple[int, int, memoryview]]:
        """Yield context id, control header and payload of the fragments that are here already.

        Only P-DATA-TF PDUs of one fragment each are taken, which are what sources send; at
        anything else, and at the end of what has arrived, it stops. Each payload is valid until
        the next.
        """
        view, start = self._view, self._start
        while self._end - start >= _FRAGMENT_HEADER.size:
            kind, length, fragment, context_id, control = _FRAGMENT_HEADER.unpack_from(view, start)
            following = start + 6 + length
            if kind != PduType.DATA or not 2 <= fragment == length - 4 or following > self._end:
                return
            self._start = following
            yield context_id, control, view[start + _FRAGMENT_HEADER.size : following]
            start = following

    def wait_readable(self, seconds: float) -> bool:
        """Wait until there is something to read, at most `seconds`; tell whether there is."""
        if self._end > self._start:
            return True
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return True
        try:
            # Not select(): a worker may hold more than 1,024 file descriptors.
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        except (OSError, ValueError) as error:
            raise self._lost() from error

    def send(self, data: bytes) -> None:
        """Send all of `data`.

        Raises
        ------
        TransientError
            The connection broke or the peer does not read.
        """
        try:
            self._connection.sendall(data)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
            raise self._lost() from error
        self.last_activity = time.monotonic()

    def close(self) -> None:
        """Close the connection; safe to call twice and from another thread."""
        with contextlib.suppress(OSError):  # gone already
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _fill(self, wanted: int) -> None:
        """Read until `wanted` bytes are in the buffer from the start of the current PDU."""
        while self._end - self._start < wanted:
            if self._start + wanted > len(self._buffer) or self._end == len(self._buffer):
                self._make_room(wanted)
            try:
                received = self._connection.recv_into(self._view[self._end :])
            except TimeoutError as error:
                raise self._silent() from error
            except OSError as error:
                raise self._lost() from error
            if not received:
                raise self._lost()
            if _QUICKACK is not None:
                # Sources without TCP_NODELAY wait for our ACK before each small PDU: 40 ms an
                # instance. The kernel forgets the option, so it is set again.
                self._connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            self._end += received
            self.last_activity = time.monotonic()

    def _make_room(self, wanted: int) -> None:
        """Move the unread bytes to the front of the buffer, or of a larger one."""
        unread = self._view[self._start : self._end]
        if wanted > len(self._buffer):
            self._buffer = bytearray(wanted + BUFFER_BYTES)
            self._view = memoryview(self._buffer)
        self._view[: len(unread)] = unread
        self._end, self._start = len(unread), 0

    def _lost(self) -> TransientError:
        return TransientError(
            f"The connection to {self.peer} was lost.",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Retry; if it happens again, look at the source's log and the network.",
        )

    def _silent(self) -> TransientError:
        return TransientError(
            f"{self.peer} was silent for {self.silence_s:g} seconds.",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Retry when the source is less busy, or raise the network timeout.",
        )
