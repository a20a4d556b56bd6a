"""Read from a file what a PACS database indexes, whatever the file turns out to be."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
KEYWORDS = (
    *_UIDS,
    *("PatientID", "PatientName", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
    *("Modality", "SeriesNumber", "InstanceNumber"),
)
_TAGS = [Tag(tag) for tag in map(tag_for_keyword, KEYWORDS) if tag is not None]
# First two bytes of a dataset without preamble: group 0002, or group 0008 in either byte order.
_BARE_STARTS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
# Deflate expands a thousandfold: a header that needs more than this is an attack or an accident.
_INFLATED_BYTES = 4 * 1024 * 1024


class NotIndexableError(ValueError):
    """A file that cannot be entered into a PACS database; the message is the reason."""


@dataclass(frozen=True)
class Header:
    """What the header of one file says.

    Attributes
    ----------
    values : dict
        Decoded text by keyword; None if absent, empty or undecodable.
    transfer_syntax : pydicom.uid.UID
        As declared, or as found if nothing is declared.
    dataset_offset : int
        Where the dataset begins, in bytes.
    is_complete : bool
        Whether the file is Part 10 and names its transfer syntax.
    """

    values: dict[str, str | None]
    transfer_syntax: UID
    dataset_offset: int
    is_complete: bool


def read_header(path: Path) -> Header:
    """Return the header of the file, reading no pixel data.

    Raises
    ------
    NotIndexableError
        Not DICOM, unreadable, a DICOMDIR, or without one of the four identifying UIDs.
    """
    try:
        with warnings.catch_warnings():
            # They quote the values they complain about.
            warnings.simplefilter("ignore")
            return _read(path)
    except NotIndexableError:
        raise
    except Exception as error:  # whatever a hostile file does to the parser
        raise NotIndexableError(f"unreadable ({type(error).__name__})") from error


def begins_like_dicom(path: Path) -> bool:
    """Return whether the first bytes are those of a Part 10 file or of a bare dataset."""
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start[:2] in _BARE_STARTS


def _read(path: Path) -> Header:
    with path.open("rb") as file:
        start = file.read(132)
        has_preamble = start[128:] == b"DICM"
        if not has_preamble:
            if start[:2] not in _BARE_STARTS:
                raise NotIndexableError("not a DICOM file" if start else "empty file")
            file.seek(0)
        meta = read_dataset(file, False, True, stop_when=_is_past_file_meta)
        offset = file.tell()
        if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise NotIndexableError("a DICOMDIR, which lists other files and is no instance")
        declared = meta.get("TransferSyntaxUID")
        if declared == DeflatedExplicitVRLittleEndian:
            dataset = _read_deflated(file)
        else:
            file.seek(0)
            dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
    values = {keyword: _text(dataset, keyword) for keyword in KEYWORDS}
    for keyword in _UIDS:
        if not values[keyword]:
            raise NotIndexableError(f"has no {keyword}: a PACS cannot file it")
    syntax = UID(declared) if declared else _syntax_as_found(dataset)
    return Header(values, syntax, offset, has_preamble and bool(declared))


def _is_past_file_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _read_deflated(file: BinaryIO) -> Dataset:
    """Parse the beginning of a deflated dataset; the file stands where it begins."""
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
        file.read(_INFLATED_BYTES), _INFLATED_BYTES
    )
    stop_at = Tag("PixelData")
    return read_dataset(
        BytesIO(inflated),
        False,
        True,
        stop_when=lambda tag, vr, length: tag >= stop_at,
        specific_tags=list(_TAGS),
    )


def _syntax_as_found(dataset: Dataset) -> UID:
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian


def _text(dataset: Dataset, keyword: str) -> str | None:
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - a value that cannot be decoded is a value not known
        return None
    if value is None:
        return None
    several = isinstance(value, list | tuple) or hasattr(value, "append")
    text = "\\".join(map(str, value)) if several else str(value)
    # Lone surrogates would be refused by the database.
    return text.encode("utf-8", "replace").decode("utf-8").strip(" \0") or None
