"""The short way of a GetObject: which answers it believes, and which connections it keeps."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import boto3
import pytest
from botocore.exceptions import IncompleteReadError

from dicom_migration.cloud.s3_direct_get import DirectGet
from dicom_migration.cloud.s3_settings import S3Settings, create_client
from dicom_migration.cloud.s3_transport import transport_of

BODY = bytes(range(256)) * 40


def answer_of(body: bytes, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    length = str(len(body)).encode()
    return (
        b"HTTP/1.1 " + status + b"\r\nContent-Length: " + length + b"\r\n" + fields + b"\r\n" + body
    )


class Server:
    """Answers every request with the same bytes, and hangs up after them when told so."""

    def __init__(self, answer: bytes, *, hang_up: bool) -> None:
        self.answer, self.hang_up = answer, hang_up
        self.connections = 0
        self.requests: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))

    def run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as lines:
            while first := lines.readline():
                self.requests.append(b"".join([first, *iter(lines.readline, b"\r\n")]))
                connection.sendall(self.answer)
                if self.hang_up:
                    return


@contextmanager
def served(
    answer: bytes, *, hang_up: bool = False, settings: S3Settings | None = None
) -> Iterator[tuple[Server, DirectGet]]:
    server = Server(answer, hang_up=hang_up)
    threading.Thread(target=server.run, daemon=True).start()
    session = boto3.session.Session("AKIDEXAMPLE", "a secret", "a token", "eu-central-1")
    where = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    client = create_client(S3Settings(), session, endpoint_url=where)
    transport = transport_of(client, "bucket")
    assert transport is not None
    direct = DirectGet(client, transport, settings or S3Settings())
    try:
        yield server, direct
    finally:
        direct.close()
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()


def test_a_body_comes_whole_and_its_connection_serves_the_next():
    with served(answer_of(BODY)) as (server, direct):
        for _ in range(3):
            pieces = direct.get("a/b c", 1000)
            assert pieces is not None
            chunks = list(pieces)
            assert b"".join(chunks) == BODY
            assert max(map(len, chunks)) == 1000
        assert server.connections == 1
        assert server.requests[0].startswith(b"GET /bucket/a/b%20c HTTP/1.1\r\n")
        assert b"x-amz-security-token: a token" in server.requests[0]


def test_an_empty_object_has_no_pieces():
    with served(answer_of(b"")) as (server, direct):
        assert [list(direct.get("key", 1000) or ["refused"]) for _ in range(2)] == [[], []]
        assert server.connections == 1


def test_a_range_is_asked_for_and_must_be_answered_as_one():
    with served(answer_of(BODY, b"206 Partial Content")) as (server, direct):
        assert b"".join(direct.get("key", 1 << 20, 5, 9) or ()) == BODY
        assert b"range: bytes=5-9" in server.requests[0]
    with served(answer_of(BODY)) as (_, direct):
        assert direct.get("key", 1 << 20, 5, 9) is None


@pytest.mark.parametrize(
    "answer",
    [
        answer_of(b"", b"404 Not Found"),
        answer_of(b"", b"503 Slow Down"),
        answer_of(b"", b"307 Temporary Redirect"),
        answer_of(BODY, fields=b"Content-Encoding: gzip\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        answer_of(BODY[:100]) + b"more than was asked for",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
def test_any_other_answer_is_left_to_boto3(answer):
    with served(answer, hang_up=True) as (_, direct):
        assert direct.get("key", 1000) is None


def test_nobody_listening_is_left_to_boto3():
    with served(answer_of(BODY)) as (server, direct):
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()
        assert direct.get("key", 1000) is None
        server.socket = socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize("room", [1, 1000, 1 << 20])
def test_a_body_comes_whole_into_memory_that_is_there(room):
    with served(answer_of(BODY)) as (server, direct):
        buffer = bytearray(room)
        for _ in range(2):
            views = direct.get_into("key", buffer)
            assert views is not None
            assert b"".join(bytes(view) for view in views) == BODY
        assert server.connections == 1


@pytest.mark.parametrize("into", [True, False])
def test_a_body_that_breaks_off_is_an_error_and_never_a_shorter_object(into):
    with served(answer_of(BODY)[:-1], hang_up=True) as (_, direct):
        room = 1 << 20
        pieces = direct.get_into("key", bytearray(room)) if into else direct.get("key", room)
        assert pieces is not None
        with pytest.raises(IncompleteReadError):
            list(pieces)


def test_a_body_that_stops_coming_is_an_error_after_the_read_timeout():
    with served(answer_of(BODY)[:-1], settings=S3Settings(read_timeout=0.2)) as (_, direct):
        pieces = direct.get("key", 1 << 20)
        assert pieces is not None
        with pytest.raises(IncompleteReadError):
            list(pieces)


def test_a_connection_that_was_hung_up_on_is_not_used_again():
    with served(answer_of(BODY, fields=b"Connection: close\r\n"), hang_up=True) as (server, direct):
        for _ in range(2):
            assert b"".join(direct.get("key", 1 << 20) or ()) == BODY
        assert server.connections == 2


def test_a_reader_that_stops_in_the_middle_leaves_no_rest_to_the_next():
    with served(answer_of(BODY)) as (server, direct):
        pieces = direct.get("key", 100)
        assert pieces is not None
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        assert b"".join(direct.get("key", 1 << 20) or ()) == BODY
        assert server.connections == 2
