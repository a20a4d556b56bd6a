"""Walks the element headers of an encoded dataset, without decoding a value.

Three questions are answered by the same walk: is the dataset whole (every declared length fits
and every undefined length ends), what are the first attributes of a file, and what does a C-FIND
identifier hold. Source: DICOM PS3.5 section 7.1 (data elements) and 7.5 (nesting).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

Buffer = bytes | bytearray | memoryview | mmap.mmap

UNDEFINED_LENGTH = 0xFFFFFFFF
MAX_DEPTH = 64

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split(),
)
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
# Indexed by "little endian".
_EXPLICIT = (struct.Struct(">HH2sH"), struct.Struct("<HH2sH"))
_IMPLICIT = (struct.Struct(">HHI"), struct.Struct("<HHI"))
_LONG_BIG, _LONG_LITTLE = struct.Struct(">I"), struct.Struct("<I")


class TruncatedDatasetError(ValueError):
    """The dataset ends before an element that it announces does; holds the tag, never a value."""

    def __init__(self, tag: int, offset: int) -> None:
        self.tag = tag
        self.offset = offset
        super().__init__(f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {offset}")


class Encoding(NamedTuple):
    """How a dataset is encoded: PS3.5 Annex A, without the pixel compression."""

    explicit: bool
    little: bool


class Element(NamedTuple):
    """Where one top-level element lies: ``length`` bytes of value from ``offset``."""

    tag: int
    offset: int
    length: int


IMPLICIT_LITTLE = Encoding(explicit=False, little=True)
EXPLICIT_LITTLE = Encoding(explicit=True, little=True)
EXPLICIT_BIG = Encoding(explicit=True, little=False)

_IMPLICIT_LITTLE_UID = "1.2.840.10008.1.2"
_EXPLICIT_BIG_UID = "1.2.840.10008.1.2.2"
_DEFLATED_UIDS = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95"})


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """Return the dataset encoding of a transfer syntax; all but two are explicit little endian."""
    if transfer_syntax_uid == _IMPLICIT_LITTLE_UID:
        return IMPLICIT_LITTLE
    return EXPLICIT_BIG if transfer_syntax_uid == _EXPLICIT_BIG_UID else EXPLICIT_LITTLE


def is_deflated(transfer_syntax_uid: str) -> bool:
    """Tell whether the dataset bytes are a deflate stream (PS3.5 section A.5)."""
    return transfer_syntax_uid in _DEFLATED_UIDS


def guess_encoding(head: Buffer, offset: int = 0) -> Encoding:
    """Guess the encoding of a dataset from its first element header.

    Archives hold files without meta information, and files whose meta information lies. An
    explicit header has two capital letters where an implicit one has the low length bytes.
    """
    vr = bytes(head[offset + 4 : offset + 6])
    group_first, group_second = bytes(head[offset : offset + 2]).ljust(2, b"\0")
    explicit = len(vr) == 2 and vr.isalpha() and vr.isupper()
    little = not (group_first == 0 and group_second != 0)
    return Encoding(explicit=explicit, little=little or not explicit)


def iter_elements(
    data: Buffer, encoding: Encoding, start: int = 0, end: int | None = None
) -> Iterator[Element]:
    """Yield the top-level elements in order, skipping over values and nested datasets.

    The ``length`` of an element of undefined length includes its items and their delimiters.

    Raises
    ------
    TruncatedDatasetError
        An element does not end before `end`. Trailing zero bytes are padding, not an element.
    """
    stop = len(data) if end is None else end
    offset = start
    while stop - offset >= 8:
        tag, value, length, nested = _header(data, offset, encoding, stop)
        if length == UNDEFINED_LENGTH:
            following = _after_items(data, value, stop, nested, tag, 0)
        else:
            following = value + length
        if following > stop:
            raise TruncatedDatasetError(tag, offset)
        yield Element(tag, value, following - value)
        offset = following
    if offset < stop and any(data[offset:stop]):
        raise TruncatedDatasetError(0, offset)


class HeaderElement(NamedTuple):
    """A top-level element before the pixels; ``vr`` is b"" where it is not written."""

    tag: int
    vr: bytes
    start: int
    value: int
    end: int


def plain_elements(
    data: Buffer, encoding: Encoding, start: int, stop_before: frozenset[int]
) -> tuple[list[HeaderElement], int] | None:
    """Return the elements up to the first one of `stop_before`, and where that one (or the end) is.

    For well-formed datasets only, and fast. None means that something is out of the ordinary:
    an unknown VR, an element that does not end, trailing bytes. Others then look closely.
    """
    end = len(data)
    unpack = (_EXPLICIT if encoding.explicit else _IMPLICIT)[encoding.little].unpack_from
    long_length = (_LONG_LITTLE if encoding.little else _LONG_BIG).unpack_from
    found: list[HeaderElement] = []
    offset, last = start, 0
    vr = b""
    while end - offset >= 8:
        if encoding.explicit:
            group, number, vr, length = unpack(data, offset)
        else:
            group, number, length = unpack(data, offset)
        tag = group << 16 | number
        if tag in stop_before:
            return found, offset
        value = offset + 8
        if encoding.explicit and vr not in SHORT_VRS:
            if vr not in _LONG_VRS or end - offset < 12:
                return None
            (length,) = long_length(data, value)
            value += 4
        if length == UNDEFINED_LENGTH:
            nested = IMPLICIT_LITTLE if vr == b"UN" else encoding
            try:
                following = _after_items(data, value, end, nested, tag, 0)
            except TruncatedDatasetError:
                return None
        else:
            following = value + length
        if following > end or tag <= last:
            return None
        found.append(HeaderElement(tag, vr, offset, value, following))
        offset, last = following, tag
    return (found, offset) if offset == end else None


def check_whole(data: Buffer, encoding: Encoding, start: int = 0, end: int | None = None) -> None:
    """Walk to the end of the dataset.

    Raises
    ------
    TruncatedDatasetError
        The dataset stops in the middle of an element.
    """
    for _ in iter_elements(data, encoding, start, end):
        pass


def _header(
    data: Buffer, offset: int, encoding: Encoding, stop: int
) -> tuple[int, int, int, Encoding]:
    """Return tag, offset of the value, length, and the encoding of anything nested."""
    order = "<" if encoding.little else ">"
    group, number = struct.unpack_from(order + "HH", data, offset)
    tag = group << 16 | number
    if encoding.explicit and group != 0xFFFE:
        vr = bytes(data[offset + 4 : offset + 6])
        if vr in SHORT_VRS:
            (length,) = struct.unpack_from(order + "H", data, offset + 6)
            return tag, offset + 8, length, encoding
        if vr.isalpha() and vr.isupper():
            if stop - offset < 12:
                raise TruncatedDatasetError(tag, offset)
            (length,) = struct.unpack_from(order + "I", data, offset + 8)
            # An element of unknown VR and undefined length is implicit inside: PS3.5 6.2.2.
            nested = IMPLICIT_LITTLE if vr == b"UN" else encoding
            return tag, offset + 12, length, nested
    (length,) = struct.unpack_from(order + "I", data, offset + 4)
    return tag, offset + 8, length, encoding


def _after_items(
    data: Buffer, offset: int, stop: int, encoding: Encoding, owner: int, depth: int
) -> int:
    """Return the offset after the sequence delimiter that ends the items from `offset`."""
    layout = ("<" if encoding.little else ">") + "HHI"
    while stop - offset >= 8 and depth < MAX_DEPTH:
        group, number, length = struct.unpack_from(layout, data, offset)
        tag = group << 16 | number
        offset += 8
        if tag == _SEQUENCE_END:
            return offset
        if tag != _ITEM:
            break
        if length == UNDEFINED_LENGTH:
            offset = _after_item(data, offset, stop, encoding, owner, depth + 1)
        else:
            offset += length
    raise TruncatedDatasetError(owner, min(offset, stop))


def _after_item(
    data: Buffer, offset: int, stop: int, encoding: Encoding, owner: int, depth: int
) -> int:
    """Return the offset after the item delimiter of an item of undefined length."""
    while stop - offset >= 8:
        tag, value, length, nested = _header(data, offset, encoding, stop)
        if tag == _ITEM_END:
            return value
        if length == UNDEFINED_LENGTH:
            offset = _after_items(data, value, stop, nested, owner, depth)
        else:
            offset = value + length
    raise TruncatedDatasetError(owner, min(offset, stop))
