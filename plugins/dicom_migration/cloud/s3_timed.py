"""GetObject on a connection of our own, so that connecting, waiting and receiving are told apart.

botocore signs the request and we send it: its pool does not say whether it opened a connection.
Source: Amazon S3 API reference, GetObject.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser

from dicom_migration.cloud.s3_access import S3Access
from dicom_migration.cloud.s3_answers import byte_range
from dicom_migration.cloud.s3_errors import S3Address, translate
from dicom_migration.cloud.s3_transport import Transport, transport_of
from dicom_migration.cloud.timed_read import TimedRead
from dicom_migration.errors import ReasonCode, TransientError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

_CHUNK = 1 << 20
_EVENT = "before-send.s3.GetObject"


class S3TimedReader:
    """Times GETs; safe to share between threads, each of which has connections of its own.

    A broken connection is tried again once, on a new one, while the clock runs: so would a viewer.
    Nothing else is tried again.
    """

    def __init__(self, access: S3Access, transport: Transport) -> None:
        self._access = access
        self._transport = transport
        self._signer = _Signer(access)
        self._idle: deque[http.client.HTTPConnection] = deque()
        shapes = access.client.meta.service_model.operation_model("GetObject")
        self._output_shape = shapes.output_shape

    @classmethod
    def of(cls, access: S3Access) -> S3TimedReader | None:
        """Return a reader, None when the endpoint cannot be reached plainly (a proxy)."""
        transport = transport_of(access.client, access.bucket)
        return None if transport is None else cls(access, transport)

    def read(
        self,
        key: str,
        start: int | None = None,
        length: int | None = None,
        *,
        fresh: bool = False,
        keep: bool = True,
    ) -> TimedRead:
        """See :class:`~dicom_migration.cloud.timed_read.TimedReader`."""
        address = self._access.address(key)
        try:
            request = self._signer.signed(address, byte_range(start, length))
        except (ClientError, BotoCoreError) as error:
            raise translate(error, "GetObject", address) from error
        began = time.perf_counter()
        try:
            return self._get(request, address, began, fresh=fresh, keep=keep)
        except (OSError, http.client.HTTPException):
            pass  # a kept connection may have been closed by the other end
        try:
            return self._get(request, address, began, fresh=True, keep=keep)
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(
                f"GetObject failed twice on {address}: {type(error).__name__}.",
                reason=ReasonCode.TARGET_UNREACHABLE,
                next_step="Let the task retry; when it persists, check the network.",
            ) from error

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    def _get(
        self,
        request: AWSPreparedRequest,
        address: S3Address,
        began: float,
        *,
        fresh: bool,
        keep: bool,
    ) -> TimedRead:
        connection = self._connection(fresh)
        try:
            connected = time.perf_counter()
            url = urlsplit(request.url)
            path = f"{url.path}?{url.query}" if url.query else url.path
            connection.request("GET", path, headers=_text_headers(request))
            response = connection.getresponse()
            first = response.read(1)
            answered = time.perf_counter()
            is_good = response.status in (200, 206)
            data, size = _rest(response, first, keep=keep or not is_good)
            ended = time.perf_counter()
            if not is_good:
                raise self._refusal(response, data, address)
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return TimedRead(data, size, connected - began, answered - connected, ended - answered)

    def _connection(self, fresh: bool) -> http.client.HTTPConnection:
        if not fresh:
            with contextlib.suppress(IndexError):
                return self._idle.pop()
        where, settings = self._transport, self._access.settings
        connection: http.client.HTTPConnection
        if where.tls is None:
            connection = http.client.HTTPConnection(
                where.host, where.port, settings.connect_timeout, blocksize=_CHUNK
            )
        else:
            connection = http.client.HTTPSConnection(
                where.host, where.port, timeout=settings.connect_timeout, context=where.tls
            )
        connection.connect()
        connection.sock.settimeout(settings.read_timeout)
        return connection

    def _refusal(
        self, response: http.client.HTTPResponse, data: bytes, address: S3Address
    ) -> Exception:
        told = {"body": data, "headers": response.headers, "status_code": response.status}
        parsed: Any = create_parser("rest-xml").parse(told, self._output_shape)
        return translate(ClientError(parsed, "GetObject"), "GetObject", address)


class _SignedOnlyError(Exception):
    """Carries a request that is signed and not sent."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


class _Signer:
    """Has botocore prepare a GetObject; requests of other threads pass as ever."""

    def __init__(self, access: S3Access) -> None:
        self._access = access
        self._mine = threading.local()
        access.client.meta.events.register_first(_EVENT, self._stop)

    def signed(self, address: S3Address, wanted: dict[str, str]) -> AWSPreparedRequest:
        self._mine.signing = True
        try:
            self._access.client.get_object(Bucket=address.bucket, Key=address.key, **wanted)
        except _SignedOnlyError as seen:
            return seen.request
        finally:
            self._mine.signing = False
        raise AssertionError("botocore sends without asking")

    def _stop(self, request: AWSPreparedRequest, **_: object) -> None:
        if getattr(self._mine, "signing", False):
            raise _SignedOnlyError(request)


def _text_headers(request: AWSPreparedRequest) -> dict[str, str]:
    headers: dict[str, Any] = dict(request.headers.items())
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
        for name, value in headers.items()
    }


def _rest(response: http.client.HTTPResponse, first: bytes, *, keep: bool) -> tuple[bytes, int]:
    """Read to the end; an answer that was cut is refused, which ``read`` with a size does not."""
    kept = bytearray(first if keep else b"")
    size = len(first)
    while chunk := response.read(_CHUNK):
        size += len(chunk)
        if keep:
            kept += chunk
    told: str | None = response.headers.get("Content-Length")
    if told is not None and int(told) != size:
        raise http.client.IncompleteRead(b"", int(told) - size)
    return bytes(kept), size
