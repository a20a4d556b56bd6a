"""Which instance a stored object says it is, from its first bytes, without decoding the rest.

The four UIDs that verification compares stand early in every header, so that a walk over the
element headers (PS3.5 section 7.1) finds them in a fraction of the time of a parser. And most
instances of a series have the same elements in the same places: where a header has every element
header of one that was walked before, and the same transfer syntax, a walk would take the very same
steps, and is not taken. What is not plain is left to pydicom: ``None`` here accuses nobody.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

_META_START = 144  # preamble, prefix, and (0002,0000), whose value is the length of what follows
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                       b"UT", b"UV"})  # fmt: skip
_SHORT_VRS = frozenset({b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS",
                        b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL",
                        b"US"})  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_SYNTAX, _INSTANCE, _STUDY, _SERIES = 0x00020010, 0x00080018, 0x0020000D, 0x0020000E
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_NOT_PLAIN = frozenset({EXPLICIT_VR_BIG_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, ""})
_DEEPEST = 16
_REMEMBERED = 8

_TAG = struct.Struct("<HH")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<I")
_IMPLICIT = struct.Struct("<HHI")


class Identity(NamedTuple):
    """What the header says; none of them is empty."""

    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


class _Odd(Exception):  # noqa: N818 - not an error: a reason to ask pydicom
    """The header is not plain, or goes on beyond the bytes at hand."""


class Layouts:
    """Where the identity stands in the headers met last; safe to share between threads.

    It holds tags, lengths and places, and of the values only transfer syntaxes.
    """

    def __init__(self) -> None:
        self._known: tuple[_Layout, ...] = ()

    def identity_of(self, head: bytes | memoryview, dataset_start: int) -> Identity | None:
        """Return what an object's first bytes say; None when they do not say it plainly.

        Parameters
        ----------
        head
            The object from its first byte on; as much of it as is at hand.
        dataset_start
            Where the dataset begins (bytes), after group 0002.
        """
        try:
            for layout in self._known:
                if layout.fits(head, dataset_start):
                    return layout.identity(head)
            layout = _walked(head, dataset_start)
            self._known = (layout, *self._known[: _REMEMBERED - 1])
            return layout.identity(head)
        except (_Odd, struct.error, UnicodeDecodeError):
            return None


_MET = Layouts()


def identity_of(head: bytes | memoryview, dataset_start: int) -> Identity | None:
    """Return what an object's first bytes say; see :meth:`Layouts.identity_of`."""
    return _MET.identity_of(head, dataset_start)


class _Layout:
    """All steps of one walk: `steps` are (offset, length) of the bytes that decided them.

    `places` are those of study, series and instance UID.
    """

    def __init__(
        self,
        head: bytes | memoryview,
        dataset_start: int,
        syntax: str,
        steps: list[tuple[int, int]],
        places: list[tuple[int, int]],
    ) -> None:
        self._dataset_start = dataset_start
        self._syntax = syntax
        self._places = [slice(offset, offset + length) for offset, length in places]
        self._decided = [bytes(head[offset : offset + length]) for offset, length in steps]
        self._last = slice(steps[-1][0], sum(steps[-1]))
        self._steps: list[tuple[int, int]] | None = steps
        self._struct = struct.Struct("")

    def fits(self, head: bytes | memoryview, dataset_start: int) -> bool:
        """Tell whether a walk over `head` would be the same."""
        if dataset_start != self._dataset_start or head[self._last] != self._decided[-1]:
            return False
        if (steps := self._steps) is not None:  # made when it is first needed: many never are
            self._struct, self._steps = _struct_of(steps), None
        return len(head) >= self._places[1].stop and self._decided == list(
            self._struct.unpack_from(head)
        )

    def identity(self, head: bytes | memoryview) -> Identity | None:
        """Return the UIDs in `head`, which this layout fits."""
        texts = [_text(bytes(head[place])) for place in self._places]
        return Identity(self._syntax, *texts) if all(texts) else None


def _struct_of(steps: list[tuple[int, int]]) -> struct.Struct:
    """Return what unpacks the bytes of all steps from the first byte of a header."""
    parts, position = ["<"], 0
    for offset, length in steps:
        parts.append(f"{offset - position}x{length}s")
        position = offset + length
    return struct.Struct("".join(parts))


