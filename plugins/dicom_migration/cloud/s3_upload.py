"""Creating one object: PutObject for most, a multipart upload for the very large.

Both are conditional (``If-None-Match: *``) and both let S3 check a whole-object checksum:

* PutObject carries the SHA-256 of the whole object, which S3 verifies and returns on a HEAD.
* S3 has no whole-object SHA-256 for multipart uploads (only a composite over the parts). Each
  part carries its CRC-32, the upload is completed with the CRC-32 of the whole object, which S3
  verifies and returns on a HEAD (checksum type FULL_OBJECT). The SHA-256 is computed while the
  parts are read, and the upload is completed only when it is the declared one.

Every object also carries its SHA-256 as metadata ``sha256``: the one place where a multipart
object, and a store without checksums, can tell it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from dicom_migration.cloud.protocol import StoredObject
from dicom_migration.cloud.s3_errors import (
    S3Address,
    error_code,
    is_precondition_failed,
    refuse_other_checksum,
    translate,
    translated,
)
from dicom_migration.cloud.s3_settings import MAX_PARTS, MIB, S3Client, S3Settings
from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest

    from dicom_migration.cloud.s3_direct import DirectPut

Body = BinaryIO | bytes | memoryview
SHA256_METADATA = "sha256"
_WHOLE_OBJECT_CRC = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}

_log = logging.getLogger(__name__)
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_HASH_CHUNK_BYTES = MIB
_DIGEST_REFUSED = ("BadDigest", "XAmzContentSHA256Mismatch")


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be created.

    Attributes
    ----------
    key
        Relative to the store's prefix; `address` has the full key.
    size
        Bytes.
    sha256
        Hexadecimal, of the whole object.
    """

    key: str
    address: S3Address
    size: int
    sha256: str
    storage_class: str
    content_type: str

    def parameters(self, settings: S3Settings) -> dict[str, Any]:
        """Return what PutObject and CreateMultipartUpload have in common."""
        return {
            "Bucket": self.address.bucket,
            "Key": self.address.key,
            "StorageClass": self.storage_class,
            "ContentType": self.content_type,
            "Metadata": {SHA256_METADATA: self.sha256},
            "ChecksumAlgorithm": "SHA256",
            **settings.encryption_parameters(),
        }

    def stored(self, etag: str) -> StoredObject:
        """Describe the object as it is after this upload."""
        return StoredObject(self.key, self.size, self.sha256, self.storage_class, etag.strip('"'))


def is_sha256(value: str) -> bool:
    """Tell whether `value` is a SHA-256 in lower-case hexadecimal."""
    return _SHA256_HEX.fullmatch(value) is not None


def send_small_bodies_at_once(client: S3Client, limit: int) -> None:
    """Let PutObject of at most `limit` bytes go out without ``Expect: 100-continue``.

    boto3 asks before every body, bytes included; botocore does not sign that header.
    """

    def without_expect(request: AWSRequest, **_: object) -> None:
        if int(request.headers.get("Content-Length", limit + 1)) <= limit:
            del request.headers["Expect"]

    client.meta.events.register(
        "before-sign.s3.PutObject", without_expect, unique_id="send-small-bodies-at-once"
    )


def open_body(body: Body, upload: Upload) -> BinaryIO:
    """Return `body` as a file positioned at its beginning.

    A file is always sent from its beginning, because a retry of the HTTP client rewinds it
    there.

    Raises
    ------
    PermanentError
        The body has not the declared size, or cannot be rewound.
    """
    if isinstance(body, bytes | memoryview):
        body = io.BytesIO(body)
    if not body.seekable():
        raise PermanentError(
            f"the body for {upload.address} cannot be rewound, so a retry could not resend it",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Spool the stream to a temporary file and pass that file.",
        )
    size = body.seek(0, io.SEEK_END)
    body.seek(0)
    if size != upload.size:
        raise _wrong_size(upload, size)
    return body


def put_whole(
    client: S3Client,
    settings: S3Settings,
    upload: Upload,
    body: Body,
    direct: DirectPut | None = None,
) -> StoredObject | None:
    """Create the object with one PutObject; None when there is an object already.

    It goes the `direct` way first where there is one.

    Raises
    ------
    TransientError, PermanentError
        See ``translate`` and ``refuse_other_checksum`` of :mod:`dicom_migration.cloud.s3_errors`.
    """
    if isinstance(body, bytes | memoryview) and len(body) != upload.size:
        raise _wrong_size(upload, len(body))
    file = None if isinstance(body, bytes | memoryview) else open_body(body, upload)
    try:
        if direct is not None:
            stored = direct.put(upload, file or body)
            if stored is not None:
                return stored
        file = open_body(body, upload)  # a copy of what is in memory, so not before it is needed
        response = client.put_object(
            Body=file,
            ContentLength=upload.size,
            ChecksumSHA256=base64_of_hex(upload.sha256),
            IfNoneMatch="*",
            **upload.parameters(settings),
        )
    except ClientError as exc:
        if is_precondition_failed(exc):
            return None
        if error_code(exc) in _DIGEST_REFUSED:
            _refuse_changed_body(file or open_body(body, upload), upload)
        raise translate(exc, "PutObject", upload.address) from exc
    except BotoCoreError as exc:
        raise translate(exc, "PutObject", upload.address) from exc
    told, sent = response.get("ChecksumSHA256"), base64_of_hex(upload.sha256)
    refuse_other_checksum(told, sent, upload.address)
    return upload.stored(response.get("ETag", ""))


