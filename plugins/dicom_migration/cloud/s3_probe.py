"""The way to the bucket, measured with objects of our own that are removed again."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from dicom_migration.cloud.s3_access import S3Access
from dicom_migration.cloud.s3_errors import http_status, translated

#: Everything that is written and deleted here lies below it.
PROBE_PREFIX = "network-test/"


class S3Probe:
    """Times single requests to the store, in seconds.

    Parameters
    ----------
    test_id
        Names the objects, and has to be new: ``network-test/<test_id>/<number>``.
    """

    def __init__(self, access: S3Access, test_id: str) -> None:
        self._access = access
        self._test_id = test_id
        self._versions: dict[int, str] = {}

    def connect(self) -> float:
        """Open and close a TCP connection to the endpoint."""
        url = urlsplit(self._access.client.meta.endpoint_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        began = time.perf_counter()
        timeout = self._access.settings.connect_timeout
        with closing(socket.create_connection((url.hostname, port), timeout)):
            return time.perf_counter() - began

    def head(self) -> float:
        """Ask for an object that is not there, and then for the bucket: two small requests.

        That is what the governor of a transfer times, so that both can be compared.
        """
        began = time.perf_counter()
        with self._request("HeadObject", -1) as where, _missing_is_well():
            self._access.client.head_object(**where)
        with translated("HeadBucket", self._access.address(self._key(0))):
            self._access.client.head_bucket(Bucket=self._access.bucket)
        return time.perf_counter() - began

    def up(self, number: int, body: bytes) -> float:
        """Create a probe object (PutObject)."""
        self._versions[number] = ""  # before the request: its answer may get lost
        began = time.perf_counter()
        with self._request("PutObject", number) as where:
            told = self._access.client.put_object(
                **where,
                Body=body,
                IfNoneMatch="*",  # a bucket policy may refuse what could overwrite
                **self._access.settings.encryption_parameters(),
            )
        took = time.perf_counter() - began
        self._versions[number] = told.get("VersionId", "")
        return took

    def down(self, number: int) -> float:
        """Read a probe object to its last byte (GetObject)."""
        began = time.perf_counter()
        with self._request("GetObject", number) as where:
            body = self._access.client.get_object(**where)["Body"]
            with closing(body):
                for _ in iter(lambda: body.read(1 << 20), b""):
                    pass
        return time.perf_counter() - began

    def remove(self) -> int:
        """Delete the objects that were created, their versions too; returns how many.

        Raises
        ------
        TransientError, PermanentError
            One could not be deleted; those before it are gone.
        """
        removed = 0
        for number, version in list(self._versions.items()):
            with self._request("DeleteObject", number) as where:
                named = {"VersionId": version} if version else {}
                self._access.client.delete_object(**where, **named)
            del self._versions[number]
            removed += 1
        return removed

    def _key(self, number: int) -> str:
        return f"{PROBE_PREFIX}{self._test_id}/{number if number >= 0 else 'nothing'}"

    @contextmanager
    def _request(self, action: str, number: int) -> Iterator[dict[str, str]]:
        address = self._access.address(self._key(number))
        with translated(action, address):
            yield {"Bucket": address.bucket, "Key": address.key}


@contextmanager
def _missing_is_well() -> Iterator[None]:
    """Pass over the 404 of an object that is not there."""
    try:
        yield
    except ClientError as error:
        if http_status(error) != 404:
            raise
