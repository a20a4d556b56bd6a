"""Dataset bytes into pydicom datasets, with the bounds that hostile input needs."""

from __future__ import annotations

import io
import warnings
import zlib
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, cast

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
#: Float, Double Float and integer Pixel Data (PS3.3 section C.7.6.24, C.7.6.3).
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
#: A deflated dataset may not unpack to more than this many bytes (PS3.5 sets no bound).
MAX_INFLATED_BYTES = 4 * 1024**3


def parse_dataset(
    data: bytes | memoryview,
    transfer_syntax_uid: str,
    *,
    stop_before_pixels: bool = True,
    sop_instance_uid: str = "",
) -> Dataset:
    """Read a dataset (no preamble, no group 0002) that is encoded in `transfer_syntax_uid`.

    With `stop_before_pixels` reading ends before Pixel Data (7FE0,0010) and its float kin.

    Raises
    ------
    PermanentError
        With reason ``header_unreadable``; the text of the parser is left out, it may hold PHI.
    """
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data = inflate(data)
    return read_header(
        io.BytesIO(data),
        transfer_syntax_uid,
        stop_before_pixels=stop_before_pixels,
        sop_instance_uid=sop_instance_uid,
    )


def read_header(
    file: BinaryIO,
    transfer_syntax_uid: str,
    *,
    stop_before_pixels: bool = True,
    sop_instance_uid: str = "",
) -> Dataset:
    """Read a dataset from the position of `file`; a deflated one must be inflated already.

    Afterwards `file` stands at the Pixel Data element, or at the end when there is none.
    Raises like :func:`parse_dataset`.
    """
    from pydicom.filereader import read_dataset

    _accept_values_as_they_are()

    def at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag in PIXEL_TAGS

    try:
        return read_dataset(
            file if isinstance(file, io.BytesIO) else cast("BinaryIO", _WithinItsSize(file)),
            is_implicit_VR=transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN,
            is_little_endian=transfer_syntax_uid != EXPLICIT_VR_BIG_ENDIAN,
            stop_when=at_pixels if stop_before_pixels else None,
        )
    except Exception as error:  # noqa: BLE001 - hostile bytes raise anything in a parser
        raise PermanentError(
            f"The header of instance {sop_instance_uid or '(unknown)'} cannot be read "
            f"({type(error).__name__}).",
            reason=ReasonCode.HEADER_UNREADABLE,
            next_step="Look at the instance with dcmdump at the source; repair or exclude it.",
        ) from None


class _WithinItsSize:
    """A file that is never asked for more bytes than it has.

    Python sets memory aside for what is asked for: an element of ten bytes that declares two
    gigabytes would take two gigabytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        here = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(here)

    def read(self, size: int | None = -1) -> bytes:
        """Return at most `size` bytes; all that are left when it is negative."""
        left = max(self._end - self._file.tell(), 0)
        return self._file.read(left if size is None or size < 0 else min(size, left))


@cache
def _accept_values_as_they_are() -> None:
    """Keep pydicom from judging values: suites do that, and its warnings quote them (PHI)."""
    import logging

    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def inflate(data: bytes | memoryview, limit: int = MAX_INFLATED_BYTES) -> bytes:
    """Return the raw-deflate-compressed `data` unpacked, at most `limit` bytes (PS3.5 A.5).

    Raises
    ------
    PermanentError
        With reason ``header_unreadable`` when it is not deflate data or unpacks to more.
    """
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(data, limit)
    except zlib.error:
        raise _not_inflatable("it is not valid deflate data") from None
    if unpacker.unconsumed_tail:
        raise _not_inflatable(f"it unpacks to more than {limit} bytes")
    return unpacked


def deflate(data: bytes) -> bytes:
    """Return `data` raw-deflate-compressed, padded to even length (PS3.5 A.5)."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" if len(packed) % 2 else packed


def _not_inflatable(why: str) -> PermanentError:
    return PermanentError(
        f"A deflated dataset was refused: {why}.",
        reason=ReasonCode.HEADER_UNREADABLE,
        next_step="Check the instance at the source; exclude the study if it is damaged.",
    )