def put_in_parts(
    client: S3Client, settings: S3Settings, upload: Upload, body: Body
) -> StoredObject | None:
    """Create the object with a multipart upload; None when there is an object already.

    Whatever goes wrong, the parts already sent are given up (AbortMultipartUpload), so that
    they do not cost storage unseen. One part is held in memory.

    Raises
    ------
    TransientError, PermanentError
        See :func:`dicom_migration.cloud.s3_errors.translate`; also when the body has not the
        declared SHA-256.
    """
    file = open_body(body, upload)
    with translated("CreateMultipartUpload", upload.address):
        created = client.create_multipart_upload(
            **{**upload.parameters(settings), **_WHOLE_OBJECT_CRC}
        )
    upload_id: str = created["UploadId"]
    stored = None
    try:
        sent = _send_parts(client, settings, upload, upload_id, file)
        stored = _complete(client, upload, upload_id, sent)
    finally:
        if stored is None:
            _abort(client, upload, upload_id)
    return stored


def part_size(size: int, preferred: int) -> int:
    """Return the bytes of a part: `preferred`, or more so that 10,000 parts are enough."""
    return max(preferred, -(-size // MAX_PARTS))


@dataclass(frozen=True, slots=True)
class _SentParts:
    """What CompleteMultipartUpload lists, and the checksum of all parts together (base64)."""

    parts: list[dict[str, Any]]
    crc32: str


def _send_parts(
    client: S3Client, settings: S3Settings, upload: Upload, upload_id: str, body: BinaryIO
) -> _SentParts:
    whole, whole_crc = hashlib.sha256(), 0
    parts: list[dict[str, Any]] = []
    part_bytes = part_size(upload.size, settings.part_bytes)
    for number, start in enumerate(range(0, upload.size, part_bytes), start=1):
        data = _read_exactly(body, min(part_bytes, upload.size - start), upload)
        whole.update(data)
        whole_crc = zlib.crc32(data, whole_crc)
        checksum = _base64_of_crc(zlib.crc32(data))
        with translated("UploadPart", upload.address):
            response = client.upload_part(
                Bucket=upload.address.bucket,
                Key=upload.address.key,
                UploadId=upload_id,
                PartNumber=number,
                Body=data,
                ChecksumAlgorithm="CRC32",
                ChecksumCRC32=checksum,
            )
        refuse_other_checksum(response.get("ChecksumCRC32"), checksum, upload.address)
        parts.append({"PartNumber": number, "ETag": response["ETag"], "ChecksumCRC32": checksum})
    if whole.hexdigest() != upload.sha256:
        raise _body_differs(upload, "the body has not the declared SHA-256")
    return _SentParts(parts, _base64_of_crc(whole_crc))


def _complete(
    client: S3Client, upload: Upload, upload_id: str, sent: _SentParts
) -> StoredObject | None:
    try:
        response = client.complete_multipart_upload(
            Bucket=upload.address.bucket,
            Key=upload.address.key,
            UploadId=upload_id,
            MultipartUpload={"Parts": sent.parts},
            MpuObjectSize=upload.size,
            ChecksumCRC32=sent.crc32,
            ChecksumType="FULL_OBJECT",
            IfNoneMatch="*",
        )
    except ClientError as exc:
        # NoSuchUpload: an attempt whose answer was lost had completed it; the object decides.
        if is_precondition_failed(exc) or error_code(exc) == "NoSuchUpload":
            return None
        raise translate(exc, "CompleteMultipartUpload", upload.address) from exc
    except BotoCoreError as exc:
        raise translate(exc, "CompleteMultipartUpload", upload.address) from exc
    return upload.stored(response.get("ETag", ""))


def _abort(client: S3Client, upload: Upload, upload_id: str) -> None:
    address = upload.address
    try:
        client.abort_multipart_upload(Bucket=address.bucket, Key=address.key, UploadId=upload_id)
    except (ClientError, BotoCoreError) as exc:
        if isinstance(exc, ClientError) and error_code(exc) == "NoSuchUpload":
            return
        # Not raised: it would hide why the upload failed, and the bucket's lifecycle rule for
        # incomplete uploads (docs/connect-s3.md) removes the parts in any case.
        _log.warning("Parts of an incomplete upload remain at %s: %s", address, type(exc).__name__)


def _read_exactly(body: BinaryIO, size: int, upload: Upload) -> bytes:
    data = body.read(size)
    if len(data) != size:
        raise _body_differs(upload, "the body became shorter while it was read")
    return data


def _refuse_changed_body(body: BinaryIO, upload: Upload) -> None:
    digest = hashlib.sha256()
    body.seek(0)
    while chunk := body.read(_HASH_CHUNK_BYTES):
        digest.update(chunk)
    if digest.hexdigest() != upload.sha256:
        raise _body_differs(upload, "the body has not the declared SHA-256")


def _wrong_size(upload: Upload, size: int) -> PermanentError:
    return _body_differs(upload, f"the body has {size} bytes, {upload.size} were declared")


def _body_differs(upload: Upload, how: str) -> PermanentError:
    return PermanentError(
        f"nothing was stored at {upload.address}: {how}",
        reason=ReasonCode.INSTANCE_TRUNCATED,
        next_step="Retrieve the study from the source again; when it persists, check the "
        "worker's disk and memory.",
    )


def _base64_of_crc(value: int) -> str:
    return base64.b64encode(value.to_bytes(4, "big")).decode("ascii")


def base64_of_hex(digest: str) -> str:
    """Return a hexadecimal digest as the checksum headers of S3 want it."""
    return base64.b64encode(bytes.fromhex(digest)).decode("ascii")
