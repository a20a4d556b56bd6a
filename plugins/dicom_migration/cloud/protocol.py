"""The TARGET port: an object store that creates, never overwrites, and can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store describes it.

    Attributes
    ----------
    size
        Bytes.
    sha256
        Hexadecimal, "" when the store does not tell it.
    storage_class
        Provider's name, for example ``STANDARD`` or ``GLACIER_IR``.
    """

    key: str
    size: int
    sha256: str = ""
    storage_class: str = "STANDARD"
    etag: str = ""


@dataclass(frozen=True, slots=True)
class PutResult:
    """Outcome of a conditional create: `created` is False when identical bytes were there."""

    stored: StoredObject
    created: bool


@runtime_checkable
class CloudStore(Protocol):
    """Objects under one root (bucket and prefix); keys are relative to it."""

    name: str

    def check(self) -> dict[str, str]:
        """Prove that the root can be listed and written to; return facts without secrets.

        Raises
        ------
        TransientError
            No answer, 5xx, throttled.
        PermanentError
            Bucket missing, credentials wrong, access denied.
        """

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

        `sha256` (hexadecimal) is sent along and checked by the store. When an object exists
        under `key` with the same SHA-256 the call succeeds with ``created=False``.

        Raises
        ------
        PermanentError
            With reason ``instance_conflict`` when other bytes are stored under `key`.
        TransientError
            Worth trying again.
        """

    def head(self, key: str) -> StoredObject | None:
        """Describe the object, or None when there is none."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects whose key starts with `prefix`, in key order (no sha256)."""

    def read(self, key: str, start: int | None = None, length: int | None = None) -> bytes:
        """Return the object's bytes, or `length` of them from offset `start`.

        Raises
        ------
        PermanentError
            With reason ``object_missing`` when there is none.
        """

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """Yield the object's bytes in pieces of at most `chunk_bytes`."""

    def stream_into(self, key: str, buffer: bytearray) -> Iterator[memoryview]:
        """Yield the object's bytes as views of `buffer`, each good until the next is asked for.

        What only looks at the bytes, as a hash does, is spared new memory for each piece.
        """

    def uri(self, key: str) -> str:
        """Return the full address, for example ``s3://bucket/prefix/key``."""

    def close(self) -> None:
        """Release connections; safe to call twice."""

    def __enter__(self) -> Self:
        """Use as a context manager."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
