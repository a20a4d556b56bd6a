"""One instance on its way to disk, and its bytes as a DICOM Part 10 file."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from include.sample_archive.identifiers import IMPLEMENTATION_CLASS_UID


@dataclass
class Specimen:
    """A dataset and how it is to be stored.

    Attributes
    ----------
    dataset : pydicom.dataset.Dataset
        Pixel data, if any, in little endian.
    syntax : pydicom.uid.UID
        Transfer syntax of the file.
    cut : float
        Fraction of the file to lose at its end, 0 to 1.
    bare : bool
        Store the dataset alone, without preamble and File Meta Information.
    """

    dataset: Dataset
    syntax: UID = ExplicitVRLittleEndian
    cut: float = 0.0
    bare: bool = False


def encode(specimen: Specimen) -> bytes:
    """Return the file's bytes; encodes the pixels as the transfer syntax wants them."""
    dataset = specimen.dataset
    if specimen.syntax == RLELossless:
        dataset.file_meta = _file_meta_for(dataset, ExplicitVRLittleEndian)
        # The encoder is named: another one that happens to be installed gives other bytes.
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    elif specimen.syntax == ExplicitVRBigEndian:
        _swap_pixel_bytes(dataset)
    content = serialise(dataset, specimen.syntax)
    if specimen.bare:
        # 144 is preamble, prefix and the group length element; its value is its last 4 bytes.
        content = content[144 + int.from_bytes(content[140:144], "little") :]
    return content[: round(len(content) * (1 - specimen.cut))]


def serialise(dataset: Dataset, syntax: UID) -> bytes:
    """Return the dataset as a Part 10 file in `syntax`, its pixel bytes as they are."""
    dataset.file_meta = _file_meta_for(dataset, syntax)
    whole = BytesIO()
    dcmwrite(whole, dataset, enforce_file_format=True)
    return whole.getvalue()


def _file_meta_for(dataset: Dataset, syntax: UID) -> FileMetaDataset:
    """Return File Meta Information (Part 10, section 7.1) that names no software version."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    # Without these pydicom writes its own version, and an upgrade would change every file.
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "SAMPLE_ARCHIVE"
    return meta


def _swap_pixel_bytes(dataset: Dataset) -> None:
    """Turn 16-bit little-endian pixel data into big endian, in place."""
    if "PixelData" in dataset and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
