"""Takes a DICOM file apart while it arrives: file meta information first, dataset bytes after.

DICOMweb parts and files on disk are Part 10 files; the SOURCE port delivers datasets. The
splitter never decodes the dataset and holds no more than the file's head. Source: DICOM PS3.10
section 7.1 (preamble, prefix, File Meta Information).
"""

from __future__ import annotations

import contextlib
import struct
import zlib

from dicom_migration.archive.dataset_attributes import collect_values
from dicom_migration.archive.elements import (
    Encoding,
    encoding_of,
    guess_encoding,
    is_deflated,
)
from dicom_migration.archive.protocol import InstanceIdentity
from dicom_migration.archive.records import SOP_CLASS_UID, SOP_INSTANCE_UID
from dicom_migration.archive.text_values import decode_ascii
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.uids import is_valid_uid

HEAD_LIMIT = 1 << 20
"""Bytes within which the file meta information must end and the identity must be found."""

_PREAMBLE = 128
_MEDIA_SOP_CLASS, _MEDIA_SOP_INSTANCE, _TRANSFER_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_GROUP_LENGTH = 0x00020000
_IDENTITY = (SOP_CLASS_UID, SOP_INSTANCE_UID)
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR", b"OF", b"OD", b"OL"})


class IncompleteHeadError(Exception):
    """The head does not hold the whole file meta information."""


class Part10Splitter:
    """Turns the bytes of one file into an identity and the dataset bytes after it.

    Feed pieces of any size; `identity` is None until the head is understood, and what
    :meth:`feed` returns from then on is dataset. Files without preamble, without meta
    information, without group length or without Transfer Syntax UID are understood.
    """

    def __init__(self) -> None:
        self.identity: InstanceIdentity | None = None
        self._head = bytearray()

    def feed(self, data: bytes | memoryview) -> bytes | memoryview:
        """Take the next bytes of the file; return the dataset bytes that are ready.

        Raises
        ------
        PermanentError
            With reason ``header_unreadable``: no identity within the first mebibyte.
        """
        if self.identity is not None:
            return data
        self._head += data
        if len(self._head) < _PREAMBLE + 4:
            return b""
        return self._resolve(final=len(self._head) >= HEAD_LIMIT)

    def finish(self) -> bytes | memoryview:
        """Say that the file ended; return what was held back.

        Raises
        ------
        PermanentError
            With reason ``header_unreadable``: the file ended before it could be identified.
        """
        return b"" if self.identity is not None else self._resolve(final=True)

    def _resolve(self, *, final: bool) -> bytes:
        head = bytes(self._head[:HEAD_LIMIT])
        start = 0
        with contextlib.suppress(IncompleteHeadError):
            meta, start = read_file_meta(head)
            self.identity = identify(head, meta, start, final=final)
        if self.identity is not None:
            dataset = bytes(self._head[start:])
            self._head = bytearray()
            return dataset
        if final:
            raise PermanentError(
                f"A file of the source could not be identified from its first {len(head)} bytes.",
                reason=ReasonCode.HEADER_UNREADABLE,
                next_step="Repair or remove the file at the source; dcmdump shows what it is.",
            )
        return b""


def read_file_meta(head: bytes) -> tuple[dict[int, bytes], int]:
    """Return the elements of group 0002 and the offset of the dataset.

    Raises
    ------
    IncompleteHeadError
        The meta information does not end within `head`.
    """
    offset = _meta_start(head)
    meta: dict[int, bytes] = {}
    declared_end = -1
    while head[offset : offset + 2] == b"\2\0":
        if offset == declared_end and is_deflated(transfer_syntax_in(meta)):
            break  # a deflate stream may begin like an element of group 0002
        tag, value, length = _meta_header(head, offset)
        offset = value + length
        if offset > len(head):
            raise IncompleteHeadError
        meta[tag] = head[value:offset]
        if tag == _GROUP_LENGTH and length == 4:
            declared_end = offset + int.from_bytes(meta[tag], "little")
    if len(head) - offset < 8:
        raise IncompleteHeadError
    return meta, offset


def transfer_syntax_in(meta: dict[int, bytes]) -> str:
    """Return the Transfer Syntax UID (0002,0010), "" when there is none."""
    return decode_ascii(meta.get(_TRANSFER_SYNTAX, b""))


def dataset_encoding(head: bytes, meta: dict[int, bytes], start: int) -> Encoding:
    """Return the encoding that the meta information tells, or that the dataset looks like."""
    declared = transfer_syntax_in(meta)
    return encoding_of(declared) if is_valid_uid(declared) else guess_encoding(head, start)


def identify(
    head: bytes, meta: dict[int, bytes], start: int, *, final: bool
) -> InstanceIdentity | None:
    """Say what the file holds, None when `head` is too short to tell.

    What the dataset says of itself goes before the meta information: archives index the dataset,
    and files exist whose Media Storage SOP Instance UID is another instance's.
    """
    encoding = dataset_encoding(head, meta, start)
    syntax = storage_syntax(meta, encoding)
    dataset = inflated_head(head[start:]) if is_deflated(syntax) else head[start:]
    raw, passed = collect_values(dataset, encoding, _IDENTITY)
    if not (passed or final):
        return None
    sop_class = decode_ascii(raw.get(SOP_CLASS_UID) or meta.get(_MEDIA_SOP_CLASS, b""))
    sop_instance = decode_ascii(raw.get(SOP_INSTANCE_UID) or meta.get(_MEDIA_SOP_INSTANCE, b""))
    if not (is_valid_uid(sop_class) and is_valid_uid(sop_instance)):
        return None
    return InstanceIdentity(sop_class, sop_instance, syntax)


def inflated_head(deflated: bytes, limit: int = 1 << 16) -> bytes:
    """Unpack the first `limit` bytes of a deflated dataset; nothing when it is none."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, limit)
    except zlib.error:
        return b""


def storage_syntax(meta: dict[int, bytes], encoding: Encoding) -> str:
    """Return the transfer syntax of a file: the declared one, else the plain one of `encoding`."""
    declared = transfer_syntax_in(meta)
    if is_valid_uid(declared):
        return declared
    if not encoding.explicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if encoding.little else "1.2.840.10008.1.2.2"


def _meta_start(head: bytes) -> int:
    """Return the offset of group 0002, or of the dataset when the file has no preamble."""
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return _PREAMBLE + 4
    return 0


def _meta_header(head: bytes, offset: int) -> tuple[int, int, int]:
    """Return tag, value offset and length; group 0002 is always explicit little endian."""
    try:
        (number,) = struct.unpack_from("<H", head, offset + 2)
        if head[offset + 4 : offset + 6] in _LONG_VRS:
            (length,) = struct.unpack_from("<I", head, offset + 8)
            return 0x00020000 | number, offset + 12, length
        (length,) = struct.unpack_from("<H", head, offset + 6)
    except struct.error:
        raise IncompleteHeadError from None
    return 0x00020000 | number, offset + 8, length
