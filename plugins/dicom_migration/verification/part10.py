"""What a stored object says of itself, read from its bytes alone.

This is the second opinion on what the transfer wrote, so it shares no code with it: the Part 10
structure (PS3.10 section 7.1) is read here from the stored bytes, the header by pydicom.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    inflate,
)

if TYPE_CHECKING:
    from pydicom import Dataset

_PREAMBLE = 132
#: What tells where the dataset begins: preamble, prefix, and (0002,0000) with its value.
PREFIX_BYTES = _PREAMBLE + 12
_GROUP_LENGTH = struct.pack("<HH2sH", 2, 0, b"UL", 4)
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, _PIXEL_DATA})
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """Facts of one stored object.

    Attributes
    ----------
    problem
        Why the object is not a Part 10 file, "" when it is.
    dataset_sha256
        Of everything after group 0002.
    transfer_syntax_uid
        As the file meta information says; "" when the header cannot be parsed.
    sop_instance_uid, series_instance_uid, study_instance_uid
        As the dataset says; "" when the header cannot be parsed.
    pixel_bytes
        Length of the value of Pixel Data without a sequence delimiter; None: there is none, or
        the header cannot be parsed.
    pixel_sha256
        Of that value.
    """

    size: int
    object_sha256: str
    problem: str = ""
    dataset_sha256: str = ""
    transfer_syntax_uid: str = ""
    sop_instance_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    pixel_bytes: int | None = None
    pixel_sha256: str = ""

    @property
    def parsed(self) -> bool:
        """Whether the header could be read."""
        return bool(self.sop_instance_uid)


@dataclass(slots=True)
class _Stop:
    """Where reading stopped: remembered by the callback that pydicom asks."""

    tag: int = 0
    vr: str | None = None
    length: int = 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        if tag not in _PIXEL_TAGS:
            return False
        self.tag, self.vr, self.length = int(tag), vr, length
        return True


def read_stored_instance(chunks: Iterable[bytes | memoryview], spool_bytes: int) -> StoredInstance:
    """Hash and parse one object; at most `spool_bytes` of it are held in memory.

    More goes to an unlinked temporary file, which vanishes with its handle on every path.
    """
    with tempfile.SpooledTemporaryFile(max_size=spool_bytes) as spool:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            spool.write(chunk)
        spool.seek(0)
        start = dataset_start(spool.read(PREFIX_BYTES))
        found = StoredInstance(size, digest.hexdigest(), problem=problem_of(start, size))
        if found.problem or start is None:
            return found
        found = replace(found, dataset_sha256=_hash_range(spool, start, size - start))
        return with_header(spool, start, found, pixels=True)


def dataset_start(head: bytes | memoryview) -> int | None:
    """Return where the dataset begins, as the first :data:`PREFIX_BYTES` say.

    0: there is no DICM prefix. None: there is one, but no group length behind it.
    """
    if len(head) < PREFIX_BYTES or head[128:132] != b"DICM":
        return 0
    if head[_PREAMBLE : _PREAMBLE + 8] != _GROUP_LENGTH:
        return None
    (length,) = struct.unpack_from("<I", head, _PREAMBLE + 8)
    return int(PREFIX_BYTES + length)


def problem_of(start: int | None, size: int) -> str:
    """Return why an object of `size` bytes is not a Part 10 file, "" when it may be one."""
    if start is None:
        return "its file meta information has no group length"
    if start == 0:
        return "it is not a DICOM Part 10 file (no DICM prefix)"
    return "it ends inside its file meta information" if start > size else ""


def with_header(
    file: IO[bytes], start: int, found: StoredInstance, *, pixels: bool
) -> StoredInstance:
    """Return `found` with what pydicom reads of the header, and on request the pixels' hash."""
    file.seek(0)
    try:
        syntax = _transfer_syntax(file.read(start))
        return _with_header(file, start, found, syntax, pixels=pixels)
    except Exception:  # noqa: BLE001 - hostile bytes raise anything; the hashes stand without
        return found


def _transfer_syntax(head: bytes) -> str:
    from pydicom import dcmread

    return str(dcmread(io.BytesIO(head)).file_meta.TransferSyntaxUID)


def _with_header(
    file: IO[bytes], start: int, found: StoredInstance, syntax: str, *, pixels: bool
) -> StoredInstance:
    from pydicom.filereader import read_dataset

    data, end = file, found.size
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        file.seek(start)
        unpacked = inflate(file.read())
        data, start, end = io.BytesIO(unpacked), 0, len(unpacked)
    data.seek(start)
    stop = _Stop()
    dataset = read_dataset(
        data,  # type: ignore[arg-type]
        is_implicit_VR=syntax == IMPLICIT_VR_LITTLE_ENDIAN,
        is_little_endian=syntax != EXPLICIT_VR_BIG_ENDIAN,
        stop_when=stop,
    )
    found = replace(
        found,
        transfer_syntax_uid=syntax,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
    )
    if stop.tag != _PIXEL_DATA or not pixels:
        return found
    big = syntax == EXPLICIT_VR_BIG_ENDIAN
    return _with_pixels(data, end, stop, found, ">" if big else "<")


def _with_pixels(
    data: IO[bytes], end: int, stop: _Stop, found: StoredInstance, order: str
) -> StoredInstance:
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    value = data.tell() + (12 if stop.vr in EXPLICIT_VR_LENGTH_32 else 8)
    if stop.length != _UNDEFINED:
        length = min(stop.length, end - value)
    else:
        length = _encapsulated_length(data, value, end, order) - value
    return replace(found, pixel_bytes=length, pixel_sha256=_hash_range(data, value, length))


def _encapsulated_length(data: IO[bytes], offset: int, end: int, order: str) -> int:
    """Return the offset of the delimiter that ends the items from `offset` (PS3.5 A.4)."""
    while offset + 8 <= end:
        data.seek(offset)
        group, element, length = struct.unpack(order + "HHI", data.read(8))
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return offset
        if tag != _ITEM:
            break
        offset += 8 + length
    return min(offset, end)


def _hash_range(file: IO[bytes], start: int, length: int) -> str:
    file.seek(start)
    digest, left = hashlib.sha256(), length
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _uid(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).rstrip("\0 ")
