"""A loopback proxy for DICOM associations that misbehaves at a PDU that a test names.

It stands between the adapter and a real source (Orthanc, dcmqrscp) and passes PDUs on unchanged,
until a scripted fault strikes: an abort, a reset, a cut, a silence, a rejection, or a call into
the test. Faults are counted in PDUs that the source sends, so that a test can strike at every one
of an instance's. For a C-MOVE it stands before our landing, and the source is the client.

    with PduProxy("127.0.0.1", orthanc.port) as proxy:
        proxy.script(PduFault("abort", at=3, naming=(GET, study_uid.encode())))

Sources: DICOM PS3.8 section 9.3 (PDUs), 9.3.4 (A-ASSOCIATE-RJ), 9.3.8 (A-ABORT).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

_ASSOCIATE_RQ = 1
_ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0])  # source: service provider
#: Result, source and reason of A-ASSOCIATE-RJ.
_REJECTIONS = {"reject for now": (2, 3, 1), "reject for good": (1, 1, 3)}

How = Literal["abort", "reset", "close", "stall", "call", "reject for now", "reject for good"]


@dataclass(slots=True)
class PduFault:
    """One misbehaviour.

    Attributes
    ----------
    how
        ``call`` only calls `action` and passes the PDU on, if the connection is still there.
    at
        Which PDU of the source is hit, from 0, instead of being passed on; of those that it sends
        on associations where `naming` was said. A rejection counts association requests instead.
    naming
        Byte strings that must all have passed on an association before it counts: a SOP class,
        a study. A rejection looks for them in the association request.
    times
        How many PDUs, or associations, are hit from there on; negative for all.
    """

    how: How
    at: int = 0
    naming: tuple[bytes, ...] = ()
    times: int = 1
    action: Callable[[], None] = field(default=lambda: None)

    def strikes(self) -> bool:
        """Count one candidate; tell whether it is hit."""
        if self.at > 0:
            self.at -= 1
            return False
        if self.times == 0:
            return False
        self.times -= 1
        return True


class _Link:
    """The two connections of one association, and what was said on it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.said: set[bytes] = set()
        self.is_stalled = False

    def reset(self) -> None:
        for end in (self.client, self.server):
            # Linger 0 makes close() send RST instead of FIN.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):  # wakes the other pump
                end.shutdown(socket.SHUT_RD)
            end.close()

    def abort(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.sendall(_ABORT)
                end.shutdown(socket.SHUT_WR)


class PduProxy:
    """Listens on a free port of 127.0.0.1 from construction until :meth:`close`.

    Parameters
    ----------
    host, port
        Where connections are passed on to.
    source_is_client
        The source connects to us: a C-MOVE's sub-operations.

    Attributes
    ----------
    pdus
        How many PDUs the source has sent since the last :meth:`clear`.
    """

    def __init__(self, host: str, port: int, *, source_is_client: bool = False) -> None:
        self.pdus = 0
        self._upstream = (host, port)
        self._source_is_client = source_is_client
        self._faults: list[PduFault] = []
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept_all, daemon=True).start()

    def script(self, *faults: PduFault) -> None:
        """Misbehave so; faults count independently of each other."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Forget the script and the count."""
        with self._lock:
            self._faults.clear()
            self.pdus = 0

    def close(self) -> None:
        """Stop listening and cut what is connected."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _accept_all(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._upstream, 5)
            except OSError:
                client.close()  # nobody is there: what a client of a closed landing sees
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end.settimeout(None)
            link = _Link(client, server)
            self._links.append(link)
            for from_client in (True, False):
                threading.Thread(target=self._pump, args=(link, from_client), daemon=True).start()

    def _pump(self, link: _Link, from_client: bool) -> None:
        reader, writer = (link.client, link.server) if from_client else (link.server, link.client)
        try:
            while pdu := _read_pdu(reader):
                if not self._disturbed(link, from_client, pdu) and not link.is_stalled:
                    writer.sendall(pdu)
            writer.shutdown(socket.SHUT_WR)
        except OSError:
            link.close()  # or the other end would wait for a reader for ever

    def _disturbed(self, link: _Link, from_client: bool, pdu: bytes) -> bool:
        """Judge one PDU; tell whether it was swallowed."""
        striking = self._striking(link, from_client, pdu)
        for fault in striking:
            self._strike(link, fault)
        return any(fault.how not in ("call", "stall") for fault in striking)

    def _striking(self, link: _Link, from_client: bool, pdu: bytes) -> list[PduFault]:
        with self._lock:
            names = {name for fault in self._faults for name in fault.naming}
            link.said |= {name for name in names - link.said if name in pdu}
            from_source = from_client is self._source_is_client
            self.pdus += from_source
            is_request = from_client and pdu[0] == _ASSOCIATE_RQ
            return [
                fault
                for fault in self._faults
                if (is_request if fault.how in _REJECTIONS else from_source)
                and link.said.issuperset(fault.naming)
                and fault.strikes()
            ]

    @staticmethod
    def _strike(link: _Link, fault: PduFault) -> None:
        if fault.how == "call":
            fault.action()
        elif fault.how == "stall":
            link.is_stalled = True
        elif fault.how in _REJECTIONS:
            link.client.sendall(bytes([3, 0, 0, 0, 0, 4, 0, *_REJECTIONS[fault.how]]))
        else:
            {"abort": link.abort, "reset": link.reset, "close": link.close}[fault.how]()


def _read_pdu(connection: socket.socket) -> bytes:
    """Return the next PDU, b"" at the end of the connection."""
    header = _read(connection, 6)
    if len(header) < 6:
        return b""
    (length,) = struct.unpack(">I", header[2:])
    body = _read(connection, length)
    return header + body if len(body) == length else b""


def _read(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            break
        data += piece
    return bytes(data)
