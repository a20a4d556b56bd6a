"""Both sides: worker processes that verify the shards of one wave, and ``rclone check``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.transfer.ours import WAVE, tell
from tests.benchmarks.transfer.rclone_server import binary
from tests.benchmarks.verification.wave import TransferredWave

#: Readings at once on each side: rclone's default, and our policy's ``read_threads``. Workers of
#: ours share them, so that more workers do not mean more requests at the same server.
CHECKERS = 8


@dataclass(frozen=True)
class Run:
    """One verification of everything: wall-clock seconds, CPU of the workers, the largest one."""

    seconds: float
    cpu_s: float
    peak_mib: float


def verify(wave: TransferredWave, processes: int, *, profile: bool = False) -> Run:
    """Verify all studies with so many workers, which have started before the clock does."""
    ledger = wave.fresh_ledger("run")
    with ExitStack() as stack:
        stack.callback(ledger.unlink)
        tasks = [_task(wave, str(ledger), n, processes, profile=profile) for n in range(processes)]
        workers = [stack.enter_context(_start(task)) for task in tasks]
        for worker in workers:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise SystemExit("a worker did not start")
        started = time.perf_counter()
        for worker in workers:
            tell(worker)
        told = [json.loads(worker.stdout.readline()) for worker in workers if worker.stdout]
        seconds = time.perf_counter() - started
    read = sum(t["objects_read"] for t in told)
    if sum(t["verified"] for t in told) != wave.data.studies or read != wave.data.total_instances:
        raise SystemExit(f"not everything was read and verified: {told}")
    return Run(seconds, sum(t["cpu_s"] for t in told), max(t["peak_mib"] for t in told))


def rclone_check(wave: TransferredWave) -> None:
    """Let rclone download everything and compare it with the folder that holds the same files."""
    remote = (
        f":s3,provider=Rclone,force_path_style=true,endpoint='{wave.s3.endpoint_url}',"
        f"access_key_id={wave.s3.access_key},secret_access_key={wave.s3.secret_key},"
        f"region=us-east-1:bucket/{wave.prefix}"
    )
    done = subprocess.run(
        [
            *(str(binary()), "check", "--download", "--checkers", str(CHECKERS)),
            *(str(wave.local), remote, "--config", "/dev/null", "--stats", "0"),
        ],
        env={**os.environ, "RCLONE_CONFIG": "/dev/null"},
        capture_output=True,
        text=True,
        check=False,
    )
    files = sum(1 for path in wave.local.rglob("*") if path.is_file())
    if done.returncode != 0 or f"{files} matching files" not in done.stderr:
        raise SystemExit(f"rclone check did not compare {files} files:\n{done.stderr[-500:]}")


def _task(
    wave: TransferredWave, ledger: str, number: int, processes: int, *, profile: bool
) -> dict[str, Any]:
    return {
        "endpoint_url": wave.s3.endpoint_url,
        "access_key": wave.s3.access_key,
        "secret_key": wave.s3.secret_key,
        "prefix": wave.prefix,
        "source": str(wave.source),
        "ledger": f"sqlite:///{ledger}",
        "wave_id": WAVE,
        "shard": number,
        "shard_size": -(-wave.data.studies // processes),
        "policy": {
            "read_threads": max(1, CHECKERS // processes),
            **json.loads(os.environ.get("POLICY", "{}")),
        },
        "profile": profile,
    }


def _start(task: dict[str, Any]) -> subprocess.Popen[str]:
    """Start one worker, with compiled modules as every installation has after its first run."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.verification.worker", json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if task["profile"] else subprocess.DEVNULL,
        text=True,
        env=environment,
    )
