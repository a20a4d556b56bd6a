"""A sink that keeps what it is given, fails where told to, and holds adapters to the rules."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

from dicom_migration.archive import InstanceIdentity


@dataclass
class RecordingSink:
    """Records instances; asserts that they come one at a time and each ends once.

    Attributes
    ----------
    fail_on
        Errors to raise, by SOP Instance UID.
    fail_at
        Where to raise them.
    """

    fail_on: dict[str, Exception] = field(default_factory=dict)
    fail_at: Literal["open", "write", "commit"] = "open"
    opened: list[str] = field(default_factory=list)
    committed: list[tuple[InstanceIdentity, bytes]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def open(self, identity: InstanceIdentity) -> RecordingWriter:
        assert self._busy.acquire(blocking=False), "an instance began before another had ended"
        self.opened.append(identity.sop_instance_uid)
        try:
            self.trip("open", identity)
        except BaseException:
            self.release()
            raise
        return RecordingWriter(self, identity)

    def trip(self, at: str, identity: InstanceIdentity) -> None:
        if at == self.fail_at and identity.sop_instance_uid in self.fail_on:
            raise self.fail_on[identity.sop_instance_uid]

    def release(self) -> None:
        self._busy.release()


@dataclass
class RecordingWriter:
    """Collects one dataset."""

    sink: RecordingSink
    identity: InstanceIdentity
    data: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    ended: bool = False

    def write(self, data: bytes | memoryview) -> None:
        assert not self.ended
        self.sink.trip("write", self.identity)
        self.data += data
        self.pieces += 1

    def commit(self) -> None:
        assert not self.ended
        self.sink.trip("commit", self.identity)
        self.ended = True
        self.sink.committed.append((self.identity, bytes(self.data)))
        self.sink.release()

    def abort(self, reason: str) -> None:
        assert not self.ended
        assert reason
        self.ended = True
        self.sink.aborted.append(self.identity.sop_instance_uid)
        self.sink.release()
