"""Reading S3's answers about an object, and asking for a part of one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from dicom_migration.cloud.protocol import StoredObject
from dicom_migration.cloud.s3_settings import S3Client
from dicom_migration.cloud.s3_upload import SHA256_METADATA, is_sha256
from dicom_migration.errors import PermanentError, ReasonCode

_LISTING = "ListBucketResult"
_KEPT = ("Key", "Size", "ETag", "StorageClass")


def read_entries_here(client: S3Client) -> None:
    """Take the entries of a listing out of it before botocore parses them, one by one and slowly.

    Of an entry only key, size, ETag and storage class are kept. The rest of the listing, and any
    answer that is not a plain listing, is botocore's as ever; a version of it without this event
    would only be slower.
    """
    client.meta.events.register("before-parse.s3.ListObjectsV2", _take_entries)


def _take_entries(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    try:
        # botocore gives the same bytes to the same parser.
        listing = ElementTree.fromstring(response_dict["body"])  # noqa: S314
        namespace = listing.tag.removesuffix(_LISTING)  # not every server has one
        names = {namespace + name: name for name in _KEPT}
        contents = f"{namespace}Contents"
        entries = [_entry(element, names) for element in listing if element.tag == contents]
    except (ElementTree.ParseError, KeyError, TypeError, ValueError):
        return  # botocore says what is wrong with it
    if not entries:
        return
    rest = ElementTree.Element(listing.tag)
    rest.extend(element for element in listing if element.tag != contents)
    response_dict["body"] = ElementTree.tostring(rest)
    customized_response_dict["Contents"] = entries


def _entry(element: ElementTree.Element, names: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        names[child.tag]: child.text or "" for child in element if child.tag in names
    }
    entry["Size"] = int(entry["Size"])
    if not entry["Key"]:
        raise ValueError
    return entry


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
