"""GetObject by the shortest way: one signed request on a kept connection, its body in one piece.

Reading a billion objects back, boto3 would take more CPU for asking than the hashes for judging.
So the ordinary answer (200 or 206 with a Content-Length) is read from the socket here. Every other
one (a refusal, a redirection, chunks, a broken connection) is left to boto3, which asks again and
knows what it means. Whoever reads must check what was read: no checksum is asked of the store.

Shares nothing with the way in but connections and the signature. Source: Amazon S3 API reference,
GetObject; RFC 9112.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, IncompleteReadError

from dicom_migration.cloud.s3_connections import Connections, PlainHead, plain_head, read_head
from dicom_migration.cloud.s3_settings import S3Client, S3Settings
from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner
from dicom_migration.cloud.s3_transport import Transport, credentials_of

_NO_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of b""
_PLAIN = (b"200", b"206")  # for the whole object, for a range of it
_Piece = TypeVar("_Piece", bytes, memoryview)


class DirectGet:
    """Sends GetObject requests; safe to share between threads.

    Parameters
    ----------
    client
        The boto3 client whose credentials are used.
    transport
        Of that client; see :func:`~dicom_migration.cloud.s3_transport.transport_of`.
    settings
        Timeouts, and how many connections are kept.
    """

    def __init__(self, client: S3Client, transport: Transport, settings: S3Settings) -> None:
        self._credentials = credentials_of(client)
        self._transport = transport
        self._signer = RequestSigner(transport.region, transport.host_header)
        self._connections = Connections(transport, settings)

    def get(
        self, key: str, chunk_bytes: int, first: int | None = None, last: int | None = None
    ) -> Iterator[bytes] | None:
        """Return the body in pieces of at most `chunk_bytes`; None when boto3 has to ask.

        Parameters
        ----------
        key
            In the bucket, not percent-encoded.
        first, last
            Offsets of the first and the last byte, None for the whole object.

        Raises
        ------
        IncompleteReadError
            While the pieces are read: the connection broke (botocore's own error).
        """
        answer = self._answer(key, first, last)
        if answer is None:
            return None
        return self._body(answer, chunk_bytes, answer.incoming.piece)

    def get_into(self, key: str, buffer: bytearray) -> Iterator[memoryview] | None:
        """Return the body as views of `buffer`, each good until the next is asked for.

        The processor finds what it hashes in its cache, and no page is made for it: as
        :meth:`get` otherwise.
        """
        answer = self._answer(key, None, None)
        if answer is None:
            return None
        view = memoryview(buffer)
        return self._body(answer, len(view), lambda size: answer.incoming.fill(view[:size]))

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    def _request(self, key: str, first: int | None, last: int | None) -> bytes:
        frozen = self._credentials.get_frozen_credentials()
        access = AccessKey(frozen.access_key, frozen.secret_key, frozen.token or "")
        path = self._transport.path_prefix + quote(key, safe="/-_.~")
        asked = {} if first is None else {"range": f"bytes={first}-{'' if last is None else last}"}
        headers = self._signer.headers(
            path, _NO_BODY, asked, access, datetime.now(UTC), method="GET"
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"GET {path} HTTP/1.1\r\n{lines}accept-encoding: identity\r\n\r\n".encode("ascii")

    def _answer(self, key: str, first: int | None, last: int | None) -> _Answer | None:
        """Ask, and return a plain answer; None for any other."""
        connection = None
        try:
            request = self._request(key, first, last)
            connection = self._connections.take()
            connection.sendall(request)
            answer = plain_head(read_head(connection))
        except (OSError, ValueError, BotoCoreError):
            answer = None
        if answer is None or connection is None or answer[0].status != _PLAIN[first is not None]:
            if connection is not None:
                connection.close()
            return None
        head, begun = answer
        return _Answer(head, _Incoming(connection, begun))

    def _body(
        self, answer: _Answer, chunk_bytes: int, take: Callable[[int], _Piece]
    ) -> Iterator[_Piece]:
        connection, left = answer.incoming.connection, answer.head.length
        piece: _Piece | None = None
        try:
            while left > 0:
                size = min(left, chunk_bytes)
                piece = take(size)
                left -= size
                if left > 0:
                    yield piece
        except BaseException:
            connection.close()
            raise
        if answer.head.keep:  # before the last piece is used: it may serve another
            self._connections.keep(connection)
        else:
            connection.close()
        if piece is not None:
            yield piece


class _Incoming:
    """A body on its way, of which some bytes came with the head."""

    def __init__(self, connection: socket.socket, begun: bytes) -> None:
        self.connection = connection
        self._begun = begun
        self._flags = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_WAITALL

    def piece(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        return bytes(self.fill(memoryview(bytearray(size))))

    def fill(self, view: memoryview) -> memoryview:
        """Return `view`, filled with the next bytes."""
        size, came = len(view), min(len(self._begun), len(view))
        if came:
            view[:came] = self._begun[:came]
            self._begun = self._begun[came:]
        while came < size:
            try:
                more = self.connection.recv_into(view[came:], 0, self._flags)
            except OSError as error:
                raise IncompleteReadError(actual_bytes=came, expected_bytes=size) from error
            if not more:
                raise IncompleteReadError(actual_bytes=came, expected_bytes=size)
            came += more
        return view


class _Answer(NamedTuple):
    head: PlainHead
    incoming: _Incoming
