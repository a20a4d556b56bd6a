"""Where the Pixel Data value lies in an encoded dataset, and whether it is all there.

Follows PS3.5 section 7.1 (data elements) and annex A.4 (encapsulated pixel data). The value is
never decoded: it is located, measured and hashed as it is encoded.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from dicom_migration.datasets import EXPLICIT_VR_BIG_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from pydicom import Dataset

UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_DELIMITATION = b"\xfe\xff\xdd\xe0"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The encoded value of Pixel Data: `start` and `length` in bytes within the file.

    For encapsulated pixel data the value is all items, without the sequence delimiter.
    """

    start: int
    length: int
    encapsulated: bool


def locate_pixel_value(
    file: BinaryIO, element_start: int, end: int, transfer_syntax_uid: str
) -> PixelValue | None:
    """Find the Pixel Data value of the element at `element_start` in a file of `end` bytes.

    Returns None when there is no element (``element_start == end``).

    Raises
    ------
    PermanentError
        With reason ``instance_truncated`` when the value goes on past the end.
    """
    if element_start >= end:
        return None
    file.seek(element_start)
    order = ">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<"
    header_length = 8 if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN else 12
    header = file.read(header_length)
    if len(header) < header_length:
        raise _truncated(end - element_start)
    (length,) = struct.unpack(order + "I", header[-4:])
    start = element_start + header_length
    if length != UNDEFINED_LENGTH:
        if start + length > end:
            raise _truncated(start + length - end)
        return PixelValue(start, length, encapsulated=False)
    return PixelValue(start, _length_of_items(file, start, end), encapsulated=True)


def _length_of_items(file: BinaryIO, start: int, end: int) -> int:
    position = start
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            raise _truncated(0)
        if header[:4] == _SEQUENCE_DELIMITATION:
            return position - start
        (length,) = struct.unpack("<I", header[4:])
        if header[:4] != _ITEM or length == UNDEFINED_LENGTH:
            raise PermanentError(
                "Encapsulated pixel data holds something that is not an item.",
                reason=ReasonCode.PIXEL_DATA_INVALID,
                next_step="Look at the instance with dcmdump at the source.",
            )
        position += 8 + length
        if position > end:
            raise _truncated(position - end)


def pixel_sha256(file: BinaryIO, value: PixelValue) -> str:
    """Return the SHA-256 (hexadecimal) of the encoded value."""
    digest = hashlib.sha256()
    file.seek(value.start)
    left = value.length
    while left:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            raise _truncated(left)
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def missing_pixel_bytes(dataset: Dataset, value: PixelValue) -> int:
    """Return how many bytes native pixel data lacks for its own description, 0 when complete.

    Native length is Rows x Columns x Samples per Pixel x Number of Frames x Bits Allocated / 8
    (PS3.5 section 8.1.1; two thirds of it for YBR_FULL_422, PS3.3 section C.7.6.3.1.2). Only
    too few bytes are a fault: padding is common. Encapsulated data is not judged here.
    """
    if value.encapsulated:
        return 0
    try:
        samples = (
            int(dataset.Rows)
            * int(dataset.Columns)
            * int(dataset.get("SamplesPerPixel", 1) or 1)
            * int(dataset.get("NumberOfFrames", 1) or 1)
        )
        bits = samples * int(dataset.BitsAllocated)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return 0  # not an image by its own header; completeness suites judge that
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
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
