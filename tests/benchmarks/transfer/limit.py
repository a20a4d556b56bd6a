"""What no transfer can beat here: the bytes over one socket, and the bytes into the bucket.

Nothing is asked, read, hashed or written down: a thread sends as many bytes as the instances have
over a loopback connection, and four others put them, signed but unhashed, as one object each.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection

from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner
from tests.benchmarks.transfer.ends import Ends

THREADS = 4
_UNSIGNED = "UNSIGNED-PAYLOAD"


def copy_and_put(ends: Ends) -> None:
    """Do it once."""
    size, count = ends.data.bytes_an_instance, ends.data.total_instances
    key = AccessKey(ends.s3.access_key, ends.s3.secret_key)
    host = f"{ends.s3.host}:{ends.s3.port}"
    signer = RequestSigner("us-east-1", host)
    here, there = _connected()
    local = threading.local()
    room = threading.BoundedSemaphore(2 * THREADS)

    def send() -> None:
        body = bytes(size)
        for _ in range(count):
            there.sendall(body)
        there.close()

    def put(number: int, body: bytearray, prefix: str) -> None:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection(ends.s3.host, ends.s3.port, blocksize=1 << 20)
        path = f"/bucket/{prefix}/{number}"
        headers = signer.headers(path, _UNSIGNED, {}, key, datetime.now(UTC))
        local.connection.request("PUT", path, body, headers)
        answer = local.connection.getresponse()
        answer.read()
        room.release()
        if answer.status != 200:
            raise SystemExit(f"the target answered {answer.status}")

    sender = threading.Thread(target=send)
    sender.start()
    with ends.fresh_prefix("limit") as prefix, ThreadPoolExecutor(THREADS) as pool:
        futures = []
        for number in range(count):
            room.acquire()
            body = bytearray(size)
            view, at = memoryview(body), 0
            while at < size:
                at += here.recv_into(view[at:])
            futures.append(pool.submit(put, number, body, prefix))
        for future in futures:
            future.result()
    sender.join()
    here.close()


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return one, other
