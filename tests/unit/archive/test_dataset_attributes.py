"""Attributes of identifiers and headers, read without trusting a value."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_migration.archive import records
from dicom_migration.archive.dataset_attributes import collect_values, read_attributes
from dicom_migration.archive.dimse_identifier import decode_identifier, encode_identifier
from dicom_migration.archive.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_migration.archive.records import instance_record, series_record, study_record

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def encoded(dataset: Dataset, implicit: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_an_answer_becomes_a_study(syntax: str) -> None:
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 100"
    answer.StudyInstanceUID = "1.2.3"
    answer.StudyDate = "20240131"
    answer.PatientName = "Müller^Jörg"
    answer.ModalitiesInStudy = ["SR", "CT", "CT"]
    answer.NumberOfStudyRelatedInstances = "42"
    answer.RequestAttributesSequence = [Dataset()]
    read = decode_identifier(encoded(answer, syntax == IMPLICIT), syntax, records.STUDY_KEYS)
    study = study_record(read)
    assert study.study_instance_uid == "1.2.3"
    assert study.patient_name == "Müller^Jörg"
    assert study.modalities == ("CT", "SR")
    assert study.number_of_instances == 42
    assert study.number_of_series is None
    assert study.patient_id == ""


def test_counts_that_make_no_sense_are_not_told() -> None:
    for nonsense in ("-3", "many", "1.5", ""):
        assert study_record({records.STUDY_INSTANCE_COUNT: (nonsense,)}).number_of_instances is None


def test_an_instance_keeps_its_own_series() -> None:
    own = instance_record({records.SERIES_INSTANCE_UID: ("1.9",)}, "1.2", "1.3")
    assert own.series_instance_uid == "1.9"
    assert instance_record({}, "1.2", "1.3").series_instance_uid == "1.3"
    assert series_record({}, "1.2").study_instance_uid == "1.2"


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_what_is_asked_can_be_read_by_another(syntax: str) -> None:
    from pydicom.filereader import read_dataset

    keys = {**dict.fromkeys(records.STUDY_KEYS, ""), records.QUERY_RETRIEVE_LEVEL: "STUDY"}
    keys[records.STUDY_DATE] = "20240101-20240131"
    read = read_dataset(BytesIO(encode_identifier(keys, syntax)), syntax == IMPLICIT, True)
    assert read.QueryRetrieveLevel == "STUDY"
    assert read.StudyDate == "20240101-20240131"
    assert "PatientName" in read
    assert len(read) == len(keys)


def test_a_head_that_is_too_short_says_so() -> None:
    dataset = Dataset()
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientID = "X" * 40
    whole = encoded(dataset, implicit=False)
    assert collect_values(whole, EXPLICIT_LITTLE, (records.PATIENT_ID,))[1]
    raw, passed = collect_values(whole[:-5], EXPLICIT_LITTLE, (records.PATIENT_ID,))
    assert not passed
    assert records.PATIENT_ID not in raw


@given(data=st.binary(max_size=200))
def test_hostile_answers_are_read_as_far_as_they_go(data: bytes) -> None:
    for encoding in (IMPLICIT_LITTLE, EXPLICIT_LITTLE):
        read = read_attributes(data, encoding, records.STUDY_KEYS)
        assert isinstance(study_record(read).patient_name, str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("2147483647", 2**31 - 1),
        ("2147483648", None),
        ("1" + "0" * 20, None),
        ("9" * 5_000, None),
        ("-1", None),
        ("²", None),
        ("", None),
    ],
)
def test_a_count_that_no_archive_can_hold_is_none(text: str, expected: int | None) -> None:
    tag = records.STUDY_INSTANCE_COUNT
    assert records.count({tag: (text,)}, tag) == expected
