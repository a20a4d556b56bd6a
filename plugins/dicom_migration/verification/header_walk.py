"""A walk over the element headers of a plain DICOM header, which remembers what decided it.

Source: PS3.5 section 7.1 (elements) and 7.5 (sequences).
"""

from __future__ import annotations

import struct

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                       b"UT", b"UV"})  # fmt: skip
_SHORT_VRS = frozenset({b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS",
                        b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL",
                        b"US"})  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 16

_TAG = struct.Struct("<HH")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<I")
_IMPLICIT = struct.Struct("<HHI")

#: Offset and length (bytes).
Place = tuple[int, int]


class OddHeaderError(Exception):
    """The header is not plain, or goes on beyond the bytes at hand: a reason to ask pydicom."""


class HeaderWalk:
    """One walk; `steps` are the places of all bytes that it was decided by, in their order.

    Besides :class:`OddHeaderError` it raises ``struct.error`` where the bytes end.

    Parameters
    ----------
    data
        The object from its first byte on; as much of it as is at hand.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.steps: list[Place] = []

    def values(
        self, offset: int, end: int, wanted: frozenset[int], *, implicit: bool
    ) -> dict[int, Place]:
        """Return the places of the values of `wanted`, all of them, by tag.

        Parameters
        ----------
        offset, end
            Where the first element begins, and where none does any more (bytes).
        implicit
            Whether the elements have no value representation.
        """
        found: dict[int, Place] = {}
        data, steps, unpack = self._data, self.steps, _SHORT.unpack_from
        stop, last = max(wanted), 0
        while offset < end and last < stop:
            group, element, vr, length = unpack(data, offset)
            if vr in _SHORT_VRS and not implicit:  # nearly all elements: no call for each
                tag, value = group << 16 | element, offset + 8
                steps.append((offset, 8))
            else:
                tag, length, value = self._element(offset, implicit=implicit)
            if tag <= last:
                raise OddHeaderError
            last = tag
            if length == _UNDEFINED:
                offset = self._after_sequence(value, 0, implicit=implicit)
                continue
            offset = value + length
            if tag in wanted:
                if offset > end:
                    raise OddHeaderError
                found[tag] = (value, length)
        if len(found) < len(wanted):
            raise OddHeaderError
        return found

    def _element(self, offset: int, *, implicit: bool) -> tuple[int, int, int]:
        """Return tag, length of the value, and where the value begins."""
        if implicit:
            group, element, length = _IMPLICIT.unpack_from(self._data, offset)
            self.steps.append((offset, 8))
            return group << 16 | element, length, offset + 8
        group, element, vr, length = _SHORT.unpack_from(self._data, offset)
        if vr in _SHORT_VRS:
            self.steps.append((offset, 8))
            return group << 16 | element, length, offset + 8
        if vr not in _LONG_VRS:
            raise OddHeaderError
        (length,) = _LONG.unpack_from(self._data, offset + 8)
        if length == _UNDEFINED and vr != b"SQ":  # UN of undefined length is implicit inside
            raise OddHeaderError
        self.steps.append((offset, 12))
        return group << 16 | element, length, offset + 12

    def _after_sequence(self, offset: int, depth: int, *, implicit: bool) -> int:
        """Return where a sequence of undefined length ends."""
        if depth > _DEEPEST:
            raise OddHeaderError
        while True:
            tag, length, offset = self._element(offset, implicit=True)  # items have no VR
            if tag == _SEQUENCE_END:
                return offset
            if tag != _ITEM:
                raise OddHeaderError
            offset = (
                self._after_item(offset, depth, implicit=implicit)
                if length == _UNDEFINED
                else offset + length
            )

    def _after_item(self, offset: int, depth: int, *, implicit: bool) -> int:
        """Return where an item of undefined length ends."""
        while True:
            group, element = _TAG.unpack_from(self._data, offset)
            if group << 16 | element == _ITEM_END:
                self.steps.append((offset, 8))
                return offset + 8
            _, length, value = self._element(offset, implicit=implicit)
            offset = (
                self._after_sequence(value, depth + 1, implicit=implicit)
                if length == _UNDEFINED
                else value + length
            )
