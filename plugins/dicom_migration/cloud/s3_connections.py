"""Kept connections to an S3 endpoint, and the plain answers that are read from them.

:mod:`http.client` builds an e-mail message of every answer, which costs more than to send 0.5 MB.
So a plain answer (a known length, no coding of the body) is read from the socket here; any other
is for whoever asked to hand to a library. Source: RFC 9112.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
from collections import deque
from typing import NamedTuple

from dicom_migration.cloud.s3_settings import S3Settings
from dicom_migration.cloud.s3_transport import Transport

_HEAD_BYTES = 4096
_MAX_HEAD_BYTES = 65536
_END_OF_HEAD = b"\r\n\r\n"
#: The fields that say where the body ends; all are looked at, of some twenty that a store sends.
_FRAMING = re.compile(
    rb"\n(content-length|transfer-encoding|content-encoding|connection):[ \t]*([^\r\n]*?)[ \t]*"
    rb"(?=\r|$)"
)


class Connections:
    """Connections to one endpoint, kept for the next request; safe to share between threads.

    Parameters
    ----------
    transport
        See :func:`~dicom_migration.cloud.s3_transport.transport_of`.
    settings
        Timeouts, and how many connections are kept.
    """

    def __init__(self, transport: Transport, settings: S3Settings) -> None:
        self._transport = transport
        self._settings = settings
        self._idle: deque[socket.socket] = deque(maxlen=settings.max_pool_connections)

    def take(self) -> socket.socket:
        """Return a kept connection, or a new one.

        A kept one that was closed, or said more than it was asked, is given up: what it said would
        be taken for the answer to the next request.

        Raises
        ------
        OSError
            The endpoint is not reached.
        """
        with contextlib.suppress(IndexError):  # other threads take them, too
            while True:
                connection = self._idle.pop()
                if not _is_readable(connection):
                    return connection
                connection.close()
        return self._connect()

    def keep(self, connection: socket.socket) -> None:
        """Keep a connection whose answer was read to its end."""
        if len(self._idle) < self._settings.max_pool_connections:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().close()

    def _connect(self) -> socket.socket:
        where, settings = self._transport, self._settings
        plain = socket.create_connection((where.host, where.port), settings.connect_timeout)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if where.tls is not None:
            try:
                secure = where.tls.wrap_socket(plain, server_hostname=where.host)
            except BaseException:
                plain.close()
                raise
            secure.settimeout(settings.read_timeout)
            return secure
        # The kernel keeps the time, so that one call may wait for a whole body.
        plain.settimeout(None)
        whole, part = divmod(settings.read_timeout, 1)
        limit = struct.pack("@ll", int(whole), int(part * 1e6))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return plain


class PlainHead(NamedTuple):
    """The head of a plain answer.

    Attributes
    ----------
    status
        For example ``b"200"``.
    lines
        Of the head, below the first one.
    length
        Bytes of the body.
    keep
        Whether the connection may serve the next request.
    """

    status: bytes
    lines: bytes
    length: int
    keep: bool

    def fields(self) -> dict[bytes, bytes]:
        """Return the fields by name in lower case."""
        parted = (line.partition(b":") for line in self.lines.split(b"\r\n"))
        return {name.lower(): value.strip() for name, _, value in parted}


def read_head(connection: socket.socket) -> bytes:
    """Return what came up to the end of a head, or to the end of all; more may have come with it.

    Raises
    ------
    OSError
        The connection broke, or nothing came in time.
    """
    data = connection.recv(_HEAD_BYTES)
    while _END_OF_HEAD not in data and len(data) <= _MAX_HEAD_BYTES:
        more = connection.recv(_HEAD_BYTES)
        if not more:
            break
        data += more
    return data


def plain_head(data: bytes) -> tuple[PlainHead, bytes] | None:
    """Return the head in `data` and what came of the body; None when it is not a plain one.

    An answer with more bytes than it says is not plain: whatever they are, they are not for us.
    """
    end = data.find(_END_OF_HEAD)
    if end < 0:
        return None
    first, _, lines = data[:end].partition(b"\r\n")
    version, _, rest = first.partition(b" ")
    fields = dict(_FRAMING.findall(b"\n" + lines.lower()))
    told = fields.get(b"content-length", b"")
    if version != b"HTTP/1.1" or rest[:1] == b"1" or not told.isdigit():
        return None
    if b"transfer-encoding" in fields or b"content-encoding" in fields:
        return None
    begun, length = data[end + len(_END_OF_HEAD) :], int(told)
    if len(begun) > length:
        return None
    keep = fields.get(b"connection", b"") != b"close"
    return PlainHead(rest[:3], lines, length, keep), begun


def _is_readable(sock: socket.socket) -> bool:
    """Tell whether a connection on which nothing is expected was closed, or has bytes waiting."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
