"""Both ends of the benchmark: Orthanc as the source, rclone's S3 server as the target."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from include.peers.orthanc import Orthanc
from include.peers.process import free_port
from tests.benchmarks.transfer.data import DataSet, write
from tests.benchmarks.transfer.rclone_server import RcloneS3

PEER_AET = "PEER"
MEMORY = Path("/dev/shm")
_runs = itertools.count(1)


@dataclass
class Ends:
    """Source and target, filled and running, and the ports at which C-MOVE lands."""

    pacs: Orthanc
    s3: RcloneS3
    data: DataSet
    workdir: Path
    peer_port: int = field(default_factory=free_port)
    landing_ports: list[int] = field(default_factory=list)

    @contextlib.contextmanager
    def fresh_prefix(self, name: str) -> Iterator[str]:
        """Give a prefix of the bucket for one run, and empty it afterwards."""
        prefix = f"{name}-{next(_runs)}"
        try:
            yield prefix
        finally:
            shutil.rmtree(self.s3.root / "bucket" / prefix, ignore_errors=True)


def landing_aet(number: int) -> str:
    """Return the AE title of the worker's landing."""
    return f"MIGRATION{number}"


@contextlib.contextmanager
def running_ends(data: DataSet, landings: int) -> Iterator[Ends]:
    """Fill Orthanc with `data` and start both ends; files lie in memory where there is room."""
    with tempfile.TemporaryDirectory(prefix="bench-transfer-", dir=place(data)) as name:
        workdir = Path(name)
        write(data, workdir / "files")
        pacs, s3 = Orthanc(workdir / "orthanc"), RcloneS3(workdir / "rclone")
        with pacs, s3:
            ends = Ends(pacs, s3, data, workdir)
            ends.landing_ports = [free_port() for _ in range(landings)]
            pacs.add_move_destination(PEER_AET, "127.0.0.1", ends.peer_port)
            for number, port in enumerate(ends.landing_ports):
                pacs.add_move_destination(landing_aet(number), "127.0.0.1", port)
            loaded = pacs.load(workdir / "files")
            if loaded.instances != data.total_instances:
                raise SystemExit(f"Orthanc holds {loaded.instances} of {data.total_instances}")
            shutil.rmtree(workdir / "files")
            yield ends


def place(data: DataSet) -> str | None:
    """Return the file system in memory when the data fit in four times, else the usual place.

    A disk is the same for both sides, and noise for the comparison.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 * data.total_bytes:
        return str(MEMORY)
    return None
