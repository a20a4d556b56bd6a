"""The peer: DCMTK retrieves into a folder, s5cmd uploads the folder.

``TCP_NODELAY=1`` on every DCMTK program: without it a Nagle delay of 44 ms an instance would
flatter us. The programs are Debian's, by path: pynetdicom brings others of the same names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from include.peers.process import is_listening, wait_until
from tests.benchmarks.transfer.ends import PEER_AET, Ends

DCMTK = Path("/usr/bin")


def retrieve_and_upload(ends: Ends, method: str, associations: int) -> None:
    """Do the whole job once: the studies dealt out to so many programs at a time."""
    with tempfile.TemporaryDirectory(dir=ends.workdir) as name:
        folder = Path(name)
        if method == "C-MOVE":
            with storescp(ends, folder):
                in_parallel([movescu(ends, uid) for uid in ends.data.study_uids()], associations)
        else:
            in_parallel([getscu(ends, uid, folder) for uid in ends.data.study_uids()], associations)
        files = len(list(folder.iterdir()))
        if files != ends.data.total_instances:
            raise SystemExit(f"the peer retrieved {files} of {ends.data.total_instances}")
        upload(ends, folder)


@contextlib.contextmanager
def storescp(ends: Ends, folder: Path) -> Iterator[None]:
    """Receive into `folder`, one process an association."""
    command = [
        *(str(DCMTK / "storescp"), "--fork", "-aet", PEER_AET),
        *("-od", str(folder), str(ends.peer_port)),
    ]
    with subprocess.Popen(command, env=no_delay(), stderr=subprocess.DEVNULL) as landing:
        try:
            if not wait_until(lambda: is_listening(ends.peer_port), 10, interval=0.005):
                raise SystemExit("storescp does not listen")
            yield
        finally:
            landing.terminate()


def movescu(ends: Ends, study: str) -> list[str]:
    """Return the command that moves one study to :func:`storescp`."""
    return [
        *(str(DCMTK / "movescu"), "-S", "-aet", PEER_AET, "-aec", "ORTHANC", "-aem", PEER_AET),
        *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"),
        *("127.0.0.1", str(ends.pacs.port)),
    ]


def getscu(ends: Ends, study: str, folder: Path) -> list[str]:
    """Return the command that gets one study into `folder`."""
    return [
        *(str(DCMTK / "getscu"), "-S", "-aet", PEER_AET, "-aec", "ORTHANC", "-od", str(folder)),
        *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"),
        *("127.0.0.1", str(ends.pacs.port)),
    ]


def in_parallel(commands: list[list[str]], at_once: int) -> None:
    """Run the commands, so many at a time; each must succeed."""

    def run(command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run(command, env=no_delay(), check=True, stdout=quiet, stderr=quiet)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, commands))


def upload(ends: Ends, folder: Path) -> None:
    """Copy every file into the bucket, then remove it again."""
    keys = {
        "AWS_ACCESS_KEY_ID": ends.s3.access_key,
        "AWS_SECRET_ACCESS_KEY": ends.s3.secret_key,
        "AWS_REGION": "us-east-1",
    }
    with ends.fresh_prefix("peer") as prefix:
        subprocess.run(
            [
                *("s5cmd", "--endpoint-url", ends.s3.endpoint_url),
                *("cp", f"{folder}/*", f"s3://bucket/{prefix}/"),
            ],
            env={**os.environ, **keys},
            check=True,
            stdout=subprocess.DEVNULL,
        )


def no_delay() -> dict[str, str]:
    """Return the environment in which DCMTK does not wait for an ACK before each small packet."""
    return {**os.environ, "TCP_NODELAY": "1"}


def missing_programs() -> list[str]:
    """Return which of the peer's programs this machine lacks."""
    dcmtk = [name for name in ("storescp", "movescu", "getscu") if not (DCMTK / name).exists()]
    return dcmtk + ([] if shutil.which("s5cmd") else ["s5cmd"])
