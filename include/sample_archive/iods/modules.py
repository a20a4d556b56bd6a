"""Modules that every synthetic image shares (DICOM Part 3, annex C)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from include.sample_archive.identifiers import derive_number, derive_uid
from include.sample_archive.studies import Place

# Window centre and width in stored units after rescale, by modality.
_WINDOWS = {
    "CT": ("40", "400"),
    "MR": ("800", "1600"),
    "CR": ("1400", "2800"),
    "MG": ("1500", "3000"),
}


def start_instance(place: Place, sop_class: UID) -> Dataset:
    """Return a dataset with everything that does not depend on the pixels.

    Fills the Patient, General Study, General Series, General Equipment, General Image and
    SOP Common modules.
    """
    dataset = Dataset()
    study = place.study
    _sop_common(dataset, place, sop_class)
    patient_module(dataset, place)
    _study_and_series(dataset, place)
    dataset.Manufacturer = "SYNTHETIC"
    dataset.ManufacturerModelName = f"PHANTOM {study.protocol.modality}"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.InstitutionName = "SAMPLE HOSPITAL"
    dataset.StationName = f"{study.protocol.modality}1"
    dataset.InstanceNumber = place.number
    dataset.ContentDate = dataset.StudyDate
    dataset.ContentTime = dataset.StudyTime
    dataset.AcquisitionDate = dataset.StudyDate
    dataset.AcquisitionTime = dataset.StudyTime
    dataset.AcquisitionNumber = place.series_number
    return dataset


def _sop_common(dataset: Dataset, place: Place, sop_class: UID) -> None:
    study = place.study
    if study.patient.character_set:
        terms = study.patient.character_set.split("\\")
        dataset.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance_uid(place)


def sop_instance_uid(place: Place) -> UID:
    """Return the SOP Instance UID that the instance at `place` gets."""
    return derive_uid(
        place.study.seed, "instance", place.study.uid, place.series_number, place.number
    )


def patient_module(dataset: Dataset, place: Place) -> None:
    """Fill the Patient and Patient Study modules."""
    patient, performed = place.study.patient, place.study.performed
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    dataset.IssuerOfPatientID = "SAMPLE"
    dataset.PatientBirthDate = f"{patient.birth_date:%Y%m%d}"
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{(performed.date() - patient.birth_date).days // 365:03d}Y"


def _study_and_series(dataset: Dataset, place: Place) -> None:
    study, plan = place.study, place.plan
    dataset.StudyInstanceUID = study.uid
    dataset.StudyDate = f"{study.performed:%Y%m%d}"
    dataset.StudyTime = f"{study.performed:%H%M%S}"
    dataset.AccessionNumber = study.accession_number
    dataset.ReferringPhysicianName = "REFERRER^A"
    dataset.StudyID = study.study_id
    dataset.StudyDescription = study.protocol.description
    dataset.SeriesInstanceUID = derive_uid(
        place.study.seed, "series", study.uid, place.series_number
    )
    dataset.SeriesNumber = place.series_number
    dataset.SeriesDate = dataset.StudyDate
    dataset.SeriesTime = dataset.StudyTime
    dataset.SeriesDescription = plan.description
    dataset.Modality = study.protocol.modality
    dataset.BodyPartExamined = plan.region
    if plan.laterality and study.protocol.modality != "MG":
        dataset.Laterality = plan.laterality


def monochrome_pixels(dataset: Dataset, pixels: NDArray[Any], bits_stored: int) -> None:
    """Fill the Image Pixel and VOI LUT modules from (rows, columns) or (frames, rows, columns)."""
    allocated = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = allocated
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = 0
    if dataset.Modality in _WINDOWS:
        dataset.WindowCenter, dataset.WindowWidth = _WINDOWS[dataset.Modality]
    little_endian = pixels.astype(np.dtype(pixels.dtype).newbyteorder("<"))
    dataset.add_new(0x7FE00010, "OW", little_endian.tobytes())


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return one item of a code sequence (Part 3, section 8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def pixel_noise(place: Place) -> np.random.Generator:
    """Return the random generator of the pixels at `place`, independent of every other one."""
    key = ("pixels", place.study.uid, place.series_number, place.number)
    return np.random.default_rng(derive_number(place.study.seed, *key))
