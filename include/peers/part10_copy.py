"""Copy a file into a peer's storage without touching a byte of its dataset."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from include.peers.dicom_header import Header, NotIndexableError

_BLOCK_BYTES = 1024 * 1024


def copy_as_part10(path: Path, header: Header, target: Path) -> None:
    """Copy `path` to `target`; a bare dataset gets a preamble and File Meta Information in front.

    Raises
    ------
    NotIndexableError
        The file cannot be read or the copy cannot be written.
    """
    try:
        if header.is_complete:
            shutil.copyfile(path, target)
            return
        with path.open("rb") as source, target.open("wb") as wrapped:
            wrapped.write(_file_meta(header))
            source.seek(header.dataset_offset)
            shutil.copyfileobj(source, wrapped, _BLOCK_BYTES)
    except OSError as error:
        raise NotIndexableError(f"cannot be copied ({error.strerror})") from error


def _file_meta(header: Header) -> bytes:
    buffer = DicomBytesIO()
    buffer.write(bytes(128) + b"DICM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = UID(header.values["SOPClassUID"] or "")
        meta.MediaStorageSOPInstanceUID = UID(header.values["SOPInstanceUID"] or "")
        meta.TransferSyntaxUID = header.transfer_syntax
        write_file_meta_info(buffer, meta)
    return buffer.getvalue()
