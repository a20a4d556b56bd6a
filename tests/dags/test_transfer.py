"""The transfer DAG: its shape, and that its first task says at once what is wrong."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from moto.server import ThreadedMotoServer

from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError
from dicom_migration.operators.defaults import CLEANSED_WAVE, PACS_POOL, TRANSFERRED_WAVE
from dicom_migration.operators.transfer import TransferPreflightOperator
from include.peers.dcmqrscp import Dcmqrscp
from tests.conftest import require

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dag() -> DAG:
    return DagBag(str(ROOT / "dags" / "transfer.py"), collect_dags=True).dags["transfer"]


def test_it_checks_waits_cuts_moves_and_closes_in_this_order(dag: DAG) -> None:
    order = ["preflight", "wait_for_window", "cut_shards", "transfer_shard", "close"]
    for before, after in pairwise(order):
        assert after in dag.get_task(before).downstream_task_ids


def test_it_is_chained_by_assets_and_bounded_by_the_pool(dag: DAG) -> None:
    assert list(dag.timetable.asset_condition.objects) == [CLEANSED_WAVE]
    assert dag.get_task("close").outlets == [TRANSFERRED_WAVE]
    assert dag.get_task("transfer_shard").pool == PACS_POOL


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: str) -> Any:
    """Set connections: a good folder, bucket and ledger, each to be replaced by a bad one."""
    import boto3

    boto3.client(
        "s3",
        endpoint_url=s3,
        aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="example",
        region_name="us-east-1",
    ).create_bucket(Bucket="archive")
    (tmp_path / "source").mkdir()
    source = {"conn_type": "dicom_folder", "extra": {"path": str(tmp_path / "source")}}
    target = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLEEXAMPLE00",
        "password": "example",
        "extra": {
            "region_name": "us-east-1",
            "endpoint_url": s3,
            "service_config": {"s3": {"bucket_name": "archive"}},
        },
    }
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "ledger" / "ledger.db")}

    def set_connections(**changes: dict[str, Any]) -> None:
        for name, content in {
            "pacs_source": source,
            "cloud_target": target,
            "migration_ledger": ledger,
            **changes,
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(content))

    set_connections.target = target  # type: ignore[attr-defined]
    return set_connections


def preflight() -> dict[str, Any]:
    return TransferPreflightOperator(task_id="preflight").execute({})  # type: ignore[typeddict-item]


def refused(expected: type[MigrationError], reason: ReasonCode) -> str:
    with pytest.raises(expected) as caught:
        preflight()
    assert caught.value.reason is reason, str(caught.value)
    assert caught.value.next_step
    return str(caught.value)


def dicom(port: int, **extra: Any) -> dict[str, Any]:
    return {
        "conn_type": "dicom",
        "host": "127.0.0.1",
        "port": port,
        "extra": {"called_ae_title": "ANY", "calling_ae_title": "MIGRATION", **extra},
    }


def test_good_ends_pass(connect: Any) -> None:
    connect()
    assert preflight()["target"]["bucket"] == "archive"


def test_a_closed_port_is_named(connect: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connect(pacs_source=dicom(port))
    assert str(port) in refused(TransientError, ReasonCode.SOURCE_UNREACHABLE)


def test_a_wrong_ae_title_is_told_apart_from_a_silent_pacs(connect: Any, tmp_path: Path) -> None:
    require(Dcmqrscp.available(), "dcmtk")
    with Dcmqrscp(tmp_path / "pacs") as peer:
        connect(pacs_source=dicom(peer.port, called_ae_title="WRONG"))
        assert "AE title" in refused(PermanentError, ReasonCode.SOURCE_REJECTED)


def test_a_missing_folder_is_named(connect: Any) -> None:
    connect(pacs_source={"conn_type": "dicom_folder", "extra": {"path": "/no/such/folder"}})
    assert "/no/such/folder" in refused(PermanentError, ReasonCode.SOURCE_UNREACHABLE)


def test_a_missing_bucket_is_named(connect: Any) -> None:
    target = json.loads(json.dumps(connect.target))
    target["extra"]["service_config"]["s3"]["bucket_name"] = "no-such-bucket"
    connect(cloud_target=target)
    assert "no-such-bucket" in refused(PermanentError, ReasonCode.TARGET_MISSING)


def test_a_ledger_of_another_type_is_refused(connect: Any) -> None:
    connect(migration_ledger={"conn_type": "mysql", "host": "db"})
    assert "migration_ledger" in refused(PermanentError, ReasonCode.CONFIGURATION_INVALID)


def test_a_ledger_that_is_away_is_named(connect: Any) -> None:
    connect(
        migration_ledger={
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": 1,
            "login": "ledger",
            "password": "not told",
            "schema": "ledger",
        }
    )
    assert "not told" not in refused(TransientError, ReasonCode.LEDGER_UNAVAILABLE)


@pytest.mark.parametrize(
    ("file", "content", "place"),
    [
        ("windows.yaml", "timezone: Mars/Olympus\n", "line 1, field timezone"),
        ("transfer.yaml", "upload_threads: 4\nshards: 3\n", "line 2, field shards"),
        ("transfer.yaml", "upload_threads: [\n", "line 2"),
        ("throttle.yaml", "bytes_per_second: 5\n", "line 1, field bytes_per_second"),
        ("throttle.yaml", "governor:\n  max_latency: 3\n", "line 2, field governor.max_latency"),
    ],
)
def test_a_malformed_policy_is_told_with_its_place(
    connect: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    file: str,
    content: str,
    place: str,
) -> None:
    import shutil

    shutil.copytree(ROOT / "include" / "policies", tmp_path / "include" / "policies")
    (tmp_path / "include" / "policies" / file).write_text(content)
    monkeypatch.setenv("DICOM_MIGRATION_INCLUDE", str(tmp_path / "include"))
    connect()
    message = refused(PermanentError, ReasonCode.POLICY_INVALID)
    assert file in message
    assert place in message
    assert not (tmp_path / "ledger").exists(), "nothing is written before the policies are read"
