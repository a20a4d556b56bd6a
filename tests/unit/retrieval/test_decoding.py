from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dicom_migration.retrieval.decoding import decode_dataset, decode_part10


def file_bytes(name: str) -> bytes:
    return Path(get_testdata_file(name)).read_bytes()


def dataset_bytes(name: str) -> tuple[bytes, str]:
    data = file_bytes(name)
    start = 144 + int.from_bytes(data[140:144], "little")
    return data[start:], str(dcmread(get_testdata_file(name)).file_meta.TransferSyntaxUID)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm"])
def test_a_first_frame_is_decoded_and_timed_from_either_side(name):
    assert decode_part10(file_bytes(name)) > 0
    assert decode_dataset(*dataset_bytes(name)) > 0


@pytest.mark.parametrize("name", ["rtplan.dcm", "image_dfl.dcm"])
def test_what_has_no_image_or_no_bound_is_not_decoded(name):
    assert decode_part10(file_bytes(name)) is None
    assert decode_dataset(*dataset_bytes(name)) is None


def test_hostile_bytes_are_no_error_and_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning could quote a patient's name
        assert decode_part10(bytes(128) + b"DICM" + b"\xff" * 500) is None
        assert decode_part10(file_bytes("CT_small.dcm")[:2000]) is None
