"""A place for one instance on its way through: memory first, a private file when it is large.

The file has no name in the file system (or loses it at once), so that nothing with PHI is left
behind however the process ends.
"""

from __future__ import annotations

import errno
import hashlib
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from dicom_migration.errors import ReasonCode, TransientError


class Spool:
    """Bytes of one Part 10 object, hashed as they arrive.

    Parameters
    ----------
    header
        Preamble and file meta information; part of the object, not of the dataset.
    memory_bytes
        More than this goes to a file.
    folder
        Where that file is made; None means the system's place for temporary files.

    Attributes
    ----------
    size, dataset_bytes
        Bytes of the object, and of the dataset within it.
    """

    def __init__(self, header: bytes, memory_bytes: int, folder: Path | None = None) -> None:
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by close()
            max_size=memory_bytes, dir=str(folder) if folder else None
        )
        self._object = hashlib.sha256(header)
        self._dataset = hashlib.sha256()
        self.header_bytes = len(header)
        self.size = len(header)
        self._file.write(header)

    @property
    def dataset_bytes(self) -> int:
        """Bytes of the dataset so far."""
        return self.size - self.header_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Append a piece of the dataset.

        Raises
        ------
        TransientError
            With reason ``disk_full``.
        """
        try:
            self._file.write(data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise TransientError(
                "The disk for instances in transit is full.",
                reason=ReasonCode.DISK_FULL,
                next_step="Free space in the worker's temporary folder, or set spool_folder in "
                "include/policies/transfer.yaml.",
            ) from None
        self._object.update(data)
        self._dataset.update(data)
        self.size += len(data)

    @property
    def file(self) -> BinaryIO:
        """The object's bytes, to be read and sought in."""
        return cast(BinaryIO, self._file)

    @property
    def object_sha256(self) -> str:
        """SHA-256 (hexadecimal) of header and dataset."""
        return self._object.hexdigest()

    @property
    def dataset_sha256(self) -> str:
        """SHA-256 (hexadecimal) of the dataset alone."""
        return self._dataset.hexdigest()

    def close(self) -> None:
        """Forget the bytes."""
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
