"""The test's side of :mod:`tests.integration.transfer.faults.worker`: start, kill, wait, look."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.integration.transfer.faults.sample import CANARY

ROOT = Path(__file__).parents[4]
KILLED = -signal.SIGKILL


class Workers:
    """Runs jobs in processes of their own, one at a time.

    Attributes
    ----------
    pid
        Of the process at work, 0 when there is none.
    """

    def __init__(self) -> None:
        self.pid = 0
        self._is_known = threading.Event()
        paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.transfer.faults.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def start(self, job: dict[str, Any]) -> None:
        """Begin a job."""
        assert self._parent.stdin is not None
        self._is_known.clear()
        self._parent.stdin.write(json.dumps(job) + "\n")
        self._parent.stdin.flush()
        self.pid = int(self._line())
        self._is_known.set()

    def kill(self) -> None:
        """Kill the process at work; one that has ended is no error."""
        self._is_known.wait(10)  # it may be at work before we have read its id
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the end of the job; return its exit code, -9 when it was killed."""
        code = int(self._line())
        self.pid = 0
        return code

    def end(self) -> None:
        """Kill what is still at work, when a test gave up in the middle."""
        if self.pid:
            self.kill()
            self.wait()

    def close(self) -> None:
        """End them all."""
        self.end()
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(10)
        self._parent.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline()


@dataclass
class Job:
    """One shard's job, done again and again until it is through.

    Parameters
    ----------
    folder
        Where the worker's temporary files, its log and its outcome go.
    what
        Ledger, source, endpoint, bucket, prefix and layout.
    """

    workers: Workers
    folder: Path
    what: dict[str, Any]
    outcome: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tmpdir.mkdir(parents=True)

    @property
    def tmpdir(self) -> Path:
        """The worker's temporary folder and working directory."""
        return self.folder / "tmp"

    def start(self, **kill: int) -> None:
        """Begin, to be killed at a commit of the ledger when so told."""
        self.workers.start(
            {
                **self.what,
                "kill": kill,
                "tmpdir": str(self.tmpdir),
                "log": str(self.folder / "log"),
                "outcome": str(self.folder / "outcome"),
            }
        )

    def run(self, **kill: int) -> int:
        """Do the job; return the exit code."""
        self.start(**kill)
        return self.workers.wait()

    def finish(self) -> dict[str, Any]:
        """Do the job undisturbed; return its outcome."""
        code = self.run()
        assert code == 0, (self.folder / "log").read_text("utf-8")[-3000:]
        self.outcome = json.loads((self.folder / "outcome").read_text("utf-8"))
        return self.outcome

    def check_no_trace(self) -> None:
        """Check that nothing of a patient is left on the worker, in the log neither."""
        canary = CANARY.encode()
        left = [p for p in self.tmpdir.rglob("*") if p.is_file()]
        left += [p for p in Path("/dev/shm").iterdir() if p.is_file()]
        traces = [str(p) for p in left if canary in p.read_bytes()]
        assert traces == [], "a file with a patient's data was left behind"
        assert canary not in (self.folder / "log").read_bytes()