def _walked(head: bytes | memoryview, dataset_start: int) -> _Layout:
    steps: list[tuple[int, int]] = []
    meta, _ = _places(head, _META_START, dataset_start, frozenset({_SYNTAX}), steps, implicit=False)
    if _SYNTAX not in meta:
        raise _Odd
    offset, length = meta[_SYNTAX]
    syntax = _text(bytes(head[offset : offset + length]))
    if syntax in _NOT_PLAIN:
        raise _Odd
    steps.append(meta[_SYNTAX])
    wanted = frozenset({_INSTANCE, _STUDY, _SERIES})
    implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    found, last = _places(head, dataset_start, len(head), wanted, steps, implicit=implicit)
    if last < _SERIES or len(found) < len(wanted):  # or the bytes at hand ended before
        raise _Odd
    places = [found[tag] for tag in (_STUDY, _SERIES, _INSTANCE)]
    return _Layout(head, dataset_start, syntax, steps, places)


def _places(
    data: bytes | memoryview,
    offset: int,
    end: int,
    wanted: frozenset[int],
    steps: list[tuple[int, int]],
    *,
    implicit: bool,
) -> tuple[dict[int, tuple[int, int]], int]:
    """Return (offset, length) of the values of `wanted`, and the last tag seen.

    That is not before the last of them. What decided the walk is added to `steps`.
    """
    found: dict[int, tuple[int, int]] = {}
    stop, last, unpack = max(wanted), 0, _SHORT.unpack_from
    while offset < end and last < stop:
        group, element, vr, length = unpack(data, offset)
        if vr in _SHORT_VRS and not implicit:  # nearly all elements: no call for each
            tag, value = group << 16 | element, offset + 8
            steps.append((offset, 8))
        else:
            tag, length, value = _element(data, offset, steps, implicit=implicit)
        if tag <= last:
            raise _Odd
        last = tag
        if length == _UNDEFINED:
            offset = _after_sequence(data, value, 0, steps, implicit=implicit)
            continue
        offset = value + length
        if tag in wanted:
            if offset > end:
                raise _Odd
            found[tag] = (value, length)
    return found, last


def _element(
    data: bytes | memoryview, offset: int, steps: list[tuple[int, int]], *, implicit: bool
) -> tuple[int, int, int]:
    """Return tag, length of the value, and where the value begins."""
    if implicit:
        group, element, length = _IMPLICIT.unpack_from(data, offset)
        steps.append((offset, 8))
        return group << 16 | element, length, offset + 8
    group, element, vr, length = _SHORT.unpack_from(data, offset)
    if vr in _SHORT_VRS:
        steps.append((offset, 8))
        return group << 16 | element, length, offset + 8
    if vr not in _LONG_VRS:
        raise _Odd
    (length,) = _LONG.unpack_from(data, offset + 8)
    if length == _UNDEFINED and vr != b"SQ":  # UN of undefined length is implicit inside
        raise _Odd
    steps.append((offset, 12))
    return group << 16 | element, length, offset + 12


def _after_sequence(
    data: bytes | memoryview,
    offset: int,
    depth: int,
    steps: list[tuple[int, int]],
    *,
    implicit: bool,
) -> int:
    """Return where a sequence of undefined length ends (PS3.5 section 7.5)."""
    if depth > _DEEPEST:
        raise _Odd
    while True:
        group, element, length = _IMPLICIT.unpack_from(data, offset)
        tag = group << 16 | element
        steps.append((offset, 8))
        offset += 8
        if tag == _SEQUENCE_END:
            return offset
        if tag != _ITEM:
            raise _Odd
        offset = (
            _after_item(data, offset, depth, steps, implicit=implicit)
            if length == _UNDEFINED
            else offset + length
        )


def _after_item(
    data: bytes | memoryview,
    offset: int,
    depth: int,
    steps: list[tuple[int, int]],
    *,
    implicit: bool,
) -> int:
    while True:
        group, element = _TAG.unpack_from(data, offset)
        if group << 16 | element == _ITEM_END:
            steps.append((offset, 8))
            return offset + 8
        _, length, value = _element(data, offset, steps, implicit=implicit)
        offset = (
            _after_sequence(data, value, depth + 1, steps, implicit=implicit)
            if length == _UNDEFINED
            else value + length
        )


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")
