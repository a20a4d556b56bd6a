"""A server that speaks Amazon S3: moto, in a process of its own."""

from __future__ import annotations

import secrets
import sys
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar

from include.peers.process import LOOPBACK, PeerProcess


class MotoS3(PeerProcess):
    """A moto server; it keeps everything in memory, so a stop empties it.

    Parameters
    ----------
    workdir : Path
        Directory for the log.
    port : int, optional
        Default: a free one.

    Attributes
    ----------
    access_key, secret_key : str
        Made up anew for every object, of the length of real ones (20 and 40 characters): some
        clients refuse shorter ones. moto accepts any.
    region : str
        ``us-east-1``.

    Notes
    -----
    It serves other AWS services at the same URL. It honours If-None-Match, storage classes and
    RestoreObject, and does not verify checksums.
    """

    name: ClassVar[str] = "moto"
    startup_seconds: ClassVar[float] = 60.0

    def __init__(self, workdir: Path, port: int | None = None) -> None:
        super().__init__(workdir, port)
        self.access_key = "TEST" + secrets.token_hex(8).upper()
        self.secret_key = secrets.token_hex(20)
        self.region = "us-east-1"

    @property
    def endpoint_url(self) -> str:
        """What clients take as `endpoint_url`, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def client(self) -> Any:
        """Return a boto3 S3 client of this server."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def create_bucket(self, name: str) -> None:
        """Create a bucket; one that exists is no error."""
        self.client().create_bucket(Bucket=name)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]

    def _is_ready(self) -> bool:
        connection = HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
