"""The source as the benchmark sees it: by which protocol it is read, and when bytes arrive."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dicom_migration.archive import ImageArchive, InstanceIdentity
from dicom_migration.policies.slas import Access

_METHODS: dict[str, Access] = {"C-MOVE": "C-MOVE", "C-GET": "C-GET"}
_PROTOCOLS: dict[str, Access] = {"dicomweb": "WADO-RS", "folder": "files"}


def access_of(archive: ImageArchive) -> Access:
    """Return the protocol that retrievals from `archive` use, "" when it does not tell."""
    method = getattr(getattr(archive, "settings", None), "retrieve_method", "")
    if method in _METHODS:
        return _METHODS[method]
    return _PROTOCOLS.get(archive.name.partition(":")[0], "")


@dataclass(slots=True)
class StageSink:
    """Counts what arrives and notes when the first byte does.

    Attributes
    ----------
    first_byte_at
        ``time.perf_counter()`` in seconds, None before.
    keep
        Hold on to the first instance, to decode it.
    """

    keep: bool = False
    instances: int = 0
    received_bytes: int = 0
    first_byte_at: float | None = None
    first: tuple[InstanceIdentity, bytes] | None = None

    def open(self, identity: InstanceIdentity) -> _StageWriter:
        """Begin one instance."""
        return _StageWriter(self, identity)


@dataclass(slots=True)
class _StageWriter:
    sink: StageSink
    identity: InstanceIdentity
    size: int = 0
    kept: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes | memoryview) -> None:
        if self.sink.first_byte_at is None:
            self.sink.first_byte_at = time.perf_counter()
        self.size += len(data)
        if self.sink.keep and self.sink.first is None:
            self.kept += data

    def commit(self) -> None:
        self.sink.instances += 1
        self.sink.received_bytes += self.size
        if self.sink.keep and self.sink.first is None:
            self.sink.first = (self.identity, bytes(self.kept))

    def abort(self, reason: str) -> None:
        self.kept.clear()
