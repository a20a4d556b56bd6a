"""The bytes of a ZIP file that only stores: APPNOTE.TXT sections 4.3.7 to 4.3.16.

Always the same bytes for the same entries: no data descriptor, no time (1980-01-01, the format's
first), no extra field but the one of ZIP64 (section 4.5.3), and that only where a number needs it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
_STORED, _NO_FLAGS = 0, 0
_TIME, _DATE = 0, 1 << 5 | 1  # 1980-01-01 00:00:00
_VERSION, _VERSION_ZIP64 = 20, 45
_MADE_BY = 3 << 8 | _VERSION_ZIP64  # Unix, so that the permissions below are understood
_PERMISSIONS = 0o100644 << 16
_ZIP64_EXTRA = 0x0001

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END_ZIP64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR_ZIP64 = struct.Struct("<4sIQI")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in the archive: its name (ASCII), its size in bytes and the CRC-32 of its content."""

    name: str
    size: int
    crc32: int


def local_header(entry: Entry) -> bytes:
    """Return what goes before the content of `entry` (section 4.3.7)."""
    name = entry.name.encode("ascii")
    large = entry.size >= _MAX_32
    # Section 4.5.3: both sizes must be there in a local header, whichever needs it.
    extra = _extra(entry.size, entry.size) if large else b""
    size = _MAX_32 if large else entry.size
    return (
        _LOCAL.pack(
            b"PK\x03\x04",
            _VERSION_ZIP64 if large else _VERSION,
            _NO_FLAGS,
            _STORED,
            _TIME,
            _DATE,
            entry.crc32,
            size,
            size,
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def central_header(entry: Entry, offset: int) -> bytes:
    """Return the directory's record of `entry`, whose local header is at `offset` (4.3.12)."""
    name = entry.name.encode("ascii")
    large, far = entry.size >= _MAX_32, offset >= _MAX_32
    numbers = [entry.size, entry.size] if large else []
    extra = _extra(*numbers, *([offset] if far else [])) if large or far else b""
    size = _MAX_32 if large else entry.size
    return (
        _CENTRAL.pack(
            b"PK\x01\x02",
            _MADE_BY,
            _VERSION_ZIP64 if extra else _VERSION,
            _NO_FLAGS,
            _STORED,
            _TIME,
            _DATE,
            entry.crc32,
            size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            _PERMISSIONS,
            _MAX_32 if far else offset,
        )
        + name
        + extra
    )


def end_of_directory(entries: int, size: int, offset: int) -> bytes:
    """Return what ends the file: `entries`, `size` and `offset` are the directory's (4.3.14-16)."""
    end = _END.pack(
        b"PK\x05\x06",
        0,
        0,
        min(entries, _MAX_16),
        min(entries, _MAX_16),
        min(size, _MAX_32),
        min(offset, _MAX_32),
        0,
    )
    if entries < _MAX_16 and size < _MAX_32 and offset < _MAX_32:
        return end
    zip64 = _END_ZIP64.pack(
        b"PK\x06\x06",
        _END_ZIP64.size - 12,
        _MADE_BY,
        _VERSION_ZIP64,
        0,
        0,
        entries,
        entries,
        size,
        offset,
    )
    return zip64 + _LOCATOR_ZIP64.pack(b"PK\x06\x07", 0, offset + size, 1) + end


def _extra(*numbers: int) -> bytes:
    return struct.pack(f"<HH{len(numbers)}Q", _ZIP64_EXTRA, 8 * len(numbers), *numbers)
