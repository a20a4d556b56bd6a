"""PutObject by the shortest way: one signed request on a kept connection.

boto3 needs 1.6 ms of CPU for a request that the network carries in less, and an archive has a
billion instances. So the ordinary case, a single PUT to an ordinary endpoint, is sent from here.
What is worth another try (a broken connection, 5xx, a redirection) is left to boto3, which sends
the object again: creation is conditional, so that a second attempt is harmless. A refusal is raised
as botocore's own error, so that its meaning is decided in one place.

Source: Amazon S3 API reference, PutObject.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple, Protocol, cast, runtime_checkable
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser

from dicom_migration.cloud.protocol import StoredObject
from dicom_migration.cloud.s3_connections import Connections, plain_head, read_head
from dicom_migration.cloud.s3_errors import error_code, refuse_other_checksum
from dicom_migration.cloud.s3_settings import MIB, S3Client, S3Settings
from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner
from dicom_migration.cloud.s3_transport import Transport, credentials_of
from dicom_migration.cloud.s3_upload import SHA256_METADATA, Upload, base64_of_hex

_CHECKSUM_HEADER = "x-amz-checksum-sha256"
_WORTH_ANOTHER_TRY = (408, 429)
# The latter: of another region than the connection names; boto3 finds the right one.
_CODES_WORTH_ANOTHER_TRY = (
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
)


#: Pieces that one call may gather (POSIX promises 16, every Linux takes 1,024).
_MOST_AT_ONCE = 256


@runtime_checkable
class InPieces(Protocol):
    """A file that also gives its bytes without copying them."""

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield all bytes from the beginning; the pieces stay valid."""


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class DirectPut:
    """Sends PutObject requests; safe to share between threads.

    Parameters
    ----------
    client
        The boto3 client whose endpoint and credentials are used.
    transport
        Of that client; see :func:`~dicom_migration.cloud.s3_transport.transport_of`.
    settings
        Timeouts, encryption, and how many connections are kept.
    """

    def __init__(self, client: S3Client, transport: Transport, settings: S3Settings) -> None:
        self._credentials = credentials_of(client)
        self._transport = transport
        self._signer = RequestSigner(transport.region, transport.host_header)
        self._encryption = _encryption_headers(settings)
        self._output_shape = client.meta.service_model.operation_model("PutObject").output_shape
        self._connections = Connections(transport, settings)

    def put(self, upload: Upload, body: BinaryIO | bytes | memoryview) -> StoredObject | None:
        """Create the object; None when it has to be tried in the ordinary way.

        Raises
        ------
        ClientError
            S3 refused; 412 when there is an object already.
        TransientError
            S3 names another checksum than the one that was sent.
        """
        path = self._transport.path_prefix + quote(upload.address.key, safe="/-_.~")
        try:
            answer = self._send(self._head(upload, path), body)
        except (OSError, ValueError, http.client.HTTPException, BotoCoreError):
            return None
        if answer.status == 200:
            told = answer.headers.get(_CHECKSUM_HEADER)
            refuse_other_checksum(told, base64_of_hex(upload.sha256), upload.address)
            return upload.stored(answer.headers.get("etag", ""))
        if 400 <= answer.status < 500 and answer.status not in _WORTH_ANOTHER_TRY:
            error = self._refusal(answer)
            if error_code(error) not in _CODES_WORTH_ANOTHER_TRY:
                raise error
        return None

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    def _head(self, upload: Upload, path: str) -> bytes:
        """Return the request without its body."""
        frozen = self._credentials.get_frozen_credentials()
        key = AccessKey(frozen.access_key, frozen.secret_key, frozen.token or "")
        extra = {
            "content-type": upload.content_type,
            "if-none-match": "*",
            _CHECKSUM_HEADER: base64_of_hex(upload.sha256),
            f"x-amz-meta-{SHA256_METADATA}": upload.sha256,
            "x-amz-sdk-checksum-algorithm": "SHA256",
            "x-amz-storage-class": upload.storage_class,
            **self._encryption,
        }
        headers = self._signer.headers(path, upload.sha256, extra, key, datetime.now(UTC))
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"PUT {path} HTTP/1.1\r\n{lines}content-length: {upload.size}\r\n\r\n"
        return head.encode("ascii")

    def _send(self, head: bytes, body: BinaryIO | bytes | memoryview) -> _Answer:
        """Return the answer; the connection is kept when it was read to its end."""
        connection = self._connections.take()
        try:
            _send_pieces(connection, head, body)
            answer, keep = _read_answer(connection)
        except BaseException:
            connection.close()
            raise
        if keep:
            self._connections.keep(connection)
        else:
            connection.close()
        return answer

    def _refusal(self, answer: _Answer) -> ClientError:
        """Return what botocore would raise."""
        told = {"body": answer.body, "headers": answer.headers, "status_code": answer.status}
        parsed = create_parser("rest-xml").parse(told, self._output_shape)
        return ClientError(parsed, "PutObject")


