"""Reading an object as a viewer does, with a clock on each stage of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from dicom_migration.cloud.protocol import CloudStore


@dataclass(frozen=True, slots=True)
class TimedRead:
    """One GET: how many bytes came, and the seconds of its stages, which follow one another.

    Attributes
    ----------
    data
        The bytes, empty when they were not to be kept.
    connect_s
        Opening the connection (TCP and TLS), 0 when a kept one was used or it cannot be told.
    first_byte_s
        From the request until the answer's body began.
    transfer_s
        From there to the last byte.
    """

    data: bytes
    size: int
    connect_s: float
    first_byte_s: float
    transfer_s: float


class TimedReader(Protocol):
    """Reads objects; safe to share between threads."""

    def read(
        self,
        key: str,
        start: int | None = None,
        length: int | None = None,
        *,
        fresh: bool = False,
        keep: bool = True,
    ) -> TimedRead:
        """Return an object, or `length` bytes of it from `start`.

        `fresh`: on a new connection. `keep`: hold on to the bytes; they are dropped otherwise.

        Raises
        ------
        TransientError, PermanentError
            As :meth:`~dicom_migration.cloud.protocol.CloudStore.read`.
        """

    def close(self) -> None:
        """Close the connections."""


class PortReader:
    """Times any store through its port: the connection is part of the first byte's time."""

    def __init__(self, store: CloudStore) -> None:
        self._store = store

    def read(
        self,
        key: str,
        start: int | None = None,
        length: int | None = None,
        *,
        fresh: bool = False,
        keep: bool = True,
    ) -> TimedRead:
        """See :class:`TimedReader`; a range arrives at once, and is all first byte."""
        began = time.perf_counter()
        if start is not None:
            data = self._store.read(key, start, length)
            took = time.perf_counter() - began
            return TimedRead(data if keep else b"", len(data), 0.0, took, 0.0)
        kept = bytearray()
        size, answered = 0, began
        for chunk in self._store.stream(key):
            answered = answered if size else time.perf_counter()
            size += len(chunk)
            if keep:
                kept += chunk
        ended = time.perf_counter()
        return TimedRead(bytes(kept), size, 0.0, answered - began, ended - answered)

    def close(self) -> None:
        """Nothing is held."""


def open_timed_reader(store: CloudStore) -> TimedReader:
    """Return what times reads of `store` best; the caller closes it before the store."""
    from dicom_migration.cloud.s3 import S3Store
    from dicom_migration.cloud.s3_timed import S3TimedReader

    if isinstance(store, S3Store):
        reader = S3TimedReader.of(store.access)
        if reader is not None:
            return reader
    return PortReader(store)
