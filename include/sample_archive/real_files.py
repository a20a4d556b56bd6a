"""Real DICOM files, from the test data of the `pydicom` and `pydicom-data` distributions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from include.sample_archive.identifiers import derive_uid
from include.sample_archive.part10 import serialise
from include.sample_archive.studies import Protocol, Study

# Kept byte for byte, with whatever identity they were published with.
_AS_FOUND = (
    "CT_small MR_small examples_overlay RG3_J2KR RG1_J2KI MR2_J2KR US1_J2KR JPEG-LL 693_J2KR "
    "J2K_pixelrep_mismatch explicit_VR-UN bad_sequence OBXXXX1A_rle color3d_jpeg_baseline "
    "eCT_Supplemental emri_small liver gdcm-US-ALOKA-16 color-pl ExplVR_BigEnd mlut_18 vlut_04 "
    "SC_rgb rtdose rtplan rtstruct reportsi test-SR waveform_ecg image_dfl "
    "JPGLosslessP14SV1_1s_1f_8b OT-PAL-8-face GDCMJ2K_TextGBR"
)
# Two patients of a DICOMDIR: CT, CR and MR.
_AS_FOUND_FOLDERS = ("77654033", "98892001", "98892003")

# Variants of one another: in the original they share a SOP Instance UID.
_PLACED = {
    Protocol("MR", "MR HEAD", ()): (
        "MR_small_RLE MR_small_implicit MR_small_expb MR_small_jp2klossless "
        "MR_small_jpeg_ls_lossless MR_small_padded"
    ),
    Protocol("MR", "MR HEAD ENHANCED", ()): (
        "emri_small_RLE emri_small_jpeg_2k_lossless emri_small_jpeg_ls_lossless "
        "emri_small_big_endian"
    ),
    Protocol("CT", "CT HEAD", ()): "693_J2KI 693_UNCI",
    Protocol("US", "US OBSTETRIC", ()): (
        "OBXXXX1A OBXXXX1A_expb OBXXXX1A_rle_2frame examples_palette"
    ),
    Protocol("US", "US HEART COLOUR", ()): (
        "US1_UNCI US1_J2KI examples_rgb_color examples_ybr_color"
    ),
    Protocol("CR", "XR CHEST", ()): "RG3_J2KI",
    Protocol("NM", "NM BONE SCAN", ()): "JPEG-lossy JPEG2000 JPGExtended",
    Protocol("SR", "REPORT", ()): "reportsi_with_empty_number_tags",
    Protocol("SEG", "LIVER SEGMENTATION", ()): "liver_1frame",
    Protocol("RTDOSE", "RT DOSE", ()): "rtdose_1frame rtdose_rle rtdose_rle_1frame rtdose_expb",
    Protocol("OT", "PHOTOGRAPHS", ()): (
        "SC_rgb_rle SC_rgb_rle_16bit SC_rgb_rle_32bit SC_rgb_rle_2frame SC_rgb_rle_16bit_2frame "
        "SC_rgb_rle_32bit_2frame SC_rgb_16bit SC_rgb_32bit SC_rgb_2frame SC_rgb_expb "
        "SC_rgb_expb_16bit SC_rgb_expb_2frame SC_rgb_small_odd SC_rgb_small_odd_big_endian"
    ),
    Protocol("OT", "PHOTOGRAPHS JPEG", ()): (
        "SC_rgb_jpeg_dcmtk SC_rgb_jpeg_gdcm SC_rgb_jpeg_lossy_gdcm SC_rgb_jpeg_dcmd "
        "SC_rgb_dcmtk_+eb+cr SC_rgb_dcmtk_+eb+cy+n1 SC_rgb_dcmtk_+eb+cy+n2 "
        "SC_rgb_dcmtk_+eb+cy+np SC_rgb_dcmtk_+eb+cy+s2 SC_rgb_dcmtk_+eb+cy+s4 SC_rgb_gdcm_KY "
        "SC_rgb_jls_lossy_line SC_rgb_jls_lossy_sample SC_rgb_small_odd_jpeg "
        "SC_ybr_full_uncompressed SC_ybr_full_422_uncompressed SC_jpeg_no_color_transform "
        "JPEGLSNearLossless_08 JPEGLSNearLossless_16"
    ),
}
_OTHER_DATES = ("SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")


class SampleDataMissingError(RuntimeError):
    """A file that the archive is built from is not installed."""


def files_as_found(small: bool) -> list[Path]:
    """Return the files to copy unchanged."""
    if small:
        return [_locate(name) for name in ("CT_small", "reportsi", "ExplVR_BigEnd")]
    root = _directory("pydicom", "data/test_files") / "dicomdirtests"
    folders = [path for folder in _AS_FOUND_FOLDERS for path in (root / folder).rglob("*")]
    return [_locate(name) for name in _AS_FOUND.split()] + sorted(p for p in folders if p.is_file())


def protocols_of_placed_files(small: bool) -> list[Protocol]:
    """Return the protocols under which real files are placed with synthetic patients."""
    return list(_PLACED)[:1] if small else list(_PLACED)


def place_files(study: Study) -> Iterator[tuple[Dataset, bytes]]:
    """Yield the study's instances as (dataset, bytes of the file), pixel bytes untouched."""
    for number, name in enumerate(_PLACED[study.protocol].split(), start=1):
        dataset = dcmread(_locate(name))
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        _rewrite_identity(dataset, study, number)
        yield dataset, serialise(dataset, syntax)


