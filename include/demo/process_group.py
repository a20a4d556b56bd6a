"""Ending a process together with every process it started."""

from __future__ import annotations

import contextlib
import os
import signal

from include.peers.process import wait_until


def stop_group(pid: int, grace: float = 20.0) -> None:
    """End the process group that `pid` leads, asking first; one that is gone is no error."""
    for how, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, how)
        if wait_until(lambda: not _lives(pid), patience, interval=0.1):
            return


def _lives(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
