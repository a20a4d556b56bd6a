"""Real DICOM files of the pydicom wheel, as the sources of the tests hold them.

Variants of one image share a SOP Instance UID in the wheel; digits of it are exchanged in place,
so that not a byte more of a file changes. What a file holds is read with pydicom here, never with
the code under test.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.filereader import _read_file_meta_info as read_meta
from pydicom.filereader import read_preamble

SECONDARY_CAPTURE = b"1.2.840.10008.5.1.4.1.1.7"
PRIVATE_SOP_CLASS = b"1.2.826.0.1.3680043.8.498"

# File, and the digits that take the place of the last two of its SOP Instance UID.
_FILES = {
    "CT_small": "",
    "MR_small": "",
    "MR_small_implicit": "71",
    "MR_small_bigendian": "72",
    "MR_small_RLE": "73",
    "MR_small_jp2klossless": "74",
    "MR_small_jpeg_ls_lossless": "75",
    "ExplVR_BigEnd": "",
    "image_dfl": "",
    "JPGExtended": "",
    "JPEG2000": "76",
    "SC_rgb_jpeg_dcmtk": "",
    "SC_rgb_rle": "",
    "SC_rgb_small_odd": "",
    "SC_rgb_jpeg_lossy_gdcm": "",
    "examples_overlay": "",
    "waveform_ecg": "",
    "test-SR": "",
    "rtplan": "",
    "rtdose_1frame": "",
    "liver_1frame": "",
}
PRIVATE = "private_sop_class"
"""A real image whose SOP Class UID was exchanged for a private one."""


@dataclass(frozen=True)
class RealFile:
    """A file and what is in it; ``dataset`` is everything after group 0002."""

    label: str
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    study_date: str
    patient_name: str
    patient_id: str
    dataset: bytes

    @property
    def phi(self) -> tuple[str, ...]:
        """Return what must never be logged, without values too short to tell anything."""
        return tuple(value for value in (self.patient_name, self.patient_id) if len(value) > 3)


def write_real_files(folder: Path) -> tuple[RealFile, ...]:
    """Write the files into `folder` and return what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, digits in _FILES.items():
        content = _original(label)
        if digits:
            content = _with_other_uid(content, digits)
        (folder / f"{label}.dcm").write_bytes(content)
    content = _with_other_uid(_original("SC_rgb_small_odd"), "77")
    content = content.replace(SECONDARY_CAPTURE, PRIVATE_SOP_CLASS)
    (folder / f"{PRIVATE}.dcm").write_bytes(content)
    return tuple(read_real_file(path) for path in sorted(folder.glob("*.dcm")))


def read_real_file(path: Path) -> RealFile:
    """Read a Part 10 file with pydicom."""
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        read_preamble(file, force=False)
        meta = read_meta(file)
        dataset = file.read()
        header = dcmread(path, stop_before_pixels=True)
        return RealFile(
            path.stem,
            path,
            str(header.SOPClassUID),
            str(header.SOPInstanceUID),
            str(meta.TransferSyntaxUID),
            str(header.StudyInstanceUID),
            str(header.SeriesInstanceUID),
            str(header.get("StudyDate", "")),
            str(header.get("PatientName", "")),
            str(header.get("PatientID", "")),
            dataset,
        )


def _original(label: str) -> bytes:
    path = get_testdata_file(f"{label}.dcm", download=False)
    assert isinstance(path, str), label
    return Path(path).read_bytes()


def _with_other_uid(content: bytes, digits: str) -> bytes:
    """Exchange the last two digits of the SOP Instance UID wherever it stands."""
    at = content.index(b"\x08\x00\x18\x00UI") if b"\x08\x00\x18\x00UI" in content else -1
    if at >= 0:
        length = int.from_bytes(content[at + 6 : at + 8], "little")
        uid = content[at + 8 : at + 8 + length].rstrip(b"\0")
    else:  # implicit or big endian datasets: the file meta information is neither
        at = content.index(b"\x02\x00\x03\x00UI")
        length = int.from_bytes(content[at + 6 : at + 8], "little")
        uid = content[at + 8 : at + 8 + length].rstrip(b"\0")
    return content.replace(uid, uid[:-2] + digits.encode())
