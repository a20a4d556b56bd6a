"""What a bucket says of itself: facts for the pre-flight check and for the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from dicom_migration.cloud.s3_errors import (
    S3Address,
    error_code,
    http_status,
    translate,
    translated,
)
from dicom_migration.cloud.s3_settings import S3Client

# Codes by which S3 says that a feature is off rather than that the question failed.
_OFF = ("ServerSideEncryptionConfigurationNotFoundError", "ObjectLockConfigurationNotFoundError")
_UNSUPPORTED = ("NotImplemented", "MethodNotAllowed", "NotSupported")


def bucket_facts(client: S3Client, address: S3Address, prefix: str) -> dict[str, str]:
    """Return region, versioning, encryption and Object Lock of the bucket.

    HeadBucket and ListObjectsV2 must succeed. The other facts need permissions that a
    migration does not; without them the fact reads ``not permitted``.

    Raises
    ------
    TransientError
        No answer, 5xx, throttled.
    PermanentError
        Bucket missing, credentials wrong, listing denied.
    """
    head = _head_and_list(client, address, prefix)
    headers: Mapping[str, str] = head.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = head.get("BucketRegion") or headers.get("x-amz-bucket-region")

    def fact(operation: str, ask: Callable[..., Any], tell: Callable[[Any], str]) -> str:
        return _optional(operation, address, lambda: tell(ask(Bucket=address.bucket)))

    return {
        "bucket": address.bucket,
        "region": region or "unknown",
        "versioning": fact("GetBucketVersioning", client.get_bucket_versioning, _versioning),
        "encryption": fact("GetBucketEncryption", client.get_bucket_encryption, _encryption),
        "object_lock": fact(
            "GetObjectLockConfiguration", client.get_object_lock_configuration, _object_lock
        ),
    }


def _head_and_list(client: S3Client, address: S3Address, prefix: str) -> Mapping[str, Any]:
    """Return HeadBucket's answer, after ListObjectsV2 was permitted too.

    An answer to HEAD has no body, so that a wrong key, a wrong secret and an expired token are
    all a bare 400 or 403. Listing is refused for the same cause, and names it.
    """

    def may_list() -> None:
        with translated("ListObjectsV2", address):
            client.list_objects_v2(Bucket=address.bucket, Prefix=prefix, MaxKeys=1)

    with translated("HeadBucket", address):
        try:
            head: Mapping[str, Any] = client.head_bucket(Bucket=address.bucket)
        except ClientError as exc:
            if http_status(exc) in (400, 403):
                may_list()
            raise
    may_list()
    return head


def _optional(operation: str, address: S3Address, ask: Callable[[], str]) -> str:
    try:
        return ask()
    except ClientError as exc:
        code, status = error_code(exc), http_status(exc)
        if code in _OFF:
            return "off"
        if status == 403:
            return "not permitted"
        if code in _UNSUPPORTED or status in (404, 405, 501):
            return "not supported"
        raise translate(exc, operation, address) from exc
    except BotoCoreError as exc:
        raise translate(exc, operation, address) from exc


def _versioning(response: Mapping[str, Any]) -> str:
    return str(response.get("Status", "off")).lower()


def _encryption(response: Mapping[str, Any]) -> str:
    rules = response.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    return ", ".join(str(default.get("SSEAlgorithm", "unknown")) for default in defaults) or "off"


def _object_lock(response: Mapping[str, Any]) -> str:
    configuration = response.get("ObjectLockConfiguration", {})
    if configuration.get("ObjectLockEnabled") != "Enabled":
        return "off"
    retention = configuration.get("Rule", {}).get("DefaultRetention", {})
    if not retention:
        return "enabled"
    period = next(
        (f"{retention[unit]} {unit.lower()}" for unit in ("Days", "Years") if unit in retention), ""
    )
    return f"enabled, {str(retention.get('Mode', '')).lower()} {period}".rstrip()
