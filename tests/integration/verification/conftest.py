"""A real S3 endpoint on this host, a real ledger, and a wave written into both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger
from tests.integration.verification.audited_instance import Audited, rewritten_without_padding
from tests.integration.verification.written_wave import WrittenWave, real_instances, write_wave


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint: str, request: pytest.FixtureRequest):
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="a-test-key",
        aws_secret_access_key="a-test-secret",
    )
    bucket = "archive"
    client.create_bucket(Bucket=bucket)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            client.delete_object(Bucket=bucket, Key=item["Key"])


@pytest.fixture
def store(client) -> S3Store:
    return S3Store(client, "archive")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.upgrade()
        yield ledger


@pytest.fixture(scope="session")
def all_real_instances():
    return real_instances()


@pytest.fixture
def wave(store: S3Store, ledger: Ledger, all_real_instances) -> WrittenWave:
    """Six studies of small real files, transferred without a fault."""
    small = [i for i in all_real_instances if len(i.dataset) < 200_000 and i.pixels]
    chosen: dict[str, list] = {}
    for instance in small:
        chosen.setdefault(instance.record.study_instance_uid, []).append(instance)
    studies = sorted(chosen)[:6]
    return write_wave(store, ledger, [i for uid in studies for i in chosen[uid]])


@pytest.fixture
def audited(store: S3Store, ledger: Ledger):
    return lambda held: Audited(store, ledger, held)


@pytest.fixture
def canonical():
    return rewritten_without_padding
