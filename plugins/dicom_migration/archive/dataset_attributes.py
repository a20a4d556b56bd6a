"""Reads the first attributes of an encoded dataset as text: an identifier, or a file's header.

Values are taken from their bytes and never validated, so that a malformed value is an answer and
not an exception. Source: DICOM PS3.5 section 6.2 (VRs) and 7.1 (data elements).
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from dicom_migration.archive.elements import (
    EXPLICIT_LITTLE,
    SHORT_VRS,
    Buffer,
    Encoding,
    TruncatedDatasetError,
    iter_elements,
)
from dicom_migration.archive.records import (
    FAILED_SOP_INSTANCE_UID_LIST,
    MODALITIES_IN_STUDY,
    PATIENT_NAME,
    SOP_CLASSES_IN_STUDY,
    SPECIFIC_CHARACTER_SET,
)
from dicom_migration.archive.text_values import decode_ascii, decode_text, strip_padding

_SHORT_HEADER = struct.Struct("<HH2sH").unpack_from

_MULTI_VALUED = frozenset(
    {
        SPECIFIC_CHARACTER_SET,
        MODALITIES_IN_STUDY,
        SOP_CLASSES_IN_STUDY,
        FAILED_SOP_INSTANCE_UID_LIST,
    }
)


def read_attributes(
    data: Buffer, encoding: Encoding, tags: Collection[int], start: int = 0
) -> dict[int, tuple[str, ...]]:
    """Return the text of the wanted `tags` that the dataset has at its top level.

    What lies after a malformed element is not read; whether the dataset is whole is the question
    of ``elements.check_whole``.
    """
    return decode_attributes(collect_values(data, encoding, tags, start)[0])


def collect_values(
    data: Buffer, encoding: Encoding, tags: Collection[int], start: int = 0
) -> tuple[dict[int, bytes], bool]:
    """Return the raw values of `tags`, and whether the walk came past the highest of them.

    Elements are in tag order (PS3.5 section 7.1), so that a head of the dataset is enough when
    the second result is True.
    """
    raw: dict[int, bytes] = {}
    last = max(tags)
    try:
        if encoding == EXPLICIT_LITTLE:
            start = _collect_short(data, tags, last, start, raw)
            if start < 0:
                return raw, True
        for tag, offset, length in iter_elements(data, encoding, start):
            if tag in tags or tag == SPECIFIC_CHARACTER_SET:
                raw[tag] = bytes(data[offset : offset + length])
            if tag >= last:
                return raw, True
    except TruncatedDatasetError:
        pass
    return raw, False


def _collect_short(
    data: Buffer, tags: Collection[int], last: int, start: int, raw: dict[int, bytes]
) -> int:
    """Collect as long as elements have a length of 16 bits: almost all of an identifier's.

    An answer to a C-FIND has twenty of them, and a source a million answers: here each costs one
    struct read. Returns where the walk has to go on, -1 when it came to the tag `last`.
    """
    stop = len(data)
    offset = start
    while stop - offset >= 8:
        group, number, vr, length = _SHORT_HEADER(data, offset)
        end = offset + 8 + length
        if vr not in SHORT_VRS or end > stop:
            break
        tag = group << 16 | number
        if tag in tags or tag == SPECIFIC_CHARACTER_SET:
            raw[tag] = bytes(data[offset + 8 : end])
        if tag >= last:
            return -1
        offset = end
    return offset


def decode_attributes(raw: dict[int, bytes]) -> dict[int, tuple[str, ...]]:
    """Decode raw values under the Specific Character Set that they came with."""
    charset = decode_ascii(raw.get(SPECIFIC_CHARACTER_SET, b""))
    sets = tuple(part.strip() for part in charset.split("\\")) if charset else ()
    return {
        tag: (strip_padding(value.decode("ascii")),)
        if tag not in _MULTI_VALUED and value.isascii() and b"\x1b" not in value
        else _values(tag, value, sets)
        for tag, value in raw.items()
    }


def _values(tag: int, raw: bytes, character_sets: tuple[str, ...]) -> tuple[str, ...]:
    if tag in _MULTI_VALUED:
        return tuple(part.strip("\0 ") for part in decode_ascii(raw).split("\\"))
    return (decode_text(raw, character_sets, person_name=tag == PATIENT_NAME),)
