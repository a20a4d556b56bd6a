"""A study query says the same in C-FIND and in QIDO-RS."""

from __future__ import annotations

from dicom_migration.archive import StudyQuery, records
from dicom_migration.archive.dicomweb_query import study_params
from dicom_migration.archive.dimse_query import study_keys


def test_the_beginning_of_a_patient_id_is_a_wildcard() -> None:
    query = StudyQuery(patient_id_prefix="A1")
    assert study_keys(query)[records.PATIENT_ID] == "A1*"
    assert study_params(query) == {"PatientID": "A1*"}


def test_without_one_any_patient_matches() -> None:
    assert study_keys(StudyQuery())[records.PATIENT_ID] == ""
    assert study_params(StudyQuery()) == {}
