"""Where the Pixel Data value lies in an encoded dataset, and whether it is all there.

Follows PS3.5 section 7.1 (data elements) and annex A.4 (encapsulated pixel data). The value is
never decoded: it is located, measured and hashed as it is encoded.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from dicom_migration.archive.elements import Buffer
from dicom_migration.datasets import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_migration.errors import PermanentError, ReasonCode

UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITATION = b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The encoded value of Pixel Data: `start` and `length` in bytes within what was searched.

    For encapsulated pixel data the value is all items, without the sequence delimiter.
    """

    start: int
    length: int
    encapsulated: bool


def locate_pixel_value(
    data: Buffer, element_start: int, transfer_syntax_uid: str
) -> PixelValue | None:
    """Find the Pixel Data value of the element at `element_start`, the last one of `data`.

    Returns None when there is no element (``element_start == len(data)``).

    Raises
    ------
    PermanentError
        With reason ``instance_truncated`` when the value goes on past the end.
    """
    end = len(data)
    if element_start >= end:
        return None
    order = ">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<"
    header_length = 8 if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN else 12
    start = element_start + header_length
    if start > end:
        raise _truncated(end - element_start)
    (length,) = struct.unpack_from(order + "I", data, start - 4)
    if length != UNDEFINED_LENGTH:
        if start + length > end:
            raise _truncated(start + length - end)
        return PixelValue(start, length, encapsulated=False)
    return PixelValue(start, _length_of_items(data, start), encapsulated=True)


def _length_of_items(data: Buffer, start: int) -> int:
    end, position = len(data), start
    while True:
        if end - position < 8:
            raise _truncated(0)
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == _SEQUENCE_DELIMITATION:
            return position - start
        if kind != _ITEM or length == UNDEFINED_LENGTH:
            raise PermanentError(
                "Encapsulated pixel data holds something that is not an item.",
                reason=ReasonCode.PIXEL_DATA_INVALID,
                next_step="Look at the instance with dcmdump at the source.",
            )
        position += 8 + length
        if position > end:
            raise _truncated(position - end)


def missing_pixel_bytes(facts: Mapping[str, str | int | None], value: PixelValue) -> int:
    """Return how many bytes native pixel data lacks for its own description, 0 when complete.

    Native length is Rows x Columns x Samples per Pixel x Number of Frames x Bits Allocated / 8
    (PS3.5 section 8.1.1; two thirds of it for YBR_FULL_422, PS3.3 section C.7.6.3.1.2). Only
    too few bytes are a fault: padding is common. Encapsulated data is not judged here, nor is
    what is not an image by its own header: completeness suites judge that.
    """
    if value.encapsulated:
        return 0
    bits = 1
    for name in ("rows", "columns", "bits_allocated"):
        bits *= int(facts[name] or 0)
    for name in ("samples_per_pixel", "number_of_frames"):
        bits *= int(facts[name] or 1)
    if facts["photometric_interpretation"] == "YBR_FULL_422":
        bits = bits * 2 // 3
    return max(0, (bits + 7) // 8 - value.length)


def _truncated(missing: int) -> PermanentError:
    return PermanentError(
        f"The dataset ends {missing} bytes before its pixel data does."
        if missing
        else "The dataset ends inside its pixel data.",
        reason=ReasonCode.INSTANCE_TRUNCATED,
        next_step="Restore the instance at the source from its backup, or exclude the study.",
    )
