"""A loopback HTTP proxy that passes requests to a real server and misbehaves on request.

It stands between a client and an upstream (moto, rclone, Orthanc, any plain HTTP server) and
produces what a healthy upstream never does: 500, SlowDown, an error inside a 200, a lost answer
after the upstream has acted, a reset connection, a slow or cut answer. A test scripts the
faults; what is not scripted passes unchanged, the Host header included, so that signatures
stay valid.

    with FaultProxy("127.0.0.1", moto_port) as proxy:
        proxy.script(Fault.error(503, "SlowDown"), method="PUT")
        client = boto3.client("s3", endpoint_url=proxy.url, ...)
        ...
        assert [r.method for r in proxy.requests] == ["PUT", "PUT"]

Each scripted fault hits `times` matching requests, then lets them pass; scripted faults are
tried in order and the first that matches is used. `one_at_a_time=True` serialises the requests,
for upstreams whose check-then-write is not atomic (moto's ``If-None-Match`` is not).

Not covered: TLS, chunked request bodies, CONNECT, pipelining.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import ClassVar, Self

from tests.integration.cloud.http_faults import Fault

_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS")
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "expect", "content-length"}


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request as it arrived; `path` includes the query string."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class _Scripted:
    fault: Fault
    method: str
    path_contains: str
    path_ends: str
    times: int
    skip: int

    def take(self, request: SeenRequest) -> bool:
        """Tell whether the fault hits this request, and count it."""
        if self.method not in ("", request.method) or self.path_contains not in request.path:
            return False
        if not request.path.endswith(self.path_ends):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times == 0:
            return False
        self.times -= 1  # a negative count never reaches 0: the fault stays
        return True


@dataclass(slots=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class FaultProxy:
    """The proxy: listens on a free port of 127.0.0.1 from construction until :meth:`close`.

    Parameters
    ----------
    upstream_host, upstream_port
        The real server.
    one_at_a_time
        Serialise all requests.
    """

    def __init__(
        self, upstream_host: str, upstream_port: int, *, one_at_a_time: bool = False
    ) -> None:
        self.upstream = (upstream_host, upstream_port)
        self.requests: list[SeenRequest] = []
        self._scripted: list[_Scripted] = []
        self._lock = threading.Lock()
        self._gate = threading.Lock() if one_at_a_time else contextlib.nullcontext()
        methods = {f"do_{method}": _Handler.handle_any for method in _METHODS}
        handler = type("Handler", (_Handler,), {"proxy": self, **methods})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Address for a client's ``endpoint_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(
        self,
        fault: Fault,
        *,
        method: str = "",
        path_contains: str = "",
        path_ends: str = "",
        times: int = 1,
        skip: int = 0,
    ) -> None:
        """Misbehave on matching requests.

        Parameters
        ----------
        method, path_contains, path_ends
            Which requests; "" is any.
        times
            How many of them; negative for all.
        skip
            How many pass before the first one that is hit.
        """
        with self._lock:
            self._scripted.append(_Scripted(fault, method, path_contains, path_ends, times, skip))

    def clear(self) -> None:
        """Forget the script and the requests seen."""
        with self._lock:
            self._scripted.clear()
            self.requests.clear()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def fault_for(self, request: SeenRequest) -> Fault | None:
        """Record a request and return the fault that hits it, if one does."""
        with self._lock:
            self.requests.append(request)
            return next((item.fault for item in self._scripted if item.take(request)), None)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for this request's turn."""
        with self._gate:
            yield


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one write
    proxy: ClassVar[FaultProxy]

    def handle_any(self) -> None:
        fault = self.proxy.fault_for(SeenRequest(self.command, self.path, dict(self.headers)))
        length = int(self.headers.get("Content-Length", 0))
        if fault is not None and fault.read_only is not None:
            self.rfile.read(min(length, fault.read_only))
            self._reset()
            return
        body = self.rfile.read(length)
        if len(body) < length:  # the client is gone: the upstream would take a part for the whole
            self.close_connection = True
            return
        if fault is None:
            self._send(self._forward(body))
            return
        answer = self._forward(body) if fault.forward else _Answer(fault.status)
        time.sleep(fault.delay_seconds)
        if fault.call is not None:
            fault.call()
        if fault.reset:
            self._reset()
            return
        if fault.status:
            answer = _Answer(fault.status, [("Content-Type", "application/xml")], fault.body)
        self._send(_with_headers(answer, fault.headers), fault.cut_after)

    def handle_expect_100(self) -> bool:
        """Say "100 Continue" now: in the write buffer it would wait for the answer."""
        carry_on = super().handle_expect_100()
        self.wfile.flush()
        return carry_on

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Stay silent: pytest's output is for failures."""

    def _forward(self, body: bytes) -> _Answer:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        if body or self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        with (
            self.proxy.turn(),
            contextlib.closing(
                http.client.HTTPConnection(*self.proxy.upstream, timeout=60)
            ) as upstream,
        ):
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            response = upstream.getresponse()
            answer = _Answer(response.status, response.getheaders(), response.read())
        if self.command == "HEAD":  # the length of the body that a GET would have
            return answer
        kept = [(k, v) for k, v in answer.headers if k.lower() not in _HOP_BY_HOP]
        return replace(answer, headers=kept)

    def _send(self, answer: _Answer, cut_after: int | None = None) -> None:
        with contextlib.suppress(ConnectionError):  # a client that gave up is no fault of ours
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body[:cut_after])
            else:
                self.end_headers()
            self.wfile.flush()
        self.close_connection = self.close_connection or cut_after is not None

    def _reset(self) -> None:
        # Linger 0 makes close() send RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def _with_headers(answer: _Answer, headers: tuple[tuple[str, str], ...]) -> _Answer:
    replaced = {name.lower() for name, _ in headers}
    kept = [(name, value) for name, value in answer.headers if name.lower() not in replaced]
    return replace(answer, headers=[*kept, *headers])
