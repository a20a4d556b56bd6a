"""Whether a dataset is whole, asked of real files and of garbage."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_migration.archive.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    MAX_DEPTH,
    Encoding,
    TruncatedDatasetError,
    check_whole,
    encoding_of,
    guess_encoding,
    iter_elements,
)
from dicom_migration.archive.part10 import read_file_meta, transfer_syntax_in

# But for image_dfl: a deflate stream has an end of its own.
REAL_FILES = sorted((Path(pydicom.data.__file__).parent / "test_files").glob("[!i]*.dcm"))
# Named so by those who published them, but for no_meta: a stray byte stands before its dataset.
NOT_WHOLE = {"MR_truncated", "rtplan_truncated", "no_meta"}
ENCODINGS = st.sampled_from([IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])


def dataset_of(path: Path) -> tuple[bytes, Encoding]:
    content = path.read_bytes()
    meta, start = read_file_meta(content)
    syntax = transfer_syntax_in(meta)
    encoding = encoding_of(syntax) if syntax else guess_encoding(content, start)
    return content[start:], encoding


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_real_files_are_judged_as_they_are(path: Path) -> None:
    dataset, encoding = dataset_of(path)
    if path.stem in NOT_WHOLE:
        with pytest.raises(TruncatedDatasetError):
            check_whole(dataset, encoding)
    else:
        check_whole(dataset, encoding)


@pytest.mark.parametrize(
    "name", ["MR_small_implicit", "MR_small_bigendian", "JPEG2000", "test-SR", "nested_priv_SQ"]
)
def test_a_file_cut_anywhere_inside_an_element_is_truncated(name: str) -> None:
    path = Path(str(get_testdata_file(f"{name}.dcm", download=False)))
    dataset, encoding = dataset_of(path)
    ends = {0} | {e.offset + e.length for e in iter_elements(dataset, encoding)}
    for cut in range(1, len(dataset), 7):
        # Up to seven zero bytes pass as padding: no element begins with them.
        if cut in ends or (cut - max(e for e in ends if e <= cut) < 8 and not any(
            dataset[max(e for e in ends if e <= cut) : cut]
        )):  # fmt: skip
            continue
        with pytest.raises(TruncatedDatasetError):
            check_whole(dataset[:cut], encoding)


def test_the_error_names_the_tag_and_no_value() -> None:
    dataset = struct.pack("<HH2sH", 0x10, 0x10, b"PN", 20) + b"DOE^JANE"
    with pytest.raises(TruncatedDatasetError, match=r"\(0010,0010\) at byte 0") as caught:
        check_whole(dataset, EXPLICIT_LITTLE)
    assert "DOE" not in str(caught.value)


def test_trailing_zero_bytes_are_padding() -> None:
    element = struct.pack("<HH2sH", 0x10, 0x20, b"LO", 2) + b"ID"
    assert [e.tag for e in iter_elements(element + bytes(5), EXPLICIT_LITTLE)] == [0x00100020]


def test_an_unknown_element_of_undefined_length_is_implicit_inside() -> None:
    inner = struct.pack("<HHI", 0x10, 0x20, 2) + b"ID"
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    header = struct.pack("<HH2sHI", 0x11, 0x1001, b"UN", 0, 0xFFFFFFFF)
    check_whole(header + item + end, EXPLICIT_LITTLE)


def test_nesting_without_end_is_an_error_and_not_a_crash() -> None:
    level = struct.pack("<HHI", 0x40, 0xA730, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(TruncatedDatasetError):
        check_whole(level * (MAX_DEPTH * 20), IMPLICIT_LITTLE)


@given(data=st.binary(max_size=400), encoding=ENCODINGS)
def test_garbage_ends_in_elements_or_in_the_one_error(data: bytes, encoding: Encoding) -> None:
    try:
        elements = list(iter_elements(data, encoding))
    except TruncatedDatasetError:
        return
    assert all(0 <= e.offset <= e.offset + e.length <= len(data) for e in elements)


@given(flips=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8))
def test_a_damaged_real_file_never_hangs(flips: list[tuple[int, int]]) -> None:
    path = Path(str(get_testdata_file("test-SR.dcm", download=False)))
    dataset, encoding = dataset_of(path)
    damaged = bytearray(dataset)
    for position, value in flips:
        damaged[position % len(damaged)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_whole(bytes(damaged), encoding)
        except TruncatedDatasetError:
            return
