"""The ledger on both databases, and workers that are processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_migration.ledger import Ledger

ROOT = Path(__file__).parents[3]
Start = Callable[..., "Worker"]


class Worker:
    """A process that runs one function of :mod:`tests.integration.pacing.workers`."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        program = "from tests.integration.pacing import workers; workers.main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, name, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def result(self, seconds: float = 120) -> Any:
        """Return what the function returned, once the process has ended well."""
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[Worker] = []

    def begin(name: str, /, **arguments: Any) -> Worker:
        running.append(Worker(name, arguments))
        return running[-1]

    yield begin
    for worker in running:
        worker.end()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened
