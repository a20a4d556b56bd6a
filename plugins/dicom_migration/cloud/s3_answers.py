"""Reading S3's answers about an object, and asking for a part of one."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from dicom_migration.cloud.protocol import StoredObject
from dicom_migration.cloud.s3_settings import S3Client
from dicom_migration.cloud.s3_upload import SHA256_METADATA, is_sha256
from dicom_migration.errors import PermanentError, ReasonCode

_LAST_MODIFIED = re.compile(rb"<LastModified>[^<]*</LastModified>")


def leave_times_unread(client: S3Client) -> None:
    """Take the times out of a listing before botocore parses them: nobody asks for them here.

    They are most of the work, more than to sign a GetObject for each object. A version of botocore
    without this event would only be slower.
    """
    client.meta.events.register("before-parse.s3.ListObjectsV2", _drop_times)


def _drop_times(response_dict: dict[str, Any], **_: object) -> None:
    body = response_dict.get("body")
    if isinstance(body, bytes):  # in a key, "<" is escaped
        response_dict["body"] = _LAST_MODIFIED.sub(b"", body)


def described(key: str, response: Mapping[str, Any]) -> StoredObject:
    """Return what a HeadObject answer with ``ChecksumMode=ENABLED`` says."""
    return StoredObject(
        key=key,
        size=response["ContentLength"],
        sha256=_sha256_of(response),
        storage_class=response.get("StorageClass", "STANDARD"),
        etag=response.get("ETag", "").strip('"'),
    )


def _sha256_of(response: Mapping[str, Any]) -> str:
    checksum = str(response.get("ChecksumSHA256", ""))
    # The ETag of a multipart object ends in "-<parts>", and its SHA-256 is a composite one.
    composite = response.get("ChecksumType") == "COMPOSITE" or "-" in checksum + response.get(
        "ETag", ""
    )
    if checksum and not composite:
        return base64.b64decode(checksum).hex()
    declared = str(response.get("Metadata", {}).get(SHA256_METADATA, "")).lower()
    return declared if is_sha256(declared) else ""


def byte_range(start: int | None, length: int | None) -> dict[str, str]:
    """Return the ``Range`` argument of GetObject: nothing for the whole object.

    Raises
    ------
    PermanentError
        Offset or length is negative.
    """
    if start is None and length is None:
        return {}
    first = start or 0
    if first < 0 or (length is not None and length < 0):
        raise PermanentError(
            "a byte range cannot be negative",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Correct the offset and length in the manifest row.",
        )
    last = "" if length is None else str(first + length - 1)
    return {"Range": f"bytes={first}-{last}"}
