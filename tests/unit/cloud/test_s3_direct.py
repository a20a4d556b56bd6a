"""The short way of a PutObject: where it goes, and which answers and connections it believes."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import boto3
import pytest
from botocore.exceptions import ClientError

from dicom_migration.cloud.s3_direct import DirectPut
from dicom_migration.cloud.s3_errors import S3Address
from dicom_migration.cloud.s3_settings import MIB, S3Client, S3Settings, create_client
from dicom_migration.cloud.s3_transport import transport_of
from dicom_migration.cloud.s3_upload import Upload

CREATED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
OTHER_REGION = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"

Answering = Callable[[socket.socket], None]
"""Answers one request, which was read to its end, on its connection."""


def client_of(region: str, endpoint: str | None = None) -> S3Client:
    session = boto3.session.Session("AKIDEXAMPLE", "a secret")
    return create_client(S3Settings(), session, region_name=region, endpoint_url=endpoint)


def upload_of(body: bytes) -> Upload:
    address = S3Address("bucket", "cloud_target", "key")
    digest = hashlib.sha256(body).hexdigest()
    return Upload("key", address, len(body), digest, "STANDARD", "application/dicom")


@contextmanager
def served(answer: Answering, settings: S3Settings | None = None) -> Iterator[DirectPut]:
    """A store that answers every request with `answer`, and the short way to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection, connection.makefile("rb") as lines:
                while first := lines.readline():
                    head = [first, *iter(lines.readline, b"\r\n")]
                    told = [h for h in head if h.lower().startswith(b"content-length:")]
                    size = int(told[0].split(b":")[1])
                    for _ in range(size // MIB):
                        lines.read(MIB)
                        time.sleep(0.05)  # a slow line, for who sends much
                    lines.read(size % MIB)
                    answer(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        client = client_of("eu-central-1", f"http://127.0.0.1:{server.getsockname()[1]}")
        transport = transport_of(client, "bucket")
        assert transport is not None
        direct = DirectPut(client, transport, settings or S3Settings())
        try:
            yield direct
        finally:
            direct.close()
            server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("region", "bucket", "host", "signed_for"),
    [
        ("eu-central-1", "bucket", "bucket.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("eu-central-1", "a.bucket", "s3.eu-central-1.amazonaws.com", "eu-central-1"),
        (
            "eu-central-1",
            "arn:aws:s3:us-west-2:123456789012:accesspoint/point",
            "point-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
            "us-west-2",
        ),
    ],
)
def test_bytes_go_to_the_host_and_region_that_boto3_would_send_them_to(
    region: str, bucket: str, host: str, signed_for: str
) -> None:
    transport = transport_of(client_of(region), bucket)
    assert transport is not None
    assert (transport.host, transport.region) == (host, signed_for)


def test_what_is_signed_otherwise_is_left_to_boto3() -> None:
    point = "arn:aws:s3::123456789012:accesspoint/many.mrap"
    assert transport_of(client_of("eu-central-1"), point) is None


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones() -> None:
    answers = iter([(CREATED, CREATED), (REFUSED,)])
    read, sent = threading.Event(), threading.Event()

    def answer(connection: socket.socket) -> None:
        for number, data in enumerate(next(answers)):
            assert not number or read.wait(5)
            connection.sendall(data)
        sent.set()

    with served(answer) as direct:
        assert direct.put(upload_of(b"one"), b"one") is not None
        read.set()
        assert sent.wait(5)  # on loopback, what is sent has arrived
        with pytest.raises(ClientError, match="412"):
            direct.put(upload_of(b"two"), b"two")


def test_a_connection_that_the_store_closed_is_replaced_and_not_a_failed_request() -> None:
    closed = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(CREATED)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    with served(answer) as direct:
        for body in (b"one", b"two"):
            assert direct.put(upload_of(body), body) is not None
            assert closed.wait(5)
            closed.clear()


def test_two_threads_may_want_the_last_idle_connection() -> None:
    class SeenByBoth(deque):  # type: ignore[type-arg]
        """Holds one connection when it is asked, and none when it is taken."""

        def __bool__(self) -> bool:
            return True

    with served(lambda connection: connection.sendall(CREATED)) as direct:
        direct._connections._idle = SeenByBoth()
        assert direct.put(upload_of(b"one"), b"one") is not None
        direct._connections._idle = deque(direct._connections._idle)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 412 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 412 No\r\nContent-Length: %d\r\n\r\n%b",
        b"HTTP/1.0 412 No\r\nContent-Length: %d\r\n\r\n%b",
        b"HTTP/1.1 412 No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b",
    ],
)
def test_a_refusal_is_understood_in_any_form(answer: bytes) -> None:
    told = b"<Error><Code>PreconditionFailed</Code><Message>%b</Message></Error>" % (b"a" * 9000)
    with served(lambda connection: connection.sendall(answer % (len(told), told))) as direct:
        for _ in range(2):
            with pytest.raises(ClientError, match="PreconditionFailed"):
                direct.put(upload_of(b"one"), b"one")


def test_an_answer_that_ends_early_is_left_to_boto3() -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<a")
        connection.shutdown(socket.SHUT_RDWR)

    with served(answer) as direct:
        assert direct.put(upload_of(b"one"), b"one") is None


def test_a_bucket_of_another_region_is_left_to_boto3_which_finds_it() -> None:
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(OTHER_REGION)
    with served(lambda connection: connection.sendall(head + OTHER_REGION)) as direct:
        assert direct.put(upload_of(b"one"), b"one") is None


def test_a_timeout_is_for_one_piece_of_a_body_and_not_for_all_of_it() -> None:
    body = bytes(40 * MIB)
    settings = S3Settings(read_timeout=1.5)  # the store takes 1 MiB every 0.05 s
    with served(lambda connection: connection.sendall(CREATED), settings) as direct:
        assert direct.put(upload_of(body), memoryview(body)) is not None
