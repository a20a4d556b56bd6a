"""Turns attributes, wherever they were read, into the records of the SOURCE port.

A C-FIND identifier, a DICOM JSON object and a file header all become one mapping of tag to text
values first; what the attributes mean is said once, here. Source: DICOM PS3.4 section C.6.2
(Study Root keys) and PS3.18 section 10.6 (QIDO-RS).
"""

from __future__ import annotations

from collections.abc import Mapping

from dicom_migration.archive.protocol import InstanceRecord, SeriesRecord, StudyRecord
from dicom_migration.uids import is_valid_uid

Attributes = Mapping[int, tuple[str, ...]]
"""Text values by tag; text of any multiplicity but CS and UI is one value."""

SPECIFIC_CHARACTER_SET = 0x00080005
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
SOP_CLASSES_IN_STUDY = 0x00080062
STUDY_DATE = 0x00080020
STUDY_TIME = 0x00080030
ACCESSION_NUMBER = 0x00080050
QUERY_RETRIEVE_LEVEL = 0x00080052
FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
MODALITY = 0x00080060
MODALITIES_IN_STUDY = 0x00080061
SOP_CLASSES_IN_STUDY = 0x00080062
INSTITUTION_NAME = 0x00080080
STUDY_DESCRIPTION = 0x00081030
SERIES_DESCRIPTION = 0x0008103E
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
PATIENT_BIRTH_DATE = 0x00100030
PATIENT_SEX = 0x00100040
BODY_PART_EXAMINED = 0x00180015
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
STUDY_ID = 0x00200010
SERIES_NUMBER = 0x00200011
INSTANCE_NUMBER = 0x00200013
STUDY_SERIES_COUNT = 0x00201206
STUDY_INSTANCE_COUNT = 0x00201208
SERIES_INSTANCE_COUNT = 0x00201209
NUMBER_OF_FRAMES = 0x00280008

MAX_COUNT = 2**31 - 1
"""The largest integer string, and the largest that a column of the ledger holds."""
_COUNT_DIGITS = 12

STUDY_KEYS = (
    STUDY_INSTANCE_UID,
    STUDY_DATE,
    STUDY_TIME,
    ACCESSION_NUMBER,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    INSTITUTION_NAME,
    STUDY_DESCRIPTION,
    PATIENT_NAME,
    PATIENT_ID,
    ISSUER_OF_PATIENT_ID,
    PATIENT_BIRTH_DATE,
    PATIENT_SEX,
    STUDY_ID,
    STUDY_SERIES_COUNT,
    STUDY_INSTANCE_COUNT,
)
SERIES_KEYS = (
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
    MODALITY,
    SERIES_NUMBER,
    SERIES_DESCRIPTION,
    BODY_PART_EXAMINED,
    SERIES_INSTANCE_COUNT,
)
INSTANCE_KEYS = (
    STUDY_INSTANCE_UID,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    SOP_CLASS_UID,
    INSTANCE_NUMBER,
    NUMBER_OF_FRAMES,
)


def first(attributes: Attributes, tag: int) -> str:
    """Return the first value of an attribute, "" when it is absent or empty."""
    values = attributes.get(tag, ())
    return values[0] if values else ""


def count(attributes: Attributes, tag: int) -> int | None:
    """Return a count of 0 to 2^31 - 1 (VR IS, PS3.5 section 6.2), None for anything else."""
    text = first(attributes, tag)
    if not (text.isascii() and text.isdigit()) or len(text) > _COUNT_DIGITS:
        return None
    value = int(text)
    return value if value <= MAX_COUNT else None


def study_record(attributes: Attributes) -> StudyRecord:
    """Read a study from its attributes; the Study Instance UID may be ""."""
    return StudyRecord(
        study_instance_uid=first(attributes, STUDY_INSTANCE_UID),
        study_date=first(attributes, STUDY_DATE),
        study_time=first(attributes, STUDY_TIME),
        patient_id=first(attributes, PATIENT_ID),
        issuer_of_patient_id=first(attributes, ISSUER_OF_PATIENT_ID),
        patient_name=first(attributes, PATIENT_NAME),
        patient_birth_date=first(attributes, PATIENT_BIRTH_DATE),
        patient_sex=first(attributes, PATIENT_SEX),
        accession_number=first(attributes, ACCESSION_NUMBER),
        study_id=first(attributes, STUDY_ID),
        study_description=first(attributes, STUDY_DESCRIPTION),
        institution_name=first(attributes, INSTITUTION_NAME),
        modalities=_modalities(attributes),
        number_of_series=count(attributes, STUDY_SERIES_COUNT),
        number_of_instances=count(attributes, STUDY_INSTANCE_COUNT),
        sop_classes=_sop_classes(attributes),
    )


def series_record(attributes: Attributes, study_instance_uid: str) -> SeriesRecord:
    """Read a series of the study that was asked for."""
    return SeriesRecord(
        study_instance_uid=study_instance_uid,
        series_instance_uid=first(attributes, SERIES_INSTANCE_UID),
        modality=first(attributes, MODALITY),
        series_number=first(attributes, SERIES_NUMBER),
        series_description=first(attributes, SERIES_DESCRIPTION),
        body_part_examined=first(attributes, BODY_PART_EXAMINED),
        number_of_instances=count(attributes, SERIES_INSTANCE_COUNT),
    )


def instance_record(
    attributes: Attributes, study_instance_uid: str, series_instance_uid: str
) -> InstanceRecord:
    """Read an instance of the study; its own Series Instance UID goes before the one asked for."""
    return InstanceRecord(
        study_instance_uid=study_instance_uid,
        series_instance_uid=first(attributes, SERIES_INSTANCE_UID) or series_instance_uid,
        sop_instance_uid=first(attributes, SOP_INSTANCE_UID),
        sop_class_uid=first(attributes, SOP_CLASS_UID),
        number_of_frames=count(attributes, NUMBER_OF_FRAMES),
    )


def _sop_classes(attributes: Attributes) -> tuple[str, ...]:
    """Return the UIDs among SOP Classes in Study; a malformed one tells nothing."""
    values = attributes.get(SOP_CLASSES_IN_STUDY, ())
    return tuple(sorted({value for value in values if is_valid_uid(value)}))


def _modalities(attributes: Attributes) -> tuple[str, ...]:
    """Return Modalities in Study, or the Modality that some sources answer in its place."""
    values = attributes.get(MODALITIES_IN_STUDY) or attributes.get(MODALITY, ())
    return tuple(sorted({value for value in values if value}))
