"""The inside of an S3 store, for what is asked of S3 and not of every object store."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_migration.cloud.s3_errors import S3Address
from dicom_migration.cloud.s3_keys import KeyRoot
from dicom_migration.cloud.s3_settings import S3Client, S3Settings


@dataclass(frozen=True, slots=True)
class S3Access:
    """A client, a bucket and the prefix that keys are relative to; the store owns the client."""

    client: S3Client
    bucket: str
    root: KeyRoot
    settings: S3Settings

    def address(self, key: str) -> S3Address:
        """Return bucket and full key, for a request and for its message."""
        return S3Address(self.bucket, self.settings.connection, self.root.full(key))