def defects_as_found(dataset: Dataset) -> list[str]:
    """Return what the header of a real file lacks, under the codes of the planted defects."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    date = str(dataset.get("StudyDate") or "")
    findings = {
        "missing_study_date": not date,
        "legacy_study_date": bool(re.fullmatch(r"\d{4}\.\d\d\.\d\d", date)),
        "missing_accession_number": not dataset.get("AccessionNumber"),
        "missing_patient_id": not dataset.get("PatientID"),
        "invalid_study_instance_uid": not UID(dataset.StudyInstanceUID).is_valid,
        "no_file_meta": syntax is None,
        "explicit_big_endian": syntax == ExplicitVRBigEndian,
        "deflated": syntax == DeflatedExplicitVRLittleEndian,
    }
    return [code for code, found in findings.items() if found]


def _rewrite_identity(dataset: Dataset, study: Study, number: int) -> None:
    patient, day = study.patient, f"{study.performed:%Y%m%d}"
    dataset.PatientName, dataset.PatientID = patient.name, patient.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = f"{patient.birth_date:%Y%m%d}", patient.sex
    dataset.IssuerOfPatientID = "SAMPLE"
    dataset.StudyInstanceUID = study.uid
    dataset.StudyDate, dataset.StudyTime = day, f"{study.performed:%H%M%S}"
    dataset.AccessionNumber, dataset.StudyID = study.accession_number, study.study_id
    dataset.StudyDescription = study.protocol.description
    dataset.ReferringPhysicianName = "REFERRER^A"
    dataset.InstitutionName = "SAMPLE HOSPITAL"
    dataset.Modality = study.protocol.modality
    dataset.SeriesInstanceUID = derive_uid(study.seed, "series", study.uid, 1)
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.SOPInstanceUID = derive_uid(study.seed, "instance", study.uid, 1, number)
    dataset.pop("PatientAge", None)
    for keyword in _OTHER_DATES:
        if keyword in dataset:
            setattr(dataset, keyword, day)


def _locate(name: str) -> Path:
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        path = _directory(package, folder) / f"{name}.dcm"
        if path.is_file():
            return path
    raise SampleDataMissingError(f"{name}.dcm: install the distributions pydicom and pydicom-data")


def _directory(package: str, folder: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SampleDataMissingError(f"package {package}: install pydicom and pydicom-data")
    return Path(spec.origin).parent / folder
