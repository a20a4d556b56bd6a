"""A series packed into one stored ZIP, read as a file that is never written anywhere.

Where everything will be is computed before the first byte is sent: the size, the offset of each
instance and, with one pass over the bytes, the SHA-256.
"""

from __future__ import annotations

import bisect
import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from dicom_migration.transfer.zip_format import (
    Entry,
    central_header,
    end_of_directory,
    local_header,
)

_PIECE = 1 << 20


class Content(Protocol):
    """Bytes that lie somewhere, to be read at any offset."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes | memoryview:
        """Return `length` bytes from `offset`, fewer only at the end."""


class SeriesZip(io.RawIOBase):
    """A stored ZIP over `contents` as a seekable file; only headers are held in memory.

    Parameters
    ----------
    entries, contents
        In the order of the archive; ``entries[i].size`` is ``contents[i].size``.

    Attributes
    ----------
    size
        Bytes of the whole archive.
    offsets
        Where the bytes of each entry begin: a range GET from there returns the file.
    """

    def __init__(self, entries: Sequence[Entry], contents: Sequence[Content]) -> None:
        super().__init__()
        heads = [local_header(entry) for entry in entries]
        lengths = [len(head) + entry.size for head, entry in zip(heads, entries, strict=True)]
        starts = list(itertools.accumulate(lengths, initial=0))
        directory = b"".join(map(central_header, entries, starts))
        tail = directory + end_of_directory(len(entries), len(directory), starts[-1])
        self.offsets = tuple(s + len(head) for s, head in zip(starts, heads, strict=False))
        self.size = starts[-1] + len(tail)
        self._parts: list[bytes | Content] = []
        self._starts: list[int] = []
        for start, head, content in zip(starts, heads, contents, strict=False):
            self._parts += [head, content]
            self._starts += [start, start + len(head)]
        self._parts.append(tail)
        self._starts.append(starts[-1])
        self._position = 0

    def sha256(self) -> str:
        """Return the SHA-256 (hexadecimal) of the archive; one pass over the bytes."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the archive from its beginning, at most 1 MiB at a time; pieces stay valid."""
        for place, part in enumerate(self._parts):
            length = self._end_of(place) - self._starts[place]
            for offset in range(0, length, _PIECE):
                yield _read(part, offset, min(_PIECE, length - offset))

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read again."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from beginning, position or end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes across the borders of entries, all that are left when -1."""
        left = max(0, self.size - self._position)
        left = left if size < 0 else min(size, left)
        pieces = []
        while left:
            place = bisect.bisect_right(self._starts, self._position) - 1
            length = min(left, self._end_of(place) - self._position)
            piece = _read(self._parts[place], self._position - self._starts[place], length)
            pieces.append(piece)
            self._position += length
            left -= length
        return b"".join(pieces)

    def _end_of(self, place: int) -> int:
        return self._starts[place + 1] if place + 1 < len(self._starts) else self.size


def _read(part: bytes | Content, offset: int, length: int) -> bytes | memoryview:
    if isinstance(part, bytes):
        return memoryview(part)[offset : offset + length]
    piece = part.read_at(offset, length)
    if len(piece) < length:
        raise OSError("An instance in transit became shorter.")  # nobody but us has the file
    return piece
