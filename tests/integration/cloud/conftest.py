"""A real S3 endpoint (moto over HTTP), a bucket per test, and a proxy that injects faults."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import MIN_PART_BYTES, S3Client, S3Settings, create_client
from tests.integration.cloud.fault_proxy import FaultProxy

# Short timeouts, so that a fault is felt in a test's time; two attempts, so that one fault is
# survived and a lasting one is not retried for long.
SETTINGS = S3Settings(
    connection="cloud_target",
    connect_timeout=2.0,
    read_timeout=2.0,
    max_attempts=2,
    multipart_threshold_bytes=2 * MIN_PART_BYTES,
    part_bytes=MIN_PART_BYTES,
    ask_first_bytes=64 * 1024,
)

_numbers = itertools.count(1)

StoreFactory = Callable[..., S3Store]


@functools.cache  # it caches the service model, half a second to load
def session() -> boto3.session.Session:
    """Return a session whose credentials do not depend on the machine."""
    return boto3.session.Session(
        aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="example",
        region_name="us-east-1",
    )


@pytest.fixture(scope="session")
def moto_server() -> Iterator[tuple[str, int]]:
    """Host and port of an S3 endpoint that speaks real HTTP."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


@pytest.fixture
def endpoint(moto_server: tuple[str, int]) -> str:
    """URL of the endpoint."""
    return f"http://{moto_server[0]}:{moto_server[1]}"


@pytest.fixture
def proxy(moto_server: tuple[str, int]) -> Iterator[FaultProxy]:
    """A proxy before the endpoint; it passes everything until it is told otherwise."""
    with FaultProxy(*moto_server, one_at_a_time=True) as proxy:
        yield proxy


@pytest.fixture
def s3(endpoint: str) -> Iterator[S3Client]:
    """A plain client, to look at what the store really did."""
    client = create_client(SETTINGS, session(), endpoint_url=endpoint)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3Client) -> str:
    """A fresh bucket."""
    name = f"archive-{next(_numbers):04d}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def open_store(endpoint: str, bucket: str) -> Iterator[StoreFactory]:
    """Build stores on the bucket: ``open_store(url=…, prefix=…, bucket=…, **settings)``."""
    opened: list[S3Store] = []

    def build(
        url: str = endpoint, bucket: str = bucket, prefix: str = "site-a", **settings: object
    ) -> S3Store:
        chosen = replace(SETTINGS, **settings)  # type: ignore[arg-type]
        client = create_client(chosen, session(), endpoint_url=url)
        opened.append(S3Store(client, bucket, prefix, chosen))
        return opened[-1]

    yield build
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: StoreFactory) -> S3Store:
    """A store straight on the endpoint."""
    return open_store()


@pytest.fixture
def faulty_store(open_store: StoreFactory, proxy: FaultProxy) -> S3Store:
    """A store behind the proxy."""
    return open_store(url=proxy.url)
