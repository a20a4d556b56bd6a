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
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, IncompleteReadError

from dicom_migration.cloud.s3_connections import Connections, PlainHead, plain_head, read_head
from dicom_migration.cloud.s3_settings import S3Client, S3Settings
from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner
from dicom_migration.cloud.s3_transport import Transport, credentials_of

_NO_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of b""
_PLAIN = (b"200", b"206")  # for the whole object, for a range of it


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
        return self._body(connection, *answer, chunk_bytes)

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

    def _body(
        self, connection: socket.socket, head: PlainHead, begun: bytes, chunk_bytes: int
    ) -> Iterator[bytes]:
        piece, left = b"", head.length
        try:
            while left > 0:
                size = min(left, chunk_bytes)
                piece, begun = _fill(connection, begun[:size], size), begun[size:]
                left -= size
                if left > 0:
                    yield piece
        except BaseException:
            connection.close()
            raise
        if head.keep:
            self._connections.keep(
                connection
            )  # before the last piece is used: it may serve another
        else:
            connection.close()
        if piece:
            yield piece


def _fill(connection: socket.socket, begun: bytes, size: int) -> bytes:
    """Return the next `size` bytes, of which `begun` came already."""
    flags = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_WAITALL
    pieces, came = [begun] if begun else [], len(begun)
    while came < size:
        try:
            piece = connection.recv(size - came, flags)
        except OSError as error:
            raise IncompleteReadError(actual_bytes=came, expected_bytes=size) from error
        if not piece:
            raise IncompleteReadError(actual_bytes=came, expected_bytes=size)
        pieces.append(piece)
        came += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
