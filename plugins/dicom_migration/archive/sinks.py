"""Two small sinks: one that only counts, one that keeps what it is given in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dicom_migration.archive.protocol import InstanceIdentity
from dicom_migration.errors import PermanentError, ReasonCode


@dataclass(slots=True)
class CountingSink:
    """Counts instances and bytes and forgets them.

    Attributes
    ----------
    first_instance_at
        ``time.perf_counter()`` in seconds when the first instance was complete, None before.
    """

    instances: int = 0
    bytes: int = 0
    first_instance_at: float | None = None

    def open(self, identity: InstanceIdentity) -> _CountingWriter:
        """Begin one instance."""
        return _CountingWriter(self)


@dataclass(slots=True)
class _CountingWriter:
    sink: CountingSink
    size: int = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)

    def commit(self) -> None:
        self.sink.instances += 1
        self.sink.bytes += self.size
        if self.sink.first_instance_at is None:
            self.sink.first_instance_at = time.perf_counter()

    def abort(self, reason: str) -> None:
        self.size = 0


@dataclass(slots=True)
class MemorySink:
    """Keeps whole datasets in memory; refuses to hold more than `max_bytes` at once."""

    max_bytes: int = 512 * 1024 * 1024
    instances: list[tuple[InstanceIdentity, bytes]] = field(default_factory=list)
    held: int = 0

    def open(self, identity: InstanceIdentity) -> _MemoryWriter:
        """Begin one instance."""
        return _MemoryWriter(self, identity)


@dataclass(slots=True)
class _MemoryWriter:
    sink: MemorySink
    identity: InstanceIdentity
    buffer: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes | memoryview) -> None:
        if self.sink.held + len(self.buffer) + len(data) > self.sink.max_bytes:
            raise PermanentError(
                f"Instance {self.identity.sop_instance_uid} does not fit into "
                f"{self.sink.max_bytes} bytes of memory.",
                reason=ReasonCode.SOURCE_ANSWER_INVALID,
                next_step="Raise the memory bound of this step, or leave the instance out.",
            )
        self.buffer += data

    def commit(self) -> None:
        self.sink.instances.append((self.identity, bytes(self.buffer)))
        self.sink.held += len(self.buffer)

    def abort(self, reason: str) -> None:
        self.buffer.clear()
