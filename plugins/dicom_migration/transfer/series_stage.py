"""Where the instances of a series wait until the series is whole.

In memory while there is room, then one after the other in one file without a name: a series of
thousands of instances takes one file descriptor, and leaves nothing behind however the process
ends. An instance that came through a file of its own stays in it.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dicom_migration.transfer.spool import MemoryBudget, Spool, disk_full_told
from dicom_migration.units import MIB

#: Large instances of a study that keep their own file, and with it a file descriptor: all series
#: of a study may wait at the same time, and a process may often have no more than 1,024.
OWN_FILES = 64
_LARGEST_BLOCK = 4 * MIB


class StagedInMemory:
    """An instance in memory, and its CRC-32."""

    def __init__(self, data: memoryview) -> None:
        self.size = len(data)
        self.crc32 = zlib.crc32(data)
        self._data = data

    def read_at(self, offset: int, length: int) -> memoryview:
        """Return bytes without copying them."""
        return self._data[offset : offset + length]

    def release(self) -> None:
        """Forget the bytes, which are the stage's."""
        self._data = memoryview(b"")


class StagedInFile:
    """An instance within a file, `start` bytes from its beginning, and its CRC-32."""

    def __init__(
        self,
        descriptor: int,
        start: int,
        size: int,
        crc32: int,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.size = size
        self.crc32 = crc32
        self._descriptor = descriptor
        self._start = start
        self._close = close

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes; any number of threads may."""
        return os.pread(self._descriptor, min(length, self.size - offset), self._start + offset)

    def release(self) -> None:
        """Close the file when it is this instance's own."""
        if self._close is not None:
            self._close()


Staged = StagedInMemory | StagedInFile


class SeriesStage:
    """Holds the instances of one series; threads may share it.

    Parameters
    ----------
    budget
        Shared by all series in transit.
    folder
        Where the file is made; None means the system's place for temporary files.
    own_files
        As many instances as it has left, of all stages that share it, stay in their own file.
    """

    def __init__(
        self, budget: MemoryBudget, folder: Path | None, own_files: threading.Semaphore
    ) -> None:
        self._budget = budget
        self._blocks: list[memoryview] = []
        self._used = 0  # bytes of the last block
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._end = 0
        self._own_files = own_files
        self._staged: list[Staged] = []
        self._lock = threading.Lock()

    def hold(self, spool: Spool) -> Staged:
        """Take over the bytes of a sealed `spool`, which is closed here or with the stage.

        Raises
        ------
        TransientError
            With reason ``disk_full``.
        """
        try:
            staged = self._as_it_is(spool) or self._appended(spool)
        except BaseException:
            spool.close()
            raise
        with self._lock:
            self._staged.append(staged)
        return staged

    def close(self) -> None:
        """Forget everything; safe to call twice."""
        with self._lock:
            staged, self._staged = self._staged, []
            for instance in staged:
                instance.release()
            while self._blocks:
                self._budget.give_back_block(self._blocks.pop())
            if self._file is not None:
                self._file.close()
                self._file = None

    def _as_it_is(self, spool: Spool) -> Staged | None:
        """Keep the spool's own memory or file where there is room for it."""
        body = spool.body()
        if isinstance(body, memoryview):
            room = self._room(spool.size)
            if room is None:
                return None
            room[:] = body
            spool.close()
            return StagedInMemory(room)
        if not self._own_files.acquire(blocking=False):
            return None
        crc32 = 0
        for piece in spool.pieces():
            crc32 = zlib.crc32(piece, crc32)
        return StagedInFile(body.fileno(), 0, spool.size, crc32, spool.close)

    def _room(self, size: int) -> memoryview | None:
        """Return memory for an instance, beside others: a spool's block has room to grow."""
        with self._lock:
            if not self._blocks or self._used + size > len(self._blocks[-1]):
                held = sum(map(len, self._blocks))
                block = self._budget.block(max(size, min(held, _LARGEST_BLOCK)))
                if block is None:
                    return None
                self._blocks.append(block)
                self._used = 0
            start, self._used = self._used, self._used + size
            return self._blocks[-1][start : self._used]

    def _appended(self, spool: Spool) -> Staged:
        with self._lock, disk_full_told():
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - close()
            descriptor, start = self._file.fileno(), self._end
            self._end += spool.size
        at, crc32 = start, 0
        with disk_full_told():
            for piece in spool.pieces():
                left, crc32 = piece, zlib.crc32(piece, crc32)
                while left:
                    written = os.pwrite(descriptor, left, at)
                    left, at = left[written:], at + written
        spool.close()
        return StagedInFile(descriptor, start, spool.size, crc32)
