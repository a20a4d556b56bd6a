"""The transfer task, a process of its own, stopped or killed midway; the next one ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.archive.protocol import StudyQuery
from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shards import cut_shards
from tests.archives import real_file
from tests.integration.transfer.conftest import FILES, NOW, WAVE

ROOT = Path(__file__).parents[3]
STOP_SECONDS = 5.0
"""What Airflow waits between SIGTERM and SIGKILL."""

# Airflow's task runner calls on_kill from its handler of SIGTERM, and so does this.
_TASK = """
import json, signal, sys
from types import SimpleNamespace
from dicom_migration.operators.transfer import TransferShardOperator
operator = TransferShardOperator(task_id="shard", shard={"wave_id": sys.argv[1], "number": 0})
signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
task = SimpleNamespace(try_number=1, max_tries=6)
print(json.dumps(operator.execute({"ti": task})))
"""


@pytest.fixture
def environment(tmp_path: Path, endpoint: str, bucket: str) -> dict[str, str]:
    """Connections and policies for a slow transfer from a folder."""
    source = tmp_path / "source"
    source.mkdir()
    for name in FILES:
        (source / name).write_bytes(real_file(name))
    shutil.copytree(ROOT / "include" / "policies", tmp_path / "include" / "policies")
    throttle = tmp_path / "include" / "policies" / "throttle.yaml"
    throttle.write_text("bytes_per_second: 250000\nlease_seconds: 2\n")
    connections: dict[str, Any] = {
        "pacs_source": {"conn_type": "dicom_folder", "extra": {"path": str(source)}},
        "migration_ledger": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
        "cloud_target": {
            "conn_type": "aws",
            "login": "AKIAEXAMPLEEXAMPLE00",
            "password": "example",
            "extra": {
                "region_name": "us-east-1",
                "endpoint_url": endpoint,
                "service_config": {"s3": {"bucket_name": bucket}},
            },
        },
    }
    return {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "DICOM_MIGRATION_INCLUDE": str(tmp_path / "include"),
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in connections.items()},
    }


@pytest.fixture
def shard(ledger: Ledger, tmp_path: Path, environment: dict[str, str]) -> list[str]:
    """The studies of the folder, as one shard."""
    with FolderArchive(FolderSettings(tmp_path / "source")) as folder:
        uids = sorted({s.study_instance_uid for s in folder.find_studies(StudyQuery())})
    with ledger.write() as connection:
        connection.execute(
            insert(schema.study),
            [
                {
                    "study_instance_uid": uid,
                    "state": "cleansed",
                    "wave_id": WAVE,
                    "first_seen_at": NOW,
                    "last_seen_at": NOW,
                    "updated_at": NOW,
                }
                for uid in uids
            ],
        )
    cut_shards(ledger, WAVE, TransferPolicy())
    return uids


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _TASK, WAVE],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def states(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.scalars(select(schema.study.c.state)))


def wait_until_midway(ledger: Ledger, task: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not {"transferred", "transferring"} <= set(states(ledger)):
        assert time.monotonic() < deadline
        assert task.poll() is None, task.communicate()[0]
        time.sleep(0.02)


def test_a_task_told_to_stop_ends_in_time_and_the_next_goes_on(
    ledger: Ledger, shard: list[str], environment: dict[str, str]
) -> None:
    task = start(environment)
    wait_until_midway(ledger, task)
    task.send_signal(signal.SIGTERM)
    out, _ = task.communicate(timeout=STOP_SECONDS)
    assert "StoppedError" in out
    assert "task_stopped" in out
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(schema.lease)) == 0
    moved = states(ledger).count("transferred")
    assert 0 < moved < len(shard)
    again = start(environment)
    out, _ = again.communicate(timeout=120)
    summary = json.loads(out.splitlines()[-1])
    assert summary["transferred"] == len(shard) - moved
    assert set(states(ledger)) == {"transferred"}
    left = len(shard) - moved
    assert f"shard 0: {left} of {left} studies" in out, "the progress is in the task's log"


def test_a_killed_task_holds_nothing_up_for_longer_than_its_leases(
    ledger: Ledger, shard: list[str], environment: dict[str, str]
) -> None:
    task = start(environment)
    wait_until_midway(ledger, task)
    task.kill()
    task.communicate()
    moved = states(ledger).count("transferred")
    out, _ = start(environment).communicate(timeout=120)
    assert json.loads(out.splitlines()[-1])["transferred"] == len(shard) - moved
    assert set(states(ledger)) == {"transferred"}
    with ledger.read() as connection:
        outcomes = connection.scalars(select(schema.attempt.c.outcome)).all()
    assert sorted(set(outcomes)) == ["interrupted", "transferred"]
