"""Our side: worker processes that transfer the shards of one wave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select

from dicom_migration.ledger import Ledger, schema
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shards import cut_shards
from tests.benchmarks.transfer.data import DataSet
from tests.benchmarks.transfer.ends import Ends, landing_aet

WAVE = "Pbench-W0001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    """One transfer of everything: wall-clock seconds, CPU of the workers, the largest one."""

    seconds: float
    cpu_s: float
    peak_mib: float


def transfer(
    ends: Ends, method: str, processes: int, policy: dict[str, Any], *, profile: bool = False
) -> Run:
    """Transfer all studies with so many workers, which have started before the clock does."""
    with ends.fresh_prefix("ours") as prefix, ExitStack() as stack:
        folder = ends.workdir / prefix
        folder.mkdir()
        stack.callback(shutil.rmtree, folder)
        ledger = f"sqlite:///{folder / 'ledger.db'}"
        fresh_ledger(ledger, ends.data, processes)
        workers = [
            stack.enter_context(
                start(task(ends, method, prefix, ledger, number, policy, profile=profile))
            )
            for number in range(processes)
        ]
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise SystemExit("a worker did not start")
        started = time.perf_counter()
        for worker in workers:
            tell(worker)
        told = [json.loads(worker.stdout.readline()) for worker in workers if worker.stdout]
        seconds = time.perf_counter() - started
        check_all_transferred(ledger, ends.data)
        return Run(seconds, sum(t["cpu_s"] for t in told), max(t["peak_mib"] for t in told))


def start(task: dict[str, Any]) -> subprocess.Popen[str]:
    """Start one worker, with compiled modules as every installation has after its first run."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.transfer.worker", json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if task["profile"] else subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def tell(worker: subprocess.Popen[str]) -> None:
    """Let a worker begin."""
    if worker.stdin is not None:
        worker.stdin.write("go\n")
        worker.stdin.flush()


def task(
    ends: Ends,
    method: str,
    prefix: str,
    ledger: str,
    number: int,
    policy: dict[str, Any],
    *,
    profile: bool,
) -> dict[str, Any]:
    """Return what one worker has to know."""
    return {
        "method": method,
        "dicomweb_url": ends.pacs.dicomweb_url,
        "dicom_port": ends.pacs.port,
        "landing_aet": landing_aet(number),
        "landing_port": ends.landing_ports[number],
        "endpoint_url": ends.s3.endpoint_url,
        "access_key": ends.s3.access_key,
        "secret_key": ends.s3.secret_key,
        "prefix": prefix,
        "ledger": ledger,
        "wave_id": WAVE,
        "shard": number,
        "policy": policy,
        "profile": profile,
    }


def fresh_ledger(url: str, data: DataSet, shards: int) -> None:
    """Make a ledger with one cleansed wave, cut into `shards`."""
    with Ledger(url) as ledger:
        ledger.upgrade()
        with ledger.write() as connection:
            connection.execute(
                insert(schema.wave).values(
                    wave_id=WAVE, plan_id="Pbench", ordinal=1, state="cleansed", updated_at=NOW
                )
            )
            connection.execute(
                insert(schema.study),
                [
                    {
                        "study_instance_uid": uid,
                        "state": "cleansed",
                        "number_of_instances": data.instances,
                        "wave_id": WAVE,
                        "first_seen_at": NOW,
                        "last_seen_at": NOW,
                        "updated_at": NOW,
                    }
                    for uid in data.study_uids()
                ],
            )
        cut_shards(ledger, WAVE, TransferPolicy(studies_per_shard=-(-data.studies // shards)))


def check_all_transferred(url: str, data: DataSet) -> None:
    """Refuse a result that moved less than everything."""
    with Ledger(url) as ledger, ledger.read() as connection:
        done = connection.scalar(
            select(func.sum(schema.study.c.stored_instances)).where(
                schema.study.c.state == "transferred"
            )
        )
    if done != data.total_instances:
        raise SystemExit(f"only {done} of {data.total_instances} instances were transferred")
