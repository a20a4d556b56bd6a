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
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from dicom_migration.errors import ReasonCode, TransientError
from dicom_migration.units import MIB

_STEP = MIB
"""Bytes of memory that a spool asks for at once."""


class MemoryBudget:
    """Bytes that all spools of a task may hold in memory together; safe to share by threads.

    Attributes
    ----------
    share
        What one spool may hold.
    """

    def __init__(self, limit: int) -> None:
        self.share = limit // 4  # one instance may not starve the others
        self._left = limit
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take `size` bytes if they are left; tell whether they were."""
        with self._lock:
            if self._left < size:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return `size` bytes taken before."""
        with self._lock:
            self._left += size


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

    Attributes
    ----------
    size
        Bytes of the object.
    header_bytes
        Bytes of it that are not of the dataset.
    """

    def __init__(self, header: bytes, budget: MemoryBudget, folder: Path | None = None) -> None:
        self.header_bytes = len(header)
        self.size = 0
        self._budget = budget
        self._folder = folder
        self._memory = bytearray()
        self._granted = 0
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
        self.size += len(data)
        if self._file is None:
            if self.size <= self._granted or self._grow():
                self._memory += data
                return
            self._spill()
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
            return memoryview(self._memory)
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def file(self) -> BinaryIO:
        """Return all bytes of a sealed spool as a file; what is in memory is copied."""
        return io.BytesIO(self._memory) if self._file is None else self._file

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `end` in order; a file is read, not mapped.

        What is mapped counts as memory of the process; what is read passes through one buffer,
        so a piece is valid until the next.
        """
        stop = self.size if end is None else end
        if self._file is None:
            yield memoryview(self._memory)[start:stop]
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
            return memoryview(self._memory)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Forget the bytes; safe to call twice."""
        self._memory = bytearray()
        self._budget.give_back(self._granted)
        self._granted = 0
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

    def _grow(self) -> bool:
        wanted = -(-(self.size - self._granted) // _STEP) * _STEP
        if self._granted + wanted > self._budget.share or not self._budget.take(wanted):
            return False
        self._granted += wanted
        return True

    def _spill(self) -> None:
        """Move what is in memory to a file."""
        folder = str(self._folder) if self._folder else None
        file = tempfile.TemporaryFile(buffering=MIB, dir=folder)  # noqa: SIM115 - close() closes
        self._file = cast(BinaryIO, file)
        with disk_full_told():
            self._file.write(self._memory)
        self._memory = bytearray()
        self._budget.give_back(self._granted)
        self._granted = 0


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
