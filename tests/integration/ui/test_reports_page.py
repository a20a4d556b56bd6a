"""The page of reports over a real S3 endpoint: whole, unchanged, and larger than one would hold."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from fastapi.responses import StreamingResponse

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.ledger import Ledger
from dicom_migration.operators.reports import publish_report
from dicom_migration.ui.reports_page import IN_MEMORY, show_report
from tests.integration.cloud.conftest import (  # noqa: F401 - fixtures
    bucket,
    endpoint,
    moto_server,
    open_store,
    s3,
    store,
)

Publish = Callable[[bytes], str]


@pytest.fixture
def publish(
    tmp_path: Path,
    store: S3Store,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Publish:
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_MIGRATION_LEDGER", json.dumps(connection))
    monkeypatch.setattr("dicom_migration.hooks.cloud.open_store", lambda: nullcontext(store))

    def published(body: bytes) -> str:
        with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            ledger.upgrade()
            uri = publish_report(
                store, ledger, kind="plan_studies", subject="P1", body=body, suffix="csv"
            )
        return uri[uri.index("reports/") :]

    return published


class NothingButZeros:
    """A bucket that holds as many zeros as it is told to, and keeps none of them."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, key: str) -> bytes:
        return bytes(self.size)

    def stream(self, key: str, chunk_bytes: int) -> Iterator[bytes]:
        return (bytes(chunk_bytes) for _ in range(self.size // chunk_bytes))


def sent(response: object) -> int:
    """Count the bytes that a browser would get, keeping none of them."""
    assert isinstance(response, StreamingResponse)

    async def count() -> int:
        return sum([len(piece) async for piece in response.body_iterator])

    return asyncio.run(count())


def test_a_report_is_sent_as_it_was_published(publish: Publish) -> None:
    response = show_report(publish(b"a,b\n"))
    assert response.headers["Content-Length"] == "4"
    assert sent(response) == 4


def test_a_plan_of_a_million_studies_needs_no_memory_of_its_size(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = publish(bytes(6 * IN_MEMORY))
    # The endpoint runs in this process: what it needs is not to be counted.
    stored = NothingButZeros(6 * IN_MEMORY)
    monkeypatch.setattr("dicom_migration.hooks.cloud.open_store", lambda: nullcontext(stored))
    sent(show_report(key))  # what is imported at the first call is not the report's
    tracemalloc.start()
    try:
        assert sent(show_report(key)) == stored.size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < stored.size / 2


def test_a_report_that_was_changed_is_not_shown(publish: Publish, bucket: str, s3: object) -> None:  # noqa: F811
    key = publish(b"a,b\n")
    found = [
        each["Key"]
        for each in s3.list_objects_v2(Bucket=bucket)["Contents"]  # type: ignore[attr-defined]
        if each["Key"].endswith(key)
    ]
    s3.put_object(Bucket=bucket, Key=found[0], Body=b"a,c\n")  # type: ignore[attr-defined]
    assert show_report(key).status_code == 409
