"""Reads from the head of a file what an archive's database would know of it.

Only the first kilobytes are read, and no value is decoded that is not asked for: a quarter of a
millisecond a file. Source: DICOM PS3.10 section 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO

from dicom_migration.archive import records
from dicom_migration.archive.dataset_attributes import collect_values, decode_attributes
from dicom_migration.archive.elements import Encoding, guess_encoding, is_deflated
from dicom_migration.archive.part10 import (
    HEAD_LIMIT,
    IncompleteHeadError,
    inflated_head,
    read_file_meta,
    storage_syntax,
)
from dicom_migration.archive.protocol import InstanceIdentity
from dicom_migration.archive.records import Attributes
from dicom_migration.uids import is_valid_uid

FIRST_READ_BYTES = 8 * 1024

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_PREFIX = slice(128, 132)
_TAGS = frozenset(
    {
        *records.STUDY_KEYS,
        *records.SERIES_KEYS,
        *records.INSTANCE_KEYS,
    }
) - {records.MODALITIES_IN_STUDY}


class NotAnInstance(Enum):
    """Why a file is no instance of any study."""

    OTHER = auto()
    """Not DICOM."""
    DIRECTORY = auto()
    """A DICOMDIR: it lists files, and is none (PS3.10 section 8)."""
    UNREADABLE = auto()
    """DICOM, but without the UIDs that say what it is."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the head of a file tells.

    ``dataset_offset`` is in bytes; ``encoding`` is what the dataset looks like, which is not
    always what its transfer syntax says.
    """

    identity: InstanceIdentity
    attributes: Attributes
    dataset_offset: int
    encoding: Encoding


def read_header(file: BinaryIO, size: int) -> FileHeader | NotAnInstance:
    """Read the head of a file of `size` bytes, and more of it only when it must be."""
    wanted = FIRST_READ_BYTES
    head = b""
    while True:
        head += file.read(wanted - len(head))
        whole = len(head) >= size or len(head) < wanted
        try:
            found, passed = _understand(head)
        except IncompleteHeadError:
            found, passed = NotAnInstance.UNREADABLE, False
        if passed or whole or wanted >= HEAD_LIMIT:
            break
        wanted = min(wanted * 8, HEAD_LIMIT)
    if isinstance(found, NotAnInstance) and head[_PREFIX] != b"DICM":
        return NotAnInstance.OTHER
    return found


def _understand(head: bytes) -> tuple[FileHeader | NotAnInstance, bool]:
    """Return what `head` tells, and whether more of the file could not tell more."""
    meta, start = read_file_meta(head)
    encoding = guess_encoding(head, start)
    syntax = storage_syntax(meta, encoding)
    dataset, offset = head, start
    if is_deflated(syntax):
        dataset, offset = inflated_head(head[start:]), 0
        encoding = guess_encoding(dataset)
    raw, passed = collect_values(dataset, encoding, _TAGS, offset)
    attributes = decode_attributes(raw)
    identity = InstanceIdentity(
        records.first(attributes, records.SOP_CLASS_UID),
        records.first(attributes, records.SOP_INSTANCE_UID),
        syntax,
    )
    if identity.sop_class_uid == _MEDIA_STORAGE_DIRECTORY or _is_directory(meta):
        return NotAnInstance.DIRECTORY, True
    uids = (
        identity.sop_class_uid,
        identity.sop_instance_uid,
        records.first(attributes, records.STUDY_INSTANCE_UID),
        records.first(attributes, records.SERIES_INSTANCE_UID),
    )
    if not all(is_valid_uid(uid) for uid in uids):
        return NotAnInstance.UNREADABLE, passed
    return FileHeader(identity, attributes, start, encoding), passed


def _is_directory(meta: dict[int, bytes]) -> bool:
    return meta.get(0x00020002, b"").rstrip(b"\0 ") == _MEDIA_STORAGE_DIRECTORY.encode()
