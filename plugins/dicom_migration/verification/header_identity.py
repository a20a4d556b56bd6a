"""Which instance a stored object says it is, from its first bytes, without decoding the rest.

The four UIDs that verification compares stand early in every header, so that a walk over the
element headers (PS3.5 section 7.1) finds them in a fraction of the time of a parser. What is not
plain is left to pydicom: ``None`` here accuses nobody.
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


def identity_of(head: bytes | memoryview, dataset_start: int) -> Identity | None:
    """Return what an object's first bytes say; None when they do not say it plainly.

    Parameters
    ----------
    head
        The object from its first byte on; as much of it as is at hand.
    dataset_start
        Where the dataset begins (bytes), after group 0002.
    """
    try:
        meta, _ = _values(head, _META_START, dataset_start, frozenset({_SYNTAX}), implicit=False)
        syntax = _text(meta.get(_SYNTAX, b""))
        if syntax in _NOT_PLAIN:
            return None
        wanted = frozenset({_INSTANCE, _STUDY, _SERIES})
        implicit = syntax == IMPLICIT_VR_LITTLE_ENDIAN
        found, last = _values(head, dataset_start, len(head), wanted, implicit=implicit)
        if last < _SERIES:  # the bytes at hand ended before the header could say so
            return None
        texts = [_text(found.get(tag, b"")) for tag in (_STUDY, _SERIES, _INSTANCE)]
    except (_Odd, struct.error, UnicodeDecodeError):
        return None
    return Identity(syntax, *texts) if all(texts) else None


def _values(
    data: bytes | memoryview, offset: int, end: int, wanted: frozenset[int], *, implicit: bool
) -> tuple[dict[int, bytes], int]:
    """Return the values of `wanted` and the last tag seen, which is not before the last of them."""
    found: dict[int, bytes] = {}
    stop, last, unpack = max(wanted), 0, _SHORT.unpack_from
    while offset < end and last < stop:
        group, element, vr, length = unpack(data, offset)
        if vr in _SHORT_VRS and not implicit:  # nearly all elements: no call for each
            tag, value = group << 16 | element, offset + 8
        else:
            tag, length, value = _element(data, offset, implicit=implicit)
        if tag <= last:
            raise _Odd
        last = tag
        if length == _UNDEFINED:
            offset = _after_sequence(data, value, 0, implicit=implicit)
            continue
        offset = value + length
        if tag in wanted:
            if offset > end:
                raise _Odd
            found[tag] = bytes(data[value:offset])
    return found, last


def _element(data: bytes | memoryview, offset: int, *, implicit: bool) -> tuple[int, int, int]:
    """Return tag, length of the value, and where the value begins."""
    if implicit:
        group, element, length = _IMPLICIT.unpack_from(data, offset)
        return group << 16 | element, length, offset + 8
    group, element, vr, length = _SHORT.unpack_from(data, offset)
    if vr in _SHORT_VRS:
        return group << 16 | element, length, offset + 8
    if vr not in _LONG_VRS:
        raise _Odd
    (length,) = _LONG.unpack_from(data, offset + 8)
    if length == _UNDEFINED and vr != b"SQ":  # UN of undefined length is implicit inside
        raise _Odd
    return group << 16 | element, length, offset + 12


def _after_sequence(data: bytes | memoryview, offset: int, depth: int, *, implicit: bool) -> int:
    """Return where a sequence of undefined length ends (PS3.5 section 7.5)."""
    if depth > _DEEPEST:
        raise _Odd
    while True:
        group, element, length = _IMPLICIT.unpack_from(data, offset)
        tag = group << 16 | element
        offset += 8
        if tag == _SEQUENCE_END:
            return offset
        if tag != _ITEM:
            raise _Odd
        offset = (
            _after_item(data, offset, depth, implicit=implicit)
            if length == _UNDEFINED
            else offset + length
        )


def _after_item(data: bytes | memoryview, offset: int, depth: int, *, implicit: bool) -> int:
    while True:
        group, element = _TAG.unpack_from(data, offset)
        if group << 16 | element == _ITEM_END:
            return offset + 8
        _, length, value = _element(data, offset, implicit=implicit)
        offset = (
            _after_sequence(data, value, depth + 1, implicit=implicit)
            if length == _UNDEFINED
            else value + length
        )


def _text(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")
