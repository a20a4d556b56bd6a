"""A synthetic study without a planted defect is clean: nothing a cleansing rule could object to."""

from __future__ import annotations

import subprocess
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from include.sample_archive import ArchiveIndex

FILLED = (
    "SOPClassUID SOPInstanceUID StudyDate StudyTime AccessionNumber Modality Manufacturer "
    "InstitutionName ReferringPhysicianName StudyDescription SeriesDescription PatientName "
    "PatientID IssuerOfPatientID PatientBirthDate PatientSex BodyPartExamined StudyInstanceUID "
    "SeriesInstanceUID StudyID SeriesNumber InstanceNumber Rows Columns PixelData"
)


def clean(archive: Path) -> Iterator[tuple[str, FileDataset]]:
    for study in ArchiveIndex.read(archive).studies:
        if study.origin == "synthetic" and not study.defects:
            for path in study.files:
                yield path, dcmread(archive / path)


@pytest.fixture(scope="module")
def instances(archive: Path) -> list[tuple[str, FileDataset]]:
    return list(clean(archive))


def test_every_attribute_of_identity_is_filled(instances: list[tuple[str, FileDataset]]) -> None:
    for path, dataset in instances:
        for keyword in FILLED.split():
            assert dataset.get(keyword) not in (None, ""), f"{path} lacks {keyword}"


def test_no_value_breaks_its_value_representation(archive: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _, dataset in clean(archive):
            for element in dataset.iterall():
                assert element.value is not NotImplemented


def test_identifiers_are_unique(instances: list[tuple[str, FileDataset]]) -> None:
    study_of: dict[str, str] = {}
    patient_of: dict[str, str] = {}
    seen = set()
    for _, dataset in instances:
        assert dataset.SOPInstanceUID not in seen
        seen.add(dataset.SOPInstanceUID)
        uid, number = dataset.StudyInstanceUID, dataset.AccessionNumber
        assert len(number) <= 16
        assert study_of.setdefault(number, uid) == uid
        assert patient_of.setdefault(uid, dataset.PatientID) == dataset.PatientID


def test_patients_are_the_same_person_in_all_their_studies(
    instances: list[tuple[str, FileDataset]],
) -> None:
    persons = defaultdict(set)
    for _, dataset in instances:
        person = (str(dataset.PatientName), dataset.PatientBirthDate, dataset.PatientSex)
        persons[dataset.PatientID].add(person)
        assert dataset.PatientBirthDate < dataset.StudyDate
    assert all(len(person) == 1 for person in persons.values())
    assert any("山田" in name for person in persons.values() for name, _, _ in person)


def test_pixels_decode_and_show_something(instances: list[tuple[str, FileDataset]]) -> None:
    for path, dataset in instances[::7]:
        pixels = dataset.pixel_array
        assert pixels.std() > 5, path
        assert pixels.max() < 2**dataset.BitsStored, path


@pytest.mark.skipif(not which("dciodvfy"), reason="dciodvfy (Debian: dicom3tools) is not installed")
def test_the_standards_referee_finds_no_error(archive: Path) -> None:
    firsts: dict[str, str] = {}
    for study in ArchiveIndex.read(archive).studies:
        if study.origin == "synthetic" and not study.defects:
            firsts.setdefault(study.modality, study.files[0])
    assert set(firsts) == {"CT", "MR", "CR", "MG", "US"}
    for path in firsts.values():
        verdict = subprocess.run(
            ["dciodvfy", str(archive / path)], capture_output=True, text=True, check=False
        )
        assert "Error" not in verdict.stdout + verdict.stderr, verdict.stderr
