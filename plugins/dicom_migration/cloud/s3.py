"""The S3 store: objects are created once, never overwritten, and can be read back.

Works with Amazon S3 and with stores that speak its API, provided that they honour
``If-None-Match`` on PutObject (:meth:`S3Store.check` finds out).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Any, BinaryIO, Self

from botocore.exceptions import BotoCoreError, ClientError

from dicom_migration.cloud.protocol import PutResult, StoredObject
from dicom_migration.cloud.s3_access import S3Access
from dicom_migration.cloud.s3_answers import byte_range, described, read_entries_here
from dicom_migration.cloud.s3_direct import DirectPut
from dicom_migration.cloud.s3_direct_get import DirectGet
from dicom_migration.cloud.s3_errors import S3Address, http_status, translate, translated
from dicom_migration.cloud.s3_facts import bucket_facts
from dicom_migration.cloud.s3_keys import KeyRoot, checked_listing_prefix
from dicom_migration.cloud.s3_settings import S3Client, S3Settings
from dicom_migration.cloud.s3_transport import transport_of
from dicom_migration.cloud.s3_upload import (
    Upload,
    is_sha256,
    put_in_parts,
    put_whole,
    send_small_bodies_at_once,
)
from dicom_migration.errors import PermanentError, ReasonCode, TransientError

WRITE_CHECK_KEY = ".migration-write-check"
_WRITE_CHECK_BODY = b"Written once by the DICOM migration to prove that it may write here.\n"


class S3Store:
    """A bucket and a prefix as a :class:`~dicom_migration.cloud.protocol.CloudStore`.

    One store may be shared by threads: boto3 clients are thread-safe, and the store holds no
    state of its own. Not by processes: build one in each.

    Parameters
    ----------
    client
        A boto3 S3 client; the store closes it.
    bucket
        Name of the bucket.
    prefix
        All keys live under it; "" for the bucket itself.
    settings
        Encryption, sizes, and the name of the connection for messages.
    """

    def __init__(
        self, client: S3Client, bucket: str, prefix: str = "", settings: S3Settings | None = None
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._root = KeyRoot(prefix)
        self._settings = settings or S3Settings()
        send_small_bodies_at_once(client, self._settings.ask_first_bytes)
        read_entries_here(client)
        transport = transport_of(client, bucket)
        self._direct = DirectPut(client, transport, self._settings) if transport else None
        self._reader = DirectGet(client, transport, self._settings) if transport else None
        self.name = f"s3://{bucket}/{self._root.prefix}".rstrip("/")

    @property
    def access(self) -> S3Access:
        """What restores, timed reads and network probes need beyond the port."""
        return S3Access(self._client, self._bucket, self._root, self._settings)

    def check(self) -> dict[str, str]:
        """Prove that the root can be listed and written to; return facts without secrets.

        HeadBucket, ListObjectsV2, and a PutObject of one small fixed object that stays: no
        permission to delete is needed, and every later check finds it identical.

        Returns
        -------
        dict
            ``bucket``, ``region``, ``versioning``, ``encryption``, ``object_lock`` and
            ``conditional_create`` (``honoured`` or ``ignored``).

        Raises
        ------
        TransientError
            No answer, 5xx, throttled.
        PermanentError
            Bucket missing, credentials wrong, access denied, or the store would overwrite.
        """
        facts = bucket_facts(self._client, self._address(), self._root.prefix)
        honoured = not self._write_check() or not self._write_check()
        if not honoured and self._settings.require_conditional_create:
            raise PermanentError(
                f"{self.name} ignores If-None-Match: it would overwrite objects silently",
                reason=ReasonCode.TARGET_REJECTED,
                next_step="Choose a store that honours If-None-Match on PutObject; for a trial "
                "set service_config.s3.require_conditional_create to false on connection "
                f"{self._settings.connection}.",
            )
        facts["conditional_create"] = "honoured" if honoured else "ignored"
        return facts

    def put(
        self,
        key: str,
        body: BinaryIO | bytes | memoryview,
        *,
        size: int,
        sha256: str,
        storage_class: str = "STANDARD",
        content_type: str = "application/octet-stream",
    ) -> PutResult:
        """Create the object if there is none under `key`; never overwrite.

        PutObject, or a multipart upload above ``S3Settings.multipart_threshold_bytes``; see
        :mod:`dicom_migration.cloud.s3_upload` for the checksums. A file is sent from its
        beginning and left open, at an unspecified position. A call whose first attempt was
        stored although its answer got lost returns ``created=False``.

        Raises
        ------
        PermanentError
            Reason ``instance_conflict`` when other bytes are stored under `key`,
            ``instance_truncated`` when the body has not the declared size or SHA-256.
        TransientError
            Worth trying again.
        """
        upload = Upload(key, self._address(key), size, sha256.lower(), storage_class, content_type)
        if not is_sha256(upload.sha256):
            raise PermanentError(
                f"the SHA-256 declared for {upload.address} is not 64 hexadecimal digits",
                reason=ReasonCode.CONFIGURATION_INVALID,
                next_step="Pass hashlib.sha256(...).hexdigest().",
            )
        if size > self._settings.ask_first_bytes:
            existing = self.head(key)  # one cheap question before many bytes go out
            if existing is not None:
                return self._settled(upload, existing)
        if size > self._settings.multipart_threshold_bytes:
            stored = put_in_parts(self._client, self._settings, upload, body)
        else:
            stored = put_whole(self._client, self._settings, upload, body, self._direct)
        if stored is not None:
            return PutResult(stored, created=True)
        return self._settled(upload, self.head(key))

    def head(self, key: str) -> StoredObject | None:
        """Describe the object (HeadObject), or return None when there is none.

        `sha256` is the checksum that S3 verified, else what the writer declared in the
        metadata, else "".

        Raises
        ------
        PermanentError
            Also when the bucket itself is missing, so that nobody takes that for lost objects.
        """
        address = self._address(key)
        try:
            response = self._client.head_object(
                Bucket=self._bucket, Key=address.key, ChecksumMode="ENABLED"
            )
        except ClientError as exc:
            if http_status(exc) != 404:
                raise translate(exc, "HeadObject", address) from exc
        except BotoCoreError as exc:
            raise translate(exc, "HeadObject", address) from exc
        else:
            return described(key, response)
        with translated("HeadBucket", self._address()):
            self._client.head_bucket(Bucket=self._bucket)
        return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects whose key starts with `prefix`, in key order (no sha256).

        ListObjectsV2, 1,000 keys a request, fetched as they are consumed. The object of
        :meth:`check` is left out. Keys that this project would not write are yielded too.
        """
        with translated("ListObjectsV2", self._address()):
            for entry in self._entries(self._root.prefix + checked_listing_prefix(prefix)):
                key = self._root.relative(entry["Key"])
                if key != WRITE_CHECK_KEY:
                    yield StoredObject(
                        key=key,
                        size=entry["Size"],
                        storage_class=entry.get("StorageClass", "STANDARD"),
                        etag=entry.get("ETag", "").strip('"'),
                    )

    def read(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """Return the object's bytes, or `length` of them from offset `start` (GetObject).

        A range that begins inside the object and ends beyond it is cut at the object's end.

        Raises
        ------
        PermanentError
            Reason ``object_missing`` when there is none, ``object_corrupt`` when the range
            begins beyond the end or the store's checksum does not match, ``target_rejected``
            when the object is archived and must be restored first.
        """
        if length == 0:
            return b""
        address = self._address(key)
        wanted = byte_range(start, length)
        with translated("GetObject", address):
            if self._reader is not None and start is not None and length is not None:
                pieces = self._reader.get(address.key, length, start, start + length - 1)
                if pieces is not None:
                    return b"".join(pieces)
            response = self._client.get_object(Bucket=self._bucket, Key=address.key, **wanted)
            with closing(response["Body"]) as body:
                data: bytes = body.read()
        return data

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """Yield the object's bytes in pieces of at most `chunk_bytes` (GetObject).

        The store's checksum is not asked for: compare what was read with a hash that you know.

        Raises
        ------
        PermanentError
            As :meth:`read`.
        TransientError
            The connection broke in the middle: begin again.
        """
        address = self._address(key)
        with translated("GetObject", address):
            pieces = self._reader.get(address.key, chunk_bytes) if self._reader else None
            if pieces is not None:
                yield from pieces
                return
            response = self._client.get_object(Bucket=self._bucket, Key=address.key)
            with closing(response["Body"]) as body:
                while chunk := body.read(chunk_bytes):
                    yield chunk

    def stream_into(self, key: str, buffer: bytearray) -> Iterator[memoryview]:
        """Yield the object's bytes as views of `buffer`, each good until the next is asked for.

        As :meth:`stream` otherwise.
        """
        address = self._address(key)
        with translated("GetObject", address):
            views = self._reader.get_into(address.key, buffer) if self._reader else None
            if views is not None:
                yield from views
                return
        view = memoryview(buffer)
        for chunk in self.stream(key, len(view)):
            view[: len(chunk)] = chunk
            yield view[: len(chunk)]

    def uri(self, key: str) -> str:
        """Return the full address, for example ``s3://bucket/prefix/key``."""
        return f"s3://{self._bucket}/{self._root.full(key)}"

    def close(self) -> None:
        """Release connections; safe to call twice."""
        if self._direct is not None:
            self._direct.close()
        if self._reader is not None:
            self._reader.close()
        self._client.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _address(self, key: str = "") -> S3Address:
        full = self._root.full(key) if key else ""
        return S3Address(self._bucket, self._settings.connection, full)

    def _entries(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Yield what ListObjectsV2 lists, page by page.

        boto3's paginator would do; but to make the first one it looks through the folders of all
        services, which costs a worker as much time as to read back a dozen images.
        """
        page: Mapping[str, Any] = {"IsTruncated": True}
        after: dict[str, str] = {}
        while page.get("IsTruncated"):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **after)
            yield from page.get("Contents", ())
            before, after = after, {"ContinuationToken": page.get("NextContinuationToken", "")}
            if page.get("IsTruncated") and after in (before, {"ContinuationToken": ""}):
                raise TransientError(
                    f"{self.name} lists a part of the objects below {prefix} again and again",
                    reason=ReasonCode.TARGET_BUSY,
                    next_step="Let the task retry; when it persists, ask who runs the store.",
                )

    def _write_check(self) -> bool:
        digest = hashlib.sha256(_WRITE_CHECK_BODY).hexdigest()
        size = len(_WRITE_CHECK_BODY)
        return self.put(WRITE_CHECK_KEY, _WRITE_CHECK_BODY, size=size, sha256=digest).created

    def _settled(self, upload: Upload, existing: StoredObject | None) -> PutResult:
        """Decide what it means that something is, or was, stored under the key."""
        if existing is None:
            raise TransientError(
                f"an object appeared and vanished at {upload.address} during its creation",
                reason=ReasonCode.TARGET_BUSY,
                next_step="Let the task retry; when it persists, find out who deletes there.",
            )
        if existing.size == upload.size and not existing.sha256:
            existing = replace(existing, sha256=self._hash(upload.key))
        if (existing.size, existing.sha256) == (upload.size, upload.sha256):
            return PutResult(existing, created=False)
        raise PermanentError(
            f"other bytes are stored at {upload.address}: {existing.size} bytes with SHA-256 "
            f"{existing.sha256 or 'not asked for'}, to be stored were {upload.size} bytes with "
            f"{upload.sha256}; nothing was overwritten",
            reason=ReasonCode.INSTANCE_CONFLICT,
            next_step="Compare both at the source: the same SOP Instance UID with other bytes, "
            "or a study that changed since it was transferred.",
        )

    def _hash(self, key: str) -> str:
        digest = hashlib.sha256()
        for chunk in self.stream(key):
            digest.update(chunk)
        return digest.hexdigest()
