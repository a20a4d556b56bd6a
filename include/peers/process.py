"""A server in a process of its own: started on a free loopback port, awaited, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

LOOPBACK = "127.0.0.1"
_LOG_TAIL_BYTES = 4000
_ATTEMPTS = 3


class PeerError(RuntimeError):
    """A peer could not be started or did not do what was asked; the message has its log's end."""


def free_port() -> int:
    """Return a TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Return whether somebody accepts TCP connections on the port."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> bool:
    """Poll `condition` until it holds; return False if it does not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def is_running(pid: int) -> bool:
    """Return whether the process exists and has not ended; reaps it if it is our own child."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop_process(pid: int, stop_signal: int = signal.SIGTERM, grace: float = 10.0) -> None:
    """Ask a process to stop, and kill it if it has not within `grace` seconds.

    For peers that were left running by an earlier process; a process that is gone is no error.
    """
    for how, patience in ((stop_signal, grace), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        if wait_until(lambda: not is_running(pid), patience):
            return
    raise PeerError(f"process {pid} survived SIGKILL: it is stuck in the kernel")


class PeerProcess(ABC):
    """Base of the peers: a context manager around one server process.

    Parameters
    ----------
    workdir : Path
        Where the peer keeps its configuration, its data and its log; created if missing.
    port : int, optional
        The port to listen on. By default a free one, chosen now and kept when the peer is started
        again; should somebody else take it before the first start, another one: read it afterwards.

    Attributes
    ----------
    log_path : Path
        Everything the process prints.
    """

    name: ClassVar[str]
    startup_seconds: ClassVar[float] = 30.0
    stop_signal: ClassVar[int] = signal.SIGTERM

    def __init__(self, workdir: Path, port: int | None = None) -> None:
        self.workdir = workdir.absolute()
        self.host = LOOPBACK
        self.port = port or free_port()
        self._port_is_fixed = port is not None
        self.log_path = self.workdir / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def available(cls) -> bool:
        """Return whether this machine has the program."""
        return True

    @property
    def pid(self) -> int | None:
        """The process id while the peer runs, else None."""
        if self._process is None or not self.is_alive:
            return None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, detach: bool = False) -> Self:
        """Start the server and return once it answers.

        Parameters
        ----------
        detach : bool
            Put it into a session of its own, so that it outlives this process and its terminal;
            whoever wants to stop it later needs `pid` (see `stop_process`).

        Raises
        ------
        PeerError
            The program is missing, ended early, or does not answer in time.
        """
        if self.pid is not None:
            raise PeerError(f"{self.name} is already running as process {self.pid}")
        if not self.available():
            raise PeerError(f"{self.name} is not installed on this machine")
        if self._port_is_fixed and is_listening(self.port):
            # It would answer in our peer's place, and be filled with our files.
            raise PeerError(f"{self.name}: another server listens on port {self.port} already")
        self.workdir.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            if self._launch(detach):
                self._port_is_fixed = True
                return self
            if self.is_alive or self._port_is_fixed:
                break
            # It ended: between our choice of the port and its listening there somebody else may
            # have taken it.
            self.port = free_port()
        outcome = "does not answer" if self.is_alive else "ended"
        self.stop()
        raise PeerError(
            f"{self.name} {outcome} within {self.startup_seconds:.0f} s of its start; "
            f"the end of {self.log_path}:\n{self.log_tail()}"
        )

    def stop(self) -> None:
        """Stop the server; one that does not run is no error."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=5)
        self._process = None

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        if not self.log_path.exists():
            return "(no log)"
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace").strip() or "(empty)"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, detach: bool) -> bool:
        """Start the process; return whether it answers in time."""
        self._prepare()
        with self.log_path.open("ab") as log:
            self._process = self._spawn(log, detach)
        try:
            answers = wait_until(
                lambda: not self.is_alive or self._answers(),
                self.startup_seconds,
            )
        except BaseException:  # an interrupt as well: nobody else knows the process yet
            self.stop()
            raise
        return answers and self.is_alive

    def _answers(self) -> bool:
        return is_listening(self.port) and self._is_ready()

    def _spawn(self, log: IO[bytes], detach: bool) -> subprocess.Popen[bytes]:
        identity = {"cwd": self.workdir, **self._identity()}
        return subprocess.Popen(
            self._command(),
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=detach,
            **identity,
        )

    def _prepare(self) -> None:  # noqa: B027 - nothing to do is a valid answer
        """Write what the process reads at its start; called again if the port changes."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command line."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Return whether the server, whose port is open, answers its protocol."""

    def _environment(self) -> dict[str, str]:
        """Return variables to add to the environment."""
        return {}

    def _identity(self) -> dict[str, Any]:
        """Return Popen's arguments for another user, for a program that refuses to run as this."""
        return {}