def _send_pieces(
    connection: socket.socket, head: bytes, body: BinaryIO | bytes | memoryview
) -> None:
    """Send a request in pieces of about 1 MiB: a timeout is for one of them, not for all."""
    waiting: list[bytes | memoryview] = [head]
    size = len(head)
    for piece in _in_pieces(body):
        waiting.append(piece)
        size += len(piece)
        if size >= MIB or len(waiting) == _MOST_AT_ONCE:
            _send_together(connection, waiting)
            waiting, size = [], 0
    if waiting:
        _send_together(connection, waiting)


def _in_pieces(body: BinaryIO | bytes | memoryview) -> Iterator[bytes | memoryview]:
    if isinstance(body, bytes | memoryview):
        view = memoryview(body)
        for start in range(0, len(view), MIB):
            yield view[start : start + MIB]
    elif isinstance(body, InPieces):
        yield from body.pieces()
    else:
        while piece := body.read(MIB):
            yield piece


def _send_together(connection: socket.socket, pieces: Sequence[bytes | memoryview]) -> None:
    """Send pieces as one, which the kernel gathers; TLS cannot, so there they are copied."""
    if isinstance(connection, ssl.SSLSocket):
        connection.sendall(b"".join(pieces))
        return
    sent = connection.sendmsg(pieces)
    for piece in pieces:
        if sent < len(piece):
            connection.sendall(memoryview(piece)[sent:])
        sent = max(sent - len(piece), 0)


def _read_answer(connection: socket.socket) -> tuple[_Answer, bool]:
    """Return the answer to a request, and whether its connection may serve another."""
    data = read_head(connection)
    plain = plain_head(data)
    if plain is None or plain[0].length > MIB:
        return _any_answer(data, connection), False
    head, body = plain
    while len(body) < head.length:
        more = connection.recv(head.length - len(body))
        if not more:
            raise http.client.IncompleteRead(body, head.length - len(body))
        body += more
    fields = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in head.fields().items()
    }
    return _Answer(int(head.status), fields, body), head.keep


def _any_answer(begun: bytes, connection: socket.socket) -> _Answer:
    """Return an answer of any form, which began with `begun`."""
    response = http.client.HTTPResponse(cast(socket.socket, _Begun(begun, connection)))
    response.begin()
    fields = {name.lower(): value for name, value in response.headers.items()}
    return _Answer(response.status, fields, response.read(MIB))


class _Begun(io.RawIOBase):
    """A connection of which some bytes were read already, as :mod:`http.client` reads it."""

    def __init__(self, begun: bytes, connection: socket.socket) -> None:
        super().__init__()
        self._begun = begun
        self._connection = connection

    def makefile(self, _mode: str) -> BinaryIO:
        """Return what is read from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read what comes, at most as much as `buffer` takes."""
        piece = self._begun[: len(buffer)] or self._connection.recv(len(buffer))
        self._begun = self._begun[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _encryption_headers(settings: S3Settings) -> dict[str, str]:
    names = {
        "ServerSideEncryption": "x-amz-server-side-encryption",
        "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    }
    return {names[name]: value for name, value in settings.encryption_parameters().items()}
