"""An uncompressed instance taken apart: header, Pixel Data, what follows; or why it stays whole."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.elements import (
    Encoding,
    TruncatedDatasetError,
    encoding_of,
    iter_elements,
)
from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    PIXEL_TAGS,
    inflate,
    read_header,
)
from dicom_migration.header_facts import read_header_facts
from dicom_migration.policies.transfer import Recompression
from dicom_migration.transfer.outcomes import Outcome, UntouchedError
from dicom_migration.transfer.pixel_data import PixelValue, locate_pixel_value
from dicom_migration.transfer.spool import Spool

if TYPE_CHECKING:
    from pydicom import Dataset

NATIVE = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.1",
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    }
)
_PIXEL_DATA = 0x7FE00010
_EXTENDED_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_SIGNATURES = frozenset({0x4FFE0001, 0xFFFAFFFA})
#: What follows Pixel Data is held in memory; more than this is not.
_MAX_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class NativeInstance:
    """Where everything is.

    Attributes
    ----------
    read, pixels
        Gives the bytes from one offset to another, and where the value of Pixel Data lies.
    header, tail
        The elements before and after Pixel Data, as encoded.
    attributes
        The header as pydicom reads it.
    swapped
        Whether Pixel Data consists of 16-bit words in big endian.
    """

    read: Callable[[int, int], bytes]
    header: bytes
    attributes: Dataset
    pixels: PixelValue
    tail: bytes
    swapped: bool


def take_apart(identity: InstanceIdentity, stored: Spool, policy: Recompression) -> NativeInstance:
    """Return the instance in the Part 10 object `stored` taken apart.

    Raises
    ------
    UntouchedError
        The policy does not ask for it, or it is not what can be recompressed.
    """
    syntax = identity.transfer_syntax_uid
    if syntax not in NATIVE:
        raise UntouchedError(Outcome.NOT_NATIVE)
    if stored.size < policy.minimum_kib * 1024:
        raise UntouchedError(Outcome.TOO_SMALL)
    data: bytes | memoryview = stored.contents()
    start = stored.header_bytes
    if inflated := syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data, start = inflate(data[start:]), 0
    encoding = encoding_of(syntax)
    element = _header_end(data, encoding, start)
    header = bytes(data[start:element])
    attributes = read_header(io.BytesIO(header), syntax, sop_instance_uid=identity.sop_instance_uid)
    modality = read_header_facts(attributes)["modality"] if policy.modalities else None
    if policy.modalities and modality not in policy.modalities:
        raise UntouchedError(Outcome.MODALITY_NOT_NAMED)
    pixels = locate_pixel_value(data, element, syntax)
    if pixels is None:
        raise UntouchedError(Outcome.NO_PIXEL_DATA)
    if pixels.encapsulated:
        raise UntouchedError(Outcome.NOT_NATIVE)
    vr = _pixel_vr(bytes(data[element : pixels.start]), encoding)
    tail_start = pixels.start + pixels.length
    if len(data) - tail_start > _MAX_TAIL_BYTES:
        raise UntouchedError(Outcome.DATA_AFTER_PIXELS)
    tail = bytes(data[tail_start:])
    _check_tags(header, tail, encoding)

    def read(first: int, last: int) -> bytes:
        # Not from `data`: what is mapped counts as memory of the process once it is touched.
        return (
            bytes(data[first:last])
            if inflated
            else b"".join(bytes(piece) for piece in stored.pieces(first, last))
        )

    swapped = not encoding.little and vr == b"OW"
    return NativeInstance(read, header, attributes, pixels, tail, swapped)


def _header_end(data: bytes | memoryview, encoding: Encoding, start: int) -> int:
    """Return the offset of the first pixel element, or of the end."""
    end = start
    try:
        for found in iter_elements(data, encoding, start):
            if found.tag in PIXEL_TAGS:
                break
            end = found.offset + found.length
    except TruncatedDatasetError:
        raise UntouchedError(Outcome.HEADER_NOT_CONVERTIBLE) from None
    return end


def _pixel_vr(head: bytes, encoding: Encoding) -> bytes:
    """Return the VR of Pixel Data, after checking that it is this and no float pixel data."""
    group, number = struct.unpack_from("<HH" if encoding.little else ">HH", head)
    if group << 16 | number != _PIXEL_DATA:
        raise UntouchedError(Outcome.FLOAT_PIXELS)
    vr = head[4:6] if encoding.explicit else b"OW"  # PS3.5 annex A.1
    if vr not in (b"OB", b"OW"):
        raise UntouchedError(Outcome.PIXEL_DESCRIPTION)
    return vr


def _check_tags(header: bytes, tail: bytes, encoding: Encoding) -> None:
    """Refuse signatures, which the new encoding would break, and tables that have no meaning."""
    try:
        tags = {e.tag for part in (header, tail) for e in iter_elements(part, encoding)}
    except TruncatedDatasetError:
        raise UntouchedError(Outcome.HEADER_NOT_CONVERTIBLE) from None
    if tags & _SIGNATURES:
        raise UntouchedError(Outcome.DIGITALLY_SIGNED)
    if tags & _EXTENDED_TABLES:
        raise UntouchedError(Outcome.PIXEL_DESCRIPTION)
