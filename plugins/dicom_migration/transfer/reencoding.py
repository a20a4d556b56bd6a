"""An encoded header in explicit VR little endian, every value as it was: PS3.5 A.4 demands it.

What is compressed is always explicit little endian, and most of what archives hold uncompressed is
implicit. The elements are cut apart at their borders and put together with other borders: values
are copied (big endian words are turned), sequences keep the form of their lengths, VRs come from
the dictionary, and what it does not know becomes UN (PS3.5 section 6.2.2). Group Length elements
(gggg,0000) are set right. Every result is turned back and compared before it is handed out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom_migration.archive.elements import (
    EXPLICIT_LITTLE,
    MAX_DEPTH,
    UNDEFINED_LENGTH,
    Encoding,
    TruncatedDatasetError,
    encoding_of,
    iter_elements,
)
from dicom_migration.transfer.splicing import actual_encoding

PIXEL_REPRESENTATION = 0x00280103
_GROUP_LENGTH_BYTES = 12
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
#: Bytes of the words that a byte order concerns (PS3.5 section 7.3).
_WORDS = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"OL": 4}
_WORDS |= dict.fromkeys((b"FD", b"OD", b"SV", b"UV", b"OV"), 8)


class HeaderNotConvertibleError(ValueError):
    """The header cannot be written as explicit little endian with every value provably kept."""


@dataclass(slots=True)
class _Place:
    """Where the walk is: a dataset (or an item) of `end` bytes, and what it inherits."""

    offset: int
    end: int
    signed: bool
    depth: int = 0


def explicit_little_endian(header: bytes, transfer_syntax_uid: str, *, signed: bool) -> bytes:
    """Return `header` (elements, not deflated) encoded as explicit VR little endian.

    Parameters
    ----------
    signed
        Whether Pixel Representation (0028,0103) says so: it decides between US and SS.

    Raises
    ------
    HeaderNotConvertibleError
        It is not encoded as the transfer syntax says, is malformed, or has values whose byte
        order cannot be known.
    """
    declared = encoding_of(transfer_syntax_uid)
    if actual_encoding(header, transfer_syntax_uid) != declared:
        raise HeaderNotConvertibleError
    if declared == EXPLICIT_LITTLE:
        return header
    try:
        converted = _Transcoder(declared, EXPLICIT_LITTLE).run(header, signed)
        same = _Transcoder(declared, declared).run(header, signed)
        back = _Transcoder(EXPLICIT_LITTLE, declared).run(converted, signed)
    except (struct.error, TruncatedDatasetError):
        raise HeaderNotConvertibleError from None
    if len(same) != len(header) or back != same:  # `same` differs in group lengths at most
        raise HeaderNotConvertibleError
    return converted


class _Transcoder:
    def __init__(self, source: Encoding, target: Encoding) -> None:
        self._source = source
        self._target = target
        self._from = "<" if source.little else ">"
        self._to = "<" if target.little else ">"

    def run(self, header: bytes, signed: bool) -> bytes:
        return self._dataset(header, _Place(0, len(header), signed), delimited=False)

    def _dataset(self, data: bytes, place: _Place, *, delimited: bool) -> bytes:
        """Return the elements from `place` on; it stands behind them (and their delimiter)."""
        pieces: list[tuple[int, bytes]] = []
        while place.offset < place.end:
            group, number = struct.unpack_from(self._from + "HH", data, place.offset)
            tag = group << 16 | number
            if tag == _ITEM_END and delimited:
                place.offset += 8
                return self._with_group_lengths(pieces)
            pieces.append((tag, self._element(data, place, tag)))
        if delimited:
            raise HeaderNotConvertibleError
        return self._with_group_lengths(pieces)

    def _element(self, data: bytes, place: _Place, tag: int) -> bytes:
        vr, start, length = self._head(data, place, tag)
        if length == UNDEFINED_LENGTH and vr != b"SQ":
            return self._unknown_sequence(data, place, tag, start)
        if vr == b"SQ":
            end = place.end if length == UNDEFINED_LENGTH else start + length
            inside = _Place(start, end, place.signed, place.depth + 1)
            value = self._items(data, inside, delimited=length == UNDEFINED_LENGTH)
            place.offset = inside.offset
            if length != UNDEFINED_LENGTH:
                length = len(value)
            return self._encoded_head(tag, vr, length) + value
        place.offset = start + length
        if place.offset > place.end:
            raise HeaderNotConvertibleError
        value = self._turned(vr, data[start : place.offset])
        if tag == PIXEL_REPRESENTATION and length == 2:
            place.signed = data[start : place.offset] in (b"\1\0", b"\0\1")
        return self._encoded_head(tag, vr, length) + value

    def _head(self, data: bytes, place: _Place, tag: int) -> tuple[bytes, int, int]:
        """Return VR, offset of the value and its length."""
        offset = place.offset
        if not self._source.explicit:
            (length,) = struct.unpack_from(self._from + "I", data, offset + 4)
            return _vr_of(tag, place.signed), offset + 8, length
        vr = data[offset + 4 : offset + 6]
        if vr in _SHORT_VRS:
            (length,) = struct.unpack_from(self._from + "H", data, offset + 6)
            return vr, offset + 8, length
        if vr not in _LONG_VRS:
            raise HeaderNotConvertibleError
        (length,) = struct.unpack_from(self._from + "I", data, offset + 8)
        return vr, offset + 12, length

    def _items(self, data: bytes, place: _Place, *, delimited: bool) -> bytes:
        """Return a sequence's items, and their delimiter when there is one."""
        if place.depth > MAX_DEPTH:
            raise HeaderNotConvertibleError
        pieces: list[bytes] = []
        while place.offset < place.end:
            group, number, length = struct.unpack_from(self._from + "HHI", data, place.offset)
            tag = group << 16 | number
            place.offset += 8
            if tag == _SEQUENCE_END and delimited:
                return b"".join([*pieces, self._item_head(_SEQUENCE_END, 0)])
            if tag != _ITEM:
                raise HeaderNotConvertibleError
            open_ended = length == UNDEFINED_LENGTH
            end = place.end if open_ended else place.offset + length
            inside = _Place(place.offset, end, place.signed, place.depth)
            value = self._dataset(data, inside, delimited=open_ended)
            place.offset = inside.offset
            pieces.append(self._item_head(_ITEM, length if open_ended else len(value)) + value)
            if open_ended:
                pieces.append(self._item_head(_ITEM_END, 0))
        if delimited or place.offset != place.end:
            raise HeaderNotConvertibleError
        return b"".join(pieces)

    def _unknown_sequence(self, data: bytes, place: _Place, tag: int, start: int) -> bytes:
        """Copy items of an unknown element: in UN they are implicit little endian as well."""
        if not (self._source.little and self._target.little):
            raise HeaderNotConvertibleError
        found = next(iter_elements(data, self._source, place.offset, place.end))
        place.offset = found.offset + found.length
        head = self._encoded_head(tag, b"UN", UNDEFINED_LENGTH)
        return head + data[start : place.offset]

    def _turned(self, vr: bytes, value: bytes) -> bytes:
        """Return the value in the target's byte order."""
        if self._source.little == self._target.little:
            return value
        word = _WORDS.get(vr, 1)
        if len(value) % word or (vr == b"UN" and value):
            raise HeaderNotConvertibleError  # of words whose size is not known
        return turned(value, word)

    def _encoded_head(self, tag: int, vr: bytes, length: int) -> bytes:
        head = struct.pack(self._to + "HH", tag >> 16, tag & 0xFFFF)
        if not self._target.explicit:
            return head + struct.pack(self._to + "I", length)
        if vr in _LONG_VRS or length > 0xFFFF:  # too long for its VR: PS3.5 section 6.2.2, note
            vr = vr if vr in _LONG_VRS else b"UN"
            return head + vr + b"\0\0" + struct.pack(self._to + "I", length)
        return head + vr + struct.pack(self._to + "H", length)

    def _item_head(self, tag: int, length: int) -> bytes:
        return struct.pack(self._to + "HHI", tag >> 16, tag & 0xFFFF, length)

    def _with_group_lengths(self, pieces: list[tuple[int, bytes]]) -> bytes:
        totals: dict[int, int] = {}
        for tag, piece in pieces:
            if tag & 0xFFFF:
                totals[tag >> 16] = totals.get(tag >> 16, 0) + len(piece)
        return b"".join(
            piece[:-4] + struct.pack(self._to + "I", totals.get(tag >> 16, 0))
            if not tag & 0xFFFF and len(piece) == _GROUP_LENGTH_BYTES
            else piece
            for tag, piece in pieces
        )


def turned(value: bytes, word: int) -> bytes:
    """Return `value` with the bytes of each of its words of `word` bytes in reverse order."""
    if word == 1:
        return value
    result = bytearray(len(value))
    for place in range(word):
        result[place::word] = value[word - 1 - place :: word]
    return bytes(result)


def _vr_of(tag: int, signed: bool) -> bytes:
    """Return the VR of an element of an implicit dataset (PS3.5 annex A.1, PS3.6)."""
    from pydicom.datadict import dictionary_VR

    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return b"UL"
    if group % 2:
        return b"LO" if 0x10 <= number <= 0xFF else b"UN"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return b"UN"
    if " or " not in vr:
        return vr.encode()
    if "OW" in vr:
        return b"OW"
    return b"SS" if signed else b"US"
