"""What a stored object says of itself, hashed as it passes and never held or read twice.

Its hash proves every byte of it, so that nothing has to be looked for in the middle, and only the
header's first bytes are kept. Where the pixels are wanted too,
:mod:`dicom_migration.verification.part10` reads it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable

from dicom_migration.verification.header_identity import Identity, identity_of
from dicom_migration.verification.part10 import (
    PREFIX_BYTES,
    StoredInstance,
    dataset_start,
    problem_of,
    with_header,
)

#: Enough of an object to find its identity in, nearly always.
_HEAD_BYTES = 1 << 16
_UNSAID = Identity("", "", "", "")


def read_streamed_instance(
    chunks: Iterable[bytes | memoryview], spool_bytes: int, *, whole: bool, dataset: bool
) -> StoredInstance:
    """Hash one object, and read who it says it is.

    A header that is not plain is kept for pydicom, at most `spool_bytes` of the object; what
    pydicom cannot find in them stays unsaid. A chunk may be a view of memory that the next one
    comes to: what is kept of it is a copy.

    Parameters
    ----------
    whole, dataset
        Whether to hash the object and its dataset; a hash that is not asked for is "".
    """
    passing = _Passing(spool_bytes, whole=whole, dataset=dataset)
    for chunk in chunks:
        passing.take(chunk)
    return passing.end()


def plain_identity(head: bytes | memoryview) -> Identity | None:
    """Return who an object says it is, if its first bytes say it plainly.

    None: the object has to be read, to know more of it or what is wrong with it.
    """
    start = dataset_start(head[:PREFIX_BYTES])
    return identity_of(head, start) if start and start <= len(head) else None


class _Passing:
    """One object on its way: its digests, and its first bytes as long as they are needed."""

    def __init__(self, spool_bytes: int, *, whole: bool, dataset: bool) -> None:
        self._spool_bytes = spool_bytes
        self._whole = hashlib.sha256() if whole else None
        self._dataset = hashlib.sha256() if dataset else None
        self._size = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._start: int | None = 0
        self._identity: Identity | None = None
        self._begun = False

    def take(self, chunk: bytes | memoryview) -> None:
        if self._whole:
            self._whole.update(chunk)
        position, self._size = self._size, self._size + len(chunk)
        if self._begun:
            self._hash_dataset(chunk, position)
            if self._identity is None and self._kept_bytes < self._spool_bytes:
                self._keep(chunk)
        elif self._size >= _HEAD_BYTES:
            self._begin(b"".join([*self._kept, chunk]) if self._kept else chunk)
        else:
            self._keep(chunk)

    def end(self) -> StoredInstance:
        if not self._begun:
            self._begin(b"".join(self._kept))
        object_sha256 = self._whole.hexdigest() if self._whole else ""
        problem = problem_of(self._start, self._size)
        if problem or not self._start:
            return StoredInstance(self._size, object_sha256, problem)
        found = StoredInstance(
            self._size,
            object_sha256,
            dataset_sha256=self._dataset.hexdigest() if self._dataset else "",
            **(self._identity or _UNSAID)._asdict(),
        )
        if self._identity is not None:
            return found
        return with_header(io.BytesIO(b"".join(self._kept)), self._start, found, pixels=False)

    def _begin(self, head: bytes | memoryview) -> None:
        """Find where the dataset begins, and who it says it is."""
        self._begun = True
        self._kept, self._kept_bytes = [], 0
        self._start = dataset_start(head[:PREFIX_BYTES])
        self._hash_dataset(head, 0)
        if self._start and self._start <= len(head):
            self._identity = identity_of(head, self._start)
        if self._identity is None:
            self._keep(head)

    def _hash_dataset(self, chunk: bytes | memoryview, position: int) -> None:
        if self._dataset and self._start is not None:
            self._dataset.update(memoryview(chunk)[max(0, self._start - position) :])

    def _keep(self, chunk: bytes | memoryview) -> None:
        self._kept.append(bytes(chunk))
        self._kept_bytes += len(chunk)
