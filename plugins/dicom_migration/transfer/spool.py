"""A place for one instance on its way through: memory first, a private file when it is large.

The file has no name in the file system (or loses it at once), so that nothing with PHI is left
behind however the process ends.
"""

from __future__ import annotations

import errno
import io
import mmap
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.units import KIB, MIB

_SMALLEST_BLOCK, _GROWTH = 64 * KIB, 4


class MemoryBudget:
    """Blocks of memory that all spools of a task share; safe to share by threads.

    A block is used again and again: fresh memory costs as much as the copy into it, for the
    kernel clears every page.

    Attributes
    ----------
    share
        Bytes that one spool may hold.
    """

    def __init__(self, limit: int) -> None:
        self.share = limit // 4  # one instance may not starve the others
        self._left = limit
        self._idle = 0
        self._free: dict[int, list[memoryview]] = {}
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Bytes that nobody holds."""
        return self._left

    def take(self, size: int) -> bool:
        """Take `size` bytes if they are left; tell whether they were."""
        with self._lock:
            if self._left < size:
                return False
            self._left -= size
            if self._idle > self._left:  # what waits to be used again counts as memory, too
                self._free.clear()
                self._idle = 0
            return True

    def give_back(self, size: int) -> None:
        """Return `size` bytes taken before."""
        with self._lock:
            self._left += size

    def block(self, size: int) -> memoryview | None:
        """Return a block of at least `size` bytes, None when that is more than is left."""
        capacity = _SMALLEST_BLOCK
        while capacity < size:
            capacity *= _GROWTH
        capacity = min(capacity, self.share)
        with self._lock:
            free = self._free.get(capacity)
            idle = free.pop() if free and self._left >= capacity >= size else None
            if idle is not None:
                self._idle -= capacity
                self._left -= capacity
                return idle
        if capacity < size or not self.take(capacity):
            return None
        return memoryview(bytearray(capacity))

    def give_back_block(self, block: memoryview) -> None:
        """Return a block; nobody may look at it any more."""
        with self._lock:
            self._left += len(block)
            self._idle += len(block)
            self._free.setdefault(len(block), []).append(block)


@dataclass(frozen=True, slots=True)
class TransferMemory:
    """What the instances of one task may hold at a time; blocks go from study to study.

    Attributes
    ----------
    in_transit
        Instances that are received, judged or sent.
    packed
        Instances that wait for the rest of their series.
    """

    in_transit: MemoryBudget
    packed: MemoryBudget


class Spool:
    """Bytes of one Part 10 object, kept until it is stored.

    Parameters
    ----------
    header
        Preamble and file meta information; part of the object, not of the dataset.
    budget
        Memory shared with other spools; what does not fit goes to a file.
    folder
        Where that file is made; None means the system's place for temporary files.
    expected
        Bytes that the object will probably have: a block that takes them saves moving from
        smaller to larger ones.

    Attributes
    ----------
    size
        Bytes of the object.
    header_bytes
        Bytes of it that are not of the dataset.
    """

    def __init__(
        self,
        header: bytes,
        budget: MemoryBudget,
        folder: Path | None = None,
        expected: int = 0,
    ) -> None:
        self.header_bytes = len(header)
        self.size = 0
        self._expected = expected
        self._budget = budget
        self._folder = folder
        self._block: memoryview | None = None
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self.write(header)

    @property
    def dataset_bytes(self) -> int:
        """Bytes of the dataset so far."""
        return self.size - self.header_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Append a piece.

        Raises
        ------
        TransientError
            With reason ``disk_full``.
        """
        start = self.size
        self.size = end = start + len(data)
        if self._file is None:
            block = self._block
            if block is None or end > len(block):
                block = self._larger_block(start)
            if block is not None:
                block[start:end] = data
                return
            self._spill(start)
        with disk_full_told():
            self._file.write(data)  # type: ignore[union-attr]

    def seal(self) -> None:
        """Say that all is written; see :meth:`write` for errors."""
        if self._file is not None:
            with disk_full_told():
                self._file.flush()

    def contents(self) -> memoryview:
        """Return all bytes of a sealed spool as one view.

        A file is mapped: pages are loaded as they are touched.
        """
        if self._file is None:
            return self._memory(0, self.size)
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def file(self) -> BinaryIO:
        """Return all bytes of a sealed spool as a file; what is in memory is copied."""
        return io.BytesIO(self._memory(0, self.size)) if self._file is None else self._file

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `end` in order; a file is read, not mapped.

        What is mapped counts as memory of the process; what is read passes through one buffer,
        so a piece is valid until the next.
        """
        stop = self.size if end is None else end
        if self._file is None:
            yield self._memory(start, stop)
            return
        buffer = memoryview(bytearray(min(MIB, max(stop - start, 1))))
        self._file.seek(start)
        while start < stop:
            count = self._file.readinto(buffer[: min(len(buffer), stop - start)])  # type: ignore[attr-defined]
            if not count:
                raise EOFError  # nobody but us has the file
            yield buffer[:count]
            start += count

    def body(self) -> BinaryIO | memoryview:
        """Return the object as what is sent: its memory, or its file at the beginning."""
        if self._file is None:
            return self._memory(0, self.size)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Forget the bytes, whose views are worthless then; safe to call twice."""
        self._forget_block()
        if self._map is not None:
            self._map = None  # closed when the last view of it is gone
        if self._file is not None:
            with suppress(OSError):  # what is still buffered has nowhere to go on a full disk
                self._file.close()

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

    def _larger_block(self, used: int) -> memoryview | None:
        """Move the `used` bytes to a block that takes `size`; None when there is none."""
        block = self._budget.block(max(self.size, self._expected))
        if block is None and self._expected > self.size:
            block = self._budget.block(self.size)
        if block is not None:
            before, self._block = self._block, block
            if before is not None:
                block[:used] = before[:used]
                self._budget.give_back_block(before)
        return block

    def _spill(self, used: int) -> None:
        """Move the `used` bytes in memory to a file."""
        folder = str(self._folder) if self._folder else None
        file = tempfile.TemporaryFile(buffering=MIB, dir=folder)  # noqa: SIM115 - close() closes
        self._file = cast(BinaryIO, file)
        with disk_full_told():
            self._file.write(self._memory(0, used))
        self._forget_block()

    def _memory(self, start: int, end: int) -> memoryview:
        return memoryview(b"") if self._block is None else self._block[start:end]

    def _forget_block(self) -> None:
        block, self._block = self._block, None
        if block is not None:
            self._budget.give_back_block(block)


@contextmanager
def disk_full_told() -> Iterator[None]:
    """Turn what the system says of a full disk into an error that says what to do.

    Raises
    ------
    TransientError
        With reason ``disk_full``.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise TransientError(
            "The disk for instances in transit is full.",
            reason=ReasonCode.DISK_FULL,
            next_step="Free space in the worker's temporary folder, or set spool_folder in "
            "include/policies/transfer.yaml.",
        ) from None
