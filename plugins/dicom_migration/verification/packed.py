"""A packed series read once, from its first byte to its last, and accounted for to the byte.

Like :mod:`dicom_migration.verification.part10` this is a second opinion on what the transfer
wrote: local headers are read here from the stored bytes (APPNOTE.TXT section 4.3.7), the directory
by Python's zipfile.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import ManifestRow
from dicom_migration.verification.part10 import StoredInstance, read_stored_instance
from dicom_migration.verification.streamed_instance import plain_identity, read_streamed_instance

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_ZIP64 = struct.Struct("<HHQQ")
_MAX_32 = 0xFFFFFFFF
#: More than a local header of ours can have; what is longer is not kept in memory.
_MAX_HEADER = 512
_MAX_DIRECTORY_ENTRY = 256


@dataclass(slots=True)
class PackedReading:
    """What one packed object turned out to hold.

    Attributes
    ----------
    size, sha256
        Of the whole object as far as it could be read.
    instances
        One for each row, in the order of their offsets; fewer when reading ended early.
    problem
        What the object holds beside the instances of its rows, or lacks of a ZIP; "" when nothing.
    complete
        Whether the store delivered the object to its end.
    """

    size: int = 0
    sha256: str = ""
    instances: list[StoredInstance] = field(default_factory=list)
    problem: str = ""
    complete: bool = True

    def note(self, problem: str) -> None:
        """Keep the first problem: what follows may be its consequence."""
        self.problem = self.problem or problem


def read_packed(
    chunks: Iterable[bytes | memoryview],
    rows: Sequence[ManifestRow],
    spool_bytes: int,
    looked_into: Container[str] | None = None,
) -> PackedReading:
    """Read an object that packs `rows`, sorted by offset; at most `spool_bytes` are in memory.

    A chunk is used before the next is asked for, and not kept. An object that the store cannot
    deliver to its end gives a shorter reading.

    Parameters
    ----------
    looked_into
        SOP Instance UIDs of the instances that are hashed for themselves, None for all. Of the
        others only the header is read: the hash of the object proves their bytes.
    """
    stream = _Stream(chunks)
    reading = PackedReading()
    entries: list[tuple[str, int, int, int]] = []
    try:
        for row in rows:
            start = stream.position
            header = stream.kept((row.offset or 0) - start, _MAX_HEADER)
            closely = looked_into is None or row.sop_instance_uid in looked_into
            stream.begin_crc32(wanted=closely)
            said = None if closely else plain_identity(stream.ahead(row.object_bytes))
            if said:
                stored = StoredInstance(stream.skip(row.object_bytes), "", **said._asdict())
            else:
                stored = _read_instance(stream.take(row.object_bytes), row, spool_bytes, closely)
            reading.instances.append(stored)
            crc32, name, problem = _check_header(header, row, stream.crc32)
            reading.note(problem)
            entries.append((name, start, row.object_bytes, crc32))
        directory = stream.position
        tail = stream.kept(None, _MAX_HEADER + _MAX_DIRECTORY_ENTRY * len(rows))
        reading.note(_check_directory(tail, directory, entries))
    except PermanentError as error:
        if error.reason not in (ReasonCode.OBJECT_MISSING, ReasonCode.OBJECT_CORRUPT):
            raise
        reading.complete = False
        reading.note("The object cannot be read to its end.")
    reading.size, reading.sha256 = stream.position, stream.sha256
    return reading


def _read_instance(
    pieces: Iterator[memoryview], row: ManifestRow, spool_bytes: int, closely: bool
) -> StoredInstance:
    if closely and not row.as_received:
        return read_stored_instance(pieces, spool_bytes)
    return read_streamed_instance(pieces, spool_bytes, whole=closely, dataset=closely)


class _Stream:
    """The bytes of an object in order, hashed as they pass."""

    def __init__(self, chunks: Iterable[bytes | memoryview]) -> None:
        self._chunks = iter(chunks)
        self._held = memoryview(b"")
        self._digest = hashlib.sha256()
        self.position = 0
        self.crc32: int | None = None

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def begin_crc32(self, *, wanted: bool) -> None:
        self.crc32 = 0 if wanted else None

    def take(self, length: int | None) -> Iterator[memoryview]:
        """Yield the next `length` bytes in pieces, all that are left when it is None."""
        while length is None or length > 0:
            if not self._held and not self._fetch():
                return
            piece = self._passed(length)
            length = None if length is None else length - len(piece)
            yield piece

    def ahead(self, length: int) -> memoryview:
        """Return what is at hand of the next `length` bytes, without passing over it."""
        return self._held[:length]

    def skip(self, length: int) -> int:
        """Pass over the next `length` bytes and return how many there were."""
        start, end = self.position, self.position + length
        while self.position < end and (self._held or self._fetch()):
            self._passed(end - self.position)
        return self.position - start

    def _fetch(self) -> bool:
        self._held = memoryview(next(self._chunks, b""))
        self._digest.update(self._held)
        return bool(self._held)

    def _passed(self, length: int | None) -> memoryview:
        piece = self._held[:length]
        self._held = self._held[len(piece) :]
        self.position += len(piece)
        if self.crc32 is not None:
            self.crc32 = zlib.crc32(piece, self.crc32)
        return piece

    def kept(self, length: int | None, limit: int) -> bytes:
        """Pass over the next `length` bytes and return the first `limit` and one more of them."""
        if length is not None and 0 < length <= min(limit, len(self._held)):
            return bytes(self._passed(length))
        kept = bytearray()
        for piece in self.take(length):
            kept += piece[: limit + 1 - len(kept)]
        return bytes(kept)


def _check_header(header: bytes, row: ManifestRow, crc32: int | None) -> tuple[int, str, str]:
    """Return the entry's CRC and name, and what is wrong with its local header, "" when nothing.

    `crc32` is that of the bytes, None when it was not taken: then the header is believed.
    """
    nothing = 0, "", f"Before instance {row.sop_instance_uid} are bytes that no manifest row names."
    if len(header) < _LOCAL.size:
        return nothing
    mark, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL.unpack_from(
        header
    )
    if mark != b"PK\x03\x04" or len(header) != _LOCAL.size + name_bytes + extra_bytes:
        return nothing
    name = header[_LOCAL.size : _LOCAL.size + name_bytes].decode("ascii", "replace")
    if size == _MAX_32 and extra_bytes == _ZIP64.size:
        _, _, size, packed = _ZIP64.unpack_from(header, _LOCAL.size + name_bytes)
    said = (flags, method, crc, packed, size)
    if said != (0, 0, crc if crc32 is None else crc32, row.object_bytes, row.object_bytes):
        return (
            crc,
            name,
            f"The archive's entry of {row.sop_instance_uid} is not that of a stored file.",
        )
    if not name.startswith(f"{row.sop_instance_uid}."):
        return crc, name, f"Instance {row.sop_instance_uid} has another name in the archive."
    return crc, name, ""


class _EndOfFile(io.RawIOBase):
    """The last bytes of a file at the offsets they have in it; what is before them is zero.

    zipfile would read `tail` alone as an archive that lost its beginning, but not with ZIP64:
    since CVE-2025-8291 Python looks for those records where the file says they are.
    """

    def __init__(self, tail: bytes, start: int) -> None:
        super().__init__()
        self._tail = tail
        self._start = start
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self._start + len(self._tail)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        if base + offset < 0:
            raise OSError
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        first = self._position - self._start
        last = len(self._tail) if size < 0 else min(first + size, len(self._tail))
        zeros = bytes(max(0, min(last, 0) - first))
        data = zeros + self._tail[max(first, 0) : max(last, 0)]
        self._position += len(data)
        return data


def _check_directory(
    tail: bytes, directory: int, entries: Sequence[tuple[str, int, int, int]]
) -> str:
    try:
        with zipfile.ZipFile(_EndOfFile(tail, directory)) as archive:
            listed = [
                (info.filename, info.header_offset, info.file_size, info.CRC)
                for info in archive.infolist()
            ]
            surplus = archive.start_dir != directory or archive.comment
    except (zipfile.BadZipFile, ValueError, struct.error, OSError):
        return "The archive's directory cannot be read."
    if surplus:
        return "The archive holds bytes that belong to no instance."
    if listed != list(entries):
        return "The archive's directory lists other files than the manifest."
    return ""
