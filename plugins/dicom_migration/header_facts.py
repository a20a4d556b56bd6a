"""The header attributes that completeness is judged on, and how they are read from a dataset.

One list serves the ledger's ``header_fact`` table, the manifest's columns and the expectation
suites, so that "complete" means the same before and after the migration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

#: (column name, DICOM keyword); the order is the order of the manifest's columns.
TEXT_FACTS: tuple[tuple[str, str], ...] = (
    ("specific_character_set", "SpecificCharacterSet"),
    ("modality", "Modality"),
    ("patient_id", "PatientID"),
    ("issuer_of_patient_id", "IssuerOfPatientID"),
    ("patient_name", "PatientName"),
    ("patient_birth_date", "PatientBirthDate"),
    ("patient_sex", "PatientSex"),
    ("study_date", "StudyDate"),
    ("study_time", "StudyTime"),
    ("study_id", "StudyID"),
    ("accession_number", "AccessionNumber"),
    ("study_description", "StudyDescription"),
    ("referring_physician_name", "ReferringPhysicianName"),
    ("institution_name", "InstitutionName"),
    ("manufacturer", "Manufacturer"),
    ("series_date", "SeriesDate"),
    ("series_number", "SeriesNumber"),
    ("series_description", "SeriesDescription"),
    ("body_part_examined", "BodyPartExamined"),
    ("laterality", "Laterality"),
    ("image_laterality", "ImageLaterality"),
    ("instance_number", "InstanceNumber"),
    ("photometric_interpretation", "PhotometricInterpretation"),
)
INTEGER_FACTS: tuple[tuple[str, str], ...] = (
    ("rows", "Rows"),
    ("columns", "Columns"),
    ("bits_allocated", "BitsAllocated"),
    ("samples_per_pixel", "SamplesPerPixel"),
    ("number_of_frames", "NumberOfFrames"),
)
TEXT_COLUMNS: tuple[str, ...] = tuple(column for column, _ in TEXT_FACTS)
INTEGER_COLUMNS: tuple[str, ...] = tuple(column for column, _ in INTEGER_FACTS)


def read_header_facts(dataset: Dataset) -> dict[str, str | int | None]:
    """Return the facts of `dataset`, one key a column; absent and empty are None.

    Values are as written (multi-valued ones joined by a backslash, PS3.5 section 6.4), so that
    a suite sees over-long and malformed values too. Never raises on a malformed value: what
    cannot be decoded reads as None and fails completeness.
    """
    facts: dict[str, str | int | None] = {}
    for column, keyword in TEXT_FACTS:
        facts[column] = _text(dataset, keyword)
    for column, keyword in INTEGER_FACTS:
        facts[column] = _integer(dataset, keyword)
    return facts


def _text(dataset: Dataset, keyword: str) -> str | None:
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        if not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(
            value, "components"
        ):
            value = "\\".join(str(part) for part in value)
        return str(value).rstrip("\0 ") or None
    except Exception:  # hostile bytes raise anything in a decoder; the fact is then missing
        return None


def _integer(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else int(value)
    except Exception:  # as above
        return None
