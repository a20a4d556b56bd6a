"""Every planted defect really is in the file that the index names for it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from include.sample_archive import ArchiveIndex, PlantedDefect
from include.sample_archive.defects import catalogue

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


class Evidence:
    """A planted defect and what is on the disk."""

    def __init__(self, archive: Path, index: ArchiveIndex, planted: PlantedDefect) -> None:
        self.path = archive / planted.file
        self.planted = planted
        self.index = index
        self.archive = archive

    @property
    def dataset(self) -> FileDataset:
        return dcmread(self.path, force=True)

    @property
    def raw_name(self) -> bytes:
        element = self.dataset.get_item("PatientName")
        return bytes(element.value).rstrip()

    def others(self) -> list[FileDataset]:
        """The other carriers of the same code."""
        return [
            dcmread(self.archive / planted.file)
            for planted in self.index.planted
            if planted.code == self.planted.code and planted.file != self.planted.file
        ]

    def pixel_bytes_missing(self) -> int:
        dataset = self.dataset
        expected: int = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
        return expected - len(dataset.PixelData)


def shares_accession_number(evidence: Evidence) -> bool:
    mine = evidence.dataset
    return any(
        other.AccessionNumber == mine.AccessionNumber and other.PatientID != mine.PatientID
        for other in evidence.others()
    )


def is_registered_twice(evidence: Evidence) -> bool:
    mine = evidence.dataset
    return any(
        (other.PatientName, other.PatientBirthDate) == (mine.PatientName, mine.PatientBirthDate)
        and other.PatientID != mine.PatientID
        for other in evidence.others()
    )


def has_a_double(evidence: Evidence) -> bool:
    mine = evidence.dataset
    return any(
        other.SOPInstanceUID == mine.SOPInstanceUID == evidence.planted.sop_instance_uid
        and other.StudyInstanceUID != mine.StudyInstanceUID
        and other.PixelData != mine.PixelData
        for other in evidence.others()
    )


def is_utf8_beyond_ascii(raw: bytes) -> bool:
    return not raw.isascii() and raw.decode("utf-8") != raw.decode("latin-1")


def is_known_to_the_database_only(evidence: Evidence) -> bool:
    rows = [row["StudyInstanceUID"] for row in evidence.index.database_only]
    return (
        evidence.path.is_dir()
        and not any(evidence.path.iterdir())
        and rows == [evidence.planted.study_instance_uid]
    )


CHECKS: dict[str, Callable[[Evidence], bool]] = {
    "missing_study_date": lambda e: "StudyDate" not in e.dataset,
    "missing_accession_number": lambda e: e.dataset.AccessionNumber == "",
    "shared_accession_number": shares_accession_number,
    "patient_under_two_ids": is_registered_twice,
    "study_before_birth": lambda e: e.dataset.PatientBirthDate > e.dataset.StudyDate,
    "absurd_study_date": lambda e: e.dataset.StudyDate < "19000101",
    "invalid_patient_sex": lambda e: e.dataset.PatientSex not in ("M", "F", "O"),
    "overlong_body_part": lambda e: len(e.dataset.BodyPartExamined) > 16,
    "overlong_study_description": lambda e: len(e.dataset.StudyDescription) > 64,
    "overlong_institution_name": lambda e: len(e.dataset.InstitutionName) > 64,
    "charset_utf8_declared_latin1": lambda e: (
        e.dataset.SpecificCharacterSet == "ISO_IR 100" and is_utf8_beyond_ascii(e.raw_name)
    ),
    "charset_utf8_undeclared": lambda e: (
        "SpecificCharacterSet" not in e.dataset and is_utf8_beyond_ascii(e.raw_name)
    ),
    "charset_latin1_undeclared": lambda e: (
        "SpecificCharacterSet" not in e.dataset and "ü" in e.raw_name.decode("latin-1")
    ),
    "duplicate_sop_instance_uid": has_a_double,
    "truncated_file": lambda e: e.pixel_bytes_missing() > 1000,
    "pixel_length_mismatch": lambda e: e.pixel_bytes_missing() == 3 * 2 * e.dataset.Columns,
    "explicit_big_endian": lambda e: e.dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian,
    "deflated": lambda e: e.dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian,
    "no_file_meta": lambda e: (
        e.path.read_bytes()[:2] in (b"\x08\x00",) and "PixelData" in e.dataset
    ),
    "private_sop_class": lambda e: not e.dataset.SOPClassUID.startswith("1.2.840.10008."),
    "empty_study": is_known_to_the_database_only,
}


def test_every_code_of_the_catalogue_is_planted_and_checked(archive: Path) -> None:
    planted = {planted.code for planted in ArchiveIndex.read(archive).planted}
    assert planted == set(catalogue()) == set(CHECKS)


@pytest.mark.parametrize("scale", ["archive", "small_archive"])
@pytest.mark.parametrize("code", CHECKS)
def test_the_defect_is_where_the_index_says(
    code: str, scale: str, request: pytest.FixtureRequest
) -> None:
    archive: Path = request.getfixturevalue(scale)
    index = ArchiveIndex.read(archive)
    planted = [planted for planted in index.planted if planted.code == code]
    for one in planted:
        evidence = Evidence(archive, index, one)
        assert CHECKS[code](evidence), f"{code} is not in {one.file}"
        study = next(s for s in index.studies if s.study_instance_uid == one.study_instance_uid)
        assert code in study.defects
    assert planted or scale == "small_archive"


def test_the_instance_named_is_the_one_in_the_file(archive: Path) -> None:
    for planted in ArchiveIndex.read(archive).planted:
        if planted.sop_instance_uid:
            dataset = dcmread(archive / planted.file, force=True)
            assert dataset.SOPInstanceUID == planted.sop_instance_uid
            assert dataset.StudyInstanceUID == planted.study_instance_uid


def test_no_defect_is_in_an_attribute_that_would_break_a_database_index(archive: Path) -> None:
    for study in ArchiveIndex.read(archive).studies:
        for path in study.files if study.origin == "synthetic" else []:
            dataset = dcmread(archive / path, stop_before_pixels=True, force=True)
            assert len(dataset.StudyInstanceUID) <= 64
            assert len(dataset.PatientID) <= 64
            assert len(dataset.AccessionNumber) <= 16


@pytest.mark.skipif(not which("dcmdump"), reason="dcmdump (Debian: dcmtk) is not installed")
def test_a_strict_parser_refuses_the_truncated_file_and_only_that(archive: Path) -> None:
    index = ArchiveIndex.read(archive)
    truncated = [p for p in index.planted if p.code == "truncated_file"]
    whole = [p for p in index.planted if p.code == "pixel_length_mismatch"]
    for planted, expected in ((truncated[0], 1), (whole[0], 0)):
        finished = subprocess.run(
            ["dcmdump", "-q", str(archive / planted.file)], capture_output=True, check=False
        )
        assert finished.returncode == expected
