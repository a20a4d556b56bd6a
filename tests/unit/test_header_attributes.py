from io import BytesIO

import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_migration.datasets import read_header
from dicom_migration.header_attributes import attributes_of, pixel_bytes_at, with_attribute
from tests.archives import held_from, real_file


def written(dataset: Dataset, syntax: str) -> BytesIO:
    file = BytesIO()
    dcmwrite(
        file,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    file.seek(0)
    return file


def made() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.PatientSex = ""
    dataset.PatientName = "Example^Ann"
    dataset.add_new("BodyPartExamined", "CS", "lower case")
    dataset.add_new("StudyDate", "DA", "20231340")
    dataset.add_new(0x00091001, "LO", "private")
    dataset.Rows = 2
    dataset.add_new("PixelData", "OW", b"12345678")
    return dataset


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_a_header_tells_what_it_has_what_is_empty_and_what_is_against_its_vr(syntax: str) -> None:
    file = written(made(), syntax)
    header = read_header(file, syntax)
    assert attributes_of(header) == " 00080016 00080020v 00100010 00100040e 00180015v 00280010 "
    assert pixel_bytes_at(file, syntax) == 8


def test_telling_costs_the_header_nothing() -> None:
    held = held_from(real_file("CT_small.dcm"))
    file = BytesIO(held.dataset)
    header = read_header(file, held.transfer_syntax_uid)
    told = attributes_of(header)
    assert " 00280010 " in told
    assert told == attributes_of(header)
    whole = dcmread(BytesIO(real_file("CT_small.dcm")))
    assert pixel_bytes_at(file, held.transfer_syntax_uid) == len(whole.PixelData)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "reportsi.dcm"])
def test_compressed_or_missing_pixel_data_has_no_native_length(name: str) -> None:
    held = held_from(real_file(name))
    file = BytesIO(held.dataset)
    read_header(file, held.transfer_syntax_uid)
    assert pixel_bytes_at(file, held.transfer_syntax_uid) is None


def test_pixel_data_that_is_cut_off_counts_what_is_there() -> None:
    file = written(made(), ExplicitVRLittleEndian)
    cut = BytesIO(file.getvalue()[:-3])
    read_header(cut, ExplicitVRLittleEndian)
    assert pixel_bytes_at(cut, ExplicitVRLittleEndian) == 5


def test_a_correction_changes_what_a_header_tells() -> None:
    assert with_attribute(" 00080016 00180015v ", "BodyPartExamined", "CHEST") == (
        " 00080016 00180015 "
    )
    assert with_attribute(" 00080016 ", "StudyDate", "") == " 00080016 00080020e "
    assert with_attribute(" 00080016 ", "StudyDate", "tomorrow") == " 00080016 00080020v "
    assert with_attribute(None, "StudyDate", "20200101") is None
