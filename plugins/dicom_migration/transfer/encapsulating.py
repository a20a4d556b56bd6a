"""Compressed frames as the value of Pixel Data: one fragment a frame, and where each begins.

PS3.5 annex A.4: a Basic Offset Table item, then the fragments. Offsets beyond 32 bits go into the
Extended Offset Table (7FE0,0001), with the Basic one empty (PS3.3 section C.7.6.3.1.8).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

PIXEL_DATA_HEAD = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
SEQUENCE_DELIMITER = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
#: What a 32-bit offset can say.
BASIC_LIMIT = 0xFFFFFFFF
_ITEM_BYTES = 8


def fragment(packed: bytes) -> bytes:
    """Return the item of one frame, padded to even length with a zero."""
    padded = packed + b"\0" if len(packed) % 2 else packed
    return _item(len(padded)) + padded


def offset_tables(lengths: Sequence[int], limit: int = BASIC_LIMIT) -> tuple[bytes, bytes]:
    """Return elements to stand before Pixel Data, and the Basic Offset Table item.

    Parameters
    ----------
    lengths
        Bytes of each frame's stream, before padding.
    limit
        Largest offset that goes into a Basic Offset Table.
    """
    offsets, position = [], 0
    for length in lengths:
        offsets.append(position)
        position += _ITEM_BYTES + length + length % 2
    if offsets[-1] <= limit:
        table = struct.pack(f"<{len(offsets)}I", *offsets)
        return b"", _item(len(table)) + table
    return _extended(0x0001, offsets) + _extended(0x0002, lengths), _item(0)


def _extended(number: int, values: Sequence[int]) -> bytes:
    value = struct.pack(f"<{len(values)}Q", *values)
    return struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, len(value)) + value


def _item(length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, length)
