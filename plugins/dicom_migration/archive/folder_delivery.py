"""Delivers one file to a sink, after proving that it is whole.

Parsers read truncated files without a word, so the element headers are walked to the end first;
only the pages that hold headers are touched. Source: DICOM PS3.5 section 7.1, A.5 (deflate).
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dicom_migration.archive.elements import TruncatedDatasetError, check_whole, is_deflated
from dicom_migration.archive.folder_index import IndexedFile
from dicom_migration.archive.instance_receiver import PIECE_BYTES, InstanceReceiver
from dicom_migration.datasets import MAX_INFLATED_BYTES
from dicom_migration.errors import ReasonCode, TransientError


def deliver(indexed: IndexedFile, receiver: InstanceReceiver) -> None:
    """Give the file's dataset to the receiver, or enter why it cannot be delivered.

    Raises
    ------
    TransientError
        The file system failed.
    """
    uid = indexed.identity.sop_instance_uid
    try:
        with Path(indexed.path).open("rb") as file:
            problem = _problem(file, indexed)
            if problem:
                receiver.fail(uid, ReasonCode.INSTANCE_TRUNCATED, problem)
            else:
                receiver.receive(indexed.identity, _pieces(file, indexed.dataset_offset))
    except FileNotFoundError:
        receiver.fail(uid, ReasonCode.INSTANCE_MISSING, "the file is gone since it was indexed")
    except OSError as error:
        raise TransientError(
            f"The file of instance {uid} could not be read ({type(error).__name__}).",
            reason=ReasonCode.SOURCE_UNREACHABLE,
            next_step="Check the mount on the worker and the rights of its user.",
        ) from None  # the error quotes the path, and paths are named after patients


def _problem(file: BinaryIO, indexed: IndexedFile) -> str:
    """Return what is missing of the dataset, "" when it is whole."""
    if is_deflated(indexed.identity.transfer_syntax_uid):
        file.seek(indexed.dataset_offset)
        return "" if _deflate_ends(file) else "the deflated dataset does not end"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            check_whole(data, indexed.encoding, indexed.dataset_offset)
        except TruncatedDatasetError as error:
            return f"the file ends within {error}"
    return ""


def _deflate_ends(file: BinaryIO) -> bool:
    """Unpack, a piece at a time and up to a bound, to see whether the stream is complete."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = 0
    try:
        while not unpacker.eof and unpacked <= MAX_INFLATED_BYTES:
            packed = unpacker.unconsumed_tail or file.read(PIECE_BYTES)
            if not packed:
                return False
            unpacked += len(unpacker.decompress(packed, PIECE_BYTES))
    except zlib.error:
        return False
    return unpacker.eof


def _pieces(file: BinaryIO, offset: int) -> Iterator[bytes]:
    file.seek(offset)
    while piece := file.read(PIECE_BYTES):
        yield piece
