"""PutObject by the shortest way: one signed request on a kept connection.

boto3 needs 1.6 ms of CPU for a request that the network carries in less, and an archive has a
billion instances. So the ordinary case, a single PUT to an ordinary endpoint, is sent with
:mod:`http.client`. What is worth another try (a broken connection, 5xx, a redirection) is left to
boto3, which sends the object again: creation is conditional, so that a second attempt is harmless.
A refusal is raised as botocore's own error, so that its meaning is decided in one place.

Source: Amazon S3 API reference, PutObject.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPMessage
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser

from dicom_migration.cloud.protocol import StoredObject
from dicom_migration.cloud.s3_errors import error_code, refuse_other_checksum
from dicom_migration.cloud.s3_settings import MIB, S3Client, S3Settings
from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner
from dicom_migration.cloud.s3_transport import Transport, credentials_of, is_readable
from dicom_migration.cloud.s3_upload import SHA256_METADATA, Upload, base64_of_hex

_CHECKSUM_HEADER = "x-amz-checksum-sha256"
_WORTH_ANOTHER_TRY = (408, 429)
# The latter: of another region than the connection names; boto3 finds the right one.
_CODES_WORTH_ANOTHER_TRY = (
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
)


class _Answer(NamedTuple):
    status: int
    headers: HTTPMessage
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
        self._settings = settings
        self._signer = RequestSigner(transport.region, transport.host_header)
        self._encryption = _encryption_headers(settings)
        self._output_shape = client.meta.service_model.operation_model("PutObject").output_shape
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=settings.max_pool_connections)

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
            headers = self._headers(upload, path)
            answer = self._send(path, body, headers, upload.size)
        except (OSError, http.client.HTTPException, BotoCoreError):
            return None
        if answer.status == 200:
            told = answer.headers.get(_CHECKSUM_HEADER)
            refuse_other_checksum(told, base64_of_hex(upload.sha256), upload.address)
            return upload.stored(answer.headers.get("ETag", ""))
        if 400 <= answer.status < 500 and answer.status not in _WORTH_ANOTHER_TRY:
            error = self._refusal(answer)
            if error_code(error) not in _CODES_WORTH_ANOTHER_TRY:
                raise error
        return None

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    def _headers(self, upload: Upload, path: str) -> dict[str, str]:
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
        return self._signer.headers(path, upload.sha256, extra, key, datetime.now(UTC))

    def _send(
        self, path: str, body: BinaryIO | bytes | memoryview, headers: dict[str, str], size: int
    ) -> _Answer:
        """Return the answer; the connection is kept when it was read to its end."""
        connection = self._idle_connection() or self._connect()
        try:
            headers["content-length"] = str(size)
            connection.request("PUT", path, _in_pieces(body), headers)
            response = connection.getresponse()
            text = response.read(MIB)
            kept = not response.will_close and response.isclosed()
        except BaseException:
            connection.close()
            raise
        if kept:
            self._idle.append(connection)
        else:
            connection.close()
        return _Answer(response.status, response.headers, text)

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        """Return a kept connection; one that was closed, or said more than it was asked, is none.

        What it said would be taken for the answer to the next request.
        """
        with contextlib.suppress(IndexError):  # other threads take them, too
            while True:
                connection = self._idle.pop()
                if not is_readable(connection.sock):
                    return connection
                connection.close()
        return None

    def _refusal(self, answer: _Answer) -> ClientError:
        """Return what botocore would raise."""
        told = {"body": answer.body, "headers": answer.headers, "status_code": answer.status}
        parsed = create_parser("rest-xml").parse(told, self._output_shape)
        return ClientError(parsed, "PutObject")

    def _connect(self) -> http.client.HTTPConnection:
        where = self._transport
        timeout = self._settings.connect_timeout
        if where.tls is None:
            plain = http.client.HTTPConnection(where.host, where.port, timeout, blocksize=MIB)
            connection = plain
        else:
            connection = http.client.HTTPSConnection(
                where.host, where.port, timeout=timeout, context=where.tls, blocksize=MIB
            )
        connection.connect()
        connection.sock.settimeout(self._settings.read_timeout)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection


def _in_pieces(body: BinaryIO | bytes | memoryview) -> BinaryIO | Iterator[memoryview]:
    """Return a body whose pieces are sent one by one: a timeout is for one of them, not for all."""
    if not isinstance(body, bytes | memoryview):
        return body  # read by http.client as it is sent
    view = memoryview(body)
    return (view[start : start + MIB] for start in range(0, len(view), MIB))


def _encryption_headers(settings: S3Settings) -> dict[str, str]:
    names = {
        "ServerSideEncryption": "x-amz-server-side-encryption",
        "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    }
    return {names[name]: value for name, value in settings.encryption_parameters().items()}
